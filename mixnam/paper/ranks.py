"""A model's rank among others by mean scores, shared within a margin: the one rule of pages and claims."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from mixnam.data import catalogue
from mixnam.data.table import better
from mixnam.paper import published

#: Scores so near share a rank: the margins of the claims on Table 1, fixed before any run at the paper's setting.
MARGINS: dict[str, float] = {
    claim.get("dataset", "housing"): claim["margin"]
    for claim in published.entries("claim")
    if claim["id"] == f"T1-{claim.get('dataset', 'housing')}"
}
AUC_MARGIN = 0.010
#: Where no margin was fixed: this share of the smallest error, about what 0.010 is on Housing.
ERROR_SHARE = 0.02
_ROUNDING = 1e-9


def margin(dataset: str, scores: Iterable[float]) -> float:
    """Return how near two scores on a data set may be to share a rank.

    >>> margin("income", [])
    0.005
    >>> round(margin("diabetes", [55.0, 60.0]), 3)
    1.1
    """
    if dataset in MARGINS:
        return MARGINS[dataset]
    return AUC_MARGIN if catalogue.entry(dataset).metric == "auc" else ERROR_SHARE * min(scores, default=math.nan)


def ranks(scores: Mapping[str, float], better: int, near: float) -> dict[str, int]:
    """Return each score's rank: one more than the number of scores better by more than `near`.

    `better` is 1 where higher is better, -1 where lower is.

    >>> ranks({"a": 0.45, "b": 0.455, "c": 0.47}, -1, 0.01)
    {'a': 1, 'b': 1, 'c': 3}
    """
    return {
        name: 1 + sum(better * (other - own) > near + _ROUNDING for other in scores.values())
        for name, own in scores.items()
    }


def rank(model: str, scores: Mapping[str, float], dataset: str) -> int:
    """Return one model's rank among the mean scores of all on a data set."""
    return ranks(scores, better(catalogue.entry(dataset).metric), margin(dataset, scores.values()))[model]


def top_four(scores: Mapping[str, Mapping[str, float]]) -> tuple[bool, str]:
    """Say whether MixNAM has one of the first four ranks on every data set, from mean scores by data set and model."""
    places = {dataset: rank("MixNAM", means, dataset) for dataset, means in scores.items()}
    return max(places.values()) <= 4, ", ".join(f"{dataset}: {place}" for dataset, place in places.items())
