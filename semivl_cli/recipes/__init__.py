"""General recipes (TOML); a dataset keeps its own recipe beside its plugin."""
