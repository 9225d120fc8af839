"""The tables of the pages: each experiment's rows, the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixnam.data import catalogue
from mixnam.paper import checks, derived, evidence, experiments, intervals, published, verdicts
from mixnam.paper.experiments import Case
from mixnam.paper.presets import load_preset
from mixnam.report.layout import METRIC_LABELS, Column, case_results, columns, own_first, printed_text, spread, stored
from mixnam.report.parameters import Parameters
from mixnam.runs.results import Result

#: Stands where runs are at hand, but their measures may not be set beside today's.
OLDER = "older measure"
Printed = Callable[[Case, str], tuple[float, float] | None]


def _numbers(results: Sequence[Result], measure: str) -> list[float]:
    found = [derived.value(r, measure) for r in results]
    return [v for v in found if np.isfinite(v)]


def _cell(results: Sequence[Result], measure: str, digits: int = 3) -> str:
    """Return a measure's mean ± sd over results, with their number where it is not that of the results."""
    numbers = _numbers(results, measure)
    if not numbers:
        return _absent(results, measure, "–")
    return spread(numbers, digits, count=len(numbers) != len(results))


def _absent(results: Sequence[Result], measure: str, otherwise: str = "not run") -> str:
    """Return why results hold no number: there are none, or their measures are of an older revision."""
    if not results:
        return "not run"
    return OLDER if any(r.outdated and _held(r, measure) for r in results) else otherwise


def _held(result: Result, measure: str) -> bool:
    """Return whether a result has a measure, of whatever revision: NAM's bounds have no tightness."""
    found: Any = {"measures": result.measures}
    for part in measure.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found is not None or (not measure.startswith("measures.") and derived.rests_on_measures(measure))


def _own(column: Column) -> str:
    return column.label.split(": ")[-1]


def case_table(
    parameters: Parameters,
    rows: Sequence[Case],
    measures: Mapping[str, str],
    printed: Printed | None = None,
    heading: str = "",
    digits: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """Return a row for each case and source, and a column for each measure (a label by its path).

    `printed(case, measure)` gives the paper's mean and sd, or None; without it there is no line for the paper.
    """
    lines = []
    for case in rows:
        found = {m: printed(case, m) for m in measures} if printed else {}
        if any(found.values()):
            runs = evidence.PRINTED_RUNS["holdout"]
            lines.append(
                {heading: case.label, "source": "paper", "n": runs}
                | {measures[m]: printed_text(v) for m, v in found.items()}
            )
        for column in columns(parameters):
            results = case_results(column, case, parameters.dataset)
            line: dict[str, Any] = {heading: case.label, "source": _own(column), "n": len(results)}
            for measure, label in measures.items():
                line[label] = _cell(results, measure, (digits or {}).get(measure, 3))
            lines.append(line)
    return pd.DataFrame(lines)


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
    quantity = {path: q for q, (path, _) in SWEEP_MEASURES.items()}.get(measure, "")
    return published.sweep(quantity, case.overrides.get("variation_penalty", 0.0), case.model)


def printed_for(dataset: str) -> Printed:
    """Return what the paper prints for a case, for `case_table`: scores of Tables 1 and 6, Table 3 by λ, Table 8.

    Table 3 and Table 8 are Housing's.
    """

    def printed(case: Case, measure: str) -> tuple[float, float] | None:
        if "variation_penalty" in case.overrides and dataset == "housing":
            if case.model == "MixNAM":
                return _sweep_printed(case, measure)
            scored = measure == "metrics.test.rmse" and case.overrides["variation_penalty"] == 0.1
            return published.scaling("MixNAM-E", 32, 16) if scored else None
        return published.accuracy(dataset, case.published) if case.published and measure.startswith("metrics") else None

    return printed


def sweep_table(parameters: Parameters, reading: str = "marginal") -> pd.DataFrame:
    """Return Table 3: a row for each λ and source between MLP and NAM, and a column for each measure of a reading.

    `conditional` takes rows with nearly that x_i, which the paper has not; `afterwards` sets the two readings of
    tightness that were chosen after the fact beside the primary one, for MixNAM alone.
    """
    dataset, cases = parameters.dataset, experiments.cases("lambda_sweep", "paper")
    measures = sweep_measures(dataset)
    chosen = dict(measures[quantity] for quantity in READINGS[reading])
    printed = _sweep_printed if dataset == "housing" and reading != "conditional" else None
    rows = [case for case in cases if reading != "afterwards" or case.model == "MixNAM"]
    return case_table(parameters, rows, chosen, printed)


def sweep_values(parameters: Parameters) -> dict[str, dict[str, list[tuple[float, float, float]]]]:
    """Return (λ, mean, sd) of each measure for the paper and each column, as `plots.sweep_plot` takes it."""
    penalties = load_preset("paper").values("lambda_sweep")
    paper = parameters.dataset == "housing"
    lines: dict[str, dict[str, list[tuple[float, float, float]]]] = {"paper": {}} if paper else {}
    for quantity in SWEEP_MEASURES if paper else ():
        found = [(p, published.sweep(quantity, p)) for p in penalties]
        lines["paper"][quantity] = [(p, *value) for p, value in found if value is not None]
    for column in columns(parameters):
        runs = {p: stored(column, parameters.dataset, "MixNAM", {"variation_penalty": p}) for p in penalties}
        lines[column.label] = {}
        for quantity, (path, _) in sweep_measures(parameters.dataset).items():
            by_penalty = {p: intervals.Sample.of(_numbers(results, path)) for p, results in runs.items()}
            lines[column.label][quantity] = [(p, s.mean, s.sd) for p, s in by_penalty.items() if s.n]
    return lines


def sweep_results(parameters: Parameters) -> tuple[str, dict[float, Result]]:
    """Return the column with most λ at hand and its first result at each, for the pictures."""
    penalties = load_preset("paper").values("lambda_sweep")
    best: tuple[str, dict[float, Result]] = ("", {})
    for column in own_first(parameters):
        found = {p: stored(column, parameters.dataset, "MixNAM", {"variation_penalty": p})[:1] for p in penalties}
        present = {p: runs[0] for p, runs in found.items() if runs}
        if len(present) > len(best[1]):
            best = (column.label, present)
    return best


def first_results(parameters: Parameters, rows: Sequence[Case]) -> tuple[str, dict[str, dict[str, Result]]]:
    """Return the column with most rows at hand and its first results: by data set, then by the row's label."""
    best: tuple[str, dict[str, dict[str, Result]]] = ("", {})
    count = 0
    for column in own_first(parameters):
        found: dict[str, dict[str, Result]] = {}
        for case in rows:
            for result in case_results(column, case, parameters.dataset)[:1]:
                found.setdefault(case.dataset or parameters.dataset, {})[case.label] = result
        if sum(map(len, found.values())) > count:
            count, best = sum(map(len, found.values())), (column.label, found)
    return best


def law_table(parameters: Parameters, experiment: str, measures: Mapping[str, str]) -> pd.DataFrame:
    """Return a simulation's rows: law, model, source, and a column for each measure (a label by its path)."""
    named = []
    for case in experiments.cases(experiment, "paper"):
        table = case_table(parameters, [case], measures, digits=dict.fromkeys(measures, 4))
        table.insert(0, "law", catalogue.entry(case.dataset).title.partition(": ")[2])
        named.append(table.rename(columns={"": "model"}))
    table = pd.concat(named, ignore_index=True)
    return table if len(columns(parameters)) > 1 else table.drop(columns="source")


def _printed_cell(dataset: str, model: str, experts: int, active: int) -> tuple[float, float] | None:
    """Return what Table 8, which is Housing's, prints for a cell."""
    return published.scaling(model, experts, active) if dataset == "housing" else None


def scaling_cells(parameters: Parameters, model: str) -> dict[str, pd.DataFrame]:
    """Return Table 8's half of `model` as frames of mean test RMSE, K down and C across: paper and each column."""
    cells = load_preset("paper").pairs("expert_scaling", model)
    frames = {}
    for label in ["paper", *(c.label for c in columns(parameters))]:
        frame = pd.DataFrame(index=sorted({k for _, k in cells}), columns=sorted({c for c, _ in cells}), dtype=float)
        frame.index.name, frame.columns.name = "K", "C"
        frames[label] = frame
    for c, k in cells:
        printed = _printed_cell(parameters.dataset, model, c, k)
        frames["paper"].loc[k, c] = np.nan if printed is None else printed[0]
        for column in columns(parameters):
            results = stored(column, parameters.dataset, model, {"experts": c, "active_experts": k})
            numbers = _numbers(results, score(parameters.dataset)[0])
            frames[column.label].loc[k, c] = np.mean(numbers) if numbers else np.nan
    return frames


def scaling_table(parameters: Parameters) -> pd.DataFrame:
    """Return Table 8 cell by cell, with how far our mean is from the printed one."""
    dataset = parameters.dataset
    rows = []
    for case in experiments.cases("expert_scaling", "paper"):
        experts, active = case.overrides["experts"], case.overrides["active_experts"]
        printed = _printed_cell(dataset, case.model, experts, active)
        row: dict[str, Any] = {"model": case.model, "C": experts, "K": active, "paper": printed_text(printed)}
        for column in columns(parameters):
            results = case_results(column, case, dataset)
            numbers = _numbers(results, score(dataset)[0])
            row[column.label] = spread(numbers)
            if numbers and printed:
                row[f"off, {_own(column)}"] = f"{np.mean(numbers) - printed[0]:+.3f}"
            elif printed:
                row[f"off, {_own(column)}"] = "–"
        rows.append(row)
    return pd.DataFrame(rows)


def scaling_count(parameters: Parameters) -> str:
    """Return how many cells of Table 8 lie within 0.010 of the printed mean, as Markdown."""
    lines = []
    for column in columns(parameters):
        off = []
        for case in experiments.cases("expert_scaling", "paper"):
            numbers = _numbers(case_results(column, case, parameters.dataset), score(parameters.dataset)[0])
            experts, active = case.overrides["experts"], case.overrides["active_experts"]
            printed = _printed_cell(parameters.dataset, case.model, experts, active)
            if numbers and printed:
                off.append(abs(np.mean(numbers) - printed[0]))
        near = sum(o <= 0.010 for o in off)
        lines.append(f"{column.label}: {near} of {len(off)} cells that were run lie within 0.010 of the printed mean")
    return "; ".join(lines) + "."


def tightness_note(parameters: Parameters) -> str:
    """Return what the λ page says of tightness at large λ, from the results at hand, as Markdown."""
    if parameters.dataset != "housing":
        return "The paper prints tightness for California Housing alone."
    values = {p: cite(parameters, "measures.tightness.range", variation_penalty=p) for p in (0.1, 1.0, 10.0, 100.0)}
    listed = "; ".join(f"λ = {p:g}: {text}" for p, text in values.items())
    return (
        f"The paper's tightness rises with λ to 1.000. Here it is {listed}. Where experts are drawn together, the "
        "routed contributions of real rows cover less and less of the very narrow range between the bounds. "
        'Equation 12 leaves open how "given xᵢ" is taken; with exact values of xᵢ, as in the first table, no reading '
        "that was fixed beforehand comes near 1 at λ = 100."
    )


def complexity_table() -> pd.DataFrame:
    """Return Table 9: printed and counted extra parameters and memory, for the paper's six data sets."""
    rows = []
    for row in published.table("table9_complexity").to_dict("records"):
        counts = checks.complexity_counts(row["features"], ours=True)
        for name, label in (("mixnam", "MixNAM"), ("mixnam_d", "MixNAM-D")):
            parameters, size = counts[name]
            rows.append(
                {
                    "data set": row["dataset"],
                    "features": row["features"],
                    "model": label,
                    "parameters, paper": row[f"{name}_extra_parameters"],
                    "counted": f"{parameters:,}",
                    "memory, paper": row[f"{name}_extra_memory"],
                    "counted, in k of 1,024 bytes": f"{size / 1024:,.0f}k",
                }
            )
    return pd.DataFrame(rows)


COST_MEASURES = {
    "cost.parameters": "parameters",
    "cost.seconds_per_step": "seconds a step",
    "cost.fit_seconds": "seconds of training",
    "cost.peak_memory_mb": "peak memory of the process, MB",
}


def difference_table(parameters: Parameters, column: Column, experiment: str = "ablations") -> pd.DataFrame:
    """Return each row's mean score less the first row's with its 95 % interval: label, mean, low, high, n."""
    path, _ = score(parameters.dataset)
    rows = []
    base: intervals.Sample | None = None
    for case in experiments.cases(experiment, "paper"):
        sample = intervals.Sample.of(_numbers(case_results(column, case, parameters.dataset), path))
        if base is None:
            base = sample
        elif sample.n and base.n:
            low, high = intervals.welch(sample, base)
            rows.append({"label": case.label, "mean": sample.mean - base.mean, "low": low, "high": high, "n": sample.n})
    return pd.DataFrame(rows, columns=["label", "mean", "low", "high", "n"])


HEADLINES: tuple[tuple[str, str, dict[str, float], str], ...] = (
    ("Linear: test RMSE", "Linear", {}, "metrics.test.rmse"),
    ("NAM: test RMSE", "NAM", {}, "metrics.test.rmse"),
    ("MLP: test RMSE", "MLP", {}, "metrics.test.rmse"),
    ("XGBoost: test RMSE", "XGBoost", {}, "metrics.test.rmse"),
    ("MixNAM: test RMSE", "MixNAM", {}, "metrics.test.rmse"),
    ("MixNAM: additivity", "MixNAM", {}, "measures.additivity.marginal"),
    ("MixNAM: tightness of bounds", "MixNAM", {}, "measures.tightness.range"),
    ("MixNAM, λ = 100: additivity", "MixNAM", {"variation_penalty": 100.0}, "measures.additivity.marginal"),
    ("MixNAM-D: test RMSE", "MixNAM-D", {}, "metrics.test.rmse"),
)


def headline_table(parameters: Parameters) -> pd.DataFrame:
    """Return the landing page's table: a handful of Housing's numbers, paper | reference | this rerun."""
    rows = []
    for label, model, overrides, path in HEADLINES:
        quantity = "rmse" if path.startswith("metrics") else path.split(".")[1]
        printed = published.accuracy("housing", model) if quantity == "rmse" else None
        printed = printed or published.sweep(quantity, overrides.get("variation_penalty", 0.1), model)
        row = {"California Housing": label, "paper": printed_text(printed)}
        for column in columns(parameters):
            results = stored(column, "housing", model, overrides)
            numbers = _numbers(results, path)
            row[column.label] = spread(numbers) if numbers else _absent(results, path)
        rows.append(row)
    return pd.DataFrame(rows)


def cite(
    parameters: Parameters,
    path: str,
    model: str = "MixNAM",
    dataset: str = "housing",
    preset: str = "",
    /,
    **overrides: Any,
) -> str:
    """Return a stored number for running text, of the first column with five runs or most: "0.447 ± 0.007 (n = 10)".

    `preset` keeps columns of one setting, so that numbers can be compared; "not run" where there is none.
    """
    chosen = [c for c in own_first(parameters) if preset in ("", c.preset)]
    runs = [(stored(c, dataset, model, overrides), c.preset) for c in chosen] or [([], preset)]
    found = [(_numbers(results, path), setting) for results, setting in runs]
    numbers, preset = max(found, key=lambda pair: min(len(pair[0]), verdicts.LEAST_RUNS))
    if not numbers:
        return _absent([result for results, _ in runs for result in results], path)
    setting = "" if catalogue.entry(dataset).simulated else f", {preset}"
    return spread(numbers, count=False) + f" (n = {len(numbers)}{setting})"
