"""`semivl concepts show`: a definition as a tree for people, as values for machines."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from semivl_cli.cli.console import can_show, print_json
from semivl_cli.cli.options import DefinitionArgument, Json
from semivl_cli.concepts.load import load_definition
from semivl_cli.concepts.prompts import with_prompts


def show(file: DefinitionArgument, as_json: Json = False) -> None:
    """Show the classes of a definition: colours, concepts, what they exclude, prompts.

    Example: semivl concepts show voc
    """
    shown = with_prompts(load_definition(file))
    if as_json:
        print_json(shown)
        return
    swatch = "██ " if can_show("█") else "## "
    root = Tree(Text(f"{shown['title']} ({len(shown['class'])} classes)", style="bold"))
    for item in shown["class"]:
        branch = root.add(Text(swatch, style=item["color"]) + Text(f"{item['id']} {item['name']}", style="bold"))
        branch.add(Text(f"concepts: {', '.join(item['concepts'])}"))
        if item["excludes"]:
            branch.add(Text(f"excludes: {', '.join(item['excludes'])}"))
        if item["guideline"]:
            branch.add(Text(f"guideline: {item['guideline']}"))
        branch.add(Text(f"prompts: {' | '.join(item['prompts']['concepts'])}", style="dim"))
    Console().print(root)
