"""Claims that need no training: counts, settings and identities, each checked on the paper and on this code.

A check takes `ours` (False: the paper's own numbers) and returns the word of its verdict with a line of explanation.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import torch

from mixnam.data import catalogue
from mixnam.data.table import DataError
from mixnam.models import MixNAM, MixNAMDSettings, MixNAMSettings, make_network
from mixnam.models.mixture import extra_parameters
from mixnam.paper import published, ranks, spaces
from mixnam.paper.words import NO_DATA, NOT_APPLICABLE, NOT_PRINTED, NOT_REPRODUCED, PARTLY, PRINTED, REPRODUCED

Finding = tuple[str, str]
ReadTable = Callable[[str], pd.DataFrame]


def _held(held: bool) -> str:
    return REPRODUCED if held else NOT_REPRODUCED


def _rounded(text: str) -> tuple[float, float]:
    """Return a printed count and half a unit of its last digit, in single values or bytes."""
    unit = {"k": 1e3, "M": 1e6}[text[-1]]
    digits = len(text[:-1].partition(".")[2])
    return float(text[:-1]) * unit, 0.5 * 10**-digits * unit


def complexity_counts(features: int, ours: bool) -> dict[str, tuple[int, int]]:
    """Return extra parameters and bytes of MixNAM and MixNAM-D: by formula, or counted in a network of ours."""
    found = {}
    for name, settings in (("mixnam", MixNAMSettings()), ("mixnam_d", MixNAMDSettings())):
        count = extra_parameters(features, settings.experts, settings.width, name == "mixnam_d")
        if ours:
            parts = make_network(settings, features).parameters
            count = sum(p.size for k, p in parts.items() if k.startswith(("experts.", "router.")))
        found[name] = (count, 4 * count)
    return found


def complexity(ours: bool, read: ReadTable = published.table) -> Finding:
    """Table 9: extra parameters and memory of six data sets. Memory counts 1,024 bytes to the k."""
    wrong, count = [], 0
    for row in read("table9_complexity").to_dict("records"):
        for name, (parameters, size) in complexity_counts(row["features"], ours).items():
            printed = row[f"{name}_extra_memory"]
            binary = 1024 / 1e3 if printed.endswith("k") else 1024**2 / 1e6
            pairs = {"parameters": (parameters, row[f"{name}_extra_parameters"]), "memory": (size / binary, printed)}
            for label, (value, text) in pairs.items():
                number, reach = _rounded(text)
                count += 1
                if abs(value - number) > reach * 1.001:
                    wrong.append(f"{row['dataset']} {name} {label}: {value:g}, printed {number:g}")
    return _held(not wrong), "; ".join([f"{count - len(wrong)} of {count} entries", *wrong])


#: Table 5's names of settings that have others here.
_PRINTED_AS = {
    "width": "hidden_dimension", "experts": "total_experts", "active_experts": "activated_experts",
    "epochs": "max_iteration", "expert_dropout": "dropout_expert",
}  # fmt: skip


def search_ranges(ours: bool, read: ReadTable = published.table) -> Finding:
    """Table 5 and Appendix C: every chosen setting lies in the range that it was searched in."""
    if ours:
        return NOT_APPLICABLE, "the settings are the paper's"
    table = read("table5_hyperparameters").set_index("hyperparameter")
    outside = []
    for choice in spaces.find("MixNAM", "appendix-c").choices:
        name = _PRINTED_AS.get(choice.name, choice.name)
        for dataset, chosen in table.to_dict().items():
            value = published.parse(MixNAMSettings, choice.name, chosen[name])
            if not choice.holds(value, {"experts": int(chosen["total_experts"])}):
                outside.append(f"{dataset}: {name} = {chosen[name]}")
    return _held(not outside), f"outside: {', '.join(outside)}" if outside else f"all {table.size} settings inside"


def sizes(ours: bool) -> Finding:
    """Table 4: rows, features and categorical features of each data set."""
    if not ours:
        return PRINTED, ""
    found, absent, lines = [], 0, []
    for row in published.table("table4_datasets").to_dict("records"):
        name = row["dataset"]
        try:
            data = catalogue.load(name, download=False) if name in catalogue.REGISTRY else None
        except DataError:
            data = None
        if data is None:
            absent += 1
            lines.append(f"{name}: not at hand")
            continue
        same = (*data.x.shape, len(data.categories)) == (row["instances"], row["features"], row["categorical_features"])
        found.append(same)
        lines.append(f"{name}: {len(data.x):,} × {data.x.shape[1]}, {len(data.categories)} categorical")
    word = NO_DATA if not found else PARTLY if absent and all(found) else _held(all(found))
    return word, "; ".join(lines)


def top_four(ours: bool, read: ReadTable = published.table) -> Finding:
    """Table 1: MixNAM is among the four best of fourteen models, scores within a margin sharing a rank.

    On print; `verdicts` ranks our results.
    """
    rows = read("table1_accuracy").query("source == 'Table 1'")
    scores: dict[str, dict[str, float]] = {}
    for row in rows.to_dict("records"):
        scores.setdefault(row["dataset"], {})[row["model"]] = row["mean"]
    held, text = ranks.top_four(scores)
    return _held(held), text


def log_odds(ours: bool) -> Finding:
    """Appendix F: the log odds of two active experts are a sum of one function a feature.

    Mixed second differences over random pairs of features, in float64, at most 1e-9 of the scale: the two
    of C = K = 2, and of C = 6, K = 3 where the active experts stay the same.
    """
    if not ours:
        return NOT_PRINTED, ""
    generator = torch.Generator().manual_seed(0)
    worst, cases = 0.0, 0
    for experts, active in ((2, 2), (6, 3)):
        network = MixNAM(MixNAMSettings(width=16, layers=2, experts=experts, active_experts=active), 5)
        tensors = {k: t.double() for k, t in network.initialize([0], torch.device("cpu"))[0].items()}
        base, moved = (torch.randn(200, 5, dtype=torch.float64, generator=generator) for _ in range(2))
        for i, j in ((0, 1), (2, 4), (3, 0)):
            corners = []
            for first, second in ((0, 0), (1, 0), (0, 1), (1, 1)):
                x = base.clone()
                x[:, i] = moved[:, i] if first else base[:, i]
                x[:, j] = moved[:, j] if second else base[:, j]
                corners.append(network(tensors, x[None]).relevance[0])  # (B, n, C)
            same = torch.stack([(c > 0) == (corners[0] > 0) for c in corners]).all(dim=0).all(dim=-1)
            logs = [torch.where(c > 0, c.clamp_min(1e-300).log(), torch.nan) for c in corners]
            top = corners[0].argmax(dim=-1, keepdim=True)
            ratios = [log - log.gather(-1, top) for log in logs]
            mixed = ratios[3] - ratios[1] - ratios[2] + ratios[0]
            kept = mixed[same][~mixed[same].isnan()]
            worst = max(worst, float(kept.abs().max()) / (1 + float(ratios[0].nan_to_num(0.0).abs().max())))
            cases += len(kept)
    zero = worst <= 1e-9  # what rounding leaves differs between processors, so it is not printed
    size = "below 1e-9" if zero else f"up to {worst:.1e}"
    return _held(zero), f"mixed second differences {size} of the scale, {cases:,} cases"


CHECKS: dict[str, Callable[[bool], Finding]] = {
    f.__name__: f for f in (complexity, search_ranges, sizes, top_four, log_odds)
}
