"""Segments images of any size with a trained model, and scores the result."""
