"""Several processes that train one model: torch.distributed in its own words."""
