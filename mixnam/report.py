"""What notebooks and book share: the parameter check, paper-beside-ours tables, the provenance line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML

from mixnam import claims, datasets, experiments, published
from mixnam.fitting import pick_device
from mixnam.presets import load_preset
from mixnam.results import Result, RunSpec, Store

#: Notebook names that IPython itself puts into the namespace.
_INTERACTIVE = {"In", "Out", "exit", "quit", "open", "get_ipython"}
METRIC_LABELS = {"rmse": "test RMSE", "mse": "test MSE", "auc": "test AUC"}


def root() -> Path:
    """Return the project's directory: where `book/` lies, above this package or the working directory."""
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[1]):
        if (folder / "book" / "_config.yml").exists():
            return folder
    return Path.cwd()


@dataclass(frozen=True)
class Parameters:
    """A notebook's parameters, checked. `results` is the rerun's store, `reference` the book's own."""

    dataset: str
    preset: str
    device: str
    results: Path
    train: bool

    @property
    def reference(self) -> Path:
        """Directory of the reference results."""
        return root() / "book" / "results"

    @property
    def is_reference(self) -> bool:
        """Whether this page shows the reference itself."""
        return self.results.resolve() == self.reference.resolve()


def check_parameters(namespace: Mapping[str, Any]) -> Parameters:
    """Check a notebook's parameters: call it as `check_parameters(globals())` in the first cell after them.

    Raises ValueError for a name that is no parameter or a value that is none of the allowed, TypeError
    for a value of the wrong type. papermill itself would only warn.
    """
    types: dict[str, type] = {"dataset": str, "preset": str, "device": str, "results": str, "train": bool}
    given = {k: v for k, v in namespace.items() if not k.startswith("_") and k not in _INTERACTIVE}
    given = {k: v for k, v in given.items() if not callable(v) and not isinstance(v, ModuleType)}
    for name, value in given.items():
        if name not in types:
            raise ValueError(f"unknown parameter {name!r} (= {value!r}); this notebook takes {', '.join(types)}")
        if type(value) is not types[name]:
            kind = {"str": "text", "bool": "true or false"}[types[name].__name__]
            raise TypeError(f"parameter {name} must be {kind}, got {value!r}")
    lacking = [name for name in types if name not in given]
    if lacking:
        raise ValueError(f"parameter {lacking[0]!r} is missing; this notebook takes {', '.join(types)}")
    datasets.entry(given["dataset"])
    load_preset(given["preset"])
    pick_device(given["device"])
    default = os.environ.get("MIXNAM_RESULTS") or f"runs/{given['preset']}/results"
    where = Path(given["results"] or default)
    given["results"] = where if where.is_absolute() else root() / where
    return Parameters(**given)


@dataclass(frozen=True)
class Column:
    """A source of results in a table: its heading, the preset and the store."""

    label: str
    preset: str
    store: Store


def columns(parameters: Parameters) -> list[Column]:
    """Return what stands beside the paper: the reference at both settings, or reference and this rerun."""
    reference = Store(parameters.reference)
    paper = Column("reference: paper's setting", "paper", reference)
    if parameters.is_reference:
        return [paper, Column("reference: quick setting", "quick", reference)]
    return [paper, Column(f"this rerun: {parameters.preset}", parameters.preset, Store(parameters.results))]


def own_first(parameters: Parameters) -> list[Column]:
    """Return the columns, the one that the page is about first: this rerun, or the reference at the paper's setting."""
    return columns(parameters) if parameters.is_reference else columns(parameters)[::-1]


def stored(column: Column, dataset: str, model: str, overrides: Mapping[str, Any] | None = None) -> list[Result]:
    """Return every stored seed or fold of a model in a column."""
    seeds = load_preset("paper").number("seeds")
    specs = experiments.specs_of(dataset, model, column.preset, overrides, seeds=seeds)
    return [r for spec in specs if (r := column.store.get(spec)) is not None]


def spread(values: Iterable[float], digits: int = 3, count: bool = True) -> str:
    """Format a mean ± standard deviation, with the number of runs unless `count` is False."""
    found = np.array([v for v in values if np.isfinite(v)])
    if len(found) == 0:
        return "not run"
    deviation = f" ± {found.std(ddof=1):.{digits}f}" if len(found) > 1 else ""
    return f"{found.mean():.{digits}f}{deviation}" + (f" (n = {len(found)})" if count else "")


def show(table: pd.DataFrame) -> HTML:
    """Return a table as the book shows it: numbers on one line, the paper's own set off, rows grouped.

    A cell "verdict: reasons" shows its reasons in small print.
    """
    if table.empty:
        return HTML("<p>Nothing yet.</p>")
    lines = ["<div class='results-table'><table><thead><tr>"]
    lines += [f"<th>{escape(str(name))}</th>" for name in table.columns]
    lines.append("</tr></thead><tbody>")
    before = None
    for _, row in table.iterrows():
        first = row.iloc[0] != before
        before = row.iloc[0]
        lines.append("<tr class='first'>" if first else "<tr>")
        for i, (name, value) in enumerate(row.items()):
            text = escape("" if i == 0 and not first else str(value))
            verdict, colon, reasons = text.partition(": ")
            if colon and verdict in claims.VERDICTS:
                text = f"<b>{verdict}</b><div class='reasons'>{reasons}</div>"
            number = len(text) <= 28
            kind = "paper" if "paper" in (name, row.get("source")) and i else "number" if number else "text"
            text = re.sub(r" (±|=) ", "\N{NO-BREAK SPACE}\\1\N{NO-BREAK SPACE}", text)  # "(n = 2)" may go to a new line
            lines.append(f"<td class='{kind}'>{text}</td>")
        lines.append("</tr>")
    return HTML("".join([*lines, "</tbody></table></div>"]))


def _printed(value: tuple[float, float] | None) -> str:
    return "–" if value is None else f"{value[0]:.3f} ± {value[1]:.3f}"


def accuracy_table(parameters: Parameters) -> pd.DataFrame:
    """Return Table 1 on one data set: each model's paper value, and each column's mean ± sd and seconds."""
    dataset = parameters.dataset
    metric = datasets.entry(dataset).metric
    rows = []
    for model in experiments.ACCURACY_MODELS:
        row = {f"{METRIC_LABELS[metric]} of": model, "paper": _printed(published.accuracy(dataset, model))}
        for column in columns(parameters):
            results = stored(column, dataset, model)
            scores = [r.metrics["test"][metric] for r in results]
            row[column.label] = spread(scores, 3 if max(scores, default=0) < 10 else 2)
            seconds = [r.cost["fit_seconds"] for r in results]
            row[f"seconds a run, {column.label.split(': ')[-1]}"] = f"{np.mean(seconds):.1f}" if seconds else "–"
        rows.append(row)
    return pd.DataFrame(rows)


SWEEP_MEASURES = {
    "rmse": ("metrics.test.rmse", "test RMSE"),
    "additivity": ("measures.additivity.marginal", "additivity"),
    "additivity (conditional)": ("measures.additivity.conditional", "additivity, conditional"),
    "tightness": ("measures.tightness.range", "tightness"),
    "tightness (conditional)": ("measures.tightness.conditional", "tightness, conditional"),
    "width": ("measures.bounds.width", "width of bounds"),
}


def sweep_values(parameters: Parameters) -> dict[str, dict[str, list[tuple[float, float, float]]]]:
    """Return (λ, mean, sd) of each measure for the paper and each column, as `plots.sweep_plot` takes it."""
    penalties = load_preset("paper").values("lambda_sweep")
    paper = parameters.dataset == "housing"
    lines: dict[str, dict[str, list[tuple[float, float, float]]]] = {"paper": {}} if paper else {}
    for quantity in SWEEP_MEASURES if paper else ():
        found = [(p, published.sweep(quantity, p)) for p in penalties]
        lines["paper"][quantity] = [(p, *value) for p, value in found if value is not None]
    for column in columns(parameters):
        results = {p: stored(column, parameters.dataset, "MixNAM", {"variation_penalty": p}) for p in penalties}
        lines[column.label] = {}
        for quantity, (path, _) in SWEEP_MEASURES.items():
            points = []
            for penalty, runs in results.items():
                values = np.array([r.value(path) for r in runs if r.holds(path)])
                values = values[np.isfinite(values)]
                if len(values):
                    points.append(
                        (penalty, float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else np.nan)
                    )
            lines[column.label][quantity] = points
    return lines


def sweep_table(parameters: Parameters, conditional: bool = False) -> pd.DataFrame:
    """Return Table 3: a row for each λ and source, NAM at the end, and a column for each measure.

    With `conditional`, the measures are those over rows with nearly that x_i, which the paper has not.
    """
    measures = {q: m for q, m in SWEEP_MEASURES.items() if ("conditional" in q) == conditional}
    dataset = parameters.dataset
    points: list[tuple[str, str, dict[str, float]]] = [
        (f"λ = {p:g}", "MixNAM", {"variation_penalty": p}) for p in load_preset("paper").values("lambda_sweep")
    ]
    rows = []
    for heading, model, overrides in [*points, ("NAM", "NAM", {})]:
        if dataset == "housing" and not conditional:
            penalty = overrides.get("variation_penalty", 0.0)
            cells = {label: _printed(published.sweep(q, penalty, model)) for q, (_, label) in measures.items()}
            rows.append({"": heading, "source": "paper", "n": claims.PRINTED_RUNS["holdout"]} | cells)
        for column in columns(parameters):
            results = stored(column, dataset, model, overrides)
            row: dict[str, Any] = {"": heading, "source": column.label.split(": ")[-1], "n": len(results)}
            for path, label in measures.values():
                numbers = [r.value(path) for r in results if r.holds(path)]
                row[label] = spread(numbers, count=len(numbers) != len(results))
                if results and not np.isfinite(numbers).any():
                    row[label] = "–"  # there is no such number, as NAM's tightness
            rows.append(row)
    return pd.DataFrame(rows)


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


def first_result(parameters: Parameters, model: str = "MixNAM") -> tuple[str, Result] | None:
    """Return a model's first stored result with its column: this rerun's, else the reference at the paper's setting."""
    for column in own_first(parameters):
        results = stored(column, parameters.dataset, model)
        if results:
            return column.label, results[0]
    return None


def claims_table(parameters: Parameters, page: str = "") -> pd.DataFrame:
    """Return the claims of a page (all by default) with their verdicts on the paper's numbers and on ours."""
    rows = []
    for claim in claims.claims():
        if page and (claim.page != page or claim.dataset != parameters.dataset):
            continue
        row = {
            "claim": claim.id,
            "statement": claim.statement,
            "on the paper's own numbers": claims.on_paper(claim).verdict,
        }
        for column in columns(parameters):
            verdict = claims.on_results(claim, column.preset, column.store)
            row[column.label] = f"{verdict.verdict}: {verdict.text}" if verdict.text else verdict.verdict
        rows.append(row)
    return pd.DataFrame(rows)


def verdict_count(parameters: Parameters) -> str:
    """Return how many verdicts there are and how many of the decided may be false, as Markdown."""
    lines = []
    for column in columns(parameters):
        verdicts = [claims.on_results(c, column.preset, column.store).verdict for c in claims.claims()]
        listed = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
        wrong = claims.expected_false(verdicts)
        expected = f"; at the 95 % level at most {wrong:.2g} are expected to be decided wrongly" if wrong else ""
        lines.append(f"**{column.label}**: {len(verdicts)} claims, {listed}{expected}.")
    return " ".join(lines)


HEADLINES: tuple[tuple[str, str, dict[str, float], str], ...] = (
    ("Linear: test RMSE", "Linear", {}, "metrics.test.rmse"),
    ("NAM: test RMSE", "NAM", {}, "metrics.test.rmse"),
    ("MixNAM: test RMSE", "MixNAM", {}, "metrics.test.rmse"),
    ("MixNAM: additivity", "MixNAM", {}, "measures.additivity.marginal"),
    ("MixNAM: tightness of bounds", "MixNAM", {}, "measures.tightness.range"),
    ("MixNAM, λ = 100: additivity", "MixNAM", {"variation_penalty": 100.0}, "measures.additivity.marginal"),
)


def headline_table(parameters: Parameters) -> pd.DataFrame:
    """Return the landing page's table: a handful of Housing's numbers, paper | reference | this rerun."""
    rows = []
    for label, model, overrides, path in HEADLINES:
        quantity = "rmse" if path.startswith("metrics") else path.split(".")[1]
        printed = published.accuracy("housing", model) if quantity == "rmse" else None
        printed = printed or published.sweep(quantity, overrides.get("variation_penalty", 0.1), model)
        row = {"California Housing": label, "paper": _printed(printed)}
        for column in columns(parameters):
            row[column.label] = spread(
                r.value(path) for r in stored(column, "housing", model, overrides) if r.holds(path)
            )
        rows.append(row)
    return pd.DataFrame(rows)


def notice(outcome: experiments.Outcome, parameters: Parameters) -> str:
    """Return what a page must say of runs that are missing, with reason and remedy, or an empty text."""
    if outcome.skipped:
        return f"**Not run here.** {outcome.skipped}"
    if not outcome.missing:
        return ""
    command = f"python -m mixnam run {outcome.experiment} --dataset {outcome.dataset} --preset {outcome.preset}"
    command += f" --results {told(parameters.results)}"
    return (
        f"**{len(outcome.missing)} of {len(outcome.specs)} runs at the {outcome.preset} preset are not there yet**; "
        f"tables show those that are. `{command}` trains the rest."
    )


def told(path: Path) -> str:
    """Return a path as a reader may type it in the project's directory."""
    return (path.relative_to(root()) if path.is_relative_to(root()) else path).as_posix()


def rerun_command(notebook: str, parameters: Parameters) -> str:
    """Return the command that reruns a notebook with these parameters, as Markdown."""
    preset = "quick" if parameters.is_reference else parameters.preset
    return (
        f"Rerun this page: `mkdir -p runs/mine && papermill notebooks/{notebook}.ipynb runs/mine/{notebook}.ipynb "
        f"-p dataset {parameters.dataset} -p preset {preset}`"
    )


def page_results(experiment: str, parameters: Parameters) -> list[Result]:
    """Return the results behind a page's tables: every column's, over all seeds or folds of its models."""
    found: dict[str, Result] = {}
    for column in columns(parameters):
        for spec in experiments.specs_for(experiment, parameters.dataset, "paper"):
            changed = {k: v for k, v in vars(spec.settings).items() if k == "variation_penalty"}
            overrides = changed if experiment == "lambda_sweep" else {}
            found |= {r.key: r for r in stored(column, parameters.dataset, spec.model, overrides)}
    return list(found.values())


def provenance_line(results: Sequence[Result]) -> str:
    """Return one line saying where a page's results come from: number, keys, device, versions, commit."""
    if not results:
        return "No stored result stands behind this page yet."
    origin = [r.provenance for r in results]
    devices = ", ".join(sorted({p["device"] for p in origin}))
    torches = ", ".join(sorted({p["versions"]["torch"] for p in origin}))
    commits = ", ".join(sorted({(p["git_commit"] or "unknown")[:10] + ("+" if p["dirty"] else "") for p in origin}))
    presets = ", ".join(sorted({p["preset"] for p in origin}))
    data = ", ".join(sorted({p["data_sha256"][:12] for p in origin}))
    keys = " ".join(f"`{r.key[:8]}`" for r in results)
    seconds = sum(r.cost["fit_seconds"] for r in results)
    count = f"{len(results)} result" + ("s" if len(results) > 1 else "")
    return (
        f"{count}, preset {presets}, {duration(seconds)} of training on {devices}; "
        f"torch {torches}, commit {commits}, data SHA-256 {data}. Keys: {keys}"
    )


def duration(seconds: float) -> str:
    """Return a duration in words.

    >>> duration(12.3), duration(200), duration(8000)
    ('12 s', '3 min', '2.2 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _alike(spec: RunSpec) -> tuple[Any, ...]:
    shaping = {k: v for k, v in vars(spec.settings).items() if not re.search("penalty|rate|decay|dropout", k)}
    return spec.dataset, spec.model, tuple(shaping.items())


def estimate(specs: Sequence[RunSpec], jobs: int = 1) -> str:
    """Return how long specs may take, going by stored results of the same shape in the reference."""
    known: dict[Any, list[float]] = {}
    for result in Store(root() / "book" / "results") if specs else ():
        known.setdefault(_alike(result.spec), []).append(result.cost["fit_seconds"] + result.cost["explain_seconds"])
    times = [float(np.median(known[_alike(s)])) for s in specs if _alike(s) in known]
    unknown = len(specs) - len(times)
    text = f"{len(specs)} to train, about {duration(sum(times) / jobs)} with {jobs} job{'s' if jobs > 1 else ''}"
    return text + (f", and {unknown} of unknown length" if unknown else "")


def most_important(result: Result, count: int = 4) -> list[int]:
    """Return the features with the largest mean absolute contribution, largest first."""
    importance = np.array(result.measures["importance"]["per_feature"])
    return [int(i) for i in np.argsort(-importance)[:count]]
