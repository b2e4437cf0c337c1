"""OpenCV for all who process pictures: where it cannot be imported, one line tells the cure."""

from semivl_cli.errors import RunError

try:
    import cv2
except ImportError as error:
    raise RunError(
        f"OpenCV cannot be imported ({error}): where the libraries of X are missing, as in slim containers, "
        "`pip uninstall opencv-python` and then `pip install opencv-python-headless` is the cure"
    ) from error

__all__ = ["cv2"]
