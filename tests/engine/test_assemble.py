"""From settings to a model: what the encoder starts from, which decoder it gets, which shapes are refused."""

import pytest
import torch

from semivl_cli.data.registry import open_dataset
from semivl_cli.engine.assemble import open_material, with_value_range
from semivl_cli.engine.precedence import configure
from semivl_cli.engine.train.trainee import build_trainee
from semivl_cli.errors import InputError
from semivl_cli.model.decoders.convolutional import ConvolutionalDecoder
from semivl_cli.reporter import Silence
from semivl_cli.settings_toml import parse_toml, resolve, to_toml


@pytest.fixture(scope="module")
def build():
    """Build the trainee of `shapes` for given settings; the scenes are listed once."""
    material = open_material(configure({}))

    def build(*assignments):
        return build_trainee(configure({}, assignments), material, torch.device("cpu"), Silence())

    return build


RANDOM = ("model.initial=random", "finetune.encoder=full")


def test_a_random_encoder_is_not_clip_follows_the_seed_and_trains(build):
    first, again, other = build(*RANDOM), build(*RANDOM), build(*RANDOM, "seed=1")
    clip = build()
    assert clip.guide is not None
    for name, weight in first.model.encoder.state_dict().items():
        assert torch.equal(weight, again.model.encoder.state_dict()[name])
        if "norm" not in name and not name.endswith("bias"):  # those start at ones and zeros
            assert not torch.equal(weight, other.model.encoder.state_dict()[name]), name
            assert not torch.equal(weight, clip.model.encoder.state_dict()[name]), name
    assert all(parameter.requires_grad for parameter in first.model.encoder.parameters())


def test_words_guidance_and_decoder_do_not_depend_on_what_the_encoder_starts_from(build):
    random, clip = build(*RANDOM), build()
    assert torch.equal(random.model.text, clip.model.text)
    for a, b in ((random.model.decoder, clip.model.decoder), (random.guide, clip.guide)):
        same = [torch.equal(a.state_dict()[name], tensor) for name, tensor in b.state_dict().items()]
        assert same
        assert all(same)


def test_the_decoder_is_the_one_that_the_settings_name(build):
    convolutional = build("decoder.kind=convolutional").model
    language = build().model
    assert isinstance(convolutional.decoder, ConvolutionalDecoder)
    assert not isinstance(language.decoder, ConvolutionalDecoder)
    image = torch.zeros(1, 3, 40, 48, dtype=torch.uint8)
    assert convolutional(image).shape == language(image).shape == (1, 6, 40, 48)


def test_pooling_and_heads_bind_the_language_guided_decoder_alone(build):
    for assignment, hint in (("decoder.pool=13", "data.crop"), ("decoder.heads=7", "multiple of decoder.heads")):
        with pytest.raises(InputError, match=hint):
            build(assignment)
        build(assignment, "decoder.kind=convolutional")
    with pytest.raises(InputError, match="norm groups"):
        build("decoder.up_widths=[23, 16]", "decoder.kind=convolutional")
    with pytest.raises(InputError, match=r"decoder\.skip_widths"):
        build("decoder.skip_widths=[32, 8]", "decoder.kind=convolutional")


def test_a_run_finds_its_file_of_labels_from_another_folder(tmp_path, monkeypatch):
    train = open_material(configure({})).index.labeled
    chosen = [train[2].id, train[0].id]
    (tmp_path / "ids.txt").write_text("\n".join(chosen))
    monkeypatch.chdir(tmp_path)
    kept = to_toml(configure({"data": {"labels": "ids.txt"}}))
    monkeypatch.chdir("/")
    again = resolve(parse_toml(kept, "run.toml"))
    assert {record.id for record in open_material(again).index.labeled} == set(chosen)


def test_a_run_keeps_the_range_of_brightness_that_its_dataset_tells():
    plain, folder = configure({}), open_dataset("folder")
    assert with_value_range(plain, folder) is plain
    folder.value_range = (0.0, 4095.0)
    kept = with_value_range(plain, folder)
    assert kept.data.value_range == [0, 4095]
    assert with_value_range(kept, folder, fixed=True) is kept
    assert resolve(parse_toml(to_toml(kept), "run.toml")).data.value_range == [0, 4095]
    with pytest.raises(InputError, match=r"folder.* says value_range = \[0.0, 4095.0\], and data.value_range is none"):
        with_value_range(plain, folder, fixed=True)
    with pytest.raises(InputError, match=r"data.value_range is \[0.0, 1.0\]"):
        with_value_range(configure({}, ("data.value_range=[0,1]",)), folder)
    for wrong in ("[1]", "[2,1]", "[0,0]", "[0,inf]", "5"):
        with pytest.raises(InputError, match=r"data\.value_range"):
            configure({}, (f"data.value_range={wrong}",))
