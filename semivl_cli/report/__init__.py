"""The room that turns a run directory in, an HTML page and pictures out."""
