"""Decoders without language, against which the paper measures its own."""
