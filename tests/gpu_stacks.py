"""Stacks that train on a GPU, real or pretended, or on a processor."""

import torch

from mixnam.models import (
    NETWORKS,
    MixNAMDSettings,
    MixNAMESettings,
    MixNAMSettings,
    MLPSettings,
    NA2MSettings,
    NAMSettings,
    NB2MSettings,
    NBMSettings,
)
from mixnam.training.trainer import Fold, Trainer

NOISY = {"batch_size": 64, "epochs": 12, "learning_rate": 0.01, "dropout": 0.1}
SMALL = {"layers": 2, "width": 8, "expert_dropout": 0.2}
RECIPE = {"encoding": "piecewise_linear", "bins": 6, "activation": "silu", "averaging": 0.9}
CASES = {
    "MixNAM": MixNAMSettings(**NOISY, **SMALL),
    "MixNAM batch norm": MixNAMSettings(**NOISY, **SMALL, normalization="batch_norm", active_experts=2),
    "MixNAM-D": MixNAMDSettings(**NOISY, **SMALL, experts=5, active_experts=5),
    "MixNAM-E": MixNAMESettings(**NOISY, **SMALL, experts=6, active_experts=3),
    "MixNAM of our recipe": MixNAMSettings(**NOISY, **SMALL, **RECIPE, shared_normalization=False),
    "NAM": NAMSettings(**NOISY, hidden=(8, 4)),
    "NAM of our recipe": NAMSettings(**NOISY, **RECIPE, hidden=(8, 4)),
    "MLP": MLPSettings(**NOISY, hidden=(8, 4)),
    "NA2M": NA2MSettings(**NOISY, hidden=(8, 4)),
    "NA2M of our recipe": NA2MSettings(**NOISY, **RECIPE, hidden=(8, 4)),
    "NBM": NBMSettings(**NOISY, hidden=(8,), bases=6, basis_dropout=0.1),
    "NB2M": NB2MSettings(**NOISY, hidden=(8,), bases=6, basis_dropout=0.1),
}


#: a case, and what its network takes besides: chunks of pairs
CHUNKED = [*((case, {}) for case in CASES), ("NA2M", {"chunk": 4}), ("NB2M", {"chunk": 4})]


def trainer(settings, members, device, dtype=torch.float64, **options):
    source = torch.Generator().manual_seed(3)
    x = torch.randn(members, 300, 4, generator=source, dtype=torch.float64)
    y = torch.sin(2 * x[..., 0]) * x[..., 1] + 0.3 * x[..., 2]
    fold = Fold(*(t.to(device) for t in (x[:, :200], y[:, :200], x[:, 200:], y[:, 200:])))
    network = NETWORKS[settings.model](settings, 4, **options)
    return Trainer(network, [settings] * members, range(members), fold, "regression", dtype)
