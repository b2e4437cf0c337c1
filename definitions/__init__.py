"""Shipped class-definition files (TOML); only `semivl_cli.concepts.load` opens them."""
