"""Batches, and the processes that make them."""
