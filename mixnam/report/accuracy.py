"""Tables 1 and 6 beside the paper: shared ranks, differences to MixNAM, and large differences from the paper."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any

import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure

from mixnam.data import catalogue
from mixnam.data.splits import HOLDOUT
from mixnam.data.table import better
from mixnam.models import MODELS
from mixnam.paper import experiments, published
from mixnam.paper.experiments import Case
from mixnam.paper.intervals import Sample, difference
from mixnam.paper.ranks import ERROR_SHARE, MARGINS, margin, ranks
from mixnam.paper.reasons import reason
from mixnam.paper.running import Outcome
from mixnam.plots.forests import PAPER, forest_plot
from mixnam.report import layout, timing
from mixnam.report.layout import Element, Printed, literal, percent, spread
from mixnam.report.parameters import Column, Parameters
from mixnam.report.pictures import picture
from mixnam.report.tables import by, sample, samples, score

#: Farther from the paper than this asks for a reason: share of the printed error, or difference in AUC.
FAR_SHARE, FAR_AUC = 0.05, 0.010
RANKS_NOTE = (
    "A model's rank is one more than the number of models that are better by more than {margin}: models so near share "
    "a rank.{paper} The {count} rows of Tables 1 and 6 are ranked; a rank in parentheses is what another row would "
    "have in place of its model's own."
)
_ROUNDING = 1e-9


def digits(metric: str, value: float) -> int:
    """Return how many decimals a score is told with."""
    return 2 if metric != "auc" and abs(value) >= 10 else 3


def _told(found: Sample, metric: str, n: int | str = "") -> str:
    return spread(found.mean, found.sd, digits(metric, found.mean), n)


class Standing:
    """Tables 1 and 6 on one data set: every model's stored scores beside the paper's.

    Attributes: `cases`, the rows; `columns`, the sources of results; `better`, 1 where higher is better, else -1;
    `printed`, the paper's mean and standard deviation by the row's label; `over`, what runs differ in: seeds or folds.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.dataset, self.columns, self.parameters = parameters.dataset, parameters.columns, parameters
        self.metric = catalogue.entry(self.dataset).metric
        self.better = better(self.metric)
        self.path, self.label = score(self.dataset)
        self.over = "seeds" if catalogue.entry(self.dataset).splits == HOLDOUT else "folds"
        self.cases = experiments.cases("accuracy", "paper")
        known = {case.label: published.accuracy(self.dataset, case.model) for case in self.cases}
        self.printed = {label: Sample(*pair, 0) for label, pair in known.items() if pair is not None}

    @cached_property
    def runs(self) -> pd.DataFrame:
        """The runs of all rows, with `row` and `source`."""
        return self.parameters.runs(self.cases)

    @cached_property
    def samples(self) -> dict[tuple[str, str], Sample]:
        """Scores by column's and row's label; what has none is not there."""
        return samples(self.runs, self.path)

    def of(self, column: Column) -> dict[str, Sample]:
        """Return the scores of a column by the row's label, in the rows' order."""
        found = {case.label: self.samples.get((column.label, case.label)) for case in self.cases}
        return {label: sample for label, sample in found.items() if sample is not None}

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

    @property
    def title(self) -> str:
        """The title of the table of scores."""
        table = "Table 1 (paper)" if self.printed else "Accuracy"
        return f"{table} · ours: mean ± sd (n {self.over})"

    def accuracy_table(self) -> pd.DataFrame:
        """Return each model's paper value and each column's mean ± sd (n), with ranks."""
        labels = [case.label for case in self.cases]
        paper = {c.label: self.printed[c.label] for c in self.cases if c.published and c.label in self.printed}
        if not self.printed:  # only what was run
            labels = [label for label in labels if any((c.label, label) in self.samples for c in self.columns)]
        table = pd.DataFrame({f"{self.label} of": labels})
        table["FA"] = ["✓" if MODELS[c.model].attributes else "✗" for c in self.cases if c.label in labels]
        if paper:
            told = [Printed(_told(paper[label], self.metric)) if label in paper else "–" for label in labels]
            table[PAPER] = pd.Series(told, dtype=object)
            places, of = self._ranked({label: sample.mean for label, sample in paper.items()})
            table[f"rank of {of}"] = [places.get(label, "–") for label in labels]
        for column in self.columns:
            ours = self.of(column)
            places, of = self._ranked({label: sample.mean for label, sample in ours.items()})
            scores = {label: _told(sample, self.metric, sample.n) for label, sample in ours.items()}
            table[column.label] = [scores.get(label, "not run") for label in labels]
            if of:
                table[f"rank of {of}, {column.setting}"] = [places.get(label, "–") for label in labels]
        return table

    def ranks_note(self) -> str:
        """Return how ranks are shared."""
        unit = self.label.removeprefix("test ")
        near = margin(self.dataset, [sample.mean for sample in self.samples.values()])
        told = f"{near:.{3 if near < 0.1 else 2}f} in {unit}"
        if self.dataset not in MARGINS and self.metric != "auc":
            told = f"{percent(ERROR_SHARE)} of the smallest {unit}"
        paper = " The paper's numbers are ranked in the same way." if self.dataset in published.DATASETS else ""
        return RANKS_NOTE.format(margin=told, paper=paper, count=sum(bool(c.published) for c in self.cases))

    def cost_table(self) -> pd.DataFrame:
        """Return what was trained: each model's parameters and seconds a run, for each column that has them.

        Means over the runs of the newest version; seconds name the kind of device where it was not a CPU.
        """
        groups = by(timing.newest(self.runs), "source", "row")
        filled = [column for column in self.columns if any(source == column.label for source, _ in groups)]
        rows = []
        for case in self.cases:
            row = {"model": case.label}
            for column in filled:
                runs = groups.get((column.label, case.label), self.runs[:0])
                size, seconds = (float(runs[f"cost.{name}"].mean()) for name in ("parameters", "fit_seconds"))
                kinds = ", ".join(sorted({*runs["device_type"]} - {"cpu"}))
                row[f"parameters, {column.setting}"] = f"{size:,.0f}" if math.isfinite(size) else "–"
                took = f"{seconds:,.1f}" + (f" on {kinds}" if kinds else "")
                row[f"seconds a run, {column.setting}"] = took if len(runs) else "–"
            if {*row.values()} - {case.label, "–"}:
                rows.append(row)
        return pd.DataFrame(rows)

    @cached_property
    def differences(self) -> pd.DataFrame:
        """How far MixNAM is ahead of each row: label, source, mean, low, high and n.

        Positive is better, whatever the metric. Over folds: of paired differences, by the corrected resampled t;
        over seeds of one split: over seeds and test rows. The paper's own (source "paper") has no interval.
        """
        rows = []
        printed, ours = self.printed.get("MixNAM"), [(column, self.of(column)) for column in self.columns]
        for case in (case for case in self.cases if case.model != "MixNAM"):
            if printed and case.published and case.label in self.printed:
                ahead = self.better * (printed.mean - self.printed[case.label].mean)
                rows.append((case.label, PAPER, ahead, math.nan, math.nan, math.nan))
            for column, found in ours:
                if "MixNAM" in found and case.label in found:
                    off = difference(found["MixNAM"], found[case.label], self.dataset, self.metric).turned(self.better)
                    rows += [(case.label, column.label, off.mean, *off.interval, off.n)] if off.n else []
        return pd.DataFrame(rows, columns=["label", "source", "mean", "low", "high", "n"])

    def difference_table(self) -> pd.DataFrame:
        """Return `differences` for reading: a row for each model, each column's interval beside the paper's."""
        found = self.differences
        told = {(row["label"], row["source"]): _signed(row, self.metric) for row in found.to_dict("records")}
        told |= {key: Printed(text) for key, text in told.items() if key[1] == PAPER}
        sources = [s for s in (PAPER, *(c.label for c in self.columns)) if s in set(found["source"])]
        lacking = {source: "–" if source == PAPER else "not run" for source in sources}
        rows = [
            {"MixNAM ahead of": label} | {s: told.get((label, s), lacking[s]) for s in sources}
            for label in dict.fromkeys(found["label"])
        ]
        return pd.DataFrame(rows, dtype=object)

    def difference_note(self) -> str:
        """Return how differences are taken on these data, as Markdown."""
        taken = "over seeds and test rows together"
        if self.over == "folds":
            taken = "of paired differences over folds, by the corrected resampled t of Nadeau and Bengio"
        paper = " The paper prints no paired differences: its column is the difference of two printed means."
        return (
            f"A positive number says that MixNAM is better, whatever the metric. Intervals are of 95 %, {taken} "
            "([how a verdict is made](rules.html)). An interval that holds 0 does not tell the two models apart."
            + (paper if self.printed else "")
        )

    def forest(self) -> Figure:
        """Return `differences` as a forest plot, with a ring where MixNAM is behind."""
        found = self.differences
        sources = [column.label for column in self.columns if column.label in set(found["source"])]
        places = dict(zip(sources, (-1, 1), strict=True)) if len(sources) > 1 else {}
        colors = {source: self.parameters.colors[source] for source in sources}
        drawn = found.assign(
            kind=found["source"], behind=found["high"] < 0, place=found["source"].map(places).fillna(0)
        )
        return forest_plot(drawn, f"MixNAM's advantage in {self.label}", colors)

    def picture(self) -> Element | Markdown:
        """Return the forest plot as the page shows it, or a line that says why there is none."""
        ours = self.differences[self.differences["source"] != PAPER]
        if ours.empty:
            return Markdown("No model was trained beside MixNAM on these data yet.")
        behind = ", ".join(dict.fromkeys(ours.loc[ours["high"] < 0, "label"])) or "no model"
        words = f"MixNAM's advantage in {self.label} over each model, around 0; beyond chance it is behind {behind}."
        sources = " and ".join(dict.fromkeys(ours["source"]))
        return picture(self.forest(), f"MixNAM's advantage · {sources}", words)

    def gaps(self) -> list[str]:
        """Return a line of Markdown for each row that lies far from the paper, with the reason where one is known."""
        found: dict[tuple[str, str], list[str]] = {}
        for case in (case for case in self.cases if case.label in self.printed):
            paper = self.printed[case.label]
            for column in self.columns:
                ours = self.samples.get((column.label, case.label))
                if ours is None:
                    continue
                off = ours.mean - paper.mean
                share = off / paper.mean
                if abs(off) <= FAR_AUC + _ROUNDING if self.metric == "auc" else abs(share) <= FAR_SHARE:
                    continue
                side = "better" if self.better * off > 0 else "worse"
                told = f"{off:+.3f}" if self.metric == "auc" else percent(share, 1, "+")
                ours_told, paper_told = (spread(s.mean, digits=digits(self.metric, s.mean)) for s in (ours, paper))
                line = f"{ours_told} (n = {ours.n}, {column.setting}) against {paper_told}: {told}, {side}"
                found.setdefault((case.label, reason(case, self.dataset, column.preset, side)), []).append(line)
        return [f"- **{row}**: {'; '.join(lines)}. *{why}*" for (row, why), lines in found.items()]

    def gaps_note(self) -> str:
        """Return the large differences from the paper under their heading, as Markdown; nothing without print."""
        limit = f"{FAR_AUC:.3f}" if self.metric == "auc" else percent(FAR_SHARE)
        if not self.printed:
            return layout.NOTHING
        lines, head = self.gaps(), "## Differences from the paper\n\n"
        if not self.samples:
            return f"{head}No model was run on these data yet, so nothing stands beside the paper's numbers."
        if not lines:
            return f"{head}No model that was run differs by more than {limit} from the paper."
        return "\n".join([f"{head}These differ by more than {limit} from the paper:\n", *lines])


def _signed(row: Mapping[Hashable, Any], metric: str) -> str:
    places = 4 if metric == "auc" else 2 if abs(row["mean"]) >= 1 else 3
    text = f"{row['mean']:+.{places}f}"
    finite = math.isfinite(row["low"]) and math.isfinite(row["high"])
    return text + (f" [{row['low']:+.{places}f},\N{NO-BREAK SPACE}{row['high']:+.{places}f}]" if finite else "")


def opening(outcome: Outcome, parameters: Parameters) -> str:
    """Return what a page on one data set starts with, as Markdown: its title, its runs, and how to get missing data."""
    known = catalogue.entry(parameters.dataset)
    splits = f"{len(known.splits)} folds"
    if known.splits == HOLDOUT:
        splits = "one fixed split, with another seed for each run"
    theirs = (
        "**The paper** (Section 4.1, Tables 1 and 6): MixNAM predicts better than additive models, which attribute the "
        "prediction to single features (FA), and about as well as black boxes. EBM and EB2M have two rows: one at the "
        "defaults of today's release of interpret, one at those of release 0.2.7, which the paper may have used."
        if parameters.dataset in published.DATASETS
        else "The paper has no numbers for a table of your own."
        if known.features
        else "The paper has no numbers for these data; we added them."
    )
    title = f"{theirs}\n\nData set: **{literal(known.title)}**, {splits}."
    if outcome.skipped or catalogue.at_hand(parameters.dataset):
        return f"{title} {layout.notice(outcome, parameters)}"
    stored = f"{len(outcome.results)} of {len(outcome.specs)} runs at the {outcome.preset} preset"
    return (
        f"{title} **Its data are not at hand**, so nothing can be trained. This page shows what the paper prints, and "
        f"what is stored ({stored}). To get the data: {literal(known.remedy)} (`MIXNAM_DATA`, else `data/`)."
    )


def columns_read(parameters: Parameters) -> Element:
    """Return how the columns of a user's own table were read; of other data nothing."""
    if not catalogue.entry(parameters.dataset).features:
        return layout.Element("", layout.NOTHING)
    table = catalogue.load(parameters.dataset)
    note = "Missing values are a point of their own, of categories a category. A wrong reading? Mend the description."
    return layout.show(table.columns().astype(str), "How the columns were read", note)


def overview_table(parameters: Parameters, names: Sequence[str]) -> pd.DataFrame:
    """Return Tables 1 and 6 over several data sets: a line for the paper and each source, models by data sets.

    The reference takes the paper's setting, else the quick one, and says so; it also says how many runs there
    are where they are fewer than the paper's. Empty cells say "not run" or "data not at hand".
    """
    metrics = {name: catalogue.entry(name).metric for name in names}
    reference, *others = parameters.columns
    sources = {"reference": [reference], **{f"rerun, {column.setting}": [column] for column in others}}
    lines = []
    for case in experiments.cases("accuracy", "paper"):
        known = {name: published.accuracy(name, case.model) for name in names} if case.published else {}
        cells: dict[str, dict[str, str]] = {}
        cells[PAPER] = {n: Printed(_told(Sample(*pair, 0), metrics[n])) for n, pair in known.items() if pair}
        for source, columns in ({"ours": parameters.columns} if parameters.is_reference else sources).items():
            cells[source] = {name: _ours(columns, case, name) for name in names}
        for source, by_name in cells.items():
            if by_name:
                row = {"model": short(case), "source": source}
                lines.append(row | {heading(name): by_name.get(name, "–") for name in names})
    return pd.DataFrame(lines, dtype=object)


def heading(dataset: str) -> str:
    """Return a data set's column heading: its name, metric and the side that is better."""
    known = catalogue.entry(dataset)
    arrow = "↑" if better(known.metric) > 0 else "↓"
    return f"{published.DATASETS.get(dataset) or known.title}, {known.metric.upper()}\N{NO-BREAK SPACE}{arrow}"


def short(case: Case) -> str:
    """Return a row's label for a wide table, with a mark for models that attribute to single features."""
    name = case.label.replace("interpret ", "").replace("its ", "")
    mark = "\N{NO-BREAK SPACE}✓" if MODELS[case.model].attributes else ""
    return name.replace("NODE-", "NODE\N{NON-BREAKING HYPHEN}") + mark


def _ours(columns: Sequence[Column], case: Case, dataset: str) -> str:
    """Return the first column's scores that are there, marked where they are fewer runs or of another setting."""
    for column in columns:
        found = sample(column.runs(dataset, case.model, case.overrides), score(dataset)[0])
        if found.n:
            marks = [f"n = {found.n}"] if found.n < len(experiments.specs_of(dataset, case.model, "paper")) else []
            marks += [column.preset] if column is not columns[0] else []
            return _told(found, catalogue.entry(dataset).metric) + (f" ({', '.join(marks)})" if marks else "")
    return "not run" if catalogue.at_hand(dataset) else "data not at hand"


def other_names() -> list[str]:
    """Return the data sets beyond the paper's six that have an accuracy page: the open and the bundled ones."""
    return [n for n, e in catalogue.REGISTRY.items() if not e.simulated and n not in published.DATASETS]
