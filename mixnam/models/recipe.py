"""Settings for a table that nobody has searched settings for: our recipe, by size and task."""

from __future__ import annotations

from typing import Any

from mixnam.data.table import Task
from mixnam.models.additive import NAMSettings
from mixnam.models.mixture import MixNAMSettings

#: Rows below which a table counts as small.
SMALL = 2000


def recommended(rows: int, task: Task) -> MixNAMSettings:
    """Return settings for a table of so many rows: those that validation chose on Housing, Income, and small tables.

    >>> recommended(500, "regression").encoding, recommended(20_000, "regression").encoding
    ('scalar', 'piecewise_linear')
    """
    chosen: dict[str, Any] = {
        "encoding": "piecewise_linear", "activation": "silu", "shared_normalization": False, "layers": 2,
        "dropout": 0.0, "expert_dropout": 0.5, "variation_penalty": 0.106, "output_penalty": 5e-6,
        "weight_decay": 1.65e-3, "learning_rate": 1e-3, "initialization": "standard",
    }  # fmt: skip
    if rows < SMALL:
        own = {"encoding": "scalar", "width": 16, "experts": 4, "batch_size": 32, "epochs": 100, "averaging": 0.99}
    elif task == "regression":
        own = {"bins": 128, "width": 64, "experts": 16, "batch_size": 256, "epochs": 100, "averaging": 0.998}
        chosen |= {"learning_rate": 1.56e-3, "initialization": "authors"}
    else:
        own = {"bins": 128, "width": 64, "experts": 8, "batch_size": 256, "epochs": 20, "averaging": 0.995}
    chosen |= own
    return MixNAMSettings(**chosen, active_experts=chosen["experts"])


def recommended_nam(rows: int) -> NAMSettings:
    """Return NAM's settings for a table of so many rows: those of our quick setting, on small tables small batches."""
    return NAMSettings(
        batch_size=1024 if rows >= SMALL else 64, learning_rate=1e-3, weight_decay=1e-5, dropout=0.0,
        output_penalty=1e-5, epochs=100,
    )  # fmt: skip
