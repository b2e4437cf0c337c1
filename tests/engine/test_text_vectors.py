"""Words to vectors: every variant of the paper's Table 9, one template or several, and words that read the same."""

import pytest
import torch
import torch.nn.functional as F

from semivl_cli.concepts.load import load_definition, parse_definition
from semivl_cli.engine.assemble import build_guide, open_clip_of
from semivl_cli.engine.precedence import configure
from semivl_cli.engine.text_vectors import embed_classes, embed_concepts, find_same
from semivl_cli.errors import InputError
from semivl_cli.reporter import Silence

KITCHEN = """
title = "Kitchen"
templates = {templates}
[[class]]
name = "cup"
color = "#ff0000"
guideline = "cup including mugs"
concepts = ["mug", "beaker"]
[[class]]
name = "pan"
color = "#00ff00"
[published]
"pan" = "fryingpan"
"beaker" = "goblet"
"""
ONE, TWO = '["a {}"]', '["a {}", "the {}"]'


def kitchen(templates=ONE):
    return parse_definition(KITCHEN.replace("{templates}", templates), "kitchen.toml")


class Tower:
    """Gives each prompt a vector of its own, of any length; `same` prompts share theirs."""

    def __init__(self, *same):
        self.same = same

    def embed(self, prompts):
        return torch.stack([self.vector(prompt) for prompt in prompts])

    def vector(self, prompt):
        seed = 0 if prompt in self.same else 1 + sum(ord(letter) * 31**i for i, letter in enumerate(prompt)) % 2**40
        return 3 * torch.randn(8, generator=torch.Generator().manual_seed(seed))


def unit(vector):
    return F.normalize(vector, dim=-1)


@pytest.mark.parametrize(
    ("text", "prompts"), [("name", ["a cup", "a pan"]), ("guideline", ["a cup including mugs", "a pan"])]
)
def test_a_class_is_its_name_or_its_guideline(text, prompts):
    tower = Tower()
    expected = unit(tower.embed(prompts))
    torch.testing.assert_close(embed_classes(tower, kitchen(), text), expected)


def test_the_mean_is_taken_before_normalising_as_published():
    tower = Tower()
    cup = unit((tower.vector("a mug") + tower.vector("a beaker")) / 2)
    found = embed_classes(tower, kitchen(), "mean")
    torch.testing.assert_close(found, torch.stack([cup, unit(tower.vector("a pan"))]))


def test_concepts_keep_their_class():
    tower = Tower()
    vectors, owners = embed_concepts(tower, kitchen())
    torch.testing.assert_close(vectors, unit(tower.embed(["a mug", "a beaker", "a pan"])))
    assert owners == (0, 0, 1)


def test_several_templates_are_averaged_at_unit_length():
    tower = Tower()
    mug, beaker = ((unit(tower.vector(f"a {t}")) + unit(tower.vector(f"the {t}"))) / 2 for t in ("mug", "beaker"))
    vectors, _ = embed_concepts(tower, kitchen(TWO))
    torch.testing.assert_close(vectors[:2], unit(torch.stack([mug, beaker])))
    torch.testing.assert_close(embed_classes(tower, kitchen(TWO), "mean")[0], unit((mug + beaker) / 2))


def test_published_spellings_reach_the_tower():
    tower = Tower()
    vectors, _ = embed_concepts(tower, kitchen().respelled())
    torch.testing.assert_close(vectors[1], unit(tower.vector("a goblet")))
    names = embed_classes(tower, kitchen().respelled(), "name")
    torch.testing.assert_close(names[1], unit(tower.vector("a fryingpan")))


def test_concepts_that_read_the_same_are_refused_by_name():
    with pytest.raises(InputError, match=r'"beaker" \(cup\) and "pan" \(pan\) have the same text vector'):
        embed_concepts(Tower("a beaker", "a pan"), kitchen())


def test_concepts_of_one_class_may_read_the_same():
    embed_concepts(Tower("a beaker", "a mug"), kitchen())


@pytest.mark.parametrize("text", ["name", "guideline", "mean"])
def test_classes_that_read_the_same_are_refused_by_name(text):
    same = ("a cup", "a cup including mugs", "a mug", "a beaker", "a pan")
    with pytest.raises(InputError, match='"cup" and "pan" have the same text vector'):
        embed_classes(Tower(*same), kitchen(), text)


def test_the_same_text_in_two_classes_is_the_matter_of_the_definition():
    twice = KITCHEN.replace("{templates}", ONE).replace(
        'color = "#00ff00"', 'color = "#00ff00"\nconcepts = ["pan", "Mug"]'
    )
    tower = Tower("a mug", "a Mug")  # CLIP's tokenizer lowers the case
    vectors, owners = embed_concepts(tower, parse_definition(twice, "kitchen.toml"))
    assert owners == (0, 0, 1, 1)
    torch.testing.assert_close(vectors[0], vectors[3])


@pytest.fixture(scope="module")
def random_clip():
    config = configure({"recipe": "tiny"})
    return config, open_clip_of(config, None, Silence())


@pytest.mark.parametrize("name", ["voc-gpt", "cityscapes"])
def test_random_towers_tell_all_words_apart(random_clip, name):
    _, clip = random_clip
    definition = load_definition(name, "published")
    assert len(embed_concepts(clip.text, definition)[0]) > len(definition.classes)
    for text in ("name", "guideline", "mean"):
        assert len(embed_classes(clip.text, definition, text)) == len(definition.classes)


@pytest.mark.parametrize(("text", "vectors"), [("max", 3), ("name", 2), ("guideline", 2), ("mean", 2)])
def test_guidance_takes_every_variant(random_clip, text, vectors):
    config, clip = random_clip
    config = config.model_copy(update={"guidance": config.guidance.model_copy(update={"text": text})})
    guide = build_guide(config, clip, kitchen())
    assert guide.text.shape == (vectors, clip.spec.embed_dim)
    assert guide.probabilities(torch.zeros(1, 3, 16, 16, dtype=torch.uint8)).shape == (1, 2, 16, 16)


def test_the_same_vector_counts_between_classes_alone():
    vectors = unit(torch.tensor([[1.0, 0], [1, 0], [1, 1e-7], [0, 1]]))
    assert find_same(vectors, [0, 0, 1, 2]) == [(0, 2), (1, 2)]
