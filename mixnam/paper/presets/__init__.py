"""Presets: how much to run, and with which settings.

A run's settings come from five places, each over the one before: the model's frozen defaults, the published ones
(`published/settings.csv`), the preset's for the model, the preset's for the data set and model, and what the caller
says; in each, those of a model's parent come first. Unknown names are errors.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from mixnam.data import catalogue
from mixnam.models import MODELS, Settings, make_settings, settings_class
from mixnam.paper.published import settings as published_settings

PRESETS = ("smoke", "quick", "paper", "best")
#: What a model does not take over from its parent.
_OWN = ("experts", "active_experts")
#: What the presets say of each experiment.
_EXPERIMENTS = (
    "accuracy", "lambda_sweep", "simulation", "sparsity", "variability", "mixnam_d", "mixnam_e", "expert_scaling",
    "routing", "ablations",
)  # fmt: skip


@dataclass(frozen=True)
class Preset:
    """A preset's name and the content of its file; `published` gives the published settings of a data set and model."""

    name: str
    content: Mapping[str, Any]
    published: Callable[[str, str], Mapping[str, Any]] = published_settings

    def _of(self, kind: str, name: str) -> Mapping[str, Any]:
        """Return what the preset says of a model, an experiment or a data set."""
        return self.content.get(kind, {}).get(name, {})

    def number(self, name: str, experiment: str = "") -> int:
        """Return `seeds` or `folds`, the experiment's own where it has one."""
        return int(self._of("experiments", experiment).get(name, self.content[name]))

    def values(self, experiment: str) -> list[float]:
        """Return the values that an experiment sweeps."""
        return list(self._of("experiments", experiment)["values"])

    def pairs(self, experiment: str, model: str) -> list[tuple[int, int]]:
        """Return the (C, K) that an experiment runs for a model."""
        return [(c, k) for c, k in self._of("experiments", experiment)[model]]

    def settings(
        self, dataset: str, model: str, overrides: Mapping[str, Any] | None = None, split: str = ""
    ) -> Settings:
        """Return the settings of `model` on `dataset` under this preset, with those of a `split`; `overrides` last."""
        parent = settings_class(model).parent
        merged = {k: v for k, v in self.published(dataset, parent).items() if k not in _OWN} if parent else {}
        merged |= self.published(dataset, model)
        of_split = self._of("splits", dataset).get(split, {})
        for said in (self.content.get("models", {}), self._of("data", catalogue.family(dataset)), of_split):
            merged |= {**said.get(parent, {}), **said.get(model, {})}
        return make_settings(model, merged | dict(overrides or {}))


@cache
def load_preset(name: str) -> Preset:
    """Read a preset; ValueError for an unknown name, or a file with names it should not have."""
    if name not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}")
    return parse(name, files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def _over(base: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `content` over it, table by table."""
    both = {k: _over(base[k], v) for k, v in content.items() if isinstance(v, dict) and k in base}
    return {**base, **content, **both}


def parse(name: str, text: str) -> Preset:
    """Return a preset from a file's text, over its `base` if it names one; ValueError names an entry too many."""
    content = tomllib.loads(text)
    if "base" in content:
        content = _over(load_preset(content.pop("base")).content, content)
    families = {catalogue.family(dataset) for dataset in catalogue.REGISTRY}
    moved = {entry: f"[experiments.{entry}]" for entry in _EXPERIMENTS}
    moved |= {entry: f"[models.{entry}]" for entry in MODELS} | {entry: f"[data.{entry}.MODEL]" for entry in families}
    models, experiments, data, splits = (content.get(k, {}) for k in ("models", "experiments", "data", "splits"))
    checked: list[tuple[Mapping[str, Any], set[str]]] = [
        (content, {"seeds", "folds", "models", "experiments", "data", "splits"}),
        (models, set(MODELS)),
        (experiments, set(_EXPERIMENTS)),
        *((entries, {"values", "seeds", "folds", *MODELS}) for entries in experiments.values()),
        (data, families),
        *((entries, set(MODELS)) for entries in data.values()),
        (splits, families),
        *((entries, set(catalogue.entry(dataset).every_split)) for dataset, entries in splits.items()),
        *((models, set(MODELS)) for entries in splits.values() for models in entries.values()),
    ]
    for entries, known in checked:
        for entry in entries:
            if entries is content and entry in moved and entry not in known:
                raise ValueError(f"preset {name}: [{entry}] is of version 0.4; write {moved[entry]}")
            if entry not in known:
                raise ValueError(f"preset {name}: unknown entry {entry!r}; known are {', '.join(sorted(known))}")
    return Preset(name, content)
