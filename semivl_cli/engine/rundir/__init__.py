"""The run directory: its files, its checkpoints, and whether they are whole."""
