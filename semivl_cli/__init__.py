"""SemiVL: semantic segmentation from few labels, many images and the words of a guideline.

Letters of shapes, the same everywhere: `B` batch, `N` classes, `K` concepts, `D` embedding width, `E` token width,
`F` decoder width, `H W` pixels, `h w` patches.
"""

# Nothing is imported here, not even `__future__`: `python -m` would take it from the working directory, see `__main__`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from semivl_cli.engine.infer.predictor import Predictor as Predictor
    from semivl_cli.engine.infer.predictor import load as load

__version__ = "0.1.0"


def __getattr__(name: str) -> "Any":  # noqa: ANN401 - PEP 562
    """Resolve `load` when it is asked for, so that importing the package stays instant."""
    if name in ("load", "Predictor"):
        from semivl_cli.engine.infer import predictor  # noqa: PLC0415

        return getattr(predictor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
