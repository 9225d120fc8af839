"""The scorecard: every claim with its verdicts, and from each number the way to its page, files and command."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape

import pandas as pd
from IPython.display import HTML, Markdown

from mixnam.paper import evidence, experiments, sheet, verdicts
from mixnam.paper.claim import ARITHMETIC, COUNTED_IN, ON_RECIPE, ON_SIMULATIONS, OWN, SIMULATIONS, Claim, claims
from mixnam.paper.verdicts import Verdict
from mixnam.paper.words import COUNTED, DECIDED, NO_DATA, NOT_APPLICABLE, SEVERITY, TOO_FEW, UNDECIDED
from mixnam.report.layout import Element, Judged, badge, csv_link, kind, result_link, show
from mixnam.report.parameters import Column, Parameters

#: Notebooks that make one page for each data set; the others make one page.
PER_DATASET = ("accuracy", "explanations", "lambda_sweep")


def page_name(notebook: str, dataset: str = "housing") -> str:
    """Return the name of a notebook's page in the book."""
    return f"{notebook}_{dataset}" if notebook in PER_DATASET else notebook


def rerun(claim: Claim, preset: str = "quick") -> str:
    """Return the one command that trains what a claim lacks and judges it."""
    preset = claim.preset or preset
    seeds, where = verdicts.LEAST_RUNS, f"runs/{preset}/results"
    return f"python -m mixnam claim {claim.id} --preset {preset} --seeds {seeds} --results {where}"


def settled_on(claim: Claim, page: str, dataset: str) -> bool:
    """Return whether a page settles a claim: the notebook's claims, on the page's data set where it has one."""
    shared = claim.kind == "static" or claim.one_setting
    own = page in experiments.SIMULATED or (shared and page not in PER_DATASET)
    return claim.page == page and (own or claim.dataset == dataset)


#: Headings of groups that are counted once.
_ONE_SETTING = {
    SIMULATIONS: "simulations (one setting, ours)",
    ARITHMETIC: "arithmetic, by our code",
    ON_SIMULATIONS: ON_SIMULATIONS,
    ON_RECIPE: ON_RECIPE,
}


@dataclass(frozen=True)
class Count:
    """How often each verdict was given to a group of claims: `heading`, `group`, `column` and the verdicts by claim."""

    heading: str
    group: str
    column: int
    verdicts: Mapping[str, Verdict]

    @property
    def words(self) -> dict[str, int]:
        """How many verdicts there are of each word, those first that a reader who looks for trouble wants to see."""
        said = Counter(verdict.verdict for verdict in self.verdicts.values())
        return {word: said[word] for word in SEVERITY if said[word]}

    @property
    def chance(self) -> str:
        """How many may be wrong by chance, in words; empty where no interval decides."""
        wrong = verdicts.expected_false(self.verdicts.values())
        rest = sum(verdict.comparisons for verdict in self.verdicts.values())
        if not wrong or self.column == 0:
            return ""
        return f"At 95 % confidence, expect at most {wrong:.1f} of these to be wrong by chance ({rest} intervals)."


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

    def settled(self, claim: Claim) -> tuple[int, Verdict]:
        """Return the verdict that stands for a claim and its column: the first of ours that decides.

        Where none does it is the first undecided one, else what keeps it from being judged; the verdict on print
        stands where nothing of ours can be judged.
        """
        ours = list(enumerate(self.verdicts[claim.id]))[1:]
        for kept in (DECIDED, (UNDECIDED,), (TOO_FEW, NO_DATA)):
            for number, verdict in ours:
                if verdict.verdict in kept:
                    return number, verdict
        return 0, self.verdicts[claim.id][0]

    def by_severity(self) -> list[Claim]:
        """Return the claims, those first that a reader who looks for trouble wants to see."""
        return sorted(self.claims, key=lambda c: (SEVERITY.index(self.settled(c)[1].verdict), c.group == OWN))

    def section(self) -> list[Element | Markdown]:
        """Return what a page says of the claims that it settles, nothing where it settles none."""
        if not self.claims:
            return []
        rows = []
        for claim in self.by_severity():
            row: dict[str, str | Judged] = {"claim": claim.id, "statement": claim.statement}
            for label, verdict in self._judged(claim):
                shown = label != self.labels[0] or claim.kind == "static"
                row[label] = Judged(verdict.verdict, verdict.text if shown else "")
            rows.append(row)
        return [Markdown("## Claims that this page settles"), show(pd.DataFrame(rows))]

    def badges(self) -> Element:
        """Return the page's claims in short, to stand at its top: their verdicts, each with the claims that have it."""
        found: dict[str, list[str]] = {}
        for claim in self.by_severity():
            name = escape(claim.short or claim.id)
            link = f"<a href='evidence.html#{claim.id}' title='{escape(claim.statement)}'>{name}</a>"
            found.setdefault(self.settled(claim)[1].verdict, []).append(link)
        lines = [f"<p>{badge(word)} {', '.join(links)}</p>" for word, links in found.items()]
        return Element(f"<div class='verdicts'>{''.join(lines)}</div>" if lines else "", "")

    def counts(self) -> list[Count]:
        """Return how many verdicts of each kind each group of claims has, by setting."""
        found = {}  # by heading: what our code counts is the same in a rerun
        for group, number in itertools.product(COUNTED_IN, range(len(self.labels))):
            judged = {claim.id: self.verdicts[claim.id][number] for claim in self.claims if claim.counted == group}
            kept = {name: verdict for name, verdict in judged.items() if verdict.verdict != NOT_APPLICABLE}
            if kept:
                heading = self._heading(group, number)
                found[heading] = Count(heading, group, number, kept)
        return list(found.values())

    def count(self) -> str:
        """Return `counts` as Markdown."""
        lines = []
        for count in self.counts():
            text = ", ".join(f"{number} {COUNTED.get(word, word)}" for word, number in count.words.items())
            lines.append(f"- **{count.heading}**: {text}. {count.chance}".rstrip())
        return "\n".join(lines)

    def chips(self) -> HTML:
        """Return buttons that filter the scorecard's table: by the verdict that stands, and, unfolded, by `counts`."""

        def button(word: str, number: int, where: Mapping[str | int, str]) -> str:
            asked = escape(json.dumps(where))
            return f"<button type='button' class='{kind(word)}' data-where='{asked}'>{word} {number}</button>"

        theirs = [claim for claim in self.claims if claim.group != OWN]
        whole = Count("", "", 1, {claim.id: self.settled(claim)[1] for claim in theirs})
        first = " ".join(button(word, number, {"verdict": word}) for word, number in whole.words.items())
        lines = []
        for count in self.counts():
            buttons = [
                button(word, number, {self._place(count.column): word, 1 + len(self.labels): count.group})
                for word, number in count.words.items()
            ]
            lines.append(f"<p title='{escape(count.chance)}'><b>{escape(count.heading)}</b> {' '.join(buttons)}</p>")
        unfolds = f"<details><summary>by group and setting</summary>{''.join(lines)}</details>"
        return HTML(f"<div class='chips' data-for='scorecard'><p>{first}</p>{unfolds}</div>")

    def _place(self, number: int) -> int:
        """Return in which column of `show` a verdict stands: ours follow the statement, the one on print is last."""
        return number or len(self.labels)

    def _heading(self, group: str, number: int) -> str:
        """Return what a group's verdicts of a column are counted under; what has one setting is named so."""
        if number == 0 or group not in _ONE_SETTING:
            heading = f"{group}, {self.labels[number]}"
        else:
            reference = self.parameters.is_reference or group == ARITHMETIC
            heading = _ONE_SETTING[group] + ("" if reference else f", {self.columns[number - 1].source}")
        return heading[0].upper() + heading[1:]

    def show(self) -> HTML:
        """Return the whole scorecard as a table that can be sorted and filtered, the failures first.

        Each row leads to the page that settles the claim and to its evidence.
        """
        names = ("statement", *self.labels[1:], self.labels[0], "group", "where", "evidence")
        heads = "".join(f"<th>{escape(name)}</th>" for name in names)
        lines = [
            "<div class='results-table'><table id='scorecard' class='sortable scorecard' "
            f"data-filter='Find a phrase'><thead><tr>{heads}</tr></thead><tbody>"
        ]
        for claim in self.by_severity():
            print_, *ours = self.verdicts[claim.id]
            cells = [escape(claim.statement)]
            cells += [f"{badge(v.verdict)} <small>{escape(v.number)}</small>" for v in (*ours, print_)]
            cells += [escape(claim.counted), self._to_page(claim)]
            cells.append(f"<a href='evidence.html#{claim.id}'>{escape(claim.id)}</a>")
            kinds = ["", *["verdict"] * len(self.labels), "", "", ""]
            tagged = [
                f"<td class='{what}' data-label='{escape(name, quote=True)}'>{cell}</td>"
                for what, name, cell in zip(kinds, names, cells, strict=True)
            ]
            stands = "" if claim.group == OWN else self.settled(claim)[1].verdict  # our own are counted apart
            lines.append(f"<tr data-verdict='{stands}'>{''.join(tagged)}</tr>")
        link = csv_link(self.table(), "scorecard", "Download as CSV")
        return HTML(
            "\n".join([*lines, "</tbody></table></div>", f"<p class='download'>{link}, with reasons and keys</p>"])
        )

    def _to_page(self, claim: Claim) -> str:
        """Return where a claim stands in the paper, linked to the page that settles it where this book has it.

        What is said of a data set without an accuracy page is on the page of Tables 1 and 6.
        """
        page = page_name(claim.page, claim.dataset)
        if page not in self.pages and claim.page == "accuracy":
            page = "tables"
        named = claim.item == "Text" or claim.item in claim.place
        place = escape(claim.place + ("" if named else f", {claim.item}"))
        return f"<a href='{page}.html'>{place}</a>" if page in self.pages else place

    def table(self) -> pd.DataFrame:
        """Return the scorecard as a table to save, verdicts with their reasons and result keys."""
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
        return pd.DataFrame(rows)

    def evidence(self) -> HTML:
        """Return for each claim its rule, verdicts, the stored results behind them, and the command that reruns it."""
        parts = []
        for claim in self.claims:
            mark = badge(self.settled(claim)[1].verdict)
            lines = [f"<section class='evidence' id='{claim.id}'><h3>{claim.id} {mark}</h3>"]
            lines.append(f"<p>{escape(claim.statement)} ({self._to_page(claim)}).</p>")
            if claim.note:
                lines.append(f"<p class='reasons'>{escape(claim.note)}</p>")
            lines.append(f"<p class='reasons'>Rule: {escape(rule(claim))}</p><ul>")
            for label, verdict in self._judged(claim):
                if verdict.verdict == NOT_APPLICABLE:
                    continue
                text = f" {escape(verdict.text)}" if verdict.text else ""
                lines.append(f"<li>{escape(label)}: {badge(verdict.verdict)}{text}</li>")
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
                lines.append(
                    f"<li>{escape(verdicts.subject_name(subject))}: {' '.join(map(result_link, results))}</li>"
                )
        return f"<p>{escape(column.label)}</p><ul>{''.join(lines)}</ul>" if lines else ""


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
