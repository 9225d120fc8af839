"""A number that stands on two pages of the built book is the same number."""

import re
from collections import Counter
from html import unescape
from pathlib import Path

import pytest

from mixnam.paper import words
from mixnam.paper.ranks import MARGINS, ranks

ROOT = Path(__file__).resolve().parents[2]


def plain(html):
    """The text of some HTML on one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


@pytest.fixture(scope="module")
def pages(html):
    """The text of each page's HTML by its name."""
    return {path.stem: path.read_text(encoding="utf-8") for path in html.glob("*.html")}


def table(page, name):
    """The rows of a titled table as dictionaries, by the table's anchor; a group's first cell stands in each row."""
    part = re.search(rf"<figure class=.titled [^>]*table. id=.{name}.>.*?</figure>", page, re.DOTALL)[0]
    heads = [plain(cell) for cell in re.findall(r"<th[^>]*>(.*?)</th>", part, re.DOTALL)]
    rows = []
    for row in re.findall(r"<tr[^>]*>(.*?)</tr>", part, re.DOTALL)[1:]:
        cells = [plain(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)]
        cells[0] = cells[0] or rows[-1][heads[0]]
        rows.append(dict(zip(heads, cells, strict=True)))
    return rows


def mean(text):
    """The number that a cell starts with."""
    return text.split(" ")[0]


@pytest.mark.parametrize(
    ("model", "label", "short"),
    [("MixNAM", "MixNAM", "MixNAM ✓"), ("EB2M", "EB2M (interpret 0.2.7's defaults)", "EB2M (0.2.7's defaults)")],
)
def test_a_score_on_housing(pages, model, label, short):
    (landing,) = [row for row in table(pages["index"], "tables-1-and-6") if row["model"] == short]
    (own,) = [row for row in table(pages["accuracy_housing"], "table-1") if label in row.values()]
    settings = ("paper", "ours, paper's setting", "ours, quick setting")
    shown = [mean(landing[f"Housing, RMSE ↓: {setting}"]) for setting in settings]
    assert shown == [mean(own[setting]) for setting in settings]
    overview = [row for row in table(pages["tables"], "table-1") if row["model"] == short]
    found = {row["source"]: mean(row["Housing, RMSE ↓"]) for row in overview}
    assert (found["paper"], found["ours"]) == (shown[0], shown[1])
    text = (ROOT / "RESULTS.md").read_text()
    row = next(line.split("|") for line in text.splitlines() if line.startswith(f"| {model} |"))
    assert [re.search(r"\d\.\d{3}", cell)[0] for cell in row[2:5]] == shown


def test_mixnams_score_in_its_verdict_is_that_of_the_table(pages):
    (landing,) = [row for row in table(pages["index"], "tables-1-and-6") if row["model"] == "MixNAM ✓"]
    verdict = re.search(r"id='T1-housing'>.*?</section>", pages["evidence"], re.DOTALL)[0]
    told = re.search(r"(\d\.\d{4}) − 0\.451", plain(verdict))[1]
    assert f"{float(told):.3f}" == mean(landing["Housing, RMSE ↓: ours, paper's setting"])
    assert f"({f'{float(told):.3f}'}; in print 0.451)" in plain(pages["index"])


def test_the_time_that_a_training_takes(pages):
    costs = {row["source"]: row for row in table(pages["complexity"], "cost-of-training") if row["model"] == "MixNAM"}
    (own,) = [row for row in table(pages["accuracy_housing"], "training-costs") if row["model"] == "MixNAM"]
    for setting in ("paper's setting", "quick setting"):
        seconds = next(value for name, value in own.items() if "seconds" in name and setting in name)
        assert float(mean(seconds).replace(",", "")) == pytest.approx(
            float(mean(costs[setting]["seconds of training"])), abs=0.51
        )


def counted(html):
    """How many verdicts of each word the cells of a strip hold."""
    found = Counter()
    for word, count in re.findall(r"title=.([a-z ]+).>(\d+)</a>", html):
        found[word] += int(count)
    return found


def test_the_count_of_claims(pages):
    strip = re.search(r"<div class=.strip.>.*?<p class=.legend.>", pages["index"], re.DOTALL)[0]
    card = re.search(r"<table id=.scorecard.*?</table>", pages["scorecard"], re.DOTALL)[0]
    rows = len(re.findall(r"<tr data-verdict=.[a-z]", card))  # the paper's claims; our own are counted apart
    on_strip = counted(strip)
    assert on_strip.total() == rows
    contents = re.search(r"<div class=.results-table.>.*?</table>", pages["contents"], re.DOTALL)[0]
    text = next(line for line in strip.split("<div>") if ">Text<" in line)
    assert counted(contents) + counted(text) == on_strip
    readme = (ROOT / "README.md").read_text()
    heads = next(line for line in readme.splitlines() if line.startswith("| paper | ✘")).split("|")[2:-1]
    lines = [
        line.split("|")[2:-1] for line in readme.splitlines() if re.match(r"\| (Table \d+|Figure \d+|Text) \|", line)
    ]
    sums = {head.strip()[2:]: sum(int(row[k].strip() or 0) for row in lines) for k, head in enumerate(heads)}
    assert {word: count for word, count in sums.items() if count} == on_strip
    findings = len(re.findall(r"<li><a href=.evidence", pages["findings"]))
    assert findings < rows and set(on_strip) <= set(words.VERDICTS)


def test_a_rank_is_that_of_the_scores_beside_it(pages):
    rows = table(pages["accuracy_housing"], "table-1")
    printed = {next(iter(row.values())): float(mean(row["paper"])) for row in rows if row["paper"] != "–"}
    shown = {next(iter(row.values())): row["rank of 15"] for row in rows if row["paper"] != "–"}
    assert {name: str(rank) for name, rank in ranks(printed, -1, MARGINS["housing"]).items()} == shown
