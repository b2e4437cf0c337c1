"""Our number beside the recorded one: each kind with its tolerance, every difference kept, every comparison counted."""

from collections.abc import Iterable

import torch
from torch import Tensor

ROUNDING = 1e-12


class Comparison:
    """Collects what differs, so that one test names all of it."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.tensors = self.scalars = 0

    def verdict(self) -> None:
        assert not self.failures, f"{len(self.failures)} differ:\n" + "\n".join(self.failures)

    def fail(self, name: str, why: str) -> None:
        self.failures.append(f"  {name}: {why}")

    def values(self, name: str, ours: Tensor | None, recorded: Tensor) -> None:
        """Stages, logits, certainties, scores, running statistics: 1e-4 of the largest value."""
        ours = self._leading(name, ours, recorded)
        if ours is None:
            return
        worst, largest = float((ours - recorded.double()).abs().max()), float(recorded.double().abs().max())
        if not worst <= 1e-4 * largest:
            self.fail(name, f"differs by {worst:.3g}, allowed {1e-4 * largest:.3g}")

    def labels(self, name: str, ours: Tensor | None, recorded: Tensor) -> None:
        """Label maps: at most 0.1 % of the pixels."""
        ours = self._leading(name, ours, recorded)
        if ours is None:
            return
        share = float((ours != recorded.double()).double().mean())
        if not share <= 1e-3:
            self.fail(name, f"{100 * share:.3f} % of the pixels differ, allowed 0.1 %")

    def gradient(self, name: str, ours: Tensor | None, recorded: Tensor) -> None:
        """Gradients: 1e-2 of the largest value, and of the norm."""
        ours = self._leading(name, ours, recorded)
        if ours is None:
            return
        recorded = recorded.double()
        difference = ours - recorded
        worst, largest = float(difference.abs().max()), float(recorded.abs().max())
        apart, norm = float(difference.norm()), float(recorded.norm())
        if not (worst <= 1e-2 * largest and apart <= 1e-2 * norm):
            self.fail(name, f"differs by {worst:.3g} of {largest:.3g}, in norm by {apart:.3g} of {norm:.3g}")

    def zero(self, name: str, ours: Tensor | None, recorded: Tensor) -> None:
        """A gradient that is zero but for rounding."""
        ours = self._leading(name, ours, recorded)
        if ours is not None and not float(ours.abs().max()) <= 1e-6:
            self.fail(name, f"is {float(ours.abs().max()):.3g}, expected 0 within 1e-6")

    def exact(self, name: str, ours: Tensor | None, recorded: Tensor, before: Tensor | None = None) -> None:
        """To 2 units in the last place of float32, of the larger of what is recorded and what it was made from.

        A weight that a step brings near zero is rounded at its size before the step, not at the one after it.
        """
        ours = self._leading(name, ours, recorded)
        if ours is None:
            return
        size = recorded if before is None else torch.maximum(recorded.abs(), before.detach()[: len(recorded)].abs())
        if not bool(((ours - recorded.double()).abs() <= 2 * _ulp(size)).all()):
            self.fail(name, f"differs by {float((ours - recorded.double()).abs().max()):.3g}, more than 2 ulp")

    def moved(self, name: str, ours: Tensor | None, recorded: Tensor, grad: Tensor, rate: float) -> None:
        """A parameter after the first AdamW step, which is nearly `rate * sign(grad)`: where the sign is certain."""
        ours = self._leading(name, ours, recorded)
        if ours is None:
            return
        certain = grad.abs() > 1e-2 * grad.abs().max()
        # Stored in float32, two values cannot agree better than their last place.
        beyond = (ours - recorded.double()).abs() - 0.02 * rate - _ulp(recorded)
        if not bool((beyond[certain] <= 0).all()):
            self.fail(name, f"is {float(beyond[certain].max()):.3g} further off than 0.02 of the rate {rate:.3g}")

    def scalar(self, name: str, ours: float | None, recorded: float, relative: float) -> None:
        self.scalars += 1
        if ours is None:
            self.fail(name, "we have none")
        elif not abs(ours - recorded) <= relative * abs(recorded) + ROUNDING:
            self.fail(name, f"{ours!r}, recorded {recorded!r}, allowed {relative} of it")

    def same(self, name: str, ours: object, recorded: object) -> None:
        """Sizes and counts."""
        self.scalars += 1
        if ours != recorded:
            self.fail(name, f"{ours!r}, recorded {recorded!r}")

    def names(self, what: str, ours: Iterable[str], recorded: Iterable[str]) -> None:
        """Two sets of names."""
        mine, theirs = set(ours), set(recorded)
        self.scalars += len(theirs)
        for name in sorted(mine ^ theirs):
            self.fail(what, f"{name} is {'ours' if name in mine else 'recorded'} alone")

    def _leading(self, name: str, ours: Tensor | None, recorded: Tensor) -> Tensor | None:
        """Our leading rows in float64, as many as were recorded; `None` (and a failure) where shapes do not fit."""
        self.tensors += 1
        if ours is None:
            self.fail(name, "we have none")
            return None
        ours = ours.detach()[: len(recorded)] if recorded.ndim else ours.detach()
        if ours.shape != recorded.shape:
            self.fail(name, f"has shape {tuple(ours.shape)}, recorded {tuple(recorded.shape)}")
            return None
        return ours.double()


def _ulp(values: Tensor) -> Tensor:
    """Distance from each float32 to the next larger magnitude, float64."""
    size = values.float().abs()
    return (torch.nextafter(size, torch.tensor(torch.inf)) - size).double()
