"""Our own recipe beside baselines: scores of fresh runs, single and in means, and what additivity costs it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import pandas as pd
from matplotlib.figure import Figure

from mixnam.data import catalogue
from mixnam.data.splits import HOLDOUTS
from mixnam.data.table import better
from mixnam.paper import experiments
from mixnam.paper.evidence import of_means
from mixnam.paper.experiments import Case
from mixnam.paper.intervals import LEVEL, Sample, difference
from mixnam.paper.presets import load_preset
from mixnam.paper.search import folder
from mixnam.paper.verdicts import LEAST_RUNS
from mixnam.plots import shapes
from mixnam.report import figures
from mixnam.report.layout import spread
from mixnam.report.parameters import Column, Parameters
from mixnam.report.searches import Record
from mixnam.report.tables import SWEEP_MEASURES, cell, numbers, score
from mixnam.runs.members import Mean, mean_of
from mixnam.runs.results import Result

#: How many members a mean has, and what a table calls it.
MEANS = {1: "one model", 4: "mean of four", 8: "mean of eight"}
NOT_YET = "not run yet"
#: The space that a model's settings were searched in, where it is not `ahead`.
SPACES = {"XGBoost": "fast"}
SEARCHED = "the best of the search's trials"
#: What the page draws over λ.
_SWEPT = ("rmse", "additivity", "tightness", "width")
_COLORS = {"our recipe": "#b2182b", "quick setting": "#4ba3d8"}


class Ahead:
    """The fresh runs of our recipe, of MixNAM's other settings and of baselines, on each of the open sets."""

    def __init__(self, parameters: Parameters) -> None:
        self.best = parameters.best
        self.quick = Column("ours", "quick setting", "quick", self.best.store)
        self.rows = [*experiments.cases("ahead", "best"), Case("MixNAM, the paper's setting", "MixNAM", preset="paper")]
        self._known: dict[tuple[str, str, int, bool], Sample] = {}

    def results(self, dataset: str, case: Case, other_splits: bool = False) -> list[Result]:
        """Return the fresh runs of a row that are stored, first seeds first."""
        preset = case.preset or self.best.preset
        specs = experiments.fresh_specs(dataset, case.model, preset, case.overrides, other_splits)
        return [result for spec in specs if (result := self.best.store.get(spec)) is not None]

    def sample(self, dataset: str, case: Case, members: int = 1, other_splits: bool = False) -> Sample:
        """Return the test score of a row's single models, or of means of so many, as claims take it."""
        key = dataset, case.label, members, other_splits
        if key not in self._known:
            found, (path, _) = self.results(dataset, case, other_splits), score(dataset)
            single = Sample.of([result.value(path) for result in found], tuple(found)) if members == 1 else None
            self._known[key] = single or of_means(found, members, path)
        return self._known[key]

    def table(self, dataset: str, other_splits: bool = False) -> pd.DataFrame:
        """Return each row's score as one model and in means, and how far our recipe is ahead of it, like for like."""
        lines = []
        for case in self.rows:
            line = {score(dataset)[1]: case.label}
            line |= {name: self._score(dataset, case, members, other_splits) for members, name in MEANS.items()}
            for members, name in MEANS.items():
                first = case is self.rows[0]
                line[f"ahead of it, {name}"] = "" if first else self._ahead(dataset, case, members, other_splits)
            lines.append(line)
        found = pd.DataFrame(lines, dtype=object)
        empty = [str(name) for name in found if "eight" in str(name) and set(found[name]) <= {"", "–", NOT_YET}]
        shown = found[MEANS[1]] != NOT_YET
        return found.drop(columns=empty)[shown] if other_splits else found.drop(columns=empty)

    def _score(self, dataset: str, case: Case, members: int, other_splits: bool) -> str:
        """Return mean ± sd over seeds, or over folds or splits; means of one split's seeds share seeds: no sd."""
        found = self.sample(dataset, case, members, other_splits)
        if not found.n:
            return NOT_YET
        several = list(found.by_split.values())
        if len(several) > 1:
            found = Sample.of(several)
        digits = 2 if found.mean >= 10 else 4
        if members > 1 and len(several) == 1:
            return spread(found.mean, digits=digits)
        return spread(found.mean, found.sd, digits, found.n)

    def _ahead(self, dataset: str, case: Case, members: int, other_splits: bool) -> str:
        """Return the advantage with its 95 % interval and its word; a dash with less than five runs on a side."""
        metric = catalogue.entry(dataset).metric
        ours, theirs = (self.sample(dataset, row, members, other_splits) for row in (self.rows[0], case))
        if min(ours.n, theirs.n) < LEAST_RUNS:
            return "–"
        off = difference(ours, theirs, dataset, metric).turned(better(metric))
        if not off.n or not math.isfinite(off.error):
            return "–"
        word = "ahead" if off.chance_above(0) <= LEVEL else "behind" if off.chance_below(0) <= LEVEL else "level"
        digits, (low, high) = 2 if ours.mean >= 10 else 4, off.interval
        interval = f"[{low:+.{digits}f},\N{NO-BREAK SPACE}{high:+.{digits}f}]".replace("-", "−")
        return f"{word} {off.mean:+.{digits}f} {interval}".replace(" -", " −")

    @cached_property
    def sweep(self) -> pd.DataFrame:
        """MixNAM's runs on Housing over λ, with columns `penalty` and `source`: our recipe and the quick setting."""
        penalties = load_preset("best").values("lambda_sweep")
        rows = [Case(f"{value:g}", "MixNAM", {"variation_penalty": value}) for value in penalties]
        found = [
            column.of(rows, "housing").assign(source=source)
            for source, column in zip(_COLORS, (self.best, self.quick), strict=True)
        ]
        runs = pd.concat([runs for runs in found if len(runs)] or found[:1])
        return runs.assign(penalty=runs["row"].astype(float))

    def sweep_table(self) -> pd.DataFrame:
        """Return each λ's test RMSE, additivity, tightness and width of bounds, for each setting."""
        measures = [SWEEP_MEASURES[name] for name in _SWEPT]
        lines = []
        for (penalty, source), runs in self.sweep.groupby(["penalty", "source"]):
            cells = {label: cell(runs, path) for path, label in measures}
            lines.append({"λ": f"{penalty:g}", "setting": source, "n": len(runs)} | cells)
        return pd.DataFrame(lines)

    def sweep_picture(self) -> Figure | None:
        """Return the same drawn over λ; None where our recipe has no runs over λ."""
        runs = self.sweep
        if "our recipe" not in set(runs["source"]):
            return None
        lines = []
        for name in _SWEPT:
            found = runs[["source", "penalty"]].assign(number=numbers(runs, SWEEP_MEASURES[name][0])).dropna()
            grouped = found.groupby(["source", "penalty"])["number"].agg(mean="mean", sd="std", numbers=tuple)
            lines.append(grouped.reset_index().assign(measure=name))
        panels = {name: SWEEP_MEASURES[name][1] for name in _SWEPT}
        return figures.sweep_plot(pd.concat(lines), panels, _COLORS)

    def mean(self, members: int = 4) -> Mean | None:
        """Return the mean of Housing's first models of our recipe; None where there are fewer."""
        found = self.results("housing", self.rows[0])
        return mean_of(found[:members]) if len(found) >= members else None

    def shapes(self, mean: Mean) -> Figure:
        """Draw one feature for the first member and for the mean, with the members' spread."""
        panels: dict[str, Result | None] = {MEANS[1]: mean.members[0], MEANS[len(mean.members)]: mean}
        return shapes.compare_shapes(panels, shapes.featured(mean.members[0]))


def search_table(found: Sequence[Record]) -> pd.DataFrame:
    """Return how many trials each model's settings were searched with on each set and on Housing's other splits.

    `found` are the records of searches. A dash says that there is none: the model has its quick setting there, on other
    splits Housing's.
    """
    places = {(name, ""): catalogue.entry(name).title for name in experiments.AHEAD_ON}
    places |= {(experiments.ELSEWHERE_ON, split): "each other split" for split in HOLDOUTS}
    known: dict[tuple[str, str], list[int]] = {}
    for record in found:
        place = places.get((record["dataset"], record["plan"].get("split", "")))
        if place is not None and record["space"]["name"] == SPACES.get(record["model"], "ahead"):
            known.setdefault((record["model"], place), []).append(len(record["trials"]))
    columns = Counter(places.values())
    whole = {(m, place): min(n) for (m, place), n in known.items() if len(n) == columns[place]}
    return pd.DataFrame(
        [
            {"model": model} | {place: str(whole.get((model, place), "–")) for place in columns}
            for model in ("MixNAM", *experiments.RIVALS)
        ]
    )


def tried_table(found: Sequence[Record]) -> pd.DataFrame:
    """Return the validation scores that our recipe was chosen by: the prototype's, varied, and the search's choice.

    Each is the mean over three further seeds or folds, by data set.
    """
    runs = pd.read_csv(folder() / "by_hand.csv")
    runs["mean"] = runs[["run1", "run2", "run3"]].mean(axis=1)
    chosen = [r for r in found if (r["model"], r["space"]["name"]) == ("MixNAM", "ahead")]
    searched = [{"settings": SEARCHED, "dataset": r["dataset"], "mean": r["chosen"]["mean"]} for r in chosen]
    both = pd.concat([runs, pd.DataFrame(searched)])
    table = both.pivot_table("mean", "settings", "dataset", sort=False, aggfunc="first")
    shown = {
        f"{catalogue.entry(n).title}, {catalogue.entry(n).metric.upper()}": [
            "–" if math.isnan(v) else f"{v:.{2 if v > 10 else 4}f}" for v in table[n]
        ]
        for n in experiments.AHEAD_ON
        if n in table
    }
    return pd.DataFrame({"settings": table.index} | shown)


def recipe_table() -> pd.DataFrame:
    """Return the settings in which our recipe differs from the quick one anywhere, by data set."""
    names = {name: catalogue.entry(name).title for name in experiments.AHEAD_ON}
    both = {
        name: [load_preset(preset).settings(name, "MixNAM").all() for preset in ("quick", "best")] for name in names
    }
    settings = [key for key in next(iter(both.values()))[1] if any(old[key] != new[key] for old, new in both.values())]
    columns = {f"{names[name]}: quick → recipe": pair for name, pair in both.items()}
    rows = [
        {"setting": key.replace("_", " ")}
        | {name: f"{_said(old[key])} → {_said(new[key])}" for name, (old, new) in columns.items()}
        for key in settings
    ]
    return pd.DataFrame(rows)


def _said(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")
