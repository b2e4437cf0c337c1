"""What the numbers of a class map mean: classes count from 0, and the two highest numbers of a byte are none."""

from __future__ import annotations

IGNORE = 255
"""Pixels that neither train nor count."""
NO_CLASS = 254
"""What a value becomes that means nothing: whoever reads a mask with it refuses the mask."""
MOST_CLASSES = NO_CLASS
"""Classes that a definition may have: their ids are 0..253."""
