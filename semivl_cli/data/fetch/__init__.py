"""Brings published datasets here: downloads, archives, progress."""
