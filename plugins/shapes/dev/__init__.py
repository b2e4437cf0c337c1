"""What made the demo: its captions, its CLIP, its table of results; not in the wheel."""
