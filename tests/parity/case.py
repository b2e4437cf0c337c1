"""One recorded case: its files, and the product's own model built to their shapes with their weights."""

import json
import math
from functools import cached_property
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import load_file
from torch import Tensor

import semivl_cli.recipes
from semivl_cli.config import RunConfig
from semivl_cli.engine.train.optim import build_optimizer
from semivl_cli.model.build import ModelSpec
from semivl_cli.model.decoders.decoder import DecoderSpec
from semivl_cli.model.encoders.dense_vit import DenseEncoder, EncoderSpec
from semivl_cli.model.finetune import set_trainable
from semivl_cli.model.guidance import DenseClip
from semivl_cli.model.pixels import IMAGENET_STATISTICS
from semivl_cli.model.published_parameters import our_state
from semivl_cli.model.semivl import SemiVL
from semivl_cli.settings_toml import Layer, read_toml, resolve

CLIP_STATISTICS = (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)


def published(layer: Layer | None = None) -> RunConfig:
    """The product's settings for `fidelity = "published"`: constants that the manifest leaves to the README."""
    preset = Path(semivl_cli.recipes.__file__).parent / "fidelity" / "published.toml"
    return resolve(read_toml(preset), layer or {})


class Case:
    """The files of one case, read when they are asked for."""

    def __init__(self, directory: Path, name: str, manifest: dict[str, Any]) -> None:
        self.directory, self.name, self.manifest = directory, name, manifest
        self.config: dict[str, Any] = manifest["config"]
        self.files: dict[str, dict[str, Any]] = manifest["files"]
        self._read: dict[str, dict[str, Tensor]] = {}

    def file(self, part: str) -> str:
        return f"{self.name}.{part}.safetensors"

    def part(self, file: str) -> str:
        return file.removeprefix(f"{self.name}.").removesuffix(".safetensors")

    @property
    def parts(self) -> list[str]:
        return [self.part(file) for file in self.files]

    def tensors(self, part: str) -> dict[str, Tensor]:
        if part not in self._read:
            self._read[part] = load_file(self.directory / self.file(part))
        return self._read[part]

    def outputs(self, part: str) -> dict[str, Tensor]:
        """What has to be reproduced."""
        roles = self.files[self.file(part)]
        return {name: tensor for name, tensor in self.tensors(part).items() if roles[name]["role"] != "input"}

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The published state dict under our names: `encoder`, `decoder`, `detail`, `guidance.encoder`."""
        return our_state(self.tensors("weights"))

    @property
    def has_guide(self) -> bool:
        return bool(self.config["clip_guidance"])

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return CLIP_STATISTICS if self.config["renorm_clip_img"] else IMAGENET_STATISTICS

    @property
    def skips(self) -> tuple[int, ...]:
        return tuple(block for block in self.config["out_indices"] if block < self.config["num_layers"])

    def spec(self) -> ModelSpec:
        settings, config = published(), self.config
        encoder = self._encoder_spec("encoder.")
        base = self.weights["detail.layer1.0.conv1.weight"].shape[0] if config["conv_encoder"] else None
        return ModelSpec(
            encoder=encoder,
            decoder=DecoderSpec(
                embed_dim=encoder.embed_dim,
                skip_channels=(encoder.width if base is None else 4 * base, encoder.width),
                width=config["channels"],
                text_width=config["text_channels"],
                up_widths=tuple(config["up_channels"]),
                skip_widths=tuple(config["skip_channels"]),
                dilations=tuple(settings.decoder.dilations),
                layers=config["dec_layers"],
                heads=config["dec_heads"],
                pool=config["pool_size"][0],
            ),
            skips=self.skips,
            skip_path=settings.model.skip_path,
            statistics=self.statistics,
            output_size=config["img_size"] if settings.decoder.resize == "crop" else None,
            detail_base=base,
        )

    def model(self) -> SemiVL:
        """A fresh model with the stored weights, its encoder fine-tuned as published."""
        settings = published()
        model = self.spec().build(self.tensors("forward")["text"])
        weights = {name: tensor for name, tensor in self.weights.items() if not name.startswith("guidance.")}
        model.load_state_dict({**weights, "text": model.text})
        set_trainable(model.encoder, settings.finetune)
        for layer in model.decoder.semantic:
            layer.pool = tuple(self.config["pool_size"])  # the product's settings know square pooling alone
        return model

    def guide(self) -> DenseClip | None:
        """The frozen CLIP with the stored weights."""
        if not self.has_guide:
            return None
        settings, text = published().guidance, self.tensors("forward")["mcc_text"]
        encoder = DenseEncoder(self._encoder_spec("guidance.encoder."))
        prefix = "guidance.encoder."
        encoder.load_state_dict(
            {name.removeprefix(prefix): tensor for name, tensor in self.weights.items() if name.startswith(prefix)}
        )
        class_of_concept = list(range(len(text)))
        if len(text) > self.config["num_classes"]:
            for class_id, concepts in self.config["concepts_of_class"].items():
                for concept in concepts:
                    class_of_concept[concept] = int(class_id)
        assert settings.temperature != "checkpoint"
        return DenseClip(encoder, text, class_of_concept, settings.temperature, self.statistics, settings.aggregate)

    def optimizer(self, model: SemiVL, settings: dict[str, Any]) -> torch.optim.Optimizer:
        """Fresh AdamW with the rates of a recorded step."""
        rates = {
            "lr": settings["lr"],
            "encoder_multiplier": settings["backbone_lr_mult"],
            "detail_multiplier": settings["conv_enc_lr_mult"],
        }
        return build_optimizer(model, published({"optimizer": rates}).optimizer)

    def _encoder_spec(self, prefix: str) -> EncoderSpec:
        """The shape of a ViT from its weights; they cannot tell the number of heads."""
        settings = published().model
        patches = self.weights[prefix + "patch_embedding.weight"]
        positions = self.weights[prefix + "position_embedding"]
        assert settings.activation != "checkpoint" and settings.norm_eps != "checkpoint"
        return EncoderSpec(
            width=patches.shape[0],
            layers=self.config["num_layers"],
            heads=self.config["num_heads"],
            mlp_width=self.weights[prefix + "blocks.0.mlp.fc1.weight"].shape[0],
            patch_size=patches.shape[2],
            grid=(math.isqrt(len(positions) - 1),) * 2,
            embed_dim=self.weights[prefix + "projection.weight"].shape[0],
            activation=settings.activation,
            norm_eps=settings.norm_eps,
            pre_norm=prefix + "pre_norm.weight" in self.weights,
            pool="tok",
            norm_after_pool=True,
        )


def read_manifest(directory: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    return manifest
