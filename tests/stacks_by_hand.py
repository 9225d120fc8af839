"""Small stacks, their data and scripted scores, for tests of training."""

import re
from functools import partial

import torch

from mixnam.models import make_network
from mixnam.training.losses import loss
from mixnam.training.trainer import Fold, Trainer

CPU = torch.device("cpu")
SMALL = {"layers": 2, "width": 6, "experts": 3, "active_experts": 2, "batch_size": 8, "epochs": 8}
NOISY = SMALL | {"dropout": 0.1, "expert_dropout": 0.2, "learning_rate": 0.02, "weight_decay": 0.01}
#: three members that differ in all that members may differ in; the second drops nothing
MEMBERS = [
    {"learning_rate": 0.02, "weight_decay": 0.1, "dropout": 0.2, "expert_dropout": 0.3,
     "output_penalty": 0.01, "variation_penalty": 1.0},
    {"learning_rate": 0.005, "weight_decay": 0.0, "dropout": 0.0, "expert_dropout": 0.0,
     "output_penalty": 0.0, "variation_penalty": 0.0},
    {"learning_rate": 0.01, "weight_decay": 1.0, "dropout": 0.5, "expert_dropout": 0.1,
     "output_penalty": 0.5, "variation_penalty": 0.1},
]  # fmt: skip
NAM_MEMBERS = [{k: v for k, v in m.items() if k not in ("expert_dropout", "variation_penalty")} for m in MEMBERS]


def data(members=1, rows=27, validation=15, task="regression"):
    source = torch.Generator().manual_seed(3)
    x = torch.randn(members, rows + validation, 3, generator=source, dtype=torch.float64)
    y = torch.sin(2 * x[..., 0]) * x[..., 1] + 0.3 * torch.randn(x.shape[:2], generator=source, dtype=torch.float64)
    y = (y > 0).double() if task == "classification" else y
    return Fold(x[:, :rows], y[:, :rows], x[:, rows:], y[:, rows:])


def part(fold, m):
    return Fold(*(None if t is None else t[m : m + 1] for t in vars(fold).values()))


def trainer(settings, fold, seeds=(0,), task="regression", dtype=torch.float64):
    settings = settings if isinstance(settings, list) else [settings]
    return Trainer(make_network(settings[0], fold.x.shape[2]), settings, list(seeds), fold, task, dtype)


def settings_list(kind, members=MEMBERS, **shared):
    return [kind(**(shared | member)) for member in members]


def assert_same(ours, expected, tolerance=1e-9):
    for name in expected:
        # a bias in front of NAM's batch norm has no gradient but rounding error, which Adam blows up
        allowed = tolerance * (1e5 if re.fullmatch(r"layer\.[01]\.bias|norm\.[01]\.mean", name) else 1)
        note = partial("{}: {}".format, name)
        torch.testing.assert_close(ours[name], expected[name], rtol=allowed, atol=allowed, msg=note)


def assert_identical(first, second):
    for name in first.tensors:
        assert torch.equal(first.tensors[name], second.tensors[name]), name
    for name in ("best_score", "best_epoch", "epochs", "stopped_early", "scores", "steps"):
        assert getattr(first, name) == getattr(second, name), name


def script(monkeypatch, table):
    """Let the member of a seed score `table[seed][epoch - 1]`, whatever it predicts."""

    def scores(self, weights, buffers):
        return [float(table[self.seeds[m]][self.state.epoch - 1]) for m in self.state.members]

    monkeypatch.setattr(Trainer, "scores", scores)


LATE = [8, 7, 6, 5, 4, 3, 2, 1]
EARLY = [1, 2, 2, 2, 0, 0, 0, 0]  # stops at epoch 4; what it would score later must not count
MIDDLE = [5, 4, 3, 9, 9, 2, 9, 9]
SETTLED = [5, 4, 1, 9, 9, 9, 9, 9]  # its best epoch lies before others leave, its end after


class Killed(BaseException):
    """Stands for the process being killed."""


def kill(monkeypatch, one, epoch, batch):
    """Let training die in a batch of an epoch, counted from 0."""
    original = one.step
    seen = []

    def step(chosen, rate):
        if one.state.epoch == epoch:
            seen.append(0)
            if len(seen) > batch:
                raise Killed
        return original(chosen, rate)

    monkeypatch.setattr(one, "step", step)


def by_autograd(network, experts, scores, bias, y, task, penalties, draws, weights=None):
    """The gradients of what the general formulation computes."""
    leaves = [t.detach().clone().requires_grad_(True) for t in (experts, scores, bias)]
    value = loss(network.finish({"bias": leaves[2]}, leaves[0], leaves[1], draws), y, task, penalties, weights)
    return torch.autograd.grad(value.sum(), leaves)
