"""What pages share: how a number, a table, foreign text and the lines around them are written."""

from __future__ import annotations

import base64
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd
from IPython.core.getipython import get_ipython
from IPython.core.pylabtools import select_figure_formats

from mixnam.paper import experiments
from mixnam.paper.costs import duration
from mixnam.paper.running import Outcome
from mixnam.plots import look
from mixnam.report.parameters import Parameters
from mixnam.runs.files import told
from mixnam.runs.results import Result
from mixnam.runs.spec import RunSpec

NOTHING = " "  # as Markdown: where a text is empty, notebooks show the name of its class
#: So many files that were set aside does a page name.
MOST = 20
METRIC_LABELS = {"rmse": "test RMSE", "mse": "test MSE", "auc": "test AUC"}


def literal(text: object) -> str:
    r"""Return a text that others wrote (a title, a device, a reason) as Markdown that shows it as it is, on one line.

    >>> print(literal("<b> costs $5_"))
    \<b\> costs \$5\_
    """
    return re.sub(r"([\\`*_{}\[\]<>$#|~&!])", r"\\\1", " ".join(str(text).split()))


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


def csv_link(table: pd.DataFrame, name: str, text: str = "CSV") -> str:
    """Return a link that saves a table as `name`.csv, numbers in six digits."""
    content = base64.b64encode(table.to_csv(index=False, float_format="%.6g").encode()).decode()
    return f"<a download='{escape(name)}.csv' href='data:text/csv;charset=utf-8;base64,{content}'>{text}</a>"


def titled(title: str, content: str, data: pd.DataFrame, note: str = "", kind: str = "") -> str:
    """Return a table or picture under its title, which carries the anchor, with its data as CSV and a note below."""
    name = anchor(title)
    return (
        f"<figure class='titled tex2jax_ignore mathjax_ignore {kind}' id='{name}'><p class='title'>{escape(title)} "
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


class Printed(str):
    """A table's cell that the paper prints; in a data frame its column must be of objects, or it is plain text."""


def kind(verdict: str) -> str:
    """Return the CSS classes of a verdict: "badge not-reproduced"."""
    return f"badge {verdict.replace(' ', '-')}"


def badge(verdict: str, text: str = "", link: str = "") -> str:
    """Return a verdict as HTML in its colour: its word, or `text` such as "12", with a link where one is given."""
    tag = "a" if link else "span"
    target = f" href='{escape(link)}' title='{escape(verdict)}'" if link else ""
    return f"<{tag} class='{escape(kind(verdict))}'{target}>{escape(text or verdict)}</{tag}>"


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


def printed(value: tuple[float, float] | None, digits: int = 3) -> str:
    """Return a printed mean ± standard deviation, or a dash."""
    return Printed(spread(*value, digits)) if value else "–"


def plural(count: int, what: str, ending: str = "s") -> str:
    """Return a number of things: "1 thread", "2 threads"."""
    return f"{count} {what}{'' if count == 1 else ending}"


def percent(share: float, digits: int = 0, sign: str = "") -> str:
    """Return a share as a percentage: "5 %"."""
    return f"{share:{sign}.{digits}%}".replace("%", " %")


def show(table: pd.DataFrame, title: str = "", note: str = "", empty: str = "") -> Element:
    """Return a table as the book shows it; where it has no row, the sentence `empty`.

    The type of a cell says what it is: `Printed` is set off, `Judged` is a verdict with its reasons; all else is text.
    Neighbouring rows that share their first cell are a group, which shows it once. With `title`, such as "Table 3
    (paper) · ours: mean ± sd over seeds", the table has an anchor and its content as CSV, and `note` below.
    """
    if table.empty:
        return Element(f"<p>{escape(empty)}</p>" if empty else "", empty)
    heads = "".join(f"<th>{escape(str(name))}</th>" for name in table.columns)
    lines = [f"<div class='results-table tex2jax_ignore mathjax_ignore'><table><thead><tr>{heads}</tr></thead><tbody>"]
    before: object = None
    for first, *others in table.astype(object).itertuples(index=False, name=None):
        cells = [_cell("" if first == before else first, table.columns[0])]
        cells += [_cell(*pair) for pair in zip(others, table.columns[1:], strict=True)]
        lines.append(f"<tr{'' if first == before else ' class=first'}>{''.join(cells)}</tr>")
        before = first
    content = "".join([*lines, "</tbody></table></div>"])
    return Element(titled(title, content, table.map(str), note, "table") if title else content, title)


def _cell(value: object, column: object) -> str:
    """Return a cell; tables with verdicts are cards on a phone, in which each cell tells its column."""
    if isinstance(value, Judged):
        reasons = f"<div class='reasons'>{_unbroken(value.reasons)}</div>" if value.reasons else ""
        return f"<td class='verdict' data-label='{escape(str(column))}'>{badge(value.verdict)}{reasons}</td>"
    return f"<td{' class=paper' if isinstance(value, Printed) else ''}>{_unbroken(str(value))}</td>"


def _unbroken(text: str) -> str:
    """Escape a text, and keep a number with its spread and a name with its hyphen on one line."""
    text = escape(text).replace("MixNAM-", "MixNAM\N{NON-BREAKING HYPHEN}")
    return re.sub(r" (±|=) ", "\N{NO-BREAK SPACE}\\1\N{NO-BREAK SPACE}", text)  # "(n = 2)" may go to a new line


def page_results(experiment: str, parameters: Parameters) -> list[Result]:
    """Return the results behind a page: every column's, over all seeds or folds of the experiment's rows."""
    if experiment == "ahead":
        return [result for spec in _fresh("best", "paper") if (result := parameters.best.store.get(spec)) is not None]
    runs = parameters.runs(experiments.cases(experiment, "paper"))
    return list(runs.loc[~runs.index.duplicated(), "result"])


def notice(outcome: Outcome, parameters: Parameters) -> str:
    """Return what a reader must know first, as Markdown: data that are missing, models left out or failed; or nothing.

    How many runs there are is the footer's to say.
    """
    said = [f"**Not run here.** {literal(outcome.skipped)}"] if outcome.skipped else []
    said += [literal(outcome.left_out)] if outcome.left_out else []
    failed = [f"**Failed:** {literal(spec)}: {literal(failure.cause)}." for spec, failure in outcome.failed.items()]
    return "\n\n".join([*filter(None, [" ".join(said)]), *failed]) or NOTHING


def _fresh(*presets: str) -> list[RunSpec]:
    """Return the runs of the page on our own recipe, which is about several data sets, at presets."""
    wanted = [(name, preset) for name in experiments.AHEAD_ON for preset in presets]
    return [spec for name, preset in wanted for spec in experiments.specs_for("ahead", name, preset)]


def _remedy(experiment: str, parameters: Parameters) -> str:
    preset, dataset = parameters.own_first[0].preset, parameters.dataset
    if experiment == "ahead":
        preset, dataset = "best", ",".join(experiments.AHEAD_ON)
    command = f"python -m mixnam run {experiment}{f' --dataset {dataset}' if dataset else ''} --preset {preset}"
    return f"`{command} --results {shlex.quote(told(parameters.results))}`"


def progress(experiment: str, parameters: Parameters) -> str:
    """Return how many of a page's runs are at hand, and the command that trains the others, as Markdown.

    Results whose measures are of an older revision are counted: tables show their scores alone.
    """
    column = parameters.own_first[0]
    if experiment == "ahead":
        column, specs = parameters.best, _fresh("best")
    else:
        specs = experiments.specs_for(experiment, parameters.dataset, column.preset)
    done = sum(column.store.current(spec) is not None for spec in specs)
    found = page_results(experiment, parameters)
    old = sum(result.outdated for result in found)
    said = f"{done} of {len(specs)} runs of this page at the {column.preset} preset are at hand"
    said += "." if done == len(specs) else f"; {_remedy(experiment, parameters)} trains the others."
    if not old:
        return said
    return (
        f"{said} {old} of {plural(len(found), 'result')} were explained by an older version of our measures: tables "
        "show their scores alone."
    )


def rerun_command(notebook: str, parameters: Parameters) -> str:
    """Return the command that reruns a notebook with these parameters, as Markdown."""
    preset = "quick" if parameters.is_reference else parameters.preset
    dataset = f"-p dataset {parameters.dataset} " if parameters.dataset else ""
    return (
        f"Rerun this page: `mkdir -p runs/mine && papermill notebooks/{notebook}.ipynb runs/mine/{notebook}.ipynb "
        f"{dataset}-p preset {preset}`"
    )


def footer(experiment: str, parameters: Parameters) -> str:
    """Return what every page ends with, as Markdown: the rerun command, how many runs there are, and their origin."""
    lines = [rerun_command(experiment, parameters), progress(experiment, parameters)]
    return "\n\n".join([*lines, provenance_line(page_results(experiment, parameters))])


def set_aside(parameters: Parameters) -> str:
    """Return which results of a page's directories it could not use, a line each with the reason, as Markdown."""
    stores = {store.root.absolute(): store for store in parameters.stores}
    found = [f"{told(root)}: {line}" for root, store in stores.items() for line in store.set_aside()]
    if not found:
        return NOTHING
    short = (literal(re.sub(r"([0-9a-f]{12})[0-9a-f]{52}", r"\1*", line)) for line in found[:MOST])
    lines = [f"- {line}".replace("/", "/<wbr>") for line in short]  # a phone's line is shorter than a file's name
    lines += ["- `python -m mixnam status --results DIRECTORY` lists the others"] if len(found) > MOST else []
    return "\n".join([f"**Set aside.** Not used on this page: {plural(len(found), 'stored result')}.\n", *lines])


def commit(provenance: Mapping[str, Any]) -> str:
    """Return a provenance's commit in ten digits, with a + where there were local changes."""
    return (provenance["git_commit"] or "")[:10] + ("+" if provenance["dirty"] else "") or "not recorded"


def result_link(result: Result) -> str:
    """Return a link to a result's file in the book: its seed or fold, the first digits of its key, its settings."""
    spec = result.spec
    path = f"results/{spec.dataset}/{spec.model}/{result.key}.json"
    told = f"{escape(spec.repetition)}&nbsp;{escape(result.key[:8])}"
    return f"<a href='{escape(path)}' title='{escape(str(spec))}'>{told}</a>"


def provenance_line(results: Sequence[Result]) -> str:
    """Return where a page's results come from, as HTML that unfolds: versions, commits, data, and every result."""
    if not results:
        return "No stored result stands behind this page yet."

    def listed(found: Iterable[object]) -> str:
        return " ".join(escape(", ".join(sorted({str(one) for one in found}))).split())  # a blank line ends HTML

    origin = [r.provenance for r in results]
    by_row: dict[str, list[str]] = {}
    for result in results:
        by_row.setdefault(f"{result.spec.dataset}, {result.spec.model}", []).append(result_link(result))
    keys = "".join(f"<dt>{escape(row)}</dt><dd>{' '.join(links)}</dd>" for row, links in by_row.items())
    seconds = sum(r.cost["fit_seconds"] for r in results)
    return (
        f"<details class='provenance'><summary>{plural(len(results), 'result')} · {duration(seconds)} of training · "
        f"{listed(p['device'] for p in origin)} · <span>details</span></summary><p>"
        f"Presets: {listed(p['preset'] for p in origin)}; torch {listed(p['versions']['torch'] for p in origin)}; "
        f"commits {listed(map(commit, origin))}; data SHA-256 {listed(p['data_sha256'][:12] for p in origin)}."
        f"</p><dl>{keys}</dl></details>"
    )
