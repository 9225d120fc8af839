"""Seconds per training step on one thread, ours beside two plain formulations, as ratios in one run.

Element-wise: every encoder layer multiplies (row, feature, out, in) element by element and sums, the way
that stacked features are often written. Loop: one matrix product a feature. Both do the same mathematics
as ours without dropout, and are stepped by torch's AdamW. `make bench` prints the table.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from mixnam.networks import make_network
from mixnam.settings import MixNAMSettings
from mixnam.training import Fold, Trainer

FEATURES, REPEATS = 8, 3
SHAPES = {
    "Housing, quick": MixNAMSettings(width=32, batch_size=256, dropout=0.0, expert_dropout=0.0),
    "Housing, Table 5": MixNAMSettings(dropout=0.0, expert_dropout=0.0),
}


def median_seconds(step: Callable[[], object]) -> float:
    step()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def matrix_rate() -> float:
    """Return the machine's float32 rate on one thread, in GFLOP/s."""
    a = torch.randn(1024, 1024)
    return 2 * 1024**3 / median_seconds(lambda: a @ a) / 1e9


def formulation(trainer: Trainer, layer: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[[], object]:
    """Return one training step whose per-feature products are computed by `layer`: (B, n, in) → (B, n, out)."""
    settings, state = trainer.settings, trainer.state
    named = trainer.tensors(state.flat.clone(), {})
    leaves = {k: v[0].clone().requires_grad_(True) for k, v in named.items()}
    optimizer = torch.optim.AdamW(leaves.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    x, y = trainer.fold.x[0], trainer.fold.y[0]

    def step() -> None:
        h = x[..., None]
        for i in range(settings.layers):
            h = layer(h, leaves[f"encoder.{i}.weight"]) + leaves[f"encoder.{i}.bias"]
            h = torch.relu(F.layer_norm(h, h.shape[-1:], leaves["norm.gain"], leaves["norm.shift"]))
        experts = layer(h, leaves["experts.weight"]) + leaves["experts.bias"]
        scores = h.flatten(1) @ leaves["router.weight"] + leaves["router.bias"]
        o = (scores.view_as(experts).softmax(dim=-1) * experts).sum(dim=-1)
        loss = F.mse_loss(leaves["bias"] + o.sum(dim=1), y) + settings.output_penalty * o.square().mean()
        loss = loss + settings.variation_penalty * experts.var(dim=-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def elementwise(h: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return (h[..., None] * weight).sum(dim=-2)


def loop(h: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.stack([h[:, i] @ weight[i] for i in range(h.shape[1])], dim=1)


def main() -> None:
    torch.set_num_threads(1)
    rate = matrix_rate()
    print(f"one thread, {rate:.0f} GFLOP/s float32; torch {torch.__version__}; medians of {REPEATS}")
    for name, settings in SHAPES.items():
        rows = settings.batch_size
        x, y = torch.randn(1, rows, FEATURES), torch.randn(1, rows)
        network = make_network(settings, FEATURES)
        trainer = Trainer(network, [settings], [0], Fold(x, y, x, y), "regression")
        chosen = torch.arange(rows)[None]
        ours = median_seconds(lambda: trainer.step(chosen, 1.0))  # noqa: B023
        flop = (
            6
            * rows
            * FEATURES
            * settings.width
            * (settings.width * (settings.layers - 1) + FEATURES * settings.experts)
        )
        print(f"{name}: ours {ours * 1e3:.1f} ms a step, {flop / ours / rate / 1e9:.0%} of the matrix rate")
        for label, layer in (("loop over features", loop), ("element-wise", elementwise)):
            other = median_seconds(formulation(trainer, layer))
            print(f"  {label}: {other * 1e3:.1f} ms, {other / ours:.1f} times ours")


if __name__ == "__main__":
    main()
