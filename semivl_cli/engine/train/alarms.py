"""Notices a training that goes wrong without failing, and says each thing once, in one line, with the likely cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from semivl_cli.config import RunConfig
from semivl_cli.data.choose.index import LabelCounts
from semivl_cli.engine.infer.measure import Scores

NOTHING = 1e-5
"""A share of pixels below this is none: a stray pixel in a batch does not teach."""
ONE_CLASS = 0.995
"""A class that takes this share of all predictions is the only one."""
MOSTLY = 0.9
"""Where labels or pseudo-labels are one class to this share, predicting it is no surprise."""
WARM_UP = 200
"""Steps before which a model that starts at random may well predict one class."""


@dataclass
class Alarms:
    """What was seen so far; it is fed with what the loop has at hand, and waits for no device."""

    config: RunConfig
    steps: int
    said: list[str] = field(default_factory=list)
    ignored: int = 0
    """Steps in which no pixel of the labelled images had a class."""
    since: dict[str, int] = field(default_factory=dict)
    """Value -> step since which it has been nothing."""
    accepted: float = 0.0
    """Share of confident pseudo-labels at the last line of `metrics.jsonl`, 0..1."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, so that a resumed run repeats nothing."""
        return {"said": self.said, "ignored": self.ignored, "since": self.since, "accepted": self.accepted}

    def begins(self, counts: LabelCounts, names: Sequence[str]) -> list[str]:
        """Look at the labels before the first step."""
        lines = []
        if counts.empty:
            lines += self._once(
                "empty",
                f"{len(counts.empty)} labelled masks hold no class at all, only ignored pixels, the first is "
                f"{counts.empty[0]}: they teach nothing; label them, or leave them out",
            )
        if absent := [name for name, pixels in zip(names, counts.labeled, strict=True) if pixels == 0]:
            teacher = "guidance alone" if self.config.uses_guidance else "nothing"
            lines += self._once(
                "absent",
                f"no labelled pixel shows {', '.join(absent)}: {teacher} can teach what that is; label an image that "
                "shows it, or take the class out of the definition",
            )
        if unseen := [name for name, pixels in zip(names, counts.val or (), strict=False) if pixels == 0]:
            lines += self._once(
                "unseen",
                f"no validation pixel shows {', '.join(unseen)}: no IoU there, and the mIoU counts 0 whatever the "
                "model does, as the published numbers do; miou_present is the mean over the others",
            )
        return lines

    def ignores(self, step: int, ids: Sequence[str]) -> list[str]:
        """Take note of a step whose labels were all ignored."""
        self.ignored += 1
        return self._once(
            "ignored",
            f"step {step}: no pixel of the labelled images has a class ({', '.join(ids)}): nothing is learned from "
            f"labels in it; mostly ignored masks do this, and a data.crop (now {self.config.data.crop}) that is small "
            "beside what is labelled",
        )

    def logs(self, done: int, values: Mapping[str, float]) -> list[str]:
        """Look at a line of `metrics.jsonl`."""
        consistency, guidance = self.config.consistency, self.config.guidance
        self.accepted = values.get("pseudo_labels", 0.0)
        lines = []
        uses_tau = self.config.uses_unlabeled and consistency.weight > 0 and consistency.mode != "pixelavg"
        if uses_tau and self._long(done, values, "pseudo_labels", max(300, self.steps // 4)):
            but = " but what guidance says" if self.config.uses_guidance else ""
            lines += self._once(
                "pseudo_labels",
                f"step {done}: no pseudo-label has reached consistency.tau = {consistency.tau} since step "
                f"{self.since['pseudo_labels']}: the unlabelled images teach nothing{but}; the model has "
                "learned too little (more labels, a longer training, another optimizer.lr), or tau is too high",
            )
        if self.config.uses_guidance and self._long(done, values, "guidance_pixels", max(50, self.steps // 50)):
            lines += self._once(
                "guidance_pixels",
                f"step {done}: guidance has labelled no pixel since step {self.since['guidance_pixels']}: the frozen "
                f"CLIP is never sure (guidance.zeta = {guidance.zeta}); see what it makes of the words with semivl "
                "concepts preview, and name what is to be seen, or lower zeta",
            )
        return lines

    def evaluates(self, scores: Scores) -> list[str]:
        """Look at an evaluation."""
        lines = self._once("few images", scores.caution) if scores.caution else []
        name, share = max(scores.predicted.items(), key=lambda item: item[1])
        if scores.step < WARM_UP or share < ONE_CLASS or scores.labeled(name) > MOSTLY:
            return lines
        if self.config.uses_unlabeled and self.config.consistency.weight > 0 and self.accepted > MOSTLY:
            cause = (
                f"{100 * self.accepted:.0f} % of the pseudo-labels are accepted and repeat it: a smaller "
                "consistency.weight or a higher consistency.tau stops that"
            )
        else:
            cause = (
                "look at optimizer.lr (too high?), at the values of the masks, and at how few labels the others have"
            )
        return lines + self._once(
            "one class",
            f"step {scores.step}: {100 * share:.1f} % of all pixels are predicted as {name!r}, "
            f"{100 * scores.labeled(name):.0f} % are labelled so: {cause}",
        )

    def ends(self) -> list[str]:
        """Sum up, after the last step."""
        if self.ignored < 2:
            return []
        return self._once("ends", f"in {self.ignored} of {self.steps} steps no pixel of a labelled image had a class")

    def _long(self, done: int, values: Mapping[str, float], name: str, steps: int) -> bool:
        """Whether a value has been nothing for so many steps."""
        if values.get(name, 0.0) > NOTHING:
            self.since.pop(name, None)
            return False
        return done - self.since.setdefault(name, max(done - self.config.training.log_steps, 0)) >= steps

    def _once(self, what: str, line: str) -> list[str]:
        if what in self.said:
            return []
        self.said.append(what)
        return [line]
