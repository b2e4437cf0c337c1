"""Pixels: images and masks each read in one place, and the views that are made of them."""
