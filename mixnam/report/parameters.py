"""Parameters of a notebook, checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mixnam.data import catalogue
from mixnam.paper.presets import load_preset
from mixnam.runs.files import root
from mixnam.runs.machine import pick_device

#: Notebook names that IPython itself puts into the namespace.
_INTERACTIVE = {"In", "Out", "exit", "quit", "open", "get_ipython"}


@dataclass(frozen=True)
class Parameters:
    """A notebook's parameters, checked. `results` is the rerun's store, `reference` the book's own.

    `dataset` is empty in notebooks about simulations.
    """

    dataset: str
    preset: str
    device: str
    results: Path
    train: bool

    @property
    def reference(self) -> Path:
        """Directory of the reference results."""
        return root() / "book" / "results"

    @property
    def is_reference(self) -> bool:
        """Whether this page shows the reference itself."""
        return self.results.resolve() == self.reference.resolve()


def check_parameters(namespace: Mapping[str, Any], dataset: bool = True) -> Parameters:
    """Check a notebook's parameters: call it as `check_parameters(globals())` in the first cell after them.

    Notebooks about simulations take no data set (`dataset=False`).

    Raises ValueError for a name that is no parameter or a value that is none of the allowed, TypeError
    for a value of the wrong type. papermill itself would only warn.
    """
    types: dict[str, type] = {"dataset": str} if dataset else {}
    types |= {"preset": str, "device": str, "results": str, "train": bool}
    given = {k: v for k, v in namespace.items() if not k.startswith("_") and k not in _INTERACTIVE}
    given = {k: v for k, v in given.items() if not callable(v) and not isinstance(v, ModuleType)}
    for name, value in given.items():
        if name not in types:
            raise ValueError(f"unknown parameter {name!r} (= {value!r}); this notebook takes {', '.join(types)}")
        if type(value) is not types[name]:
            kind = {"str": "text", "bool": "true or false"}[types[name].__name__]
            raise TypeError(f"parameter {name} must be {kind}, got {value!r}")
    lacking = [name for name in types if name not in given]
    if lacking:
        raise ValueError(f"parameter {lacking[0]!r} is missing; this notebook takes {', '.join(types)}")
    if dataset:
        catalogue.entry(given["dataset"])
    given.setdefault("dataset", "")
    load_preset(given["preset"])
    pick_device(given["device"])
    default = os.environ.get("MIXNAM_RESULTS") or f"runs/{given['preset']}/results"
    where = Path(given["results"] or default)
    given["results"] = where if where.is_absolute() else root() / where
    return Parameters(**given)


def told(path: Path) -> str:
    """Return a path as a reader may type it in the project's directory."""
    return (path.relative_to(root()) if path.is_relative_to(root()) else path).as_posix()


def rerun_command(notebook: str, parameters: Parameters) -> str:
    """Return the command that reruns a notebook with these parameters, as Markdown."""
    preset = "quick" if parameters.is_reference else parameters.preset
    dataset = f"-p dataset {parameters.dataset} " if parameters.dataset else ""
    return (
        f"Rerun this page: `mkdir -p runs/mine && papermill notebooks/{notebook}.ipynb runs/mine/{notebook}.ipynb "
        f"{dataset}-p preset {preset}`"
    )
