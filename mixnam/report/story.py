"""What came out, told from verdicts: five sentences, a strip of the paper's tables and figures, and the findings."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote, urlencode

import pandas as pd
from IPython.display import HTML

from mixnam.paper import evidence, experiments, published
from mixnam.paper.claim import ARITHMETIC, OWN, Claim
from mixnam.paper.costs import duration
from mixnam.paper.verdicts import Verdict
from mixnam.paper.words import (
    BETTER,
    NO_DATA,
    NOT_APPLICABLE,
    NOT_REPRODUCED,
    PARTLY,
    REPRODUCED,
    SEVERITY,
    SYMBOLS,
    TOO_FEW,
    UNDECIDED,
)
from mixnam.report import accuracy
from mixnam.report.layout import Element, badge, literal, printed, spread
from mixnam.report.parameters import Parameters
from mixnam.report.scorecard import Scorecard, page_name

HELD, FAILED, OPEN = (REPRODUCED, PARTLY), (NOT_REPRODUCED,), (UNDECIDED, TOO_FEW)
#: The landing page's models, as rows of Tables 1 and 6 are labelled.
HEADLINES = ("MixNAM", "XGBoost", "EB2M", "MLP", "EBM", "NAM", "MixNAM-D", "Linear")
_LONG = 160  # of what a verdict rests on, in characters: more is shown by the evidence alone
Link = Callable[[Claim], str]


def reference(parameters: Parameters) -> Parameters:
    """Return the parameters under which a page shows the reference itself, whose verdicts rest on most runs."""
    return dataclasses.replace(parameters, dataset="housing", preset="paper", results=parameters.reference)


def evidence_link(claim: Claim) -> str:
    """Return where the book shows what a claim's verdicts rest on."""
    return f"evidence.html#{claim.id}"


def setting(card: Scorecard, claim: Claim) -> str:
    """Return at which setting a claim's verdict stands, in words."""
    number, _ = card.settled(claim)
    if claim.preset:
        return "with our own recipe"
    if claim.one_setting:
        return "by counting" if claim.group == ARITHMETIC or number == 0 else "in simulations"
    return ("in print", "at the paper's setting", "at our quick setting")[number]


def beside(card: Scorecard, claim: Claim) -> str:
    """Return what the paper's setting says so far of a claim whose verdict stands at our quick one, or nothing."""
    number, paper = card.settled(claim)[0], card.verdicts[claim.id][1]
    return f", at the paper's setting {paper.number}: {paper.verdict}" if number == 2 and paper.number else ""


def _named(card: Scorecard, claim: Claim, link: Link | None) -> str:
    """Return a claim in a few words, with numbers that these words explain, as Markdown."""
    _, verdict = card.settled(claim)
    name = f"[{claim.short}]({link(claim)})" if link else claim.short
    known = evidence.printed_sample(claim, claim.subjects[0]) if claim.kind == "value" and not claim.own else None
    if known:
        return f"{name} ({verdict.number}; in print {known.mean:g}{beside(card, claim)})"
    told = claim.kind in ("order", "tie") or (claim.kind == "threshold" and verdict.verdict in FAILED)
    return f"{name} ({verdict.number}{beside(card, claim)})" if told and verdict.number else name


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _missing(card: Scorecard) -> tuple[list[Claim], str]:
    """Return the claims whose data are not at hand, and the names of these data."""
    absent = [claim for claim in card.claims if card.settled(claim)[1].verdict == NO_DATA]
    sets = dict.fromkeys(claim.dataset for claim in absent if claim.kind == "value")
    return absent, _listed([published.DATASETS[name] for name in sets])


def sentences(card: Scorecard, link: Link | None = evidence_link) -> list[str]:
    """Return what came out in five sentences of Markdown or six, from the verdicts of the reference.

    They name the claims that have a short form: what is reproduced, what is not, what could not be tested or decided,
    what is better than printed, what is new, and where our own recipe is ahead. `link` leads from a claim
    to its evidence.
    """
    told = [(claim, card.settled(claim)[1]) for claim in card.claims]
    short = [(claim, verdict) for claim, verdict in told if claim.short and not claim.preset]

    def by_setting(kept: Collection[str], own: bool = False) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for claim, verdict in short:
            if verdict.verdict in kept and (claim.group == OWN) == own:
                found.setdefault(setting(card, claim), []).append(_named(card, claim, link))
        return found

    def joined(found: dict[str, list[str]]) -> str:
        return "; ".join(f"{where}: {_listed(names)}" for where, names in found.items())

    absent, names = _missing(card)
    theirs = [(claim, verdict) for claim, verdict in told if claim.group != OWN]
    few = sum(card.verdicts[claim.id][1].verdict == TOO_FEW for claim, _ in theirs)
    both = sum(verdict.verdict == TOO_FEW for _, verdict in theirs)
    better = [
        f"{f'[{claim.statement}]({link(claim)})' if link else claim.statement} in print and {verdict.number} here "
        f"({setting(card, claim)}{beside(card, claim)})"
        for claim, verdict in told
        if verdict.verdict == BETTER
    ]
    shown, contradicted = (by_setting((word,), own=True) for word in (REPRODUCED, NOT_REPRODUCED))
    new = []
    for where in dict.fromkeys([*shown, *contradicted]):
        parts = {"show": shown.get(where, []), "contradict": contradicted.get(where, [])}
        said = [f"{verb} {_listed([f'that {name}' for name in names])}" for verb, names in parts.items() if names]
        new.append(f"{where} our runs {', and '.join(said)}")
    found = {
        "**Reproduced** ": joined(by_setting(HELD)),
        "**Not reproduced** ": joined(by_setting(FAILED)),
        "**Open**: ": f"{len(absent)} claims on {names} could not be tested, because these data are not at hand; "
        f"{few} lack runs at the paper's setting, {both} of them at ours, too; undecided, among others, "
        f"{joined(by_setting((UNDECIDED,)))}",
        "**Better than printed**: ": "; ".join(better),
        "**New**: ": "; ".join(new),
        "**Ahead of the paper**: ": recipe(card, link),
    }
    return [f"{start}{text}." for start, text in found.items() if text]


def recipe(card: Scorecard, link: Link | None = evidence_link) -> str:
    """Return on which data our own recipe is ahead of boosted trees, or not; empty where no claim on it is settled.

    Data stand once where one model and the mean of four come out alike.
    """
    said: dict[str, dict[str, list[Claim]]] = {}
    for claim in card.claims:
        if claim.preset and claim.subjects[1]["model"] in experiments.BOOSTED:
            place = claim.short.partition(" on ")[2]
            said.setdefault(card.settled(claim)[1].verdict, {}).setdefault(place, []).append(claim)
    words = {REPRODUCED: "ahead of", UNDECIDED: "not surely ahead of all of", NOT_REPRODUCED: "behind one of"}
    parts = []
    for verdict, word in words.items():
        named = []
        for place, found in said.get(verdict, {}).items():
            linked = f"[{place}]({link(found[0])})" if link else place
            named.append(linked + (f" with {found[0].short.partition(' on ')[0]}" if len(found) == 1 else ""))
        if named:
            parts.append(f"{word} {_listed(experiments.BOOSTED)} on {_listed(named)}")
    linked = "[a recipe of our own](ahead.html)" if link else "a recipe of our own"
    return f"{linked} is {'; '.join(parts)}" if parts else ""


def _items(card: Scorecard) -> dict[str, list[Claim]]:
    """Return the claims by the paper's table or figure, in the paper's order, failures first; the others come last."""
    found: dict[str, list[Claim]] = {item: [] for item in [*published.table("figures")["item"], "Text"]}
    for claim in card.by_severity():
        found[claim.item].append(claim)
    return found


def _said(card: Scorecard, chosen: Iterable[Claim]) -> Counter[str]:
    """Return how many of the paper's claims have which verdict; our own are counted apart."""
    return Counter(card.settled(claim)[1].verdict for claim in chosen if claim.group != OWN)


def _pills(card: Scorecard, item: str, chosen: Iterable[Claim]) -> str:
    """Return how many verdicts of each word an item has, on their colours, linked to these claims in the scorecard."""
    said = _said(card, chosen)
    find = {} if item == "Text" else {"find": item}
    links = {word: f"scorecard.html#{urlencode(find | {'verdict': word}, quote_via=quote)}" for word in said}
    return "".join(badge(word, str(said[word]), links[word]) for word in SEVERITY if said[word])


def strip(card: Scorecard) -> HTML:
    """Return the paper's tables and figures that have claims, each with its verdicts as coloured cells that link."""
    pages = published.table("figures").set_index("item")
    cells = []
    for item, chosen in _items(card).items():
        if chosen:
            page = "scorecard" if item == "Text" else page_of(pages.loc[item].to_dict())
            name = f"<a href='{page}.html'>{item}</a>" if page in card.pages else item
            cells.append(f"<div>{name} {_pills(card, item, chosen)}</div>")
    return HTML(f"<div class='strip'>{''.join(cells)}</div>{legend(card)}")


def legend(card: Scorecard) -> str:
    """Return the verdicts that claims have, each on its colour, as HTML."""
    said = {card.settled(claim)[1].verdict for claim in card.claims}
    return f"<p class='legend'>{' '.join(badge(word) for word in SEVERITY if word in said)}</p>"


def strip_table(card: Scorecard) -> pd.DataFrame:
    """Return the strip as text: how many claims about each table or figure of the paper have which verdict."""
    said = {item: _said(card, chosen) for item, chosen in _items(card).items()}
    shown = [word for word in SEVERITY if word in SYMBOLS or word == NO_DATA]
    rows = [
        {"paper": item} | {f"{SYMBOLS.get(word, '–')} {word}": str(counts[word] or "") for word in shown}
        for item, counts in said.items()
        if counts
    ]
    return pd.DataFrame(rows)


def markdown_table(frame: pd.DataFrame) -> str:
    """Return a table as Markdown."""
    rows = [[*frame.columns], ["---"] * frame.shape[1], *frame.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def in_short(card: Scorecard) -> str:
    """Return what README and RESULTS.md open with, as Markdown: the five sentences and the strip."""
    told = "\n".join(f"{number}. {text}" for number, text in enumerate(sentences(card, None), 1))
    return f"{told}\n\n{markdown_table(strip_table(card))}"


def page_of(row: Mapping[Hashable, Any]) -> str:
    """Return the page that shows a table or figure of the paper, as a row of `figures.csv` says."""
    return page_name(row["page"], row["dataset"] if isinstance(row["dataset"], str) else "housing")


def contents_table(card: Scorecard) -> HTML:
    """Return every table and figure of the paper with its page, its verdicts and what is lacking.

    `card` knows the pages of its book.
    """
    heads = "".join(f"<th>{name}</th>" for name in ("paper", "what it shows", "page", "verdicts", "lacking"))
    lines = [f"{legend(card)}<div class='results-table'><table><thead><tr>{heads}</tr></thead><tbody>"]
    claims = _items(card)
    for row in published.table("figures").fillna("").to_dict("records"):
        page, text = page_of(row), {name: escape(str(value)) for name, value in row.items()}
        anchor = f"#{row['anchor']}" if row["anchor"] else ""
        link = f"<a href='{page}.html{anchor}'>{text['title']}</a>" if page in card.pages else "no page in this book"
        pills = f"<span class='strip'>{_pills(card, row['item'], claims[row['item']])}</span>"
        cells = "</td><td>".join((text["item"], text["what"], link, pills, text["lacking"]))
        lines.append(f"<tr class='first'><td>{cells}</td></tr>")
    return HTML("".join([*lines, "</tbody></table></div>"]))


def findings(card: Scorecard, kept: Collection[str], own: bool = False) -> Element:
    """Return the claims whose verdict is one of `kept`, by the setting at which it stands, with what it rests on.

    `own` takes our own claims instead of the paper's. Scores that Table 1 prints of other models share a line.
    """
    found: dict[str, list[str]] = {}
    baselines: dict[tuple[str, str], list[str]] = {}
    for claim in card.claims:
        _, verdict = card.settled(claim)
        if verdict.verdict not in kept or (claim.group == OWN) != own:
            continue
        where = setting(card, claim)
        linked = f"<a href='evidence.html#{claim.id}'>{{}}</a>"
        if claim.baseline:
            name = f"{claim.subjects[0]['model']} on {published.DATASETS[claim.dataset]}"
            baselines.setdefault((where, verdict.verdict), []).append(linked.format(escape(name)))
            found.setdefault(where, [])
            continue
        text = verdict.text if len(verdict.text) <= _LONG else "the evidence has each interval"
        number = (verdict.number + beside(card, claim)).removeprefix(", ")
        rests = " · ".join(part for part in (number, text, claim.note) if part)
        mark = badge(verdict.verdict) + " " if len(kept) > 1 or own else ""
        small = f" <small>{escape(rests)}</small>" if rests else ""
        found.setdefault(where, []).append(f"<li>{mark}{linked.format(escape(claim.statement))}.{small}</li>")
    for (where, word), names in baselines.items():
        found[where].append(f"<li>{badge(word)} Scores that Table 1 prints of other models: {', '.join(names)}.</li>")
    parts = [f"<p><b>{w[0].upper()}{w[1:]}</b></p><ul class='findings'>{''.join(v)}</ul>" for w, v in found.items()]
    return Element("".join(parts) or "<p>None.</p>", "")


def effort(parameters: Parameters) -> str:
    """Return how much was trained for the reference and where, in a sentence."""
    results = list(parameters.columns[0].store)
    seconds = sum(result.cost["fit_seconds"] + result.cost["explain_seconds"] for result in results)
    devices = _listed(sorted({literal(result.provenance["device"]) for result in results}))
    told = f"{len(results)} trained models stand behind this book"
    return f"{told}, {duration(seconds)} of training and measuring on {devices}."


def headline_table(
    parameters: Parameters, models: Sequence[str] = HEADLINES, card: Scorecard | None = None
) -> pd.DataFrame:
    """Return test scores of some models on Housing and Income, the paper's beside ours.

    With `card` a symbol beside ours says what the verdict on the printed number is.
    """
    cases = {case.published: case for case in experiments.cases("accuracy", "paper")}
    table = pd.DataFrame({"model": [model if card else accuracy.short(cases[model]) for model in models]})
    for dataset in ("housing", "income"):
        standing = accuracy.Standing(dataclasses.replace(parameters, dataset=dataset))
        name = accuracy.heading(dataset)
        known = [standing.printed.get(cases[model].label) for model in models]
        theirs = [printed((sample.mean, sample.sd) if sample else None) for sample in known]
        table[f"{name}: paper"] = pd.Series(theirs, dtype=object)
        judged = {c.subjects[0]["model"]: c.id for c in card.claims if c.scores(dataset)} if card else {}
        for number, column in enumerate(standing.columns, 1):
            ours = [standing.of(column).get(cases[model].label) for model in models]
            told = [spread(sample.mean, sample.sd, n=sample.n) if sample else "not run" for sample in ours]
            if card:
                marks = [
                    SYMBOLS.get(card.verdicts[judged[m]][number].verdict, "") if m in judged else "" for m in models
                ]
                told = [f"{mark} {text}".strip() for mark, text in zip(marks, told, strict=True)]
            table[f"{name}: {column.label}"] = told
    return table


def readme(text: str, card: Scorecard) -> str:
    """Return README with its part that `make reference` writes made anew."""
    start, end = (
        "<!-- written by `make reference` from the verdicts -->",
        "<!-- end of what `make reference` writes -->",
    )
    before, _, rest = text.partition(start)
    return f"{before}{start}\n\n{in_short(card)}\n\n{end}{rest.partition(end)[2]}"


def results_markdown(parameters: Parameters) -> str:
    """Return RESULTS.md: what came out and every verdict, for reading on a code host."""
    card = Scorecard(parameters)
    symbols = ", ".join(f"{symbol} {word}" for word, symbol in SYMBOLS.items())
    lines: list[dict[str, str]] = []
    for item, chosen in _items(card).items():
        shown = [c for c in chosen if card.settled(c)[1].verdict != NO_DATA and not c.baseline]
        head = f"**{item}**"
        for claim in shown:
            cells = dict(zip(card.labels, map(_cell, card.verdicts[claim.id]), strict=True))
            lines.append({"paper": head, "claim": f"{claim.statement} (`{claim.id}`)"} | cells)
            head = ""
    absent, names = _missing(card)
    models = list(dict.fromkeys(published.table("table1_accuracy")["model"]))
    parts = [
        "# Results",
        "Written by `make reference` from `book/results/`; do not edit. The book says the same with pictures.",
        "## What came out",
        in_short(card),
        "## How many verdicts of each kind",
        card.count(),
        "`book/rules.md` says how a verdict is made, `book/verdicts.csv` what each rests on.",
        "## Test scores of Tables 1 and 6",
        f"Mean ± standard deviation; n counts seeds (Housing) or folds (Income). {symbols}: our verdict on the printed "
        "number.",
        markdown_table(headline_table(parameters, models, card)),
        "## Claims",
        f"The number is ours, or the narrowest of several differences; {symbols}; – cannot be judged there. Left out "
        f"are the scores above, and {len(absent)} claims on {names}, because these data are not at hand.",
        markdown_table(pd.DataFrame(lines)),
    ]
    return "\n\n".join(parts) + "\n"


def _cell(verdict: Verdict) -> str:
    if verdict.verdict in SYMBOLS:
        return f"{SYMBOLS[verdict.verdict]} {verdict.number}".strip()
    return "" if verdict.verdict == NOT_APPLICABLE else "–"
