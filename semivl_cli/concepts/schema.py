"""The class definition as typed values: what a definition file may hold, and what stands for what it leaves out."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

Color = tuple[int, int, int]
"""Red, green, blue, each 0..255."""

_HEX_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


def parse_color(value: object) -> Color:
    """Read a colour as it stands in a definition file: `"#rrggbb"`, or three whole numbers 0..255.

    Raises:
        ValueError: for anything else; pydantic and `validate` turn it into a finding.
    """
    if isinstance(value, str) and _HEX_COLOR.fullmatch(value):
        value = tuple(bytes.fromhex(value[1:]))
    if isinstance(value, list | tuple) and len(value) == 3:
        red, green, blue = value
        if all(type(part) is int and 0 <= part <= 255 for part in value):
            return red, green, blue
    raise ValueError('a colour is written "#rrggbb" or [red, green, blue] with whole numbers from 0 to 255')


class _Strict(BaseModel):
    """Nothing is converted, nothing unknown is accepted, nothing changes afterwards."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def keys_of(model: type[BaseModel]) -> list[str]:
    """Return the keys that a table of a definition file may have, sorted."""
    return sorted(field.alias or name for name, field in model.model_fields.items())


class ClassDefinition(_Strict):
    """One class: what it is called, drawn with and described by."""

    name: str
    color: Annotated[Color, BeforeValidator(parse_color)]
    guideline: str | None = None
    """The annotation guideline in its own words, as raw text (Table S4 of the paper)."""
    concepts: list[str]
    """Texts that each describe (part of) the class; the name alone where the file lists none."""
    excludes: list[str] = Field(default_factory=list)
    """Texts that look like the class but belong to another one, where they are concepts."""
    _word: str | None = PrivateAttr(default=None)

    @property
    def word(self) -> str:
        """The name as CLIP reads it, which the published run may have spelled in its own way."""
        return self._word or self.name

    @model_validator(mode="before")
    @classmethod
    def _name_is_the_default_concept(cls, data: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever the file holds
        if isinstance(data, dict) and "concepts" not in data:
            name = data.get("name")
            return {**data, "concepts": [name] if isinstance(name, str) else []}  # a missing name is found later
        return data


class Definition(_Strict):
    """A whole definition file; the order of the classes gives their ids 0..N-1."""

    title: str
    source: str | None = None
    """Where the words come from."""
    templates: list[str] = Field(default_factory=lambda: ["a photo of a {}"])
    """Sentences around a text; `{}` is where it goes."""
    classes: list[ClassDefinition] = Field(alias="class")
    published: dict[str, str] = Field(default_factory=dict)
    """Spellings of the published run, by the spelling of this file; see `respelled`."""

    @property
    def names(self) -> tuple[str, ...]:
        """Class names `[N]`, by class id."""
        return tuple(item.name for item in self.classes)

    @property
    def colors(self) -> tuple[Color, ...]:
        """Class colours `[N]`, by class id."""
        return tuple(item.color for item in self.classes)

    def respelled(self) -> Definition:
        """The definition in the spellings of the published run; what a class is called where it is shown stays.

        A key of `[published]` that is the name of a class respells that name; any other key respells a concept. So
        `"dining table" = "diningtable"` changes what the decoder reads and leaves the concept "dining table" alone, as
        the published run did.
        """
        spelling = {text: to for text, to in self.published.items() if text not in self.names}
        classes = []
        for item in self.classes:
            concepts = [spelling.get(text, text) for text in item.concepts]
            classes.append(item.model_copy(update={"concepts": concepts}))
            classes[-1]._word = self.published.get(item.name)
        return self.model_copy(update={"classes": classes})
