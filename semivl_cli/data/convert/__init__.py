"""Takes in the files of annotation tools: recognises them, names their classes, paints masks."""
