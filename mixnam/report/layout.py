"""What pages share: how a number, a table and the lines around it are written."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd
from IPython.core.getipython import get_ipython
from IPython.core.pylabtools import select_figure_formats
from IPython.display import HTML

from mixnam.paper import experiments
from mixnam.paper.costs import duration
from mixnam.paper.running import Outcome
from mixnam.plots import look
from mixnam.report.parameters import Parameters
from mixnam.runs.files import told
from mixnam.runs.results import Result

#: Keys that a provenance line spells out.
_KEYS = 24
METRIC_LABELS = {"rmse": "test RMSE", "mse": "test MSE", "auc": "test AUC"}


class Element:
    """What a notebook displays: HTML in the book and in Jupyter, a line of text elsewhere. Attribute `html`."""

    def __init__(self, html: str, text: str) -> None:
        self.html = html
        self._text = text

    def __repr__(self) -> str:
        return self._text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self._text}


def anchor(title: str) -> str:
    """Return what links lead to: a title without what stands in parentheses or after its dot.

    >>> anchor("Figure 7 (paper) · ours: first seed"), anchor("Expert scaling · ours")
    ('figure-7', 'expert-scaling')
    """
    head = re.sub(r"\(.*?\)", "", title.partition("·")[0])
    return "-".join(re.findall(r"[a-z0-9]+", head.lower()))


def csv_link(table: pd.DataFrame, name: str) -> str:
    """Return a link that saves a table as `name`.csv, numbers in six digits."""
    content = base64.b64encode(table.to_csv(index=False, float_format="%.6g").encode()).decode()
    return f"<a download='{escape(name)}.csv' href='data:text/csv;charset=utf-8;base64,{content}'>CSV</a>"


def titled(title: str, content: str, data: pd.DataFrame, note: str = "", kind: str = "") -> str:
    """Return a table or picture under its title, which carries the anchor, with its data as CSV and a note below."""
    name = anchor(title)
    return (
        f"<figure class='titled {kind}' id='{name}'><p class='title'>{escape(title)} "
        f"<span class='csv'>{csv_link(data, name)}</span></p>{content}"
        + (f"<figcaption>{escape(note)}</figcaption>" if note else "")
        + "</figure>"
    )


@dataclass(frozen=True)
class Judged:
    """A table's cell: a verdict, and what it rests on in small print."""

    verdict: str
    reasons: str = ""

    def __str__(self) -> str:
        return f"{self.verdict}: {self.reasons}" if self.reasons else self.verdict


def style() -> None:
    """Set the look of a page's figures, and have them shown as PNG whatever backend is set."""
    shell = get_ipython()
    if shell is not None:
        select_figure_formats(shell, {"png"})
    look.style()


def spread(mean: float, sd: float = math.nan, digits: int = 3, n: int | str = "") -> str:
    """Return a mean ± standard deviation, where there is one, and what `n` says of the runs behind it.

    >>> spread(0.4512, 0.0071, n=10), spread(0.5)
    ('0.451 ± 0.007 (n = 10)', '0.500')
    """
    deviation = f" ± {sd:.{digits}f}" if math.isfinite(sd) else ""
    return f"{mean:.{digits}f}{deviation}" + (f" (n = {n})" if n else "")


def printed(value: tuple[float, float] | None) -> str:
    """Return a printed mean ± standard deviation, or a dash."""
    return spread(*value) if value else "–"


def plural(count: int, what: str, ending: str = "s") -> str:
    """Return a number of things: "1 thread", "2 threads"."""
    return f"{count} {what}{'' if count == 1 else ending}"


def percent(share: float, digits: int = 0, sign: str = "") -> str:
    """Return a share as a percentage: "5 %"."""
    return f"{share:{sign}.{digits}%}".replace("%", " %")


def show(table: pd.DataFrame, title: str = "", note: str = "") -> HTML:
    """Return a table as the book shows it: the paper's own set off, rows grouped by their first cell.

    The paper's are the column `paper` and rows whose `source` is `paper`. With `title`, such as "Table 3 (paper) ·
    ours: mean ± sd over seeds", it has an anchor and its content as CSV, and `note` below.
    """
    if table.empty:
        return HTML("<p>Nothing yet.</p>")
    dense = (" dense" if table.shape[1] > 5 else "") + (" wide" if table.shape[1] > 7 else "")
    heads = "".join(f"<th>{escape(str(name))}</th>" for name in table.columns)
    lines = [f"<div class='results-table{dense}'><table><thead><tr>{heads}</tr></thead><tbody>"]
    firsts = table.iloc[:, 0].tolist()
    for row, first, before in zip(table.to_dict("records"), firsts, [None, *firsts], strict=False):
        grouped = first == before
        cells = ["<td></td>" if grouped else f"<td>{_cell(first)}</td>"]
        for name, value in list(row.items())[1:]:
            kind = " class='paper'" if "paper" in (name, row.get("source")) else ""
            cells.append(f"<td{kind}>{_cell(value)}</td>")
        lines.append(f"<tr{'' if grouped else ' class=first'}>{''.join(cells)}</tr>")
    content = "".join([*lines, "</tbody></table></div>"])
    return HTML(titled(title, content, table.map(str), note, "table") if title else content)


def _cell(value: object) -> str:
    if isinstance(value, Judged):
        reasons = f"<div class='reasons'>{_unbroken(value.reasons)}</div>" if value.reasons else ""
        return f"<b>{escape(value.verdict)}</b>{reasons}" if value.reasons else escape(value.verdict)
    return _unbroken(str(value))


def _unbroken(text: str) -> str:
    """Escape a text, and keep a number with its spread and a name with its hyphen on one line."""
    text = escape(text).replace("MixNAM-", "MixNAM\N{NON-BREAKING HYPHEN}")
    return re.sub(r" (±|=) ", "\N{NO-BREAK SPACE}\\1\N{NO-BREAK SPACE}", text)  # "(n = 2)" may go to a new line


def page_results(experiment: str, parameters: Parameters) -> list[Result]:
    """Return the results behind a page: every column's, over all seeds or folds of the experiment's rows."""
    runs = parameters.runs(experiments.cases(experiment, "paper"))
    return list(runs.loc[~runs.index.duplicated(), "result"])


def notice(outcome: Outcome, parameters: Parameters) -> str:
    """Return what a page says of its runs: how many there are, or why some are missing and the remedy."""
    if outcome.skipped:
        return f"**Not run here.** {outcome.skipped}"
    shown = {r.key: r for r in [*outcome.results, *page_results(outcome.experiment, parameters)]}.values()
    old = sum(result.outdated for result in shown)
    missing, runs = len(outcome.missing), f"{len(outcome.specs)} runs"
    lacking = missing or any(result.outdated for result in outcome.results)
    said = [] if lacking else [f"All {runs} of this page at the {outcome.preset} preset are at hand."]
    if missing:
        at = f"at the {outcome.preset} preset"
        said.append(f"**{missing} of {runs} {at} are not there yet**; tables show those that are.")
    if old:
        said.append(
            f"**{old} of the {len(shown)} results behind this page hold measures of an older revision**: tables show "
            "their scores, not their measures."
        )
    if lacking:
        dataset = f" --dataset {outcome.dataset}" if outcome.dataset else ""
        command = f"python -m mixnam run {outcome.experiment}{dataset} --preset {outcome.preset}"
        said.append(f"`{command} --results {told(parameters.results)}` trains what is lacking.")
    return " ".join(said)


def rerun_command(notebook: str, parameters: Parameters) -> str:
    """Return the command that reruns a notebook with these parameters, as Markdown."""
    preset = "quick" if parameters.is_reference else parameters.preset
    dataset = f"-p dataset {parameters.dataset} " if parameters.dataset else ""
    return (
        f"Rerun this page: `mkdir -p runs/mine && papermill notebooks/{notebook}.ipynb runs/mine/{notebook}.ipynb "
        f"{dataset}-p preset {preset}`"
    )


def footer(experiment: str, parameters: Parameters) -> str:
    """Return what every page ends with, as Markdown: the rerun command and the provenance line."""
    return rerun_command(experiment, parameters) + "\n\n" + provenance_line(page_results(experiment, parameters))


def commit(provenance: Mapping[str, Any]) -> str:
    """Return a provenance's commit in ten digits, with a + where there were local changes."""
    return str(provenance["git_commit"] or "unknown")[:10] + ("+" if provenance["dirty"] else "")


def provenance_line(results: Sequence[Result]) -> str:
    """Return one line saying where a page's results come from: number, keys, device, versions, commit."""
    if not results:
        return "No stored result stands behind this page yet."

    def listed(found: list[str]) -> str:
        return ", ".join(sorted(set(found)))

    origin = [r.provenance for r in results]
    keys = " ".join(f"`{r.key[:8]}`" for r in results[:_KEYS])
    if len(results) > _KEYS:
        keys += (
            f" and {len(results) - _KEYS} more (`python -m mixnam status` counts them; "
            "[evidence](evidence.html) lists them)"
        )
    seconds = sum(r.cost["fit_seconds"] for r in results)
    return (
        f"{plural(len(results), 'result')}, preset {listed([p['preset'] for p in origin])}, "
        f"{duration(seconds)} of training on {listed([p['device'] for p in origin])}; "
        f"torch {listed([p['versions']['torch'] for p in origin])}, commit {listed([commit(p) for p in origin])}, "
        f"data SHA-256 {listed([p['data_sha256'][:12] for p in origin])}. Keys: {keys}"
    )
