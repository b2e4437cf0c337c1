"""Which settings rule a CLIP without a run: dataset, definition and weights as they are named."""

import pytest

from semivl_cli.concepts.load import shipped
from semivl_cli.config import RunConfig
from semivl_cli.data.registry import available, open_dataset, package_file
from semivl_cli.engine.zero_shot.recipe import dataset_of, with_weights, zero_shot_config
from semivl_cli.errors import InputError
from semivl_cli.settings_toml import resolve


def named(given, clip):
    """What the settings name when a user gives a CLIP, and a recipe names another."""
    model = with_weights(resolve({"model": {"clip": clip}}), given).model
    return model.clip, model.weights


def test_a_definition_suggests_the_dataset_that_it_belongs_to():
    for name, reason in available().items():
        own = open_dataset(name).definition if reason is None else ""
        if own in shipped():
            assert open_dataset(dataset_of(own)).definition == own
    assert dataset_of("voc") == "voc"
    assert dataset_of("voc-gpt") is None
    assert dataset_of("elsewhere/voc.toml") is None


def test_settings_come_from_the_dataset_given_else_suggested_else_defaults():
    def weights(**given):
        return zero_shot_config(**given).model.weights

    assert weights(dataset="shapes") == weights(definition="shapes") == "plugin:clip.safetensors"
    assert weights(definition="voc", dataset="shapes") == "plugin:clip.safetensors"
    assert weights(definition="mine.toml") == RunConfig().model.weights
    with pytest.raises(InputError, match="--definition"):
        weights()


def test_weights_are_a_model_with_or_without_tag_or_a_file(tmp_path):
    own = package_file(open_dataset("shapes"), "clip.safetensors")
    assert named("ViT-B-32", "ViT-B-16") == ("ViT-B-32", "openai")
    assert named("ViT-B-32:laion2b_e16", "ViT-B-16") == ("ViT-B-32", "laion2b_e16")
    assert named(f"ViT-B-32:{own}", "ViT-B-16") == ("ViT-B-32", str(own))
    assert named(str(own), "ViT-B-16") == ("from-weights", str(own))
    assert named("some.pt", "ViT-L-14") == ("ViT-L-14", "some.pt")
    assert named("some.pt", "from-weights") == ("ViT-B-16", "some.pt")
    colon = tmp_path / "run:2.pt"
    colon.touch()
    assert named(str(colon), "ViT-L-14") == ("ViT-L-14", str(colon))
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"\xff" * 99)
    with pytest.raises(InputError, match=r"damaged\.safetensors"):
        named(str(damaged), "ViT-B-16")
