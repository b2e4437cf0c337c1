"""Images -> features: one file a kind of encoder."""
