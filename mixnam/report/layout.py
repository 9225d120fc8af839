"""What notebooks and book share: the parameter check, paper-beside-ours tables, the provenance line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from IPython.core.getipython import get_ipython
from IPython.core.pylabtools import select_figure_formats
from IPython.display import HTML

from mixnam.paper import experiments, verdicts
from mixnam.paper.costs import duration
from mixnam.paper.running import Outcome
from mixnam.plots import shapes
from mixnam.report.parameters import Parameters, rerun_command, told
from mixnam.runs.results import Result
from mixnam.runs.store import Store

#: Keys that a provenance line spells out.
_KEYS = 24
METRIC_LABELS = {"rmse": "test RMSE", "mse": "test MSE", "auc": "test AUC"}


@dataclass(frozen=True)
class Column:
    """A source of results in a table: its heading, the preset and the store."""

    label: str
    preset: str
    store: Store


def style() -> None:
    """Set the look of a page's figures, and have them shown as PNG whatever backend is set."""
    shell = get_ipython()
    if shell is not None:
        select_figure_formats(shell, {"png"})
    shapes.style()


def columns(parameters: Parameters) -> list[Column]:
    """Return what stands beside the paper: the reference at both settings, or reference and this rerun.

    Simulations have one setting, ours, at both presets: one column of the reference.
    """
    reference = Store(parameters.reference)
    if not parameters.dataset:
        ours = Column("reference", "paper", reference)
        rerun = Column(f"this rerun: {parameters.preset}", parameters.preset, Store(parameters.results))
        return [ours] if parameters.is_reference else [ours, rerun]
    paper = Column("reference: paper's setting", "paper", reference)
    if parameters.is_reference:
        return [paper, Column("reference: quick setting", "quick", reference)]
    return [paper, Column(f"this rerun: {parameters.preset}", parameters.preset, Store(parameters.results))]


def own_first(parameters: Parameters) -> list[Column]:
    """Return the columns, the one that the page is about first: this rerun, or the reference at the paper's setting."""
    return columns(parameters) if parameters.is_reference else columns(parameters)[::-1]


def stored(column: Column, dataset: str, model: str, overrides: Mapping[str, Any] | None = None) -> list[Result]:
    """Return every stored seed or fold of a model in a column."""
    return experiments.stored(column.store, dataset, model, column.preset, overrides)


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
    dense = (" dense" if table.shape[1] > 5 else "") + (" wide" if table.shape[1] > 7 else "")
    lines = [f"<div class='results-table{dense}'><table><thead><tr>"]
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
            if colon and verdict in verdicts.VERDICTS:
                text = f"<b>{verdict}</b><div class='reasons'>{reasons}</div>"
            number = len(text) <= 28
            kind = "paper" if "paper" in (name, row.get("source")) and i else "number" if number else "text"
            text = text.replace("MixNAM-", "MixNAM\N{NON-BREAKING HYPHEN}")
            text = re.sub(r" (±|=) ", "\N{NO-BREAK SPACE}\\1\N{NO-BREAK SPACE}", text)  # "(n = 2)" may go to a new line
            lines.append(f"<td class='{kind}'>{text}</td>")
        lines.append("</tr>")
    return HTML("".join([*lines, "</tbody></table></div>"]))


def printed_text(value: tuple[float, float] | None) -> str:
    """Return a printed mean ± standard deviation, or a dash."""
    return "–" if value is None else f"{value[0]:.3f} ± {value[1]:.3f}"


def first_result(parameters: Parameters, model: str = "MixNAM") -> tuple[str, Result] | None:
    """Return a model's first stored result with its column: this rerun's, else the reference at the paper's setting."""
    for column in own_first(parameters):
        results = stored(column, parameters.dataset, model)
        if results:
            return column.label, results[0]
    return None


def notice(outcome: Outcome, parameters: Parameters) -> str:
    """Return what a page says of its runs: how many there are, or why some are missing and the remedy."""
    if outcome.skipped:
        return f"**Not run here.** {outcome.skipped}"
    shown = {r.key: r for r in [*outcome.results, *page_results(outcome.experiment, parameters)]}.values()
    old = sum(result.outdated for result in shown)
    said, runs = [], f"of {len(outcome.specs)} runs at the {outcome.preset} preset"
    lacking = bool(outcome.missing) or any(result.outdated for result in outcome.results)
    if not lacking:
        said.append(f"All {len(outcome.specs)} runs of this page at the {outcome.preset} preset are at hand.")
    dataset = f" --dataset {outcome.dataset}" if outcome.dataset else ""
    command = f"python -m mixnam run {outcome.experiment}{dataset} --preset {outcome.preset}"
    command += f" --results {told(parameters.results)}"
    if outcome.missing:
        said.append(f"**{len(outcome.missing)} {runs} are not there yet**; tables show those that are.")
    if old:
        said.append(
            f"**{old} of the {len(shown)} results behind this page hold measures of an older revision**: tables show "
            "their scores, not their measures."
        )
    if lacking:
        said.append(f"`{command}` trains what is lacking.")
    return " ".join(said)


def case_results(column: Column, case: experiments.Case, dataset: str) -> list[Result]:
    """Return every stored seed or fold of an experiment's row in a column."""
    return stored(column, case.dataset or dataset, case.model, case.overrides)


def page_results(experiment: str, parameters: Parameters) -> list[Result]:
    """Return the results behind a page: every column's, over all seeds or folds of the experiment's rows."""
    found: dict[str, Result] = {}
    for column in columns(parameters):
        for case in experiments.cases(experiment, "paper"):
            found |= {r.key: r for r in case_results(column, case, parameters.dataset)}
    return list(found.values())


def footer(experiment: str, parameters: Parameters) -> str:
    """Return what every page ends with, as Markdown: the rerun command and the provenance line."""
    return rerun_command(experiment, parameters) + "\n\n" + provenance_line(page_results(experiment, parameters))


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
    keys = " ".join(f"`{r.key[:8]}`" for r in results[:_KEYS])
    if len(results) > _KEYS:
        keys += (
            f" and {len(results) - _KEYS} more (`python -m mixnam status` counts them; [evidence](evidence) lists them)"
        )
    seconds = sum(r.cost["fit_seconds"] for r in results)
    count = f"{len(results)} result" + ("s" if len(results) > 1 else "")
    return (
        f"{count}, preset {presets}, {duration(seconds)} of training on {devices}; "
        f"torch {torches}, commit {commits}, data SHA-256 {data}. Keys: {keys}"
    )


def most_important(result: Result, count: int = 4) -> list[int]:
    """Return the features with the largest mean absolute contribution, largest first."""
    importance = np.array(result.measures["importance"]["per_feature"])
    return [int(i) for i in np.argsort(-importance)[:count]]
