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
from mixnam.data.table import better
from mixnam.paper import published, search
from mixnam.paper.costs import duration
from mixnam.paper.spaces import shown
from mixnam.plots.look import COLORS, GREY
from mixnam.report.layout import commit, literal, percent, plural, spread

Record = Mapping[str, Any]
_PALE = "#b5b5b5"
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
    """Return a record's heading, as Markdown."""
    split = f", split {record['plan']['split']}" if "split" in record["plan"] else ""
    try:
        data = catalogue.entry(record["dataset"]).title
    except ValueError:  # an own table of somebody
        data = f"{record.get('title', record['dataset'])} (not at hand)"
    return f"{record['model']} on {data}, space {record['space']['name']}{split}"


def _score(record: Record, of: Record) -> str:
    """Return a mean ± standard deviation with its metric and number of runs, in four digits of the mean."""
    digits = max(0, 3 - math.floor(math.log10(abs(of["mean"]) or 1)))
    deviation = math.nan if of["sd"] is None else of["sd"]
    return f"{record['metric'].upper()} {spread(of['mean'], deviation, digits, of['n'])}"


def summary(record: Record) -> str:
    """Say in Markdown how the search went, what chose, and what came of it."""
    plan, chosen, origin, finalists = (record[name] for name in ("plan", "chosen", "provenance", "finalists"))
    ends = [t["rungs"][-1] for t in record["trials"] if t["rungs"][-1]["score"] is None]
    lost, came = len(ends), "diverged" if all(end["diverged"] for end in ends) else "diverged or failed"
    steps = [f"{len(r['trials'])} {_share(r['share'])}" for r in record["rungs"]]
    repeats = finalists[0]["runs"]
    last, command = "", " ".join(record["command"].replace("`", " ").split())
    if repeats:
        unit = "seed" if "split" in plan or repeats[0]["split"] == "holdout" else "fold"
        last = f" The best {len(finalists)} trained again with {plural(len(repeats), f'further {unit}')}."
    after = f" Tested after the choice: test {_score(record, record['test'])}." if record["test"] else ""
    return (
        f"{plan['trials']} settings come from the space *{literal(record['space']['name'])}* "
        f"({literal(record['space']['source'])}): {', then '.join(steps)}; {plural(lost, 'trial')} {came}.{last} "
        f"Training took {duration(record['seconds'])} on {literal(origin['device'])}. Trial {chosen['trial']} was "
        f"chosen: validation {_score(record, chosen)}.{after}\n\n`{command}` repeats it "
        f"(commit {literal(commit(origin | {'dirty': False}))}, torch {literal(origin['versions']['torch'])})."
    )


def _share(share: float) -> str:
    return "in full" if share == 1 else f"at 1/{round(1 / share)} of the epochs"


def space_table(record: Record) -> pd.DataFrame:
    """Return the space beside what was chosen, the other finalists, and what was published where anything was."""
    known = published.settings(record["dataset"], record["model"])
    heading = "paper" if record["model"].startswith("MixNAM") else "published"
    trials = {t["trial"]: t["settings"] for t in record["trials"]}
    ranges = {c["name"]: c["text"] for c in record["space"]["choices"]}
    rows = []
    for name, value in record["chosen"]["settings"].items():
        row = {"setting": name, "space": ranges.get(name, "fixed"), "chosen": shown(value)}
        row |= {f"trial {f['trial']}": shown(trials[f["trial"]][name]) for f in record["finalists"][1:]}
        rows.append(row | ({heading: shown(known[name]) if name in known else "–"} if known else {}))
    return pd.DataFrame(rows)


def finalists_table(record: Record) -> pd.DataFrame:
    """Return the finalists, the chosen one first, with the score that made them finalists and that of the choice."""
    trials = {t["trial"]: t for t in record["trials"]}
    rows = []
    for number, finalist in enumerate(record["finalists"]):
        row = {"finalist": f"trial {finalist['trial']}" + ("" if number else ", chosen")}
        row["validation, one run"] = f"{trials[finalist['trial']]['rungs'][-1]['score']:.4g}"
        row["validation, repeats"] = "none" if finalist["mean"] is None else _score(record, finalist)
        rows.append(row)
    return pd.DataFrame(rows)


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
    ranks = pd.Series(scores).rank()
    shares = {}
    for name in (choice["name"] for choice in record["space"]["choices"]):
        values = pd.Series([shown(t["settings"][name]) for t in trials])
        if values.nunique() > groups + 2:
            numbers = pd.Series([float(t["settings"][name]) for t in trials])
            values = pd.qcut(numbers.rank(method="first"), groups, labels=False).astype(str)
        count, total = values.nunique(), ((ranks - ranks.mean()) ** 2).sum()
        if 1 < count < len(ranks) and total:
            within = ((ranks - ranks.groupby(values).transform("mean")) ** 2).sum() / (len(ranks) - count)
            shares[name] = float(1 - within * (len(ranks) - 1) / total)
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def influence_told(record: Record) -> str:
    """Return alt text for `settings_figure`: `influence` of the settings that say most about the score."""
    shares = [f"{name.replace('_', ' ')} {percent(share)}" for name, share in list(influence(record).items())[:3]]
    return f"Share of the scores' variance, by rank, that a setting explains alone: {', '.join(shares)}."


def _limits(ax: Axes, record: Record, scores: Sequence[float], others: Sequence[float] = ()) -> str:
    """Have the axis cover the better of the scores, and all better `others`; say how many scores lie outside."""
    upward = better(record["metric"]) > 0
    edge = float(np.quantile(scores, 1 - _COVERED if upward else _COVERED))
    best = (max if upward else min)(*scores, *others, edge)
    pad = 0.06 * abs(edge - best) or 1e-3
    low, high = min(best, edge) - pad, max(best, edge) + pad
    ax.set_ylim(low, high)
    outside = sum(not low <= score <= high for score in scores)
    return f"not shown: {plural(outside, 'worse trial')}" if outside else ""


def rungs_figure(record: Record) -> Figure:
    """Draw every trial's validation score over the rungs, the finalists and the choice in colour."""
    finalists = [f["trial"] for f in record["finalists"]]
    ticks = [_share(r["share"]) for r in record["rungs"]]
    rows = [(t["trial"], i, rung["score"]) for t in record["trials"] for i, rung in enumerate(t["rungs"])]
    repeats = [(f["trial"], len(ticks), f["mean"]) for f in record["finalists"] if f["runs"]]
    table = pd.DataFrame(rows + repeats, columns=["trial", "rung", "score"]).dropna()
    ticks += ["further runs"] if (table["rung"] == len(ticks)).any() else []
    figure, ax = plt.subplots(figsize=(7.6, 4.0), layout="constrained")
    kinds = {"chosen": (COLORS[0], 2.2, 6, 5), "finalist": (COLORS[2], 1.4, 6, 4), "other": (_PALE, 0.9, 4, 2)}
    for trial, own in table.groupby("trial"):
        kind = "chosen" if trial == finalists[0] else "finalist" if trial in finalists else "other"
        color, width, size, above = kinds[kind]
        label = {"chosen": f"trial {trial}, chosen", "finalist": "other finalists"}.get(kind)
        seen = label in ax.get_legend_handles_labels()[1]
        look: dict[str, Any] = {"color": color, "linewidth": width, "markersize": size, "zorder": above}
        ax.plot(own["rung"], own["score"], "o-", label=None if seen else label, **look)
    outside = _limits(ax, record, _first(record)[1], list(table["score"]))
    ax.set_xticks(range(len(ticks)), ticks)
    ax.set_xlim(-0.2, max(len(ticks) - 0.8, 0.2))
    ax.set(xlabel="training", ylabel=f"validation {record['metric'].upper()}")
    ax.set_title(outside, fontsize=10, loc="left", color=GREY)
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
    size = (3.1 * len(names), 3.2)
    figure, axes = plt.subplots(1, len(names), figsize=size, sharey=True, squeeze=False, layout="constrained")
    last = set(record["rungs"][-1]["trials"])
    for ax, name in zip(axes[0], names, strict=True):
        values = [t["settings"][name] for t in trials]
        look: dict[str, Any] = {"hue": [t["trial"] in last for t in trials], "palette": {True: COLORS[2], False: _PALE}}
        if choices[name]["kind"] == "log-uniform":
            low, high = choices[name]["bounds"]
            x = [low / 3 if v == 0 else v for v in values]
            sns.scatterplot(x=x, y=scores, s=28, linewidth=0, legend=False, ax=ax, **look)
            ax.set_xscale("log")
            if 0 in values:
                powers = range(math.ceil(math.log10(low)), int(math.log10(high)) + 1)
                ticks = [10.0**p for p in powers][:: -(-len(powers) // 4)]
                ax.set_xticks([low / 3, *ticks], ["0", *(f"{t:g}" for t in ticks)])
            ax.minorticks_off()
        else:
            order = list(dict.fromkeys(shown(v) for v in sorted(values)))
            look |= {"x": [shown(v) for v in values], "order": order, "jitter": False}
            sns.stripplot(y=scores, size=5, legend=False, ax=ax, **look)
            if sum(map(len, order)) > 20:
                ax.tick_params(axis="x", rotation=45, labelsize=9)
        ax.set(xlabel=name.replace("_", " "), ylabel=f"validation {record['metric'].upper()}")
    axes[0, 0].set_title(_limits(axes[0, 0], record, scores), fontsize=10, loc="left", color=GREY)
    plt.close(figure)
    return figure
