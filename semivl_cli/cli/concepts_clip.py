"""The commands of `semivl concepts` that load a CLIP: embed, preview, score."""

from __future__ import annotations

from .concepts import app
from .embed import embed
from .preview import preview
from .score import score

app.command()(embed)
app.command()(preview)
app.command()(score)

__all__ = ["app"]
