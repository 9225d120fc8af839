"""What came out: sentences, the strip, findings and RESULTS.md say what the verdicts say, and change with them."""

import re
from collections import Counter
from html import unescape
from pathlib import Path

from planted import fill

from mixnam.paper import published, words
from mixnam.paper.claim import OWN, claims
from mixnam.paper.verdicts import Verdict
from mixnam.report import book, story
from mixnam.report.parameters import Parameters
from mixnam.report.scorecard import Scorecard
from mixnam.runs.store import Store

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*book.all_pages(book.REFERENCE), *book.HAND_WRITTEN]
KNOWN = {claim.id: claim for claim in claims()}


def card_of(root, changes=None):
    """A scorecard of an empty reference, on which every claim is undecided at ours but those that `changes` names.

    `changes` are verdicts at the paper's setting, or pairs of these and those at ours.
    """
    store = Store(root / "book" / "results")
    card = Scorecard(Parameters("housing", "paper", "cpu", store.root, False, store.root), pages=PAGES)
    nothing = Verdict(words.NOT_APPLICABLE)
    for claim in card.claims:
        both = Verdict(words.TOO_FEW), Verdict(words.UNDECIDED, "rests on", 5, (), 1, "0.123")
        card.__dict__.setdefault("verdicts", {})[claim.id] = [Verdict(words.PRINTED), *both]
        if claim.one_setting:
            card.verdicts[claim.id][1] = nothing
    for name, change in (changes or {}).items():
        pair = change if isinstance(change, tuple) else (change, words.UNDECIDED)
        ours = [Verdict(word, f"why {name}", 5, (), 1, "0.456") for word in pair]
        card.verdicts[name][1:] = [nothing, ours[0]] if KNOWN[name].one_setting else ours
    return card


def test_a_claim_moves_to_another_sentence_with_its_verdict(tmp_path):
    short = KNOWN["T1-housing"].short
    starts = {
        words.REPRODUCED: "**Reproduced** at the paper's setting: ",
        words.NOT_REPRODUCED: "**Not reproduced** at the paper's setting: ",
        words.UNDECIDED: "**Open**: ",
    }
    for word, start in starts.items():
        told = story.sentences(card_of(tmp_path, {"T1-housing": word}), None)
        (sentence,) = [line for line in told if short in line]
        assert sentence.startswith(start)
        number = "0.123" if word == words.UNDECIDED and "0.456" not in sentence else "0.456"
        assert f"{short} ({number}; in print 0.451)" in sentence


def test_a_sentence_says_at_which_setting_a_verdict_stands(tmp_path):
    card = card_of(
        tmp_path, {"T1-blackbox": (words.TOO_FEW, words.NOT_REPRODUCED), "F4-mix-bounds": words.NOT_REPRODUCED}
    )
    (sentence,) = [line for line in story.sentences(card, None) if line.startswith("**Not reproduced**")]
    at, simulated = sentence.split("; ")  # each number stands at its setting
    assert at.startswith("**Not reproduced** at our quick setting: ") and KNOWN["T1-blackbox"].short in at
    assert simulated == f"in simulations: {KNOWN['F4-mix-bounds'].short} (0.456)."


def test_what_has_no_data_or_no_runs_is_counted(tmp_path):
    absent = [c.id for c in claims() if c.dataset in ("mimic2", "year")]
    card = card_of(tmp_path, dict.fromkeys(absent, (words.NO_DATA, words.NO_DATA)))
    (sentence,) = [line for line in story.sentences(card, None) if line.startswith("**Open**")]
    assert f"{len(absent)} claims on MIMIC-II and Year could not be tested" in sentence
    few = sum(not claim.one_setting and claim.group != OWN for claim in claims()) - len(absent)
    assert f"{few} lack runs at the paper's setting, 0 of them at ours, too" in sentence


def test_what_quick_decides_stands_beside_what_the_papers_setting_says_so_far(tmp_path):
    card = card_of(tmp_path, {"T1-blackbox": (words.TOO_FEW, words.NOT_REPRODUCED)})
    card.verdicts["T1-blackbox"][1] = Verdict(words.TOO_FEW, "3 of 5", 3, (), 1, "ahead by 0.001")
    told = "0.456, at the paper's setting ahead by 0.001: not enough runs"
    assert f"({told})" in " ".join(story.sentences(card, None))
    assert told in unescape(story.findings(card, story.FAILED).html)
    card.verdicts["T1-blackbox"][1] = Verdict(words.REPRODUCED, "", 5, (), 1, "ahead by 0.001")
    assert "at the paper's setting ahead" not in " ".join(story.sentences(card, None))  # there it decides itself


def test_better_and_new_are_told_apart(tmp_path):
    own = [c.id for c in claims() if c.group == OWN and c.short and not c.preset]
    card = card_of(tmp_path, {"T1-node-housing": words.BETTER, own[0]: words.REPRODUCED, own[1]: words.NOT_REPRODUCED})
    told = story.sentences(card, None)
    assert any(t.startswith("**Better than printed**: NODE's test RMSE on Housing is 0.523 in print") for t in told)
    (new,) = [line for line in told if line.startswith("**New**")]
    shown, contradicted = new.split(", and contradict that ")
    assert KNOWN[own[0]].short in shown and KNOWN[own[1]].short in contradicted
    assert not any(KNOWN[name].short in line for name in own for line in told if line != new)


def test_one_sentence_says_where_our_own_recipe_is_ahead_of_boosted_trees(tmp_path):
    said = {name: words.TOO_FEW for name in KNOWN if name.startswith("AH-")}
    assert not any("recipe" in line for line in story.sentences(card_of(tmp_path, said), None))  # it was not run
    said |= {
        "AH-housing-trees": words.UNDECIDED,
        "AH-bike-trees": words.REPRODUCED,
        "AH-splits-trees-4": words.UNDECIDED,
    }
    said |= {"AH-bike-trees-4": words.REPRODUCED, "AH-splits-trees": words.UNDECIDED}
    said |= {"AH-bike-glass": words.NOT_REPRODUCED, "AH-income-trees-4": words.NOT_REPRODUCED}
    (line,) = [line for line in story.sentences(card_of(tmp_path, said), None) if "recipe" in line]
    trees = "XGBoost, LightGBM and CatBoost"
    assert line == (
        f"**Ahead of the paper**: a recipe of our own is ahead of {trees} on Bike; not surely ahead of all of {trees} "
        "on Housing with one model and five other splits of Housing; "
        f"behind one of {trees} on Income with the mean of four."
    )


def test_a_sentence_links_to_the_evidence(tmp_path):
    text = " ".join(story.sentences(card_of(tmp_path, {"T1-housing": words.REPRODUCED})))
    assert f"[{KNOWN['T1-housing'].short}](evidence.html#T1-housing)" in text
    assert set(re.findall(r"evidence\.html#([^)]+)\)", text)) <= set(KNOWN)


def test_the_strip_counts_every_claim_once(tmp_path):
    card = card_of(tmp_path, {"T3-add-rises": words.REPRODUCED, "F3-peaks": words.NOT_REPRODUCED})
    html = story.strip(card).data
    cells = re.findall(r"<div>(.*?)</div>", html)
    counted = Counter()
    for cell in cells:
        item = re.sub(r"<[^>]+>", " ", cell).split("  ")[0].strip()
        for word, count in re.findall(r"title='([a-z ]+)'>(\d+)</a>", cell):
            counted[(item, word)] += int(count)
    theirs = [claim for claim in card.claims if claim.group != OWN]  # our own are counted apart
    assert counted == Counter((claim.item, card.settled(claim)[1].verdict) for claim in theirs)
    assert counted[("Table 3", "reproduced")] == counted[("Figure 3", "not reproduced")] == 1


def test_an_item_of_the_paper_is_read_off_a_claims_place():
    items = set(published.table("figures")["item"]) | {"Text"}
    assert {claim.item for claim in claims()} <= items
    assert KNOWN["T1-pairwise"].item == "Table 1"  # "Section 4.1.3"
    assert KNOWN["S42-bounds"].item == "Text"
    assert KNOWN["A-sizes"].item == "Table 4"


def test_findings_hold_every_claim_of_their_verdicts_at_its_setting(tmp_path):
    changes = {
        "T1-housing": words.REPRODUCED,
        "T1-blackbox": (words.TOO_FEW, words.REPRODUCED),
        "F4-uni": words.REPRODUCED,
    }
    card = card_of(tmp_path, changes)
    html = story.findings(card, story.HELD).html
    parts = dict(re.findall(r"<p><b>([^<]+)</b></p><ul class='findings'>(.*?)</ul>", html))
    assert {where: re.findall(r"#([^']+)'", part) for where, part in parts.items()} == {
        "At the paper's setting": ["T1-housing"], "At our quick setting": ["T1-blackbox"], "In simulations": ["F4-uni"]
    }  # fmt: skip
    assert "why T1-housing" in html
    kept = [story.findings(card, [word], own=own).html for word in words.VERDICTS for own in (False, True)]
    assert sorted(re.findall(r"evidence\.html#([^']+)'", " ".join(kept))) == sorted(KNOWN)


def test_the_contents_name_every_table_and_figure_once_with_its_page(tmp_path):
    card = card_of(tmp_path)
    items = list(published.table("figures")["item"])
    assert sorted(items) == sorted([f"Figure {k}" for k in range(1, 13)] + [f"Table {k}" for k in range(1, 10)])
    html = story.contents_table(card).data
    assert html.count("<tr class='first'>") == 21 and "nan" not in html
    rows = dict(re.findall(r"<tr class='first'><td>([^<]+)</td>.*?<td>(<a href='[^']+'>|[A-Z])", html))
    assert "explanations_income.html#figure-11" in rows["Figure 11"]
    for item, name in (("Figure 10", "MIMIC-II"), ("Figure 12", "Credit")):
        row = re.search(rf"<td>{item}</td>.*?</tr>", html)[0]
        assert "href='explanations" not in row and "DATASETS=" in row and name in row
    assert set(re.findall(r"href='([a-z0-9_]+)\.html", html)) <= set(PAGES)
    fewer = Scorecard(card.parameters, pages=["method"])
    fewer.verdicts = card.verdicts
    assert set(re.findall(r"<td><a href='([a-z0-9_]+)\.html", story.contents_table(fewer).data)) == {"method"}


def test_results_markdown_has_every_claim_once_and_stays_short(tmp_path):
    card = card_of(tmp_path)
    fill(card.columns[0].store, scores=[0.450, 0.451, 0.452, 0.453, 0.449])
    text = story.results_markdown(card.parameters)
    assert text.count("\n") < 300 and len(text.encode()) < 60_000
    named = re.findall(r"\(`([^`]+)`\)", text)
    assert len(named) == len(set(named)) and "T1-housing" in named
    assert "| ✔ 0.451 |" in text
    left = set(KNOWN) - set(named)
    assert all(KNOWN[name].baseline or KNOWN[name].dataset not in ("housing", "") for name in left if name != "T1-top4")


def test_the_landing_table_sets_ours_beside_the_paper(project):
    fill(project.store, seeds=2, scores=[0.45, 0.46])
    fill(project.other, seeds=1, scores=0.5, preset="smoke")
    table = story.headline_table(project.parameters(rerun=True)).set_index("model")
    own = table.loc["MixNAM\N{NO-BREAK SPACE}✓"]
    assert own.tolist()[:3] == ["0.451 ± 0.002", "0.455 ± 0.007 (n = 2)", "0.500 (n = 1)"]
    assert own.tolist()[3:] == ["0.927 ± 0.003", "not run", "not run"]
    assert len(set(table.columns)) == 6
