"""The scorecard: every claim with its verdicts, and from each number the way to its page, files and command."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from html import escape

import pandas as pd
from IPython.display import HTML

from mixnam.data import catalogue
from mixnam.paper import evidence, experiments, published, sheet, verdicts, words
from mixnam.paper.claim import ARITHMETIC, GROUPS, OWN, SIMULATIONS, Claim, claims
from mixnam.paper.verdicts import Verdict
from mixnam.paper.words import NOT_APPLICABLE
from mixnam.report.layout import Judged
from mixnam.report.parameters import Column, Parameters
from mixnam.runs.results import Result

#: Notebooks that make one page for each data set; the others make one page.
PER_DATASET = ("accuracy", "explanations", "lambda_sweep")


def page_name(notebook: str, dataset: str = "housing") -> str:
    """Return the name of a notebook's page in the book."""
    return f"{notebook}_{dataset}" if notebook in PER_DATASET else notebook


def rerun(claim: Claim, preset: str = "quick") -> str:
    """Return the one command that trains what a claim lacks and judges it."""
    seeds, where = verdicts.LEAST_RUNS, f"runs/{preset}/results"
    return f"python -m mixnam claim {claim.id} --preset {preset} --seeds {seeds} --results {where}"


def settled_on(claim: Claim, page: str, dataset: str) -> bool:
    """Return whether a page settles a claim: the notebook's claims, on the page's data set where it has one."""
    shared = claim.kind == "static" or catalogue.family(claim.dataset) == "simulations"
    own = page in experiments.SIMULATED or (shared and page not in PER_DATASET)
    return claim.page == page and (own or claim.dataset == dataset)


#: Headings of groups that are counted once.
_ONE_SETTING = {
    SIMULATIONS: "simulations (one setting, ours)",
    ARITHMETIC: "arithmetic, by our code",
    OWN: "our own, on simulations",
}


class Scorecard:
    """The claims judged once on the paper's numbers and on every column of a report.

    `page` keeps those that one notebook settles on the parameters' data set; `pages` are the pages of the
    book that links may lead to.
    """

    def __init__(self, parameters: Parameters, page: str = "", pages: Sequence[str] = ()) -> None:
        self.pages = set(pages)
        self.parameters, self.columns = parameters, parameters.columns
        self.claims = [c for c in claims() if not page or settled_on(c, page, parameters.dataset)]

    @cached_property
    def verdicts(self) -> dict[str, list[Verdict]]:
        """Verdicts by claim: on the paper's own numbers, then one a column; the reference's are those of its sheet."""
        kept = sheet.read(self.parameters.reference.parent / "verdicts.csv")
        return {claim.id: self._of(claim, kept.get(claim.id, {})) for claim in self.claims}

    def _of(self, claim: Claim, kept: Mapping[str, Verdict]) -> list[Verdict]:
        if self.parameters.is_reference and len(self.columns) > 1:
            return [*kept.values()] or [*sheet.judge(claim, self.columns[0].store)]
        found = [kept.get(sheet.PRINTED) or verdicts.on_paper(claim)]
        for column in self.columns:
            known = kept if column.store.root == self.parameters.reference else {}
            name = sheet.PAPER if column.preset == "paper" and not claim.one_setting else sheet.OURS
            found.append(known.get(name) or verdicts.on_results(claim, column.preset, column.store))
        return found

    @property
    def labels(self) -> list[str]:
        """Headings of the verdicts."""
        return ["on the paper's own numbers", *(column.label for column in self.columns)]

    def _judged(self, claim: Claim) -> list[tuple[str, Verdict]]:
        """Return a claim's verdicts under their headings."""
        return list(zip(self.labels, self.verdicts[claim.id], strict=True))

    def table(self) -> pd.DataFrame:
        """Return claim, statement and verdicts, those on results with what they rest on."""
        rows = []
        for claim in self.claims:
            row: dict[str, str | Judged] = {"claim": claim.id, "statement": claim.statement}
            for label, verdict in self._judged(claim):
                shown = label != self.labels[0] or claim.kind == "static"
                row[label] = Judged(verdict.verdict, verdict.text if shown else "")
            rows.append(row)
        return pd.DataFrame(rows, columns=["claim", "statement", *self.labels])

    def words(self) -> pd.DataFrame:
        """Return claim, group, statement and the word of each verdict."""
        rows = [[c.id, c.group, c.statement, *(v.verdict for v in self.verdicts[c.id])] for c in self.claims]
        return pd.DataFrame(rows, columns=["claim", "group", "statement", *self.labels])

    def count(self) -> str:
        """Return how many verdicts each group of claims has, and how many may be false, as Markdown."""
        counted: dict[str, dict[str, Verdict]] = {}
        for group, number, once in itertools.product(GROUPS, range(len(self.labels)), (False, True)):
            chosen = {
                c.id: self.verdicts[c.id][number] for c in self.claims if (c.group, c.one_setting) == (group, once)
            }
            kept = {name: verdict for name, verdict in chosen.items() if verdict.verdict != NOT_APPLICABLE}
            if kept:
                counted.setdefault(self._heading(group, number, once), {}).update(kept)
        lines = []
        for heading, judged in counted.items():
            said = [verdict.verdict for verdict in judged.values()]
            text = ", ".join(f"{said.count(word)} {word}" for word in words.VERDICTS if word in said)
            wrong, rest = verdicts.expected_false(judged.values()), sum(v.comparisons for v in judged.values())
            if wrong and not heading.endswith(self.labels[0]):
                text += f". By chance at most {wrong:.1f} of these are wrong ({rest} intervals)"
            lines.append(f"- **{heading[0].upper()}{heading[1:]}**: {text}.")
        return "\n".join(lines)

    def _heading(self, group: str, number: int, once: bool) -> str:
        """Return what a group's verdicts of a column are counted under; what has one setting is named so."""
        if number == 0 or not once:
            return f"{group}, {self.labels[number]}"
        reference = self.parameters.is_reference or group == ARITHMETIC
        return _ONE_SETTING[group] + ("" if reference else f", {self.columns[number - 1].source}")

    def show(self) -> HTML:
        """Return the whole scorecard as a sortable table: each row leads to its page and its evidence."""
        heads = "".join(f"<th>{escape(name)}</th>" for name in ("claim", "statement", "where", "group", *self.labels))
        lines = [
            "<div class='results-table scorecard'>",
            "<table class='sortable' data-filter='filter claims, such as T3 or undecided'>",
            f"<thead><tr>{heads}</tr></thead><tbody>",
        ]
        for claim in self.claims:
            cells = [
                f"<td><a href='evidence.html#{claim.id}'>{escape(claim.id)}</a></td>",
                f"<td>{escape(claim.statement)}</td>",
                f"<td>{self._to_page(claim)}</td>",
                f"<td>{claim.group}</td>",
            ]
            for verdict in self.verdicts[claim.id]:
                kind = verdict.verdict.replace(" ", "-")
                cells.append(f"<td class='verdict {kind}'><b>{verdict.verdict}</b></td>")
            lines.append(f"<tr>{''.join(cells)}</tr>")
        return HTML("\n".join([*lines, "</tbody></table></div>", self._download()]))

    def _to_page(self, claim: Claim) -> str:
        """Return where a claim stands in the paper, linked to the page that settles it where this book has it.

        What is said of a data set without an accuracy page is on the page of Tables 1 and 6.
        """
        page = page_name(claim.page, claim.dataset)
        if page not in self.pages and claim.page == "accuracy":
            page = "tables"
        place = escape(claim.place)
        return f"<a href='{page}.html'>{place}</a>" if page in self.pages else place

    def csv(self) -> str:
        """Return the scorecard as comma-separated values, verdicts with their reasons and result keys."""
        rows = []
        for claim in self.claims:
            row: dict[str, str | float] = {"claim": claim.id, "group": claim.group, "place": claim.place}
            row |= {
                "statement": claim.statement,
                "kind": claim.kind,
                "measure": claim.measure,
                "margin": claim.margin,
                "limit": claim.limit,
            }
            for label, verdict in self._judged(claim):
                row |= {label: verdict.verdict, f"{label}: rests on": verdict.text, f"{label}: runs": verdict.n}
                row[f"{label}: keys"] = " ".join(verdict.keys)
            rows.append(row | {"command": rerun(claim)})
        return pd.DataFrame(rows).to_csv(index=False)

    def _download(self) -> str:
        content = base64.b64encode(self.csv().encode()).decode()
        return (
            "<p class='download'><a download='scorecard.csv' "
            f"href='data:text/csv;charset=utf-8;base64,{content}'>Download as CSV</a>, with reasons and keys</p>"
        )

    def evidence(self) -> HTML:
        """Return for each claim its rule, verdicts, the stored results behind them, and the command that reruns it."""
        parts = []
        for claim in self.claims:
            lines = [f"<section class='evidence' id='{claim.id}'><h3>{claim.id}</h3>"]
            lines.append(f"<p>{escape(claim.statement)} ({self._to_page(claim)}).</p>")
            if claim.note:
                lines.append(f"<p class='reasons'>{escape(claim.note)}</p>")
            lines.append(f"<p class='reasons'>Rule: {escape(rule(claim))}</p><ul>")
            for label, verdict in self._judged(claim):
                text = f": {escape(verdict.text)}" if verdict.text else ""
                lines.append(f"<li>{escape(label)}: <b>{verdict.verdict}</b>{text}</li>")
            lines.append("</ul>")
            files = [self._files(claim, column) for column in self.columns]
            if any(files):
                lines.append(f"<details><summary>stored results</summary>{''.join(files)}</details>")
            if claim.kind != "static" and not claim.unavailable:
                lines.append(f"<p><code>{rerun(claim)}</code></p>")
            parts.append("".join([*lines, "</section>"]))
        return HTML("\n".join(parts))

    def _files(self, claim: Claim, column: Column) -> str:
        again = claim.one_setting and self.parameters.is_reference and column.preset != self.columns[-1].preset
        if claim.unavailable or again:
            return ""
        lines = []
        for subject in claim.subjects:
            results = evidence.stored(claim, subject, column.preset, column.store)
            if results:
                lines.append(f"<li>{escape(verdicts.subject_name(subject))}: {' '.join(map(_link, results))}</li>")
        return f"<p>{escape(column.label)}</p><ul>{''.join(lines)}</ul>" if lines else ""


def _link(result: Result) -> str:
    spec = result.spec
    path = f"results/{spec.dataset}/{spec.model}/{result.key}.json"
    return f"<a href='{path}' title='{escape(str(spec))}'>{spec.repetition}&nbsp;{result.key[:8]}</a>"


def rule(claim: Claim) -> str:
    """Return in words how a claim is decided."""
    side, beyond = ("lower", "below") if claim.better < 0 else ("higher", "above")
    several = "; a win needs every comparison, a loss one that stands Holm's correction"
    told = {
        "value": f"the 95 % interval of ours − paper lies within ±{claim.margin:g}"
        if not claim.one_model
        else "the printed number lies where one more model of ours falls in 95 of 100 cases",
        "order": ("the first" if claim.leaders == 1 else f"each of the first {claim.leaders}")
        + f" is better ({side}) than each other"
        + (f" by more than {claim.margin:g}" if claim.margin else "")
        + f", by 95 % intervals over seeds and test rows together, or over folds{several}",
        "tie": f"differences lie within ±{claim.margin:g}"
        + (", or the first is ahead" if claim.better else "")
        + several,
        "trend": "each step "
        + ("up" if claim.better > 0 else "down")
        + " lies beyond its interval"
        + (f" (the first {claim.ties} may tie)" if claim.ties else "")
        + several,
        "threshold": f"at least {claim.share:.0%} of the runs at or {beyond} {claim.limit:g}",
        "mean": f"the 95 % interval of the mean lies {beyond} {claim.limit:g}",
        "static": "a count or an identity, checked without training",
    }
    return f"{claim.kind}: {told[claim.kind]}; measure {claim.measure}"


def figures_table(pages: Sequence[str]) -> HTML:
    """Return every table and figure of the paper with the page that shows it, and what is lacking.

    `pages` are the pages of this book; a page that it does not have is named without a link.
    """
    heads = "".join(f"<th>{name}</th>" for name in ("paper", "what it shows", "page", "lacking"))
    lines = [f"<div class='results-table'><table><thead><tr>{heads}</tr></thead><tbody>"]
    for row in published.table("figures").fillna("").to_dict("records"):
        page, text = page_name(row["page"]), {name: escape(value) for name, value in row.items()}
        link = f"<a href='{page}.html'>{text['title']}</a>" if page in pages else text["title"]
        cells = "</td><td>".join((text["item"], text["what"], link, text["lacking"]))
        lines.append(f"<tr class='first'><td>{cells}</td></tr>")
    return HTML("".join([*lines, "</tbody></table></div>"]))
