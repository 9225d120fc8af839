"""The authors' own model, imported from a checkout of their repository (Teddy-XiongGZ/NAE) that the caller has.

That repository carries no licence, so nothing of it is kept here: only how its model is asked for.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import nn

from mixnam.models import MixNAMSettings
from mixnam.training.losses import Task


def model_file(peer: Path) -> Path:
    """Return where a checkout keeps the model; FileNotFoundError where it does not."""
    path = peer / "src" / "model.py"
    if not path.is_file():
        raise FileNotFoundError(f"--peer {peer}: no {path}; give the folder of a checkout of Teddy-XiongGZ/NAE")
    return path


def load_model(peer: Path, settings: MixNAMSettings, features: int, task: Task) -> nn.Module:
    """Return their MixNAM in training mode: a module from (x, y) to (loss, prediction).

    Raises FileNotFoundError for another folder, AttributeError where the file holds no class of that name.
    """
    path = model_file(peer)
    spec = importlib.util.spec_from_file_location("authors_model", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "NAE"):
        raise AttributeError(f"{path} has no class NAE; check out the released version of Teddy-XiongGZ/NAE")
    model = module.NAE(
        task, features, settings.width, settings.layers, 1, C=settings.experts, k=settings.active_experts,
        dropout=settings.dropout, dropout_expert=settings.expert_dropout, output_penalty=settings.output_penalty,
        var_penalty=settings.variation_penalty, batch_norm=settings.normalization == "batch_norm",
    )  # fmt: skip
    assert isinstance(model, nn.Module)
    return model.train().to(torch.float32)
