"""The files of annotation tools -> class ids per image, one module a format."""
