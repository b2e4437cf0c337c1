"""Trains: the main loop, the step of Sec. 3, and what keeps a training going."""
