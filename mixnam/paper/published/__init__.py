"""The paper's numbers and settings, each with its source."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd

from mixnam.models import MODELS

Printed = tuple[float, float]
#: The paper's six data sets as its tables name them.
DATASETS = {
    "housing": "Housing",
    "mimic2": "MIMIC-II",
    "mimic3": "MIMIC-III",
    "income": "Income",
    "credit": "Credit",
    "year": "Year",
}


@cache
def table(name: str) -> pd.DataFrame:
    """Read one of the published tables, such as `table1_accuracy`."""
    with files(__name__).joinpath(f"{name}.csv").open(encoding="utf-8") as source:
        return pd.read_csv(source)


def entries(kind: str) -> list[dict[str, Any]]:
    """Read the entries of `claims.toml` (kind "claim") or `reasons.toml` (kind "reason")."""
    content = files(__name__).joinpath(f"{kind}s.toml").read_text(encoding="utf-8")
    return list(tomllib.loads(content)[kind])


def settings(dataset: str, model: str) -> dict[str, Any]:
    """Return the published settings of `model` on `dataset`, empty where there are none."""
    return dict(_settings().get((dataset, model), {}))


@cache
def _settings() -> dict[tuple[str, str], dict[str, Any]]:
    """Return all published settings by data set and model."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in table("settings").to_dict("records"):
        value = parse(MODELS[row["model"]], row["setting"], row["value"])
        found.setdefault((row["dataset"], row["model"]), {})[row["setting"]] = value
    return found


def parse(kind: type, name: str, text: str) -> Any:
    """Return a printed setting of a settings class as its type."""
    default = getattr(kind, name)
    if isinstance(default, tuple):
        return tuple(int(part) for part in text.split())
    return text if isinstance(default, str) else type(default)(float(text))


@cache
def accuracy(dataset: str, model: str) -> Printed | None:
    """Return mean and standard deviation as printed in Tables 1 and 6, or None."""
    found = table("table1_accuracy")
    return _first(found[(found["dataset"] == dataset) & (found["model"] == model)], "mean", "std")


@cache
def sweep(quantity: str, penalty: float, model: str = "MixNAM") -> Printed | None:
    """Return mean and standard deviation of `quantity` in Table 3 at λ = `penalty`, or None."""
    found = table("table3_additivity_tightness_housing")
    found = found[(found["quantity"] == quantity) & (found["model"] == model)]
    return _first(found[found["lambda"].isna() | (found["lambda"] == penalty)], "mean", "std")


@cache
def scaling(model: str, experts: int, active: int) -> Printed | None:
    """Return mean and standard deviation of the test RMSE in Table 8 at C = `experts` and K = `active`, or None."""
    found = table("table8_expert_scaling_housing")
    found = found[(found["model"] == model) & (found["C"] == experts) & (found["K"] == active)]
    return _first(found, "rmse_mean", "rmse_std")


def _first(rows: pd.DataFrame, mean: str, std: str) -> Printed | None:
    return None if rows.empty else (float(rows[mean].iloc[0]), float(rows[std].iloc[0]))
