"""Shipped dataset plugins, reached through the entry-point group `semivl.datasets` alone."""
