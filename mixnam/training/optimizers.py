"""Optimisers on flat parameters (M, P), with a learning rate and a weight decay for each member."""

from __future__ import annotations

import torch
from torch import Tensor

Number = float | Tensor  # a tensor without axes where a captured step reads it


class AdamW:
    """AdamW (Loshchilov and Hutter 2019): stacked, in place, and without a word from the host on a GPU."""

    betas = (0.9, 0.999)
    epsilon = 1e-8
    fused = True  # on a processor torch's own, which goes over the parameters of one member once

    def __init__(self, flat: Tensor) -> None:
        self.first = torch.zeros_like(flat)
        self.second = torch.zeros_like(flat)
        self.steps = 0

    def corrections(self, step: int) -> tuple[float, float]:
        """Return what the first moment and the root of the second are multiplied by in step 1, 2, ..."""
        b1, b2 = self.betas
        return 1 / (1 - b1**step), (1 - b2**step) ** -0.5

    def step(self, flat: Tensor, gradient: Tensor, rate: Tensor, decay: Tensor, fixed: int = 0) -> None:
        """Update `flat` in place but for its first `fixed` columns; `rate` and `decay` are (M, 1)."""
        self.steps += 1
        if self.fused and not fixed and len(flat) == 1 and flat.device.type == "cpu":
            b1, b2 = self.betas
            torch._fused_adamw_(  # as torch.optim calls it, in a third of the time
                [flat], [gradient], [self.first], [self.second], [], [torch.tensor(float(self.steps))],
                amsgrad=False, maximize=False, beta1=b1, beta2=b2, eps=self.epsilon,
                lr=float(rate), weight_decay=float(decay),
            )  # fmt: skip
        else:
            self.update(flat, gradient, rate, decay, *self.corrections(self.steps), fixed)

    def update(
        self, flat: Tensor, gradient: Tensor, rate: Tensor, decay: Tensor, first: Number, second: Number, fixed: int = 0
    ) -> None:
        """Do the same with the step's `corrections` given."""
        flat, gradient, mean, square = (t[:, fixed:] for t in (flat, gradient, self.first, self.second))
        mean.lerp_(gradient, 1 - self.betas[0])
        square.mul_(self.betas[1]).addcmul_(gradient, gradient, value=1 - self.betas[1])
        denominator = square.sqrt().mul_(second).add_(self.epsilon)
        flat.mul_(1 - rate * decay)
        flat.sub_(self._move(gradient, mean, denominator, rate, first))

    def _move(self, gradient: Tensor, mean: Tensor, denominator: Tensor, rate: Tensor, first: Number) -> Tensor:
        return torch.div(mean, denominator, out=denominator).mul_(rate * first)


class QHAdam(AdamW):
    """Quasi-hyperbolic Adam (Ma and Yarats 2019): the step is part moment, part the gradient itself.

    `nus` are the moments' parts, the settings of NODE's authors; that of the second moment is 1, so the gradient's
    square plays no part of its own. Weight decay is decoupled.
    """

    nus = (0.7, 1.0)
    betas = (0.95, 0.998)
    fused = False

    def _move(self, gradient: Tensor, mean: Tensor, denominator: Tensor, rate: Tensor, first: Number) -> Tensor:
        nu = self.nus[0]
        return (mean * (nu * first)).add_(gradient, alpha=1 - nu).div_(denominator).mul_(rate)
