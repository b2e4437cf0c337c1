"""Finds where CLIP's tokenizer cuts a prompt, from its vocabulary file alone: a check of words loads no model."""

from __future__ import annotations

import gzip
import html
import importlib.util
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

CONTEXT_LENGTH = 77
"""Tokens that CLIP reads of one prompt, with the mark before and the mark behind it."""

_MARKS = 2
_MERGES = slice(1, 49152 - 256 - 2 + 1)  # line 0 is a version; behind these lie merges that CLIP does not use
_END_OF_WORD = "</w>"
_SPECIAL = ("<start_of_text>", "<end_of_text>")


class Cut(NamedTuple):
    """A prompt that is too long: how many tokens it has with both marks, and what CLIP reads of it."""

    tokens: int
    kept: str


def find_cut(text: str) -> Cut | None:
    """Return where CLIP stops reading `text`, or `None` if it reads all of it.

    A token stands for at least one byte, so most prompts are known to fit before the vocabulary is opened.
    """
    if text.isascii() and "&" not in text and len(text) + _MARKS <= CONTEXT_LENGTH:
        return None  # cleaning only shortens plain ASCII; an ampersand may begin a character of several bytes
    text = _clean(text)
    if len(text.encode()) + _MARKS <= CONTEXT_LENGTH:
        return None
    pieces = _pieces(text)
    if len(pieces) + _MARKS <= CONTEXT_LENGTH:
        return None
    to_byte = {character: byte for byte, character in _byte_characters().items()}
    kept_pieces = "".join(pieces[: CONTEXT_LENGTH - _MARKS]).replace(_END_OF_WORD, "")
    kept_signs = len(bytes(to_byte[character] for character in kept_pieces).decode(errors="ignore"))
    ends = [index + 1 for index, character in enumerate(text) if character != " "]  # pieces hold no spaces
    return Cut(len(pieces) + _MARKS, text[: ends[kept_signs - 1]])


def _clean(text: str) -> str:
    """Repair, unescape, squeeze and lower the text, in the tokenizer's order."""
    import ftfy  # noqa: PLC0415 - takes longer to import than short ASCII prompts take to check

    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


def _pieces(text: str) -> list[str]:
    """Split cleaned text into its byte-pair pieces, written in the vocabulary's stand-in characters."""
    import regex  # type: ignore[import-untyped]  # noqa: PLC0415 - see ftfy

    words = regex.findall(
        "|".join(_SPECIAL) + r"|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", text, regex.IGNORECASE
    )
    characters = _byte_characters()
    pieces: list[str] = []
    for word in words:
        pieces += [word] if word in _SPECIAL else _merge("".join(characters[byte] for byte in word.encode()))
    return pieces


def _merge(word: str) -> list[str]:
    """Join the neighbours that the vocabulary ranks first, everywhere in the word, until no pair is in it."""
    ranks = _merge_ranks()
    pieces = [*word[:-1], word[-1] + _END_OF_WORD]
    while len(pieces) > 1:
        best = min(pairwise(pieces), key=lambda pair: ranks.get(" ".join(pair), len(ranks)))
        if " ".join(best) not in ranks:
            break
        joined: list[str] = []
        for piece in pieces:
            if joined and (joined[-1], piece) == best:
                joined[-1] += piece
            else:
                joined.append(piece)
        pieces = joined
    return pieces


@lru_cache
def _merge_ranks() -> dict[str, int]:
    """Read `first second` -> rank from the file that open_clip brings; finding a package does not import it."""
    package = importlib.util.find_spec("open_clip")
    assert package and package.origin, "open_clip_torch is a dependency of semivl"
    content = gzip.decompress(Path(package.origin).with_name("bpe_simple_vocab_16e6.txt.gz").read_bytes())
    return {merge: rank for rank, merge in enumerate(content.decode().split("\n")[_MERGES])}


@lru_cache
def _byte_characters() -> dict[int, str]:
    """Map each byte to the visible character that stands for it: itself where it has one, the next from 256 on else."""
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = (byte for byte in range(256) if byte not in visible)
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}
