"""The product against numbers recorded from the published implementation: `pytest tests/parity --parity-dir DIR`.

Everything that computes is the product's. A name that the grammar of such directories does not know is a failure.
"""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from semivl_cli.class_ids import IGNORE
from semivl_cli.config import RunConfig
from semivl_cli.data.read.views import scale_size, validation_size
from semivl_cli.engine.infer.metrics import confusion, intersection_union, mean_iou
from semivl_cli.engine.infer.windows import Inference, class_scores, classes_at, scores_at
from semivl_cli.engine.train import accumulate
from semivl_cli.engine.train import step as product_step
from semivl_cli.engine.train.guidance_labels import guidance_labels, make_targets
from semivl_cli.engine.train.inputs import Labeled, Unlabeled, Views, cutmix
from semivl_cli.engine.train.schedule import Schedule
from semivl_cli.model.features import perturb
from semivl_cli.model.published_parameters import our_name, our_state
from semivl_cli.model.semivl import SemiVL

from .case import Case, published, read_manifest


def _words(text: str) -> set[str]:
    return set(text.split())


CONFIG = _words(
    """
    img_size num_classes embed_dims num_layers num_heads patch_size out_indices text_dim channels text_channels
    up_channels skip_channels dec_layers dec_heads pool_size clip_img_size conv_encoder conv_base renorm_clip_img
    concepts_of_class clip_guidance
    """
)
PARTS = _words("weights forward sizes train train_b2 eval")
STEP_KEYS = _words("settings iters total_iters variants optimizer_groups frozen losses losses_float64 info note")
SETTINGS = _words(
    """
    conf_mode conf_thresh mcc_conf_thresh mcc_loss_reduce maskclip_consistency_lambda lr backbone_lr_mult
    conv_enc_lr_mult
    """
)
_IMAGES = r"""
    img(_\d+x\d+)?_u8 | (mcc_)?text | fp_mask[0-2] | enc\.(feat\d+|dense|global) | conv\.feat0
    | dec\.(sim|conv1|aspp|text|sem\d+|skip[01]|up[12]|head) | logits(_\d+x\d+|_fp)?
    | guide\.(dense|class|(certainty|label)(_\d+x\d+)?)
"""
_STEP = r"""
    img_(x|(w|s1|s2)(_other)?)_u8 | mask_x | ignore_mask(_other)? | mix[12] | fp_mask[0-2]
    | pred_(x|w|s1|w_fp) | conf_w | (mask_w|mclip)(_mixed[12])? | (grad|after)/.+
"""
_WINDOWS = r"img_u8 | eval\.(averaged_logits|summed_probabilities)\.(mask|label|scores)"
GRAMMAR = {"forward": _IMAGES, "sizes": _IMAGES, "train": _STEP, "train_b2": _STEP, "eval": _WINDOWS}
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
BASE_SCALE = (2048, 512)
TERMS = ("fp", "s1", "s2")
VIEWS = ("", "_mixed1", "_mixed2")
"""What a recorded name adds for the feature-perturbed weak view and the two strong ones, in the product's order."""


def test_directory_follows_the_grammar(directory, compare):
    manifest = read_manifest(directory)
    known = {"format", "cases", "resize", "lr_factor_of_step", "info", "note"}
    compare.names("manifest.json", set(manifest) | known, known)
    compare.same("format", manifest["format"], "safetensors")
    listed = {file for case in manifest["cases"].values() for file in case["files"]}
    compare.names("files", {path.name for path in directory.glob("*.safetensors")}, listed)


def test_case_follows_the_grammar(case, compare):
    known = {"config", "files", "guidance", "note", "info"} | (PARTS - {"weights", "forward", "sizes"})
    compare.names("keys of the case", set(case.manifest) | known, known)
    compare.names("config", case.config, CONFIG)
    compare.names("parts", set(case.parts) | PARTS, PARTS)
    for part in PARTS & set(case.manifest):
        compare.names("described parts", {part}, {part} & set(case.parts))
    for part in ("train", "train_b2", "eval"):
        compare.names(f"keys of {part}", {part} & set(case.parts), {part} & set(case.manifest))
    for part in case.parts:
        entries = case.files[case.file(part)]
        compare.names(part, case.tensors(part), entries)
        for name, tensor in case.tensors(part).items():
            if (
                our_name(name) is None
                if part == "weights"
                else not re.fullmatch(GRAMMAR.get(part, ""), name, re.VERBOSE)
            ):
                compare.fail(f"{part}: {name}", "the grammar does not know it")
            entry = entries.get(name, {})
            compare.same(f"{part}: shape of {name}", list(tensor.shape), entry.get("shape"))
            compare.same(f"{part}: dtype of {name}", str(tensor.dtype).removeprefix("torch."), entry.get("dtype"))
            if entry.get("role") not in ("input", "output"):
                compare.fail(f"{part}: {name}", f"unknown role {entry.get('role')!r}")


def test_weights_are_the_models(case, compare):
    model, guide = case.model(), case.guide()
    ours = {name: tensor for name, tensor in model.state_dict().items() if name != "text"}
    if guide is not None:
        ours |= {f"guidance.encoder.{name}": tensor for name, tensor in guide.encoder.state_dict().items()}
        compare.names("trainable guidance", [n for n, p in guide.named_parameters() if p.requires_grad], [])
    compare.names("weights", ours, case.weights)
    for name, tensor in case.weights.items():
        compare.exact(name, ours.get(name), tensor)
    config = case.config
    compare.same("embed_dims", model.encoder.spec.width, config["embed_dims"])
    compare.same("patch_size", model.encoder.spec.patch_size, config["patch_size"])
    compare.same("text_dim", model.encoder.spec.embed_dim, config["text_dim"])
    compare.same("num_classes", len(model.text), config["num_classes"])
    compare.same("conv_base", case.spec().detail_base, config["conv_base"])


def test_forward(images, compare):
    case, part = images
    inputs = case.tensors(part)
    results: dict[str, dict[str, Tensor]] = {}
    for name, recorded in case.outputs(part).items():
        sized = re.fullmatch(r"(logits|guide\.certainty|guide\.label)_(\d+x\d+)", name)
        stage, size = sized.groups() if sized else (name, "")
        image = inputs.get(f"img_{size}_u8" if size else "img_u8")
        if image is None:
            compare.fail(name, "no image is recorded for it")
            continue
        if size not in results:
            masks = [inputs[f"fp_mask{i}"] for i in range(3)] if not size and "fp_mask0" in inputs else None
            results[size] = stages(case, image, masks)
        ours = results[size].get(stage)
        if stage in ("guide.class", "guide.label"):
            compare.labels(name, ours, recorded)
        else:
            compare.values(name, ours, recorded)


def test_training_step(step, compare, monkeypatch):
    """Loss terms, predictions, mixed labels, gradients, updated parameters and running statistics of one step."""
    case, part = step
    manifest, tensors = case.manifest[part], case.tensors(part)
    model, settings = case.model().train(), manifest["settings"]
    optimizer = case.optimizer(model, settings)
    seen = Recorder(monkeypatch, model)
    lambda_ = weight_of_guidance(settings, manifest)
    x, u = step_batch(case, part)
    guide, config = case.guide() if lambda_ else None, step_settings(settings)
    targets = make_targets(guide, x, u, config, len(x.image))
    seen.outputs |= dict(zip((f"mclip{view}" for view in VIEWS), targets.p_DC, strict=False))
    accumulate.accumulate_gradients(model, x, u, targets, config, lambda_ or 0.0, len(x.image))
    if "losses" in manifest:
        check_losses(compare, "losses", seen.losses, lambda_, manifest["losses"])

    parameters = dict(model.named_parameters())
    recorded_grads = named(tensors, "grad/")
    for name, recorded in recorded_grads.items():
        grad = parameters[name].grad if name in parameters else None
        check = compare.zero if name == "decoder.head.bias" else compare.gradient
        check(f"grad/{name}", grad, recorded)

    optimizer.step()
    rates = {parameter: group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    buffers = dict(model.named_buffers())
    for name, recorded in named(tensors, "after/").items():
        if name.endswith(STATISTICS):
            compare.values(f"after/{name}", buffers.get(name), recorded)
        elif name not in parameters:
            compare.fail(f"after/{name}", "we have no such parameter")
        elif name != "decoder.head.bias":  # the sign of its gradient is rounding
            grad = recorded_grads.get(name, parameters[name].grad)[: len(recorded)]
            compare.moved(f"after/{name}", parameters[name], recorded, grad, rates[parameters[name]])

    for name, recorded in case.outputs(part).items():
        if name.startswith(("grad/", "after/")):
            continue
        if name.startswith(("mask_w", "mclip")):
            compare.labels(name, seen.outputs.get(name), recorded)
        else:
            compare.values(name, seen.outputs.get(name), recorded)


def test_losses_in_float64(step, compare, monkeypatch):
    case, part = step
    manifest = case.manifest[part]
    if "losses_float64" in manifest:
        losses, lambda_ = recompute(case, part, manifest["settings"], monkeypatch, torch.float64)
        check_losses(compare, "losses_float64", losses, lambda_, manifest["losses_float64"])


def test_losses_of_variants(step, compare, monkeypatch):
    case, part = step
    manifest = case.manifest[part]
    for variant in manifest.get("variants", ()):
        losses, lambda_ = recompute(
            case, part, {**manifest["settings"], **variant["changed"]}, monkeypatch, torch.float32
        )
        compare.names("keys of a variant", set(variant) - {"info", "note"}, {"changed", "losses"})
        check_losses(compare, str(variant["changed"]), losses, lambda_, variant["losses"])


def test_optimizer_groups_and_frozen_parameters(step, compare):
    case, part = step
    manifest = case.manifest[part]
    compare.names(f"keys of {part}", set(manifest) | STEP_KEYS, STEP_KEYS)
    compare.names("settings", manifest["settings"], SETTINGS)
    model = case.model()
    names = {parameter: name for name, parameter in model.named_parameters()}
    ours = {
        names[parameter]: group
        for group in case.optimizer(model, manifest["settings"]).param_groups
        for parameter in group["params"]
    }
    if "optimizer_groups" in manifest:
        recorded = {our_name(name) or name: group for name, group in manifest["optimizer_groups"].items()}
        compare.names("trained parameters", ours, recorded)
        compare.names("parameters with gradient", [n for p, n in names.items() if p.requires_grad], recorded)
        for name in ours.keys() & recorded.keys():
            compare.names(f"keys of {name}", recorded[name], {"lr", "weight_decay"})
            for key, value in recorded[name].items():
                compare.scalar(f"{key} of {name}", ours[name].get(key), value, 1e-9)
    if "frozen" in manifest:
        frozen = [name for parameter, name in names.items() if not parameter.requires_grad]
        compare.names("frozen parameters", frozen, [our_name(name) or name for name in manifest["frozen"]])


def test_optimizer_apart(step, compare):
    """One AdamW step from the recorded gradients."""
    case, part = step
    tensors, model = case.tensors(part), case.model()
    parameters = dict(model.named_parameters())
    optimizer = case.optimizer(model, case.manifest[part]["settings"])
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    grads = {name: grad for name, grad in named(tensors, "grad/").items() if name in parameters}
    for name, grad in grads.items():
        parameters[name].grad = torch.zeros_like(parameters[name])
        parameters[name].grad[: len(grad)] = grad
    optimizer.step()
    for name, recorded in named(tensors, "after/").items():
        if name in grads:
            rows = slice(len(grads[name]))
            compare.exact(f"after/{name}", parameters[name][rows], recorded[rows], before[name][rows])


def test_sliding_windows(windows, compare):
    case, part = windows
    manifest, tensors = case.manifest[part], case.tensors(part)
    modes = {"averaged_logits", "summed_probabilities"}
    numbers = {"crop_size", "stride_of_averaged_logits", "step_of_summed_probabilities", "info", "note"}
    compare.names(f"keys of {part}", set(manifest) | modes | numbers, modes | numbers)
    model, classes = case.model().eval(), case.config["num_classes"]
    for mode in sorted(modes & set(manifest)):
        stride = manifest["stride_of_averaged_logits"] if mode == "averaged_logits" else "none"
        settings = published({"data": {"crop": manifest["crop_size"]}, "evaluation": {"mode": mode, "stride": stride}})
        how = Inference(settings, case.spec().smallest)
        if mode == "summed_probabilities":
            compare.same("step_of_summed_probabilities", how.stride, manifest["step_of_summed_probabilities"])
        mask = tensors[f"eval.{mode}.mask"]
        size = (mask.shape[1], mask.shape[2])
        scores = [class_scores(model, image, how) for image in tensors["img_u8"].split(1)]
        label = torch.cat([classes_at(one, size) for one in scores])
        ours = {"scores": torch.cat([scores_at(one, size) for one in scores])[:, :, ::4, ::4], "label": label}
        for name, recorded in case.outputs(part).items():
            kind = name.removeprefix(f"eval.{mode}.")
            if kind in ours:
                (compare.labels if kind == "label" else compare.values)(name, ours.pop(kind), recorded)

        # The recorded counts exactly from the recorded labels; from our own, within the pixels that may differ.
        recorded_label = tensors.get(f"eval.{mode}.label", label)
        for name, counted, slack in (("recorded", recorded_label, 0), ("our", label, mask.numel() // 1000)):
            matrix = confusion(counted, mask, classes)
            intersection, union = intersection_union(matrix)
            for what, numbers_of_classes in (("intersection", intersection), ("union", union)):
                for class_id, (our, theirs) in enumerate(
                    zip(numbers_of_classes.tolist(), manifest[mode].get(what, ()), strict=what in manifest[mode])
                ):
                    compare.scalar(f"{mode}: {what} {class_id}, {name} labels", our, theirs, slack / max(theirs, 1))
            if "miou" in manifest[mode]:
                allowed = 1e-9 if not slack else 1e-3 + slack / max(int(union.min()), 1)
                compare.scalar(f"{mode}: miou, {name} labels", 100 * mean_iou(matrix), manifest[mode]["miou"], allowed)
        compare.names(f"keys of {mode}", set(manifest[mode]) - {"info"}, {"intersection", "union", "miou"})
    for name in case.outputs(part):
        if name.split(".")[1] not in modes & set(manifest):
            compare.fail(name, "the manifest does not describe its evaluation")


def test_table_of_resized_images(directory, compare):
    """Sizes of validation images, and of training images at given ratios."""
    for row in read_manifest(directory).get("resize", ()):
        size = tuple(row["input"])
        compare.names("keys of resize", set(row) - {"info", "note"}, {"input", "validation", "training"})
        compare.same(f"validation of {size}", list(validation_size(size, min(BASE_SCALE))), row["validation"])
        for training in row["training"]:
            ratio = training["ratio"]
            ours = scale_size(np.random.default_rng(0), size, BASE_SCALE, (ratio, ratio))
            compare.same(f"training of {size} at {ratio}", list(ours), training["size"])


def test_table_of_learning_rates(directory, compare):
    table = read_manifest(directory).get("lr_factor_of_step")
    if table is not None:
        compare.names("keys of lr_factor_of_step", set(table) - {"info", "note"}, {"total_iters", "factors"})
        for t, factor in enumerate(table["factors"]):
            schedule = Schedule(config=published(), epoch=1, steps=table["total_iters"])
            compare.scalar(f"lr factor of step {t}", schedule.rate_factor(t), factor, 1e-9)


def stages(case: Case, image: Tensor, fp_masks: list[Tensor] | None) -> dict[str, Tensor]:
    """Every intermediate result of one forward, under the recorded names, seen by hooks on the product's modules."""
    model, guide = case.model().eval(), case.guide()
    found: dict[str, Tensor] = {}
    classes, decoder = len(model.text), model.decoder

    def keep(name: str) -> Any:
        return lambda module, inputs, output: found.__setitem__(name, output.clone())

    def keep_features(module: Any, inputs: Any, output: Any) -> None:
        found.update({f"enc.feat{i}": skip for i, skip in enumerate(output.skips)})
        found["enc.dense"] = output.dense

    model.encoder.register_forward_hook(keep_features)
    decoder.embed.register_forward_pre_hook(lambda module, inputs: found.__setitem__("dec.sim", inputs[0]))
    for name, module in {
        "dec.conv1": decoder.embed,
        "dec.aspp": decoder.spatial,
        "dec.text": decoder.text,
        "dec.skip0": decoder.skip_later,
        "dec.skip1": decoder.skip_earlier,
        "dec.up1": decoder.up1,
        "dec.up2": decoder.up2,
        "dec.head": decoder.head,
        **{f"dec.sem{i}": layer for i, layer in enumerate(decoder.semantic)},
        **({"conv.feat0": model.detail} if model.detail is not None else {}),
    }.items():
        module.register_forward_hook(keep(name))
    with torch.no_grad():
        found["logits"] = model(image)
        found["enc.global"] = model.encoder.embed_image(model.normalize(image))
        for name in [name for name in found if name.startswith("dec.sem")]:
            found[name] = found[name].transpose(1, 2)  # [B, N, F, h, w] -> [B, F, N, h, w]
        found["dec.text"] = found["dec.text"].expand(len(image), classes, -1)
        if fp_masks is not None:
            clean = dict(found)
            perturbed = perturb(model.encode(image), in_our_order(case, fp_masks))
            found = {**clean, "logits_fp": model.decode(perturbed, (image.shape[2], image.shape[3]))}
        if guide is not None:
            guide.encoder.register_forward_hook(
                lambda module, inputs, output: found.__setitem__("guide.dense", output.dense)
            )
            said = guide(image)
            found |= {"guide.certainty": said.confidence, "guide.class": said.label}
            everywhere = torch.ones(len(image), *image.shape[2:], dtype=torch.bool)
            views = Views(image, image, image, everywhere)
            u = cutmix(views, views, (~everywhere, ~everywhere), ())
            found["guide.label"] = guidance_labels(guide, u, case.manifest["guidance"]["threshold"], len(image))[0]
    return found


def in_our_order(case: Case, fp_masks: list[Tensor]) -> tuple[Tensor, ...]:
    """Recorded: skips, dense, then the convolutional features; ours: the convolutional features take a skip's place."""
    return (fp_masks[-1], *fp_masks[:-1]) if case.config["conv_encoder"] else tuple(fp_masks)


def step_batch(case: Case, part: str) -> tuple[Labeled, Unlabeled]:
    t = case.tensors(part)
    b = len(t["img_x_u8"])
    masks = [t[f"fp_mask{i}"][b:] for i in range(3)]  # labelled images come first, and are not perturbed
    x = Labeled(image=t["img_x_u8"], label=t["mask_x"])
    own, other = (
        Views(*(t[f"img_{view}{whose}_u8"] for view in ("w", "s1", "s2")), t[f"ignore_mask{whose}"] != IGNORE)
        for whose in ("", "_other")
    )
    return x, cutmix(own, other, (t["mix1"] == 1, t["mix2"] == 1), in_our_order(case, masks))


def step_settings(settings: dict[str, Any]) -> RunConfig:
    return published(
        {
            "consistency": {"mode": settings["conf_mode"], "tau": settings["conf_thresh"]},
            "guidance": {"zeta": settings["mcc_conf_thresh"], "reduction": settings["mcc_loss_reduce"]},
        }
    )


def weight_of_guidance(settings: dict[str, Any], manifest: dict[str, Any]) -> float | None:
    """lambda_DC of the step: from a pair or a number; `None` without guidance."""
    ends = settings["maskclip_consistency_lambda"]
    if ends == 0:
        return None
    start, end = ends if isinstance(ends, list) else (ends, ends)
    config = published({"guidance": {"lambda_DC": [start, end]}})
    return Schedule(config=config, epoch=1, steps=manifest["total_iters"]).lambda_DC(manifest["iters"])


def recompute(
    case: Case, part: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> tuple[dict[str, Tensor], float | None]:
    """The losses of a step from the stored weights, without gradient."""
    model, lambda_ = case.model().to(dtype).train(), weight_of_guidance(settings, case.manifest[part])
    guide = case.guide() if lambda_ is not None else None
    if guide is not None:
        guide = guide.to(dtype)
    x, u = step_batch(case, part)
    config = step_settings(settings)
    with monkeypatch.context() as patch, torch.no_grad():
        seen = Recorder(patch, model)
        targets = make_targets(guide, x, u, config, len(x.image))
        accumulate.step_losses(model, x, u, targets, config, lambda_ or 0.0)
        return seen.losses, lambda_


def check_losses(
    compare: Any, where: str, losses: dict[str, Tensor], lambda_: float | None, recorded: dict[str, float]
) -> None:
    ours = dict(losses)
    if lambda_ is not None:
        ours["lambda"] = torch.tensor(lambda_, dtype=torch.float64)
    compare.names(where, ours, recorded)
    for name in ours.keys() & recorded.keys():
        tolerance = {"lambda": 1e-9, "loss_x": 1e-4}.get(name, 1e-3)
        compare.scalar(f"{where}: {name}", float(ours[name].detach()), recorded[name], tolerance)


def named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Recorded tensors of parameters, under our names and in our shapes."""
    return our_state({name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)})


class Recorder:
    """Sees what passes between the parts of the step: logits, pseudo-labels, losses and their terms of each view."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, model: SemiVL) -> None:
        self.outputs: dict[str, Tensor] = {}
        self.losses: dict[str, Tensor] = {}
        decode, step_losses = model.decode, product_step.step_losses
        consistency, of_labels = product_step.consistency_term, product_step.label_term
        views, labeled = iter(zip(TERMS, VIEWS, strict=True)), iter(("x", *(f"mc_{term}" for term in TERMS)))

        def seen_decode(*args: Any) -> Tensor:
            logits = decode(*args)
            if model.training:
                self._predictions(logits.detach())
            return logits

        def seen_losses(*args: Any) -> dict[str, Tensor]:
            losses = step_losses(*args)
            self.losses["loss"] = losses["loss"]
            return losses

        def seen_consistency(log_p: Tensor, pseudo_label: Tensor, confidence: Tensor, *args: Any) -> Tensor:
            term, view = next(views)
            self.outputs["mask_w" + view], self.outputs["conf_w" + view] = pseudo_label, confidence
            self.losses[f"loss_{term}"] = consistency(log_p, pseudo_label, confidence, *args)
            return self.losses[f"loss_{term}"]

        def seen_labels(*args: Any) -> Tensor:
            term = next(labeled)
            self.losses[f"loss_{term}"] = of_labels(*args)
            return self.losses[f"loss_{term}"]

        monkeypatch.setattr(model, "decode", seen_decode)
        monkeypatch.setattr(accumulate, "step_losses", seen_losses)
        monkeypatch.setattr(product_step, "consistency_term", seen_consistency)
        monkeypatch.setattr(product_step, "label_term", seen_labels)

    def _predictions(self, logits: Tensor) -> None:
        """The first training-mode decoding holds labelled, weak and perturbed images; the second both strong views."""
        names = ("pred_s1", "pred_s2") if "pred_x" in self.outputs else ("pred_x", "pred_w", "pred_w_fp")
        self.outputs |= dict(zip(names, logits.chunk(len(names)), strict=True))
