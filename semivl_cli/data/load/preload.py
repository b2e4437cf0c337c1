"""Imported by nothing but the server process from which workers are forked: loads what they need, and lets it live.

A SIGTERM to the whole group of processes (as schedulers send it) is for the parent, which saves its state; the server
ends with its parent.
"""

import signal

import semivl_cli.data.load.batches  # noqa: F401  (torch is imported once here, not once a worker)

signal.signal(signal.SIGTERM, signal.SIG_IGN)
