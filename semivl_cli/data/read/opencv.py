"""OpenCV for all who process pictures: where it cannot be imported, one line tells the cure."""

from contextlib import suppress

from semivl_cli.errors import RunError

try:
    import cv2
except ImportError as error:
    raise RunError(
        f"OpenCV cannot be imported ({error}): where the libraries of X are missing, as in slim containers, "
        "`pip uninstall opencv-python` and then `pip install opencv-python-headless` is the cure"
    ) from error

with suppress(AttributeError):  # of builds without it; what cannot be read is told by one line, which is ours
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_FATAL)

__all__ = ["cv2"]
