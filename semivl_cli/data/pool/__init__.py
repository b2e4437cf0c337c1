"""Records without end: unlabelled images by the hundred million, and their seeded shuffle."""
