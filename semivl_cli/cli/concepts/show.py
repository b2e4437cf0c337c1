"""`semivl concepts show`: a definition as a tree for people, as values for machines."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from semivl_cli.cli.console import print_json
from semivl_cli.cli.options import DefinitionArgument, Json
from semivl_cli.concepts.load import load_definition
from semivl_cli.concepts.prompts import Variant, prompts, texts
from semivl_cli.concepts.schema import Definition


def show(file: DefinitionArgument, as_json: Json = False) -> None:
    """Show the classes of a definition: colours, concepts, what they exclude, prompts.

    Example: semivl concepts show voc
    """
    definition = load_definition(file)
    if as_json:
        print_json(_with_prompts(definition))
    else:
        Console().print(_tree(definition))


def _with_prompts(definition: Definition) -> dict[str, object]:
    """Return the definition as its file has it, with each class's id and prompts by variant."""
    shown = definition.model_dump(mode="json", by_alias=True)
    for class_id, item in enumerate(shown["class"]):
        item["id"] = class_id
        item["color"] = f"#{bytes(item['color']).hex()}"
        item["prompts"] = {kind: _prompts_of(definition, class_id, kind) for kind in ("name", "guideline", "concepts")}
    return shown


def _prompts_of(definition: Definition, class_id: int, variant: Variant) -> list[str]:
    found = texts(definition, variant)
    mine = (text for text, owner in zip(found.texts, found.class_of_text, strict=True) if owner == class_id)
    return [prompt for text in mine for prompt in prompts(text, definition.templates)]


def _tree(definition: Definition) -> Tree:
    """Draw the definition: classes with their colours, concepts, guidelines and prompts."""
    root = Tree(Text(f"{definition.title} ({len(definition.classes)} classes)", style="bold"))
    for class_id, item in enumerate(definition.classes):
        swatch = Text("██ ", style=f"#{bytes(item.color).hex()}")
        branch = root.add(swatch + Text(f"{class_id} {item.name}", style="bold"))
        branch.add(Text(f"concepts: {', '.join(item.concepts)}"))
        if item.excludes:
            branch.add(Text(f"excludes: {', '.join(item.excludes)}"))
        if item.guideline:
            branch.add(Text(f"guideline: {item.guideline}"))
        branch.add(Text(f"prompts: {' | '.join(_prompts_of(definition, class_id, 'concepts'))}", style="dim"))
    return root
