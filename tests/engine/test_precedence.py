import pytest

from semivl_cli.concepts.load import load_definition
from semivl_cli.data.registry import available, open_dataset
from semivl_cli.engine.precedence import configure, shipped_recipes
from semivl_cli.engine.train.schedule import schedule_of
from semivl_cli.errors import InputError


def test_voc_is_the_published_run():
    config = configure({"dataset": "voc", "data": {"labels": "92"}})
    assert config.fidelity == "published"
    assert (config.data.crop, config.data.base_scale, config.data.scale_range) == (512, [2048, 512], [0.5, 2.0])
    assert (config.model.clip, config.model.weights) == ("ViT-B-16", "openai")
    assert (config.model.skips, config.model.skip_path) == ([0, 4], "value")
    assert (config.model.activation, config.model.norm_eps, config.model.statistics) == ("gelu", 1e-6, "imagenet")
    optimizer = config.optimizer
    assert (optimizer.lr, optimizer.encoder_multiplier, optimizer.decoder_multiplier) == (1e-4, 0.01, 10.0)
    assert (optimizer.weight_decay, optimizer.power) == (0.01, 0.9)
    assert (config.training.epochs, config.training.batch, config.training.evaluate_every) == (80, 8, 1.0)
    assert (config.loss.group, config.consistency.mode, config.consistency.tau) == (2, "pixelwise", 0.95)
    assert (config.consistency.reduction, config.consistency.feature_dropout) == ("mean_valid", 0.5)
    guidance = config.guidance
    assert (guidance.lambda_DC, guidance.zeta, guidance.reduction) == ([0.1, 0.0], 0.9, "mean_all")
    assert (guidance.text, guidance.temperature, guidance.position_size) == ("max", 100.0, 512)
    assert (guidance.inside_half, guidance.aggregate) == (False, "similarity")
    assert config.decoder.text == "name"
    assert (config.decoder.width, config.decoder.up_widths, config.decoder.skip_widths) == (128, [64, 32], [32, 16])
    evaluation = config.evaluation
    assert (evaluation.mode, evaluation.stride, evaluation.short_side) == ("averaged_logits", 426, 512)
    assert config.augment.partner == "same_image"
    assert config.training.precision == "fp32"
    # 10,582 training images, 92 of them labelled, 4 processes of 2 images.
    schedule = schedule_of(config, 10490)
    assert (schedule.epoch, schedule.steps) == (1311, 80 * 1311)


LOGITS, SUMS = "averaged_logits", "summed_probabilities"
PUBLISHED = {  # the table "settings per data set" of the published experiments
    "coco": (81, 512, None, 4e-4, 0.001, 10, 1, "pixelwise", "name", "name", "imagenet", LOGITS, 426, None),
    "ade20k": (150, 512, [2048, 512], 4e-4, 0.001, 40, 1, "pixelwise", "name", "name", "imagenet", LOGITS, 426, 512),
    "voc": (21, 512, [2048, 512], 1e-4, 0.01, 80, 2, "pixelwise", "name", "max", "imagenet", LOGITS, 426, 512),
    "cityscapes": (19, 801, None, 5e-5, 0.1, 240, 1, "pixelavg", "mean", "max", "checkpoint", SUMS, 534, None),
}


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_the_benchmarks_have_the_published_settings(dataset):
    config = configure({"dataset": dataset})
    classes = len(load_definition(open_dataset(dataset).definition).classes)
    assert (
        classes,
        config.data.crop,
        config.data.base_scale,
        config.optimizer.lr,
        config.optimizer.encoder_multiplier,
        config.training.epochs,
        config.loss.group,
        config.consistency.mode,
        config.decoder.text,
        config.guidance.text,
        config.model.statistics,
        config.evaluation.mode,
        config.evaluation.stride,
        config.evaluation.short_side,
    ) == PUBLISHED[dataset]
    assert config.optimizer.decoder_multiplier == 10
    assert (config.training.batch, config.consistency.tau) == (8, 0.95)
    guidance = config.guidance
    assert (guidance.lambda_DC, guidance.zeta, guidance.reduction) == ([0.1, 0.0], 0.9, "mean_all")


def test_cityscapes_has_the_detail_encoder_in_place_of_the_earlier_skip():
    config = configure({"dataset": "cityscapes"})
    assert (config.model.detail, config.model.skips, config.decoder.skip_widths) == ("resnet", [4], [32, 32])
    assert (config.optimizer.detail_multiplier, config.training.steps, config.training.evaluate_every) == (
        0.1,
        83760,
        10,
    )
    assert configure({"dataset": "cityscapes", "fidelity": "paper"}).consistency.mode == "pixelwise"


def test_every_registered_dataset_and_every_recipe_gives_valid_settings():
    assert {"voc", "coco", "ade20k", "cityscapes", "folder", "shapes"} <= available().keys()
    for dataset, broken in available().items():
        assert broken is None, dataset
        for recipe in ["none", *shipped_recipes()]:
            config = configure({"dataset": dataset, "recipe": recipe})
            assert config.recipe == (None if recipe == "none" else recipe)
            assert config.dataset == dataset


def test_stronger_layers_win():
    assert configure({"dataset": "voc"}).training.batch == 8
    assert configure({"dataset": "voc", "recipe": "tiny"}).training.batch == 4
    assert configure({"dataset": "voc", "recipe": "tiny"}, ["training.batch=2"]).training.batch == 2


def test_a_length_in_epochs_that_was_given_rules_over_the_steps_of_a_recipe():
    training = configure({"dataset": "shapes"}, ["training.epochs=3", "training.evaluate_every=2"]).training
    assert (training.epochs, training.steps, training.evaluate_steps) == (3, None, None)
    both = configure({"dataset": "shapes"}, ["training.epochs=3", "training.steps=9"]).training
    assert both.steps == 9
    assert configure({"dataset": "shapes"}, ["training.epochs=none"]).training.steps == 800


def test_a_root_without_a_dataset_is_a_folder(tmp_path):
    said = []
    assert configure({"data": {"root": "my"}}, (), said.append).dataset == "folder"
    assert said == ["dataset folder: my was named without --dataset"]
    assert configure({}, ["data.root=my"]).dataset == "folder"
    assert configure({"data": {"root": "my"}, "dataset": "voc"}).dataset == "voc"
    assert configure({}).dataset == configure({"data": {"root": "none"}}).dataset == "shapes"
    (tmp_path / "my.toml").write_text('dataset = "cityscapes"\n')
    assert configure({"data": {"root": "my"}, "recipe": str(tmp_path / "my.toml")}).dataset == "cityscapes"


def test_fidelity_is_a_preset_of_ordinary_settings():
    paper = configure({"dataset": "voc", "fidelity": "paper"})
    assert paper.optimizer.decoder_multiplier == 1.0
    assert paper.loss.group == 0
    assert configure({"dataset": "voc"}, ["fidelity=paper"]) == paper
    single = configure({"dataset": "voc"}, ["optimizer.decoder_multiplier=1.0"])
    assert single.fidelity == "published"
    assert single.optimizer.decoder_multiplier == 1.0


def test_supervised_reads_no_unlabelled_image():
    config = configure({"method": "supervised"})
    assert not config.uses_unlabeled
    assert not config.uses_guidance
    assert configure({}).uses_unlabeled


def test_unimatch_is_consistency_without_words():
    config = configure({"method": "unimatch"})
    assert config.uses_unlabeled
    assert not config.uses_guidance
    assert (config.decoder.kind, config.finetune.encoder, config.model.initial) == ("convolutional", "full", "clip")
    assert configure({"method": "unimatch"}, ["model.initial=random"]).model.initial == "random"


@pytest.mark.parametrize("encoder", ["spatial", "frozen"])
def test_a_random_encoder_must_learn_as_a_whole(encoder):
    with pytest.raises(InputError) as error:
        configure({}, ["model.initial=random", f"finetune.encoder={encoder}"])
    assert f'finetune.encoder = "{encoder}"' in str(error.value)
    assert 'set finetune.encoder = "full"' in str(error.value)
    assert "\n" not in str(error.value)


def test_a_recipe_file_may_set_anything(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('fidelity = "published"\n[training]\nsteps = 11\n[published]\nloss.group = 1\n')
    config = configure({"recipe": str(file)})
    assert (config.fidelity, config.training.steps, config.loss.group) == ("published", 11, 1)


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        ({"dataset": "vok"}, "voc"),
        ({"method": "magic"}, "semivl or supervised"),
        ({"fidelity": "true"}, "paper or published"),
        ({"recipe": "teeny"}, "tiny"),
        ({"recipe": "absent.toml"}, "absent.toml"),
    ],
)
def test_an_unknown_name_says_which_exist(flags, hint):
    with pytest.raises(InputError) as error:
        configure(flags)
    assert hint in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("assignment", "known"),
    [("decoder.kind=x", "'language' or 'convolutional'"), ("finetune.encoder=x", "'spatial', 'full' or 'frozen'")],
)
def test_a_kind_that_there_is_not_is_answered_with_the_known_ones(assignment, known):
    with pytest.raises(InputError, match=f"{assignment.split('=')[0]} = 'x': expected {known}"):
        configure({}, [assignment])


def test_a_kind_that_there_is_not_is_told_with_the_other_mistakes():
    with pytest.raises(
        InputError, match=r"training\.steps = 'x': .*; decoder\.kind = 'x': .*; finetune\.encoder = 3: "
    ):
        configure({}, ["decoder.kind=x", "training.steps=x", "finetune.encoder=3"])
