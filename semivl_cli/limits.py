"""How much is taken of what is read, asked before memory is: limits that stand in variables of the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass

from semivl_cli.errors import InputError


@dataclass(frozen=True, slots=True)
class Limit:
    """A largest amount, which its variable raises or lowers; loader workers and other processes inherit it."""

    variable: str
    default: int
    unit: str

    @property
    def most(self) -> int:
        """The limit that holds; raises `InputError` where the variable is no whole number above 0."""
        text = os.environ.get(self.variable, "").strip() or str(self.default)
        if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text)):
            raise InputError(f"${self.variable} = {text[:40]!r}: expected a whole number of {self.unit}, such as 500")
        return int(text)

    def check(self, amount: float, what: str) -> None:
        """Refuse more than the limit; `what` begins the message, such as `big.png: 50000 x 50000 pixels`.

        Raises:
            InputError: names the limit and the variable that raises it.
        """
        if amount > self.most:
            raise InputError(
                f"{what}: more than {self.most} {self.unit}: refused; if it is meant, set {self.variable} higher"
            )


MEGAPIXELS = Limit("SEMIVL_MAX_MEGAPIXELS", 500, "megapixels")
"""Of an image, a mask, or the size that an annotation file or a run-length code claims."""
DOCUMENT = Limit("SEMIVL_MAX_DOCUMENT_MIB", 2048, "MiB")
"""Of a text that is read whole: JSON, YAML, TOML, a list; unpacked where it lies in an archive."""
UNPACKED = Limit("SEMIVL_MAX_UNPACKED_GIB", 1024, "GiB")
"""Of all that an archive holds, however large the archive itself is."""
PARAMETERS = Limit("SEMIVL_MAX_PARAMETERS_MILLION", 5000, "million parameters")
"""Of a model that settings describe, and no file holds."""


def check_variables() -> None:
    """Refuse a variable that is no number before anything is read: else each file seems to be to blame."""
    for limit in (MEGAPIXELS, DOCUMENT, UNPACKED, PARAMETERS):
        limit.check(0, limit.variable)


def check_pixels(height: int, width: int, what: str) -> None:
    """Refuse a size of more pixels than `MEGAPIXELS`; `what` names the file."""
    megapixels = -(-height * width // 10**6)  # in whole numbers: what a file claims may be more than a float holds
    MEGAPIXELS.check(megapixels, f"{what}: {width} x {height} pixels (width x height)")
