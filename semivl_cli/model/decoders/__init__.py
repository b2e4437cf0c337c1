"""Features -> class scores: one file a kind of decoder."""
