"""The `nodegam` package (Chang et al. 2022, MIT), as far as its trees go.

Its `__init__` imports libraries of its time that conflict with today's: only the modules with the trees are loaded,
under a parent package of that name that runs nothing, and with what they import of the rest replaced.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

#: Names a folder that holds the unpacked package: `pip install --no-deps --target FOLDER nodegam==0.3.0`.
VARIABLE = "MIXNAM_NODEGAM"
_MODULES = ("nn_utils", "odst", "arch")


def folder() -> Path | None:
    """Return where the package lies: where the variable says, or where it is installed; None where it is not."""
    named = os.environ.get(VARIABLE)
    spec = None if named else importlib.util.find_spec("nodegam")
    places = [Path(named) / "nodegam"] if named else [Path(p) for p in (spec and spec.submodule_search_locations) or ()]
    return next((place for place in places if (place / "odst.py").exists()), None)


@contextmanager
def modules(place: Path) -> Iterator[Any]:
    """Import the modules with the trees from `place`; afterwards nothing of that name is left imported."""
    names = ["nodegam", "tqdm", *(f"nodegam.{name}" for name in ("utils", *_MODULES))]
    before = {name: sys.modules.get(name) for name in names}
    package, utils, progress = (types.ModuleType(name) for name in ("nodegam", "nodegam.utils", "tqdm"))
    package.__path__ = [str(place)]
    replaced: dict[str, Any] = {"check_numpy": _to_numpy, "process_in_chunks": None, "Timer": None}
    vars(utils).update(replaced)
    vars(progress)["tqdm"] = iter
    sys.modules |= {"nodegam": package, "nodegam.utils": utils, "tqdm": progress}
    try:
        yield types.SimpleNamespace(**{name: importlib.import_module(f"nodegam.{name}") for name in _MODULES})
    finally:
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


def _to_numpy(values: Any) -> Any:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def build(found: Any, settings: Any, features: int) -> tuple[Any, Any]:
    """Return the package's network for settings of the NODE family, and what chooses features in it."""
    choice = found.nn_utils.entmax15
    if settings.model != "NODE":
        choice = found.nn_utils.EM15Temp(min_temp=settings.min_temperature, steps=settings.anneal_steps)
    attention = getattr(settings, "attention", 0)
    kind = "ODSTBlock" if settings.model == "NODE" else "GAMAttBlock" if attention else "GAMBlock"
    network = getattr(found.arch, kind)(
        features, settings.trees, settings.layers, addi_tree_dim=settings.extra_outputs, depth=settings.depth,
        choice_function=choice, bin_function=found.nn_utils.entmoid15, colsample_bytree=settings.colsample_bytree,
        add_last_linear=settings.last_linear, selectors_detach=0, ga2m=int(settings.model == "NODE-GA2M"),
        l2_lambda=settings.output_penalty, dim_att=attention,
    )  # fmt: skip
    return network, choice
