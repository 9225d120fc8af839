"""The page about searches: committed records of `python -m mixnam search`, as tables and pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixnam.data import catalogue
from mixnam.paper import published, search
from mixnam.paper.costs import duration
from mixnam.paper.spaces import shown
from mixnam.plots.look import COLORS

Record = Mapping[str, Any]
_GREY = "#b5b5b5"
#: Share of the trials whose scores a picture's axis covers: the worst ones would flatten the others.
_COVERED = 0.9


def records(folder: Path | None = None) -> list[Record]:
    """Return the committed records by name; ValueError names a file that holds something else."""
    found = []
    for path in sorted((folder or search.folder()).glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("schema") != search.SCHEMA:
            raise ValueError(f"{path}: schema {content.get('schema')}, expected {search.SCHEMA}; search again")
        found.append(content)
    return found


def title(record: Record) -> str:
    """Return a record's heading."""
    return f"{record['model']} on {catalogue.entry(record['dataset']).title}, space {record['space']['name']}"


def _score(record: Record, of: Record) -> str:
    """Return a mean ± standard deviation with its metric and number of runs, in four digits of the mean."""
    digits = max(0, 3 - math.floor(math.log10(abs(of["mean"]) or 1)))
    spread = "" if of["sd"] is None else f" ± {of['sd']:.{digits}f}"
    return f"{record['metric'].upper()} {of['mean']:.{digits}f}{spread} (n = {of['n']})"


def tested(dataset: str, model: str, folder: Path | None = None) -> str:
    """Return the best tested choice of the searches of a model, for running text; "not searched" without one.

    The best by its validation score, that is: tests compare nothing here.
    """
    found = [r for r in records(folder) if (r["dataset"], r["model"]) == (dataset, model) and r["test"]]
    if not found:
        return "not searched"
    sign = -1 if found[0]["metric"] == "auc" else 1
    best = min(found, key=lambda record: sign * record["chosen"]["mean"])
    chosen = ", ".join(f"{name} {shown(value)}" for name, value in best["chosen"]["settings"].items())
    return f"test {_score(best, best['test'])} ({chosen})"


def summary(record: Record) -> str:
    """Say in Markdown how the search went, what chose, and what came of it."""
    plan, chosen, origin = record["plan"], record["chosen"], record["provenance"]
    lost = sum(t["rungs"][-1]["score"] is None for t in record["trials"])
    steps = [f"{len(r['trials'])} {_share(r['share'])}" for r in record["rungs"]]
    repeated = len(record["finalists"][0]["runs"])
    unit = "fold" if record["finalists"][0]["runs"][:1] and chosen_split(record) != "holdout" else "seed"
    last = (
        f"; the best {len(record['finalists'])} repeated with {repeated} further {unit}{'s' * (repeated > 1)}"
        if repeated
        else ""
    )
    tested = record["test"]
    after = f" Only after the choice was it tested: test {_score(record, tested)}." if tested else ""
    return (
        f"{plan['trials']} settings drawn from the space *{record['space']['name']}* ({record['space']['source']}), "
        f"{', then '.join(steps)}{last}; {lost} diverged. In all {duration(record['seconds'])} of training on "
        f"{origin['device']}. Validation rows alone chose trial {chosen['trial']}: validation "
        f"{_score(record, chosen)}.{after}\n\n`{record['command']}` repeats it "
        f"(commit {(origin['git_commit'] or 'unknown')[:10]}, torch {origin['versions']['torch']})."
    )


def chosen_split(record: Record) -> str:
    """Return the split of the finalists' runs, or of the first rung where there are none."""
    runs = record["finalists"][0]["runs"] or record["trials"][0]["rungs"]
    return str(runs[0]["split"])


def _share(share: float) -> str:
    return "in full" if share == 1 else f"at 1/{round(1 / share)} of the epochs"


def space_table(record: Record) -> pd.DataFrame:
    """Return the space beside what was chosen, the other finalists, and what was published where anything was."""
    known = published.settings(record["dataset"], record["model"])
    heading = "paper" if record["model"].startswith("MixNAM") else "published"
    chosen: Mapping[str, Any] = record["chosen"]["settings"]
    rows: list[dict[str, str]] = []
    trials = {t["trial"]: t for t in record["trials"]}
    ranges = {c["name"]: c["text"] for c in record["space"]["choices"]}
    for name, value in chosen.items():
        row = {"setting": name, "space": ranges.get(name, "fixed"), "chosen": shown(value)}
        for finalist in record["finalists"][1:]:
            row[f"trial {finalist['trial']}"] = shown(trials[finalist["trial"]]["settings"][name])
        if known:
            row[heading] = shown(known[name]) if name in known else "–"
        rows.append(row)
    return pd.DataFrame(rows)


def finalists_table(record: Record) -> pd.DataFrame:
    """Return the finalists, the chosen one first, with the score that made them finalists and that of the choice."""
    trials = {t["trial"]: t for t in record["trials"]}
    rows: list[dict[str, str]] = []
    for finalist in record["finalists"]:
        before = trials[finalist["trial"]]["rungs"][-1]["score"]
        rows.append(
            {
                "finalist": f"trial {finalist['trial']}" + ("" if rows else ", chosen"),
                "validation, last rung": f"{before:.4g}",
                "validation, repeats": "diverged" if finalist["mean"] is None else _score(record, finalist),
            }
        )
    return pd.DataFrame(rows)


def _values(record: Record, name: str) -> list[Any]:
    """Return the distinct values that a setting took, in order."""
    found = [t["settings"][name] for t in record["trials"]]
    distinct = {tuple(v) if isinstance(v, list) else v for v in found}
    return sorted(distinct, key=lambda v: v if isinstance(v, tuple) else (v,))


def _first(record: Record) -> tuple[list[Record], list[float]]:
    """Return the trials that the first rung scored, and their scores."""
    found = [t for t in record["trials"] if t["rungs"][0]["score"] is not None]
    return found, [t["rungs"][0]["score"] for t in found]


def influence(record: Record, groups: int = 4) -> dict[str, float]:
    """Return how much each setting says about the first rung's score, the most first.

    That is the share of the ranks' variance between groups of trials (values, of numbers with many values at most
    `groups` of equal size), less what as many groups at random would explain. Nothing else is held fixed.
    """
    trials, scores = _first(record)
    ranks = pd.Series(scores).rank().to_numpy()
    shares = {}
    for choice in record["space"]["choices"]:
        values = pd.Series([shown(t["settings"][choice["name"]]) for t in trials])
        if values.nunique() > groups + 2:
            numbers = pd.Series([float(t["settings"][choice["name"]]) for t in trials])
            values = pd.qcut(numbers.rank(method="first"), groups, labels=False).astype(str)
        count, total = values.nunique(), ((ranks - ranks.mean()) ** 2).sum()
        if not 1 < count < len(ranks) or total == 0:
            continue
        means = pd.Series(ranks).groupby(values.to_numpy()).transform("mean").to_numpy()
        within = ((ranks - means) ** 2).sum() / (len(ranks) - count)
        shares[choice["name"]] = float(1 - within * (len(ranks) - 1) / total)
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _limits(ax: Axes, record: Record, scores: Sequence[float], others: Sequence[float] = ()) -> int:
    """Have the axis cover the better of the scores, and all better `others`; return how many scores lie outside."""
    upward = record["metric"] == "auc"
    edge = float(np.quantile(scores, 1 - _COVERED if upward else _COVERED))
    best = (max if upward else min)(*scores, *others, edge)
    pad = 0.06 * abs(edge - best) or 1e-3
    low, high = min(best, edge) - pad, max(best, edge) + pad
    ax.set_ylim(low, high)
    return sum(not low <= score <= high for score in scores)


def _label(record: Record) -> str:
    return f"validation {record['metric'].upper()}"


def rungs_figure(record: Record) -> Figure:
    """Draw every trial's validation score over the rungs, the finalists and the choice in colour."""
    names = [_share(r["share"]) for r in record["rungs"]]
    finalists = [f["trial"] for f in record["finalists"]]
    rows = []
    for trial in record["trials"]:
        points = [r["score"] for r in trial["rungs"]]
        rows += [(trial["trial"], i, score) for i, score in enumerate(points) if score is not None]
    repeats = [f for f in record["finalists"] if f["runs"] and f["mean"] is not None]
    rows += [(f["trial"], len(names), f["mean"]) for f in repeats]
    table = pd.DataFrame(rows, columns=["trial", "rung", "score"])
    figure, ax = plt.subplots(figsize=(7.6, 4.0), layout="constrained")
    others = table[~table["trial"].isin(finalists)]
    shared: dict[str, Any] = {"x": "rung", "y": "score", "units": "trial", "estimator": None, "ax": ax, "marker": "o"}
    if len(others):
        sns.lineplot(others, color=_GREY, linewidth=0.9, markersize=4, markeredgewidth=0, zorder=2, **shared)
    for place, trial in list(enumerate(finalists))[::-1]:
        own = table[table["trial"] == trial]
        color = COLORS[1] if place == 0 else COLORS[2]
        label = f"trial {trial}, chosen" if place == 0 else "other finalists" if place == 1 else None
        width = 2.2 if place == 0 else 1.4
        sns.lineplot(own, color=color, linewidth=width, markersize=6, label=label, zorder=5 - min(place, 1), **shared)
    outside = _limits(ax, record, _first(record)[1], list(table["score"]))
    ticks = names + (["further runs"] if repeats else [])
    ax.set_xticks(range(len(ticks)), ticks)
    ax.set_xlim(-0.2, max(len(ticks) - 0.8, 0.2))
    ax.set(xlabel="", ylabel=_label(record))
    if outside:
        ax.set_title(f"{outside} worse ones lie outside", fontsize=10, loc="left", color="#777777")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=10)
    plt.close(figure)
    return figure


def settings_figure(record: Record, count: int = 3) -> Figure | None:
    """Draw the first rung's scores over the `count` settings that say most about them; None where none varies."""
    names = list(influence(record))[:count]
    if not names:
        return None
    trials, scores = _first(record)
    choices = {c["name"]: c for c in record["space"]["choices"]}
    figure, axes = plt.subplots(
        1, len(names), figsize=(3.1 * len(names), 3.2), sharey=True, squeeze=False, layout="constrained"
    )
    last = set(record["rungs"][-1]["trials"])
    kinds = ["reached the last rung" if t["trial"] in last else "did not" for t in trials]
    palette = {"reached the last rung": COLORS[2], "did not": _GREY}
    for ax, name in zip(axes[0], names, strict=True):
        values = [t["settings"][name] for t in trials]
        if choices[name]["kind"] == "log-uniform":
            low = choices[name]["bounds"][0]
            x = [low / 3 if v == 0 else v for v in values]
            sns.scatterplot(x=x, y=scores, hue=kinds, palette=palette, s=28, linewidth=0, legend=False, ax=ax)
            ax.set_xscale("log")
            if 0 in values:
                powers = range(math.ceil(math.log10(low)), int(math.log10(choices[name]["bounds"][1])) + 1)
                ticks = [10.0**p for p in powers][:: -(-len(powers) // 4)]
                ax.set_xticks([low / 3, *ticks], ["0", *(f"{t:g}" for t in ticks)])
            ax.minorticks_off()
        else:
            order = [shown(v) for v in _values(record, name)]
            labels = [shown(v) for v in values]
            sns.stripplot(
                x=labels, y=scores, hue=kinds, palette=palette, order=order, size=5, jitter=False, legend=False, ax=ax
            )
            if sum(map(len, order)) > 28:
                ax.tick_params(axis="x", rotation=45, labelsize=9)
        ax.set(xlabel=name.replace("_", " "), ylabel=_label(record))
    outside = _limits(axes[0, 0], record, scores)
    said = "First rung; in colour: trials of the last one" + (f"; {outside} lie outside" if outside else "")
    figure.suptitle(said, fontsize=10, color="#777777")
    plt.close(figure)
    return figure
