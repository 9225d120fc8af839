"""Standings: Tables 1 and 6 beside the paper, with shared ranks, differences to MixNAM, and what lies far off."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property

import numpy as np
import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure

from mixnam.data import catalogue
from mixnam.data.splits import HOLDOUT
from mixnam.paper import experiments, published, verdicts
from mixnam.paper.experiments import Case
from mixnam.paper.intervals import Interval, Sample, nadeau_bengio, welch
from mixnam.paper.reasons import reason
from mixnam.paper.running import Outcome
from mixnam.plots.forests import forest_plot
from mixnam.report import layout
from mixnam.report.layout import Column
from mixnam.report.parameters import Parameters
from mixnam.runs.results import Result

#: Models whose contributions are each one feature's (Table 1's column FA).
ATTRIBUTING = ("Linear", "Spline", "EBM", "NAM", "NBM", "NODE-GAM", "MixNAM", "MixNAM-D", "MixNAM-E")
#: The paper's six data sets as its tables name them.
PRINTED = {
    "housing": "Housing",
    "mimic2": "MIMIC-II",
    "mimic3": "MIMIC-III",
    "income": "Income",
    "credit": "Credit",
    "year": "Year",
}
#: Scores so near share a rank: the margins of the claims, fixed before any run at the paper's setting.
MARGINS = {"housing": 0.010, "income": 0.005, "year": 0.8}
AUC_MARGIN = 0.010
#: Where no margin was fixed: this share of the smallest error, about what 0.010 is on Housing.
ERROR_SHARE = 0.02
#: Farther from the paper than this asks for a reason: share of the printed error, or difference in AUC.
FAR_SHARE, FAR_AUC = 0.05, 0.010
RANKS_NOTE = (
    "A model's rank is one more than the number of models that are better by more than {margin}; so near, ranks are "
    "shared.{paper} Counted are the {count} rows that Tables 1 and 6 print; in parentheses the rank that another row "
    "would take in place of its model's own."
)
_ROUNDING = 1e-9


def metric_of(dataset: str) -> str:
    """Return a data set's metric: rmse, mse or auc; the paper's six are known without a loader."""
    return _printed_metrics().get(dataset) or catalogue.entry(dataset).metric


@cache
def _printed_metrics() -> dict[str, str]:
    table = published.table("table1_accuracy")
    return dict(zip(table["dataset"], table["metric"], strict=True))


def margin(dataset: str, scores: Iterable[float]) -> float:
    """Return how near two scores on a data set may be to share a rank.

    >>> margin("income", [])
    0.005
    >>> round(margin("diabetes", [55.0, 60.0]), 3)
    1.1
    """
    if dataset in MARGINS:
        return MARGINS[dataset]
    if metric_of(dataset) == "auc":
        return AUC_MARGIN
    return ERROR_SHARE * min(scores, default=math.nan)


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


def at_hand(dataset: str) -> bool:
    """Return whether a data set has a loader, or a description, and its files are there."""
    try:
        return catalogue.at_hand(dataset)
    except ValueError:  # nobody knows it
        return False


def _score(value: float, metric: str) -> str:
    return f"{value:.{2 if metric != 'auc' and abs(value) >= 10 else 3}f}"


def _spread(mean: float, sd: float, metric: str) -> str:
    """Return mean ± sd with digits that fit the mean."""
    digits = len(_score(mean, metric).partition(".")[2])
    return f"{mean:.{digits}f}" + (f" ± {sd:.{digits}f}" if math.isfinite(sd) else "")


def _setting(column: Column) -> str:
    return column.label.split(": ")[-1]


def scores(results: Sequence[Result], metric: str) -> Sample:
    """Return the test scores of results that have one, as a sample; arrays are not loaded."""
    kept = [r for r in results if metric in r.metrics.get("test", {})]
    return Sample.of([r.metrics["test"][metric] for r in kept], tuple(kept))


class Standing:
    """Tables 1 and 6 on one data set: every model's stored scores, read once, beside the paper's.

    Attributes: `cases`, the rows; `columns`, the sources of results; `samples`, the scores by column's and
    row's label; `better`, 1 where higher is better, else -1.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.dataset = parameters.dataset
        self.metric = metric_of(self.dataset)
        self.better = 1 if self.metric == "auc" else -1
        self.cases = experiments.cases("accuracy", "paper")
        self.columns = layout.columns(parameters)

    @cached_property
    def samples(self) -> dict[tuple[str, str], Sample]:
        """Scores by column's and row's label."""
        return {
            (column.label, case.label): scores(layout.case_results(column, case, self.dataset), self.metric)
            for column in self.columns
            for case in self.cases
        }

    def printed(self, case: Case) -> tuple[float, float] | None:
        """Return the mean and standard deviation that the paper prints for a row's model."""
        return published.accuracy(self.dataset, case.model)

    def _ranked(self, means: Mapping[str, float]) -> tuple[dict[str, str], int]:
        """Return ranks by row, those of rows that the paper has not in parentheses, and how many were counted."""
        models = {c.label: c.model for c in self.cases}
        counted = {c.label: means[c.label] for c in self.cases if c.published and c.label in means}
        near = margin(self.dataset, counted.values() or means.values())
        found = {name: str(rank) for name, rank in ranks(counted, self.better, near).items()}
        for name in means:
            if name not in counted:  # instead of its model's own row
                others = {k: v for k, v in counted.items() if models[k] != models[name]}
                found[name] = f"({ranks(others | {name: means[name]}, self.better, near)[name]})"
        return found, len(counted)

    def accuracy_table(self) -> pd.DataFrame:
        """Return each model's paper value and each column's mean ± sd (n), with ranks."""
        printed = {c.label: p for c in self.cases if c.published and (p := self.printed(c)) is not None}
        theirs, count = self._ranked({name: mean for name, (mean, _) in printed.items()})
        ours = {}
        for column in self.columns:
            found = {c.label: self.samples[column.label, c.label] for c in self.cases}
            ours[column.label] = self._ranked({name: s.mean for name, s in found.items() if s.n})
        rows = []
        for case in self.cases:
            pair = printed.get(case.label)
            row = {
                f"{layout.METRIC_LABELS[self.metric]} of": case.label,
                "FA": "✓" if case.model in ATTRIBUTING else "✗",
                "paper": _spread(*pair, self.metric) if pair else "–",
            }
            if printed:
                row[f"rank of {count}"] = theirs.get(case.label, "–")
            for column in self.columns:
                sample = self.samples[column.label, case.label]
                place, of = ours[column.label]
                text = _spread(sample.mean, sample.sd, self.metric) + f" (n = {sample.n})" if sample.n else "not run"
                row[column.label] = text
                if of:
                    row[f"rank of {of}, {_setting(column)}"] = place.get(case.label, "–")
            rows.append(row)
        return pd.DataFrame(rows)

    def ranks_note(self) -> str:
        """Return how ranks are shared, as Markdown."""
        means = [s.mean for s in self.samples.values() if s.n]
        unit = layout.METRIC_LABELS[self.metric].removeprefix("test ")
        near = margin(self.dataset, means)
        told = f"{near:.{3 if near < 0.1 else 2}f} in {unit}"
        if self.dataset not in MARGINS and self.metric != "auc":
            told = f"{ERROR_SHARE:.0%} of the smallest {unit}".replace("%", " %")
        paper = " The paper's numbers are ranked in the same way." if self.dataset in PRINTED else ""
        return RANKS_NOTE.format(margin=told, paper=paper, count=sum(bool(c.published) for c in self.cases))

    def cost_table(self) -> pd.DataFrame:
        """Return what was trained: each model's parameters and seconds a run, for each column that has them.

        Seconds name the kind of device where it was not a CPU.
        """
        rows = []
        filled = [c for c in self.columns if any(self.samples[c.label, case.label].n for case in self.cases)]
        for case in self.cases:
            row = {"model": case.label}
            for column in filled:
                results = self.samples[column.label, case.label].results
                sizes = [r.cost["parameters"] for r in results if r.cost.get("parameters") is not None]
                seconds = [r.cost["fit_seconds"] for r in results]
                kinds = sorted({r.provenance.get("device_type", "cpu") for r in results} - {"cpu"})
                took = f"{np.mean(seconds):,.1f}{' on ' + ', '.join(kinds) if kinds else ''}" if seconds else "–"
                row[f"parameters, {_setting(column)}"] = f"{np.mean(sizes):,.0f}" if sizes else "–"
                row[f"seconds a run, {_setting(column)}"] = took
            if len(row) > 1 and set(row.values()) != {case.label, "–"}:
                rows.append(row)
        return pd.DataFrame(rows)

    def _advantage(self, own: Sample, rival: Sample) -> tuple[float, Interval, int]:
        """Return MixNAM's advantage over a rival, its 95 % interval, and the number of runs or shared folds."""
        if catalogue.entry(self.dataset).splits == HOLDOUT:
            low, high = sorted(self.better * x for x in welch(own, rival))
            return self.better * (own.mean - rival.mean), (low, high), rival.n
        mine, theirs = ({r.spec.split: r.metrics["test"][self.metric] for r in s.results} for s in (own, rival))
        folds = [split for split in mine if split in theirs]
        differences = self.better * np.array([mine[k] - theirs[k] for k in folds])
        interval = (
            nadeau_bengio(differences, verdicts.share_tested(self.dataset)) if len(folds) > 1 else (-math.inf, math.inf)
        )
        return (float(differences.mean()) if folds else math.nan), interval, len(folds)

    def differences(self) -> pd.DataFrame:
        """Return how far MixNAM is ahead of each row: label, source, mean, low, high and n.

        Positive is better, whatever the metric. Over folds: of paired differences, by the corrected resampled t;
        over seeds of one split: Welch's interval. The paper's own (source "paper") has no interval.
        """
        rows = []
        base = published.accuracy(self.dataset, "MixNAM")
        for case in self.cases:
            if case.model == "MixNAM":
                continue
            printed = self.printed(case) if case.published else None
            if base and printed:
                ahead = self.better * (base[0] - printed[0])
                rows.append({"label": case.label, "source": "paper", "mean": ahead, "low": math.nan, "high": math.nan})
            for column in self.columns:
                own, rival = self.samples[column.label, "MixNAM"], self.samples[column.label, case.label]
                if own.n and rival.n:
                    mean, (low, high), n = self._advantage(own, rival)
                    found = {"label": case.label, "source": column.label, "mean": mean, "low": low, "high": high}
                    rows += [found | {"n": n}] if n else []
        return pd.DataFrame(rows, columns=["label", "source", "mean", "low", "high", "n"])

    def difference_table(self) -> pd.DataFrame:
        """Return `differences` for reading: a row for each model, each column's interval beside the paper's."""
        found = self.differences()
        sources = [s for s in ("paper", *(c.label for c in self.columns)) if s in set(found["source"])]
        rows = []
        for label in dict.fromkeys(found["label"]):
            row = {"MixNAM ahead of": label}
            for source in sources:
                cells = found[(found["label"] == label) & (found["source"] == source)].to_dict("records")
                row[source] = _signed(cells[0], self.metric) if cells else "–" if source == "paper" else "not run"
            rows.append(row)
        return pd.DataFrame(rows)

    def picture(self) -> Figure | Markdown:
        """Return `differences` as a forest plot, or a line that says why there is none."""
        found = self.differences()
        if (found["source"] == "paper").all():
            return Markdown("No model of ours stands beside MixNAM on these data yet.")
        return forest_plot(found, f"MixNAM's advantage in {layout.METRIC_LABELS[self.metric]} (mean and 95 % interval)")

    def gaps(self) -> list[str]:
        """Return a line of Markdown for each row that lies far from the paper, with the reason where one is known."""
        found: dict[tuple[str, str], list[str]] = {}
        for case in self.cases:
            printed = self.printed(case)
            for column in self.columns:
                sample = self.samples[column.label, case.label]
                if not sample.n or printed is None:
                    continue
                off = sample.mean - printed[0]
                share = off / printed[0]
                if abs(off) <= FAR_AUC + _ROUNDING if self.metric == "auc" else abs(share) <= FAR_SHARE:
                    continue
                side = "better" if self.better * off > 0 else "worse"
                told = f"{off:+.3f}" if self.metric == "auc" else f"{share:+.1%}".replace("%", " %")
                line = f"{_score(sample.mean, self.metric)} (n = {sample.n}, {_setting(column)}) against "
                line += f"{_score(printed[0], self.metric)}: {told}, {side}"
                found.setdefault((case.label, reason(case, self.dataset, column.preset, side)), []).append(line)
        return [f"- **{row}**: {'; '.join(lines)}. *{why}*" for (row, why), lines in found.items()]

    def gaps_note(self) -> str:
        """Return what lies far from the paper, as Markdown."""
        limit = f"{FAR_AUC:.3f}" if self.metric == "auc" else f"{FAR_SHARE:.0%}".replace("%", " %")
        if not any(self.printed(case) for case in self.cases):
            return "The paper prints nothing for these data."
        if not any(sample.n for sample in self.samples.values()):
            return "Nothing was run on these data here yet, so nothing stands beside the paper's numbers."
        lines = self.gaps()
        if not lines:
            return f"No model that was run lies more than {limit} from the paper."
        return "\n".join([f"More than {limit} from the paper:\n", *lines])


def _signed(cell: Mapping[str, float], metric: str) -> str:
    digits = 4 if metric == "auc" else 2 if abs(cell["mean"]) >= 1 else 3
    text = f"{cell['mean']:+.{digits}f}"
    finite = math.isfinite(cell["low"]) and math.isfinite(cell["high"])
    interval = f"[{cell['low']:+.{digits}f},\N{NO-BREAK SPACE}{cell['high']:+.{digits}f}]"
    return f"{text} {interval}" if finite else text


def opening(outcome: Outcome, parameters: Parameters) -> str:
    """Return what a page on one data set starts with, as Markdown: its title, its runs, and how to get missing data."""
    known = catalogue.entry(parameters.dataset)
    if outcome.skipped or at_hand(parameters.dataset):
        return f"Data set: **{known.title}**. {layout.notice(outcome, parameters)}"
    return (
        f"Data set: **{known.title}**. **Its data are not at hand**, so nothing can be trained: shown is what the "
        f"paper prints, and what is stored ({len(outcome.results)} of {len(outcome.specs)} runs at the "
        f"{outcome.preset} preset). To get them: {known.remedy} (`MIXNAM_DATA`, else `data/`)."
    )


def _sources(parameters: Parameters) -> dict[str, list[Column]]:
    """Return the overview's lines beside the paper's, each with the columns that it takes a cell from in turn."""
    columns = layout.columns(parameters)
    if parameters.is_reference:
        return {"ours": columns}
    return {"reference": columns[:1], **{c.label.removeprefix("this "): [c] for c in columns[1:]}}


def overview_table(parameters: Parameters, names: Sequence[str]) -> pd.DataFrame:
    """Return Tables 1 and 6 over several data sets: a line for the paper and each source, models by data sets.

    The reference takes the paper's setting, else the quick one, and says so; it also says how many runs there
    are where they are fewer than the paper's. Empty cells say "not run" or "data not at hand".
    """
    lines = []
    sources = _sources(parameters)
    there = {name: at_hand(name) for name in names}
    for case in experiments.cases("accuracy", "paper"):
        printed = {n: published.accuracy(n, case.model) for n in names} if case.published else {}
        cells = {"paper": {n: _spread(*p, metric_of(n)) for n, p in printed.items() if p is not None}}
        for source, columns in sources.items():
            cells[source] = {n: _cell(columns, case, n, there[n]) for n in names}
        for source, by_name in cells.items():
            if by_name:
                row = {"model": _short(case), "source": source}
                lines.append(row | {heading(n): by_name.get(n, "–") for n in names})
    return pd.DataFrame(lines)


def heading(dataset: str) -> str:
    """Return a data set's column heading: its name, metric and the side that is better."""
    metric = metric_of(dataset)
    title = PRINTED.get(dataset) or catalogue.entry(dataset).title
    return f"{title}, {metric.upper()}\N{NO-BREAK SPACE}{'↑' if metric == 'auc' else '↓'}"


def _short(case: Case) -> str:
    """Return a row's label for a wide table, with a mark for models that attribute to single features."""
    name = case.label.replace(" of 2021", "").replace(" by us", "").replace("its ", "")
    mark = "\N{NO-BREAK SPACE}✓" if case.model in ATTRIBUTING else ""
    return name.replace("NODE-", "NODE\N{NON-BREAKING HYPHEN}") + mark


def _cell(columns: Sequence[Column], case: Case, dataset: str, there: bool) -> str:
    if dataset in catalogue.REGISTRY:
        metric = metric_of(dataset)
        for column in columns:
            sample = scores(layout.case_results(column, case, dataset), metric)
            if sample.n:
                full = len(experiments.specs_of(dataset, case.model, "paper"))
                marks = [f"n = {sample.n}"] if sample.n < full else []
                marks += [column.preset] if column is not columns[0] else []
                text = _spread(sample.mean, sample.sd, metric)
                return text + (f" ({', '.join(marks)})" if marks else "")
    return "not run" if there else "data not at hand"


def other_names() -> list[str]:
    """Return the data sets beyond the paper's six that have an accuracy page: the open and the bundled ones."""
    return [n for n, e in catalogue.REGISTRY.items() if not e.simulated and n not in PRINTED]
