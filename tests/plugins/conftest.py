"""What made the demo is in no wheel: where the package is installed as one, tests take it from the checkout."""

from pathlib import Path

import semivl_plugins.shapes

CHECKOUT = str(Path(__file__).parents[2] / "plugins" / "shapes")
if CHECKOUT not in semivl_plugins.shapes.__path__:
    semivl_plugins.shapes.__path__.append(CHECKOUT)
