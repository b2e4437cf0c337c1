"""The frozen dense CLIP by itself: what it sees by the words of a definition, before any training."""
