"""The tables of the pages: each experiment's rows, the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixnam.data import catalogue
from mixnam.paper import checks, derived, evidence, experiments, published
from mixnam.paper.experiments import Case
from mixnam.paper.intervals import Sample, difference
from mixnam.report.figures import law_title
from mixnam.report.layout import METRIC_LABELS, printed, spread
from mixnam.report.parameters import Column, Parameters
from mixnam.runs.results import Result

#: Stands where runs are at hand, but their measures may not be set beside today's.
OLDER = "not measured again yet"
Printed = Callable[[Case, str], tuple[float, float] | None]


def numbers(runs: pd.DataFrame, measure: str) -> pd.Series:
    """Return a measure of each run: a column of the frame, or a number derived from the result; NaN without one."""
    if measure in runs:
        return runs[measure]
    return runs["result"].map(lambda result: derived.value(result, measure)).astype(float)


def sample(runs: pd.DataFrame, measure: str) -> Sample:
    """Return mean and standard deviation of a measure over the runs that have it."""
    found = numbers(runs, measure)
    there = np.isfinite(found)
    return Sample.of(found[there].to_numpy(float), tuple(runs.loc[there, "result"]))


def samples(runs: pd.DataFrame, measure: str) -> dict[tuple[str, str], Sample]:
    """Return `sample` for each source and row that has the measure, by their labels."""
    found = {(str(a), str(b)): sample(own, measure) for (a, b), own in by(runs, "source", "row").items()}
    return {key: one for key, one in found.items() if one.n}


def by(runs: pd.DataFrame, *columns: str) -> dict[Any, pd.DataFrame]:
    """Return the groups of runs that share values of several columns, by these."""
    return dict(list(runs.groupby(list(columns), sort=False)))


def cell(runs: pd.DataFrame, measure: str, digits: int = 3) -> str:
    """Return a measure's mean ± sd over runs, with their number where it is not that of the runs."""
    found = sample(runs, measure)
    if found.n:
        return spread(found.mean, found.sd, digits, "" if found.n == len(runs) else found.n)
    return _absent(runs, measure, "–")


def _absent(runs: pd.DataFrame, measure: str, otherwise: str = "not run") -> str:
    """Return why runs hold no number: there are none, or their measures are of an older revision."""
    if runs.empty:
        return "not run"
    older = (_held(result, measure) for result in runs.loc[runs["outdated"], "result"])
    return OLDER if any(older) else otherwise


def _held(result: Result, measure: str) -> bool:
    """Return whether a result has a measure, of whatever revision: NAM's bounds have no tightness."""
    found: Any = {"measures": result.measures}
    for part in measure.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found is not None or (not measure.startswith("measures.") and derived.rests_on_measures(measure))


def case_table(
    parameters: Parameters,
    rows: Sequence[Case],
    measures: Mapping[str, str],
    printed_for: Printed | None = None,
    heading: str = "",
    digits: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """Return a row for each case and source, and a column for each measure (a label by its path).

    `printed_for(case, measure)` gives the paper's mean and sd, or None; without it there is no line for the paper.
    """
    runs = parameters.runs(rows)
    groups = by(runs, "dataset", "row", "source")
    lines: list[dict[str, Any]] = []
    for case in rows:
        theirs = {label: printed_for(case, path) for path, label in measures.items()} if printed_for else {}
        if any(theirs.values()):
            count = evidence.PRINTED_RUNS["holdout"]
            shown = {label: printed(value) for label, value in theirs.items()}
            lines.append({heading: case.label, "source": "paper", "n": count} | shown)
        for column in parameters.columns:
            ours = groups.get((case.dataset or parameters.dataset, case.label, column.label), runs[:0])
            cells = {label: cell(ours, path, (digits or {}).get(path, 3)) for path, label in measures.items()}
            lines.append({heading: case.label, "source": column.setting, "n": len(ours)} | cells)
    return pd.DataFrame(lines, dtype=object)


SWEEP_MEASURES = {
    "rmse": ("metrics.test.rmse", "test RMSE"),
    "additivity": ("measures.additivity.marginal", "additivity"),
    "additivity (conditional)": ("measures.additivity.conditional", "additivity, conditional"),
    "tightness": ("measures.tightness.range", "tightness"),
    "tightness (conditional)": ("measures.tightness.conditional", "tightness, conditional"),
    "width": ("measures.bounds.width", "width of bounds"),
    "tightness (span)": ("measures.tightness.span", "span of contributions over span of bounds"),
    "tightness (15 groups)": ("measures.tightness.conditional_15", "conditional, in 15 groups"),
}
_QUANTITIES = {path: quantity for quantity, (path, _) in SWEEP_MEASURES.items()}
#: Which of them a table of the λ page shows: Table 3's, the conditional reading's, and those chosen after the fact.
READINGS = {
    "marginal": ("rmse", "additivity", "tightness", "width"),
    "conditional": ("additivity (conditional)", "tightness (conditional)"),
    "afterwards": ("tightness", "tightness (span)", "tightness (15 groups)"),
}


def score(dataset: str) -> tuple[str, str]:
    """Return the path of a data set's score and its label, as `case_table` takes them."""
    metric = catalogue.entry(dataset).metric
    return f"metrics.test.{metric}", METRIC_LABELS[metric]


def sweep_measures(dataset: str) -> dict[str, tuple[str, str]]:
    """Return what the λ page shows, by the paper's name of the quantity: path and label."""
    return SWEEP_MEASURES | {"rmse": score(dataset)}


def _sweep_printed(case: Case, measure: str) -> tuple[float, float] | None:
    return published.sweep(_QUANTITIES.get(measure, ""), case.overrides.get("variation_penalty", 0.0), case.model)


def printed_for(dataset: str) -> Printed:
    """Return what the paper prints for a case, for `case_table`: scores of Tables 1 and 6, Table 3 by λ, Table 8.

    Table 3 and Table 8 are Housing's.
    """

    def known(case: Case, measure: str) -> tuple[float, float] | None:
        if "variation_penalty" in case.overrides and dataset == "housing":
            if case.model == "MixNAM":
                return _sweep_printed(case, measure)
            scored = measure == "metrics.test.rmse" and case.overrides["variation_penalty"] == 0.1
            return published.scaling("MixNAM-E", 32, 16) if scored else None
        return published.accuracy(dataset, case.published) if case.published and measure.startswith("metrics") else None

    return known


def sweep_table(parameters: Parameters, reading: str = "marginal") -> pd.DataFrame:
    """Return Table 3: a row for each λ and source between MLP and NAM, and a column for each measure of a reading.

    `conditional` takes rows with nearly that x_i, which the paper has not; `afterwards` sets the two readings of
    tightness that were chosen after the fact beside the primary one, for MixNAM alone.
    """
    measures = sweep_measures(parameters.dataset)
    rows = experiments.cases("lambda_sweep", "paper")
    rows = [case for case in rows if reading != "afterwards" or case.model == "MixNAM"]
    beside = _sweep_printed if parameters.dataset == "housing" and reading != "conditional" else None
    return case_table(parameters, rows, dict(measures[quantity] for quantity in READINGS[reading]), beside)


def _sweep_runs(parameters: Parameters) -> pd.DataFrame:
    """Return MixNAM's runs over λ, with a column `penalty`."""
    rows = [case for case in experiments.cases("lambda_sweep", "paper") if case.model == "MixNAM"]
    return parameters.runs(rows).assign(
        penalty=lambda runs: runs["row"].map({c.label: c.overrides["variation_penalty"] for c in rows})
    )


def sweep_values(parameters: Parameters) -> pd.DataFrame:
    """Return mean, sd and single numbers of each measure over λ for the paper (none of these) and each column."""
    lines = []
    if parameters.dataset == "housing":
        table = published.table("table3_additivity_tightness_housing").query("model == 'MixNAM'")
        lines.append(
            table.rename(columns={"quantity": "measure", "lambda": "penalty", "std": "sd"}).assign(
                source="paper", numbers=""
            )
        )
    runs = _sweep_runs(parameters)
    for quantity, (path, _) in sweep_measures(parameters.dataset).items():
        found = runs[["source", "penalty"]].assign(number=numbers(runs, path)).dropna()
        grouped = found.groupby(["source", "penalty"])["number"].agg(mean="mean", sd="std", numbers=tuple)
        lines.append(grouped.reset_index().assign(measure=quantity))
    order = ["paper", *(column.label for column in parameters.columns)]
    table = pd.concat([line for line in lines if len(line)] or lines[:1])
    table = table[["source", "measure", "penalty", "mean", "sd", "numbers"]]
    return table.sort_values(["source", "penalty"], key=lambda v: v.map(order.index) if v.name == "source" else v)


def sweep_results(parameters: Parameters) -> tuple[str, dict[float, Result]]:
    """Return a column and its first result at each λ, for the pictures.

    The column is the page's own where it has λ = 0.1, the paper's default, and others; else the one with most λ.
    """
    runs = _sweep_runs(parameters)
    own = runs[runs["source"] == parameters.own_first[0].label]
    full = 0.1 in own["penalty"].to_numpy() and len(set(own["penalty"])) > 1
    label, runs = _fullest(parameters, own if full else runs, ["penalty"])
    return label, dict(zip(runs["penalty"], runs["result"], strict=True))


def sweep_readings(parameters: Parameters) -> dict[float, str]:
    """Return score, additivity and tightness at each λ in words, a line for the paper and for each column with runs."""
    runs, found = _sweep_runs(parameters), dict[float, list[str]]()
    measures = [sweep_measures(parameters.dataset)[name] for name in ("rmse", "additivity", "tightness")]
    for penalty in sorted(set(runs["penalty"])):
        case = Case("", "MixNAM", {"variation_penalty": penalty})
        theirs = {label: printed_for(parameters.dataset)(case, path) for path, label in measures}
        if any(theirs.values()):
            numbers = [f"{label} {printed(value)}" for label, value in theirs.items()]
            found[penalty] = [f"paper (n = {evidence.PRINTED_RUNS['holdout']}): {' · '.join(numbers)}"]
        for column in parameters.columns:
            own = runs[(runs["source"] == column.label) & (runs["penalty"] == penalty)]
            if len(own):
                numbers = [f"{label} {cell(own, path)}" for path, label in measures]
                found.setdefault(penalty, []).append(f"{column.label} (n = {len(own)}): {' · '.join(numbers)}")
    return {penalty: "\n".join(lines) for penalty, lines in found.items()}


def equal_rows(parameters: Parameters) -> list[Case]:
    """Return Table 7's rows by λ: MixNAM-E and MixNAM at the experiment's λ, and MixNAM at every other at hand."""
    rows = experiments.cases("mixnam_e", "paper")
    known = [case.overrides for case in rows]
    swept = [case for case in experiments.cases("lambda_sweep", "paper") if case.overrides not in [{}, *known]]
    swept = [Case(f"{case.model}, {case.label}", case.model, case.overrides) for case in swept]
    more = [case for case in swept if len(parameters.runs([case]))]
    return sorted([*rows, *more], key=lambda case: case.overrides["variation_penalty"])


def first_result(parameters: Parameters, model: str = "MixNAM") -> tuple[str, Result] | None:
    """Return a model's first stored result with its column: this rerun's, else the reference at the paper's setting."""
    label, runs = _fullest(parameters, parameters.runs([Case(model, model)]), ["row"])
    return (label, runs["result"].iloc[0]) if label else None


def first_results(parameters: Parameters, rows: Sequence[Case]) -> tuple[str, dict[str, dict[str, Result]]]:
    """Return the column with most rows at hand and its first results: by data set, then by the row's label."""
    label, runs = _fullest(parameters, parameters.runs(rows), ["dataset", "row"])
    found: dict[str, dict[str, Result]] = {}
    for dataset, row, result in zip(runs["dataset"], runs["row"], runs["result"], strict=True):
        found.setdefault(dataset, {})[row] = result
    return label, found


def _fullest(parameters: Parameters, runs: pd.DataFrame, what: list[str]) -> tuple[str, pd.DataFrame]:
    """Return the label of the column that has most of `what` at hand, and its first run of each."""
    firsts = runs[~runs.duplicated(["source", *what])]
    counts = firsts["source"].value_counts()
    labels = [column.label for column in parameters.own_first if column.label in counts]
    label = max(labels, key=lambda name: counts[name], default="")
    return label, firsts[firsts["source"] == label]


def law_table(parameters: Parameters, experiment: str, measures: Mapping[str, str]) -> pd.DataFrame:
    """Return a simulation's rows: law, model, source, and a column for each measure (a label by its path)."""
    rows = experiments.cases(experiment, "paper")
    table = case_table(parameters, rows, measures, heading="model", digits=dict.fromkeys(measures, 4))
    laws = [law_title(case.dataset) for case in rows for _ in parameters.columns]
    table.insert(0, "law", laws)
    return table if len(parameters.columns) > 1 else table.drop(columns="source")


def _scaling(parameters: Parameters) -> pd.DataFrame:
    """Return Table 8 cell by cell: model, C, K, printed mean and sd, and a sample of each column's scores."""
    path, _ = score(parameters.dataset)
    rows = experiments.cases("expert_scaling", "paper")
    found = samples(parameters.runs(rows), path)
    lines = []
    for case in rows:
        experts, active = case.overrides["experts"], case.overrides["active_experts"]
        known = published.scaling(case.model, experts, active) if parameters.dataset == "housing" else None
        line = {"model": case.model, "C": experts, "K": active, "paper": known}
        lines.append(line | {c.label: found.get((c.label, case.label), Sample.of([])) for c in parameters.columns})
    return pd.DataFrame(lines)


def scaling_cells(parameters: Parameters, model: str) -> dict[str, pd.DataFrame]:
    """Return Table 8's half of `model` as frames of mean test RMSE, K down and C across: paper and each column."""
    table = _scaling(parameters).query("model == @model")
    means = {"paper": table["paper"].map(lambda known: known[0] if known else np.nan)}
    means |= {column.label: table[column.label].map(lambda found: found.mean) for column in parameters.columns}
    return {
        label: table.assign(mean=mean.astype(float)).pivot_table("mean", "K", "C", dropna=False)
        for label, mean in means.items()
    }


def scaling_table(parameters: Parameters) -> pd.DataFrame:
    """Return Table 8 cell by cell, with how far our mean is from the printed one."""
    table = _scaling(parameters)
    known = table["paper"]
    table["paper"] = known.map(printed)
    for column in parameters.columns:
        found = table.pop(column.label)
        table[column.label] = [spread(s.mean, s.sd, n=s.n) if s.n else "not run" for s in found]
        if known.notna().any():
            off = [f"{s.mean - p[0]:+z.3f}" if s.n and p else "–" for s, p in zip(found, known, strict=True)]
            table[f"difference, {column.setting}"] = off
    return table


def scaling_count(parameters: Parameters) -> str:
    """Return how many cells of Table 8 lie within 0.010 of the printed mean, as Markdown."""
    table = _scaling(parameters)
    lines = []
    for column in parameters.columns:
        pairs = zip(table[column.label], table["paper"], strict=True)
        off = [abs(found.mean - known[0]) for found, known in pairs if found.n and known]
        near = sum(o <= 0.010 for o in off)
        lines.append(f"{column.label}: {near} of {len(off)} cells that were run lie within 0.010 of the printed mean")
    return "; ".join(lines) + "."


def tightness_note(parameters: Parameters) -> str:
    """Return what the λ page says of tightness at large λ, from the results at hand, as Markdown."""
    if parameters.dataset != "housing":
        return "The paper prints tightness for California Housing alone."
    found = sweep_values(parameters).query("measure == 'tightness' and source != 'paper'")
    counts = found["source"].value_counts()
    source = next((column.label for column in parameters.own_first if counts.get(column.label, 0) == counts.max()), "")
    shown = found[found["source"] == source]
    told = [f"{spread(mean, sd)} at λ = {p:g}" for p, mean, sd in shown[["penalty", "mean", "sd"]].to_numpy()]
    listed = f"({source}) it is {', '.join(told)}" if told else "it was not measured"
    return (
        f"The paper's tightness rises with λ to 1.000. Here {listed}. Where experts are drawn together, the "
        "routed contributions of real rows cover less and less of the very narrow range between the bounds. "
        'Equation 12 leaves open how "given xᵢ" is taken; with exact values of xᵢ, as in the first table, no reading '
        "that was fixed beforehand comes near 1 at λ = 100."
    )


def complexity_table() -> pd.DataFrame:
    """Return Table 9: printed and counted extra parameters and memory, for the paper's six data sets."""
    lines = []
    for row in published.table("table9_complexity").to_dict("records"):
        counts = checks.complexity_counts(row["features"], ours=True)
        for name, label in (("mixnam", "MixNAM"), ("mixnam_d", "MixNAM-D")):
            parameters, size = counts[name]
            line = {"data set": row["dataset"], "features": row["features"], "model": label}
            line |= {"parameters, paper": row[f"{name}_extra_parameters"], "counted": f"{parameters:,}"}
            line["memory, paper"] = row[f"{name}_extra_memory"]
            lines.append(line | {"counted, in k of 1,024 bytes": f"{size / 1024:,.0f}k"})
    return pd.DataFrame(lines)


def spelled(name: str) -> pd.DataFrame:
    """Return a printed table as it stands, its names in words."""
    table = published.table(name).astype(str).replace("_", " ", regex=True)
    return table.rename(columns=lambda column: column.replace("_", " "))


def difference_table(parameters: Parameters, column: Column, experiment: str = "ablations") -> pd.DataFrame:
    """Return each row's score less the first row's mean: label, mean, low, high (95 %) and `seeds`, one by one."""
    path, _ = score(parameters.dataset)
    first, *others = experiments.cases(experiment, "paper")
    found = samples(column.of([first, *others], parameters.dataset), path)
    base = found.get((column.label, first.label))
    rows = []
    for label in (case.label for case in others):
        own = found.get((column.label, label))
        if own and base and own.values is not None:
            off = difference(own, base, parameters.dataset, path.rsplit(".", 1)[1])
            rows.append((label, off.mean, *off.interval, own.values - base.mean))
    return pd.DataFrame(rows, columns=["label", "mean", "low", "high", "seeds"])
