"""Token counts, held against open_clip's own tokenizer."""

import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from semivl_cli.concepts.tokens import CONTEXT_LENGTH, _clean, _pieces, find_cut

WORDS = st.sampled_from(
    [
        *(
            "a",
            "chair's",
            "we're",
            "I'LL",
            "o'clock",
            "3.14",
            "1979",
            "tv/monitor",
            "wolves",
            "10%",
            "x_y",
            "...",
            "--",
        ),
        *("straße", "naïve", "İstanbul", "日本語", "🐎", "“quoted”", "Ã©", "\ufb01ne", "\u023a", "\u0958", "'\u017f"),
        *("&amp;", "&lt;b&gt;", "&amp;amp;", "&nGt;", "<start_of_text>", "<end_of_text>", "\t", "\u00a0", "\u200b"),
        *("antidisestablishmentarianism", "CamelCase", "#!?", "\x1b[31m", "\x00"),
    ]
)


@pytest.fixture(scope="module")
def encode():
    open_clip = pytest.importorskip("open_clip")
    return open_clip.SimpleTokenizer().encode


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=40).map(" ".join)))
@example("")
@example("a photo of a individual standing wall, which is not part of a building")
def test_counts_are_those_of_open_clip(encode, text):
    assert len(_pieces(_clean(text))) == len(encode(text))


@settings(deadline=None, max_examples=200)
@given(st.lists(WORDS, min_size=5, max_size=90).map(" ".join))
@example("a " * 75)
@example("a " * 76)
@example("\u0958" * 25)  # 75 bytes that normalise to 150
@example("x" * 75)
def test_a_prompt_is_cut_where_open_clip_cuts_it(encode, text):
    cut = find_cut(text)
    tokens = len(encode(text)) + 2
    assert (cut is not None) == (tokens > CONTEXT_LENGTH)
    if cut is not None:
        assert cut.tokens == tokens
        assert len(encode(cut.kept)) <= CONTEXT_LENGTH


def test_what_is_kept_is_the_beginning():
    cut = find_cut(" ".join(["chair"] * 75 + ["sofa"] * 20))
    assert cut is not None
    assert cut.tokens == 97
    assert cut.kept == " ".join(["chair"] * 75)


def test_counting_imports_neither_open_clip_nor_torch():
    code = "import sys; from semivl_cli.concepts.tokens import find_cut; find_cut('wolves ' * 80); "
    code += "assert not {'torch', 'open_clip'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
