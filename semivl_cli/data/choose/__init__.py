"""Which images are labelled, unlabelled or validation, and whether they may be."""
