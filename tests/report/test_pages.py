"""Pages in a browser: no script fails, none scrolls sideways, pictures have words, and foreign text is only text."""

import json
import re
import shutil
from html.parser import HTMLParser

import nbformat
import numpy as np
import pandas as pd
import pytest
from browsed import tour
from IPython import display
from planted import Project

from mixnam.data import catalogue
from mixnam.data.own import read_table
from mixnam.paper import running
from mixnam.report import book, layout, searches, speed
from mixnam.report.parameters import Parameters
from mixnam.runs.files import root
from mixnam.runs.results import digest

ATTACK = "<img src=x onerror=\"document.title='ran'\"><script>document.title='ran'</script>"
#: What a page must show as it stands: markup, mathematics, emphasis, code, a link, a directive, an escape.
HOSTILE = rf"{ATTACK} $x^2$ *a* __b__ `c` [d](javascript:e) {{f}}`g` \1 \frac"


@pytest.fixture(scope="module")
def visited(html, chromium):
    """What the browser finds on every page of the reference book."""
    return tour(chromium, html, sorted(path.name for path in html.glob("*.html")))


def test_no_page_has_a_script_error(visited):
    assert len(visited) > 30
    assert {page: seen["errors"] for page, seen in visited.items() if seen["errors"]} == {}


def test_no_page_scrolls_sideways(visited):
    widths = {(page, width): pair for page, seen in visited.items() for width, pair in seen["widths"].items()}
    assert len(widths) == 2 * len(visited)
    assert {where: pair for where, pair in widths.items() if pair[0] > pair[1]} == {}


def test_no_heading_stands_above_nothing(visited):
    assert [page for page, seen in visited.items() if "Nothing yet" in seen["text"]] == []


class Images(HTMLParser):
    """The alternative texts of a page's pictures, None where a picture has none."""

    def __init__(self, text):
        super().__init__()
        self.words = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.words.append(dict(attributes).get("alt"))


def wordless(text):
    """Return the alternative texts that are none, empty, a hash or a file's name."""
    name = re.compile(r"\S*([0-9a-f]{16,}|\.(png|svg|jpe?g))\S*")
    return [words for words in Images(text).words if not words or name.fullmatch(words.strip())]


def test_every_picture_has_words(html):
    pages = {path.name: path.read_text() for path in html.glob("*.html")}
    assert sum(len(Images(text).words) for text in pages.values()) > 20
    assert {page: len(wordless(text)) for page, text in pages.items() if wordless(text)} == {}


def test_failures_are_found(tmp_path, chromium):
    broken = "<html><head></head><body><script>const a = 1;</script><script>const a = 2;</script></body></html>"
    (tmp_path / "broken.html").write_text(broken)
    (tmp_path / "wide.html").write_text("<html><head></head><body><div style='width: 500px'>wide</div></body></html>")
    found = tour(chromium, tmp_path, ["broken.html", "wide.html"])
    assert len(found["broken.html"]["errors"]) == 1 and "'a'" in found["broken.html"]["errors"][0]
    assert found["wide.html"]["errors"] == []
    assert {w: a > b for w, (a, b) in found["wide.html"]["widths"].items()} == {"1400": False, "390": True}
    images = "<img src='a'><img alt=''><img alt='_images/0123456789abcdef01.png'><img alt='a curve rises'>"
    assert wordless(images) == [None, "", "_images/0123456789abcdef01.png"]


def executed(notebook, parameters, monkeypatch):
    """Return a notebook with what its code displays, run in this process on these parameters."""
    content = nbformat.read(root() / "notebooks" / f"{notebook}.ipynb", as_version=4)
    shown, names = [], {}
    monkeypatch.setattr(display, "display", lambda *objects: shown.extend(objects))
    given = {"dataset": parameters.dataset, "preset": parameters.preset, "device": "cpu", "train": False}
    for cell in (cell for cell in content.cells if cell.cell_type == "code"):
        if "parameters" in cell.metadata.get("tags", []):
            names |= given | {"results": str(parameters.results)}
            continue
        exec(cell.source, names)
        for one in shown:
            kinds = {"text/html": "_repr_html_", "text/markdown": "_repr_markdown_"}
            data = {kind: getattr(one, method)() for kind, method in kinds.items() if hasattr(one, method)}
            data = data or one._repr_mimebundle_()
            cell.outputs.append(nbformat.v4.new_output("display_data", data=data))
        shown.clear()
    return content


@pytest.fixture(scope="module")
def hostile_book(tmp_path_factory):
    """A book on a table whose every name is hostile, trained once, its results' provenance hostile too."""
    folder = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(300, 2))
    columns = {f"{HOSTILE} {name}": values for name, values in zip("pq", x.T, strict=True)}
    columns[f"{HOSTILE} kind"] = np.where(x[:, 0] > 0.5, f"{HOSTILE} yes", f"{HOSTILE} no")
    frame = pd.DataFrame(columns | {f"{HOSTILE} target": x.sum(1) + 0.1 * rng.normal(size=300)})
    named = {"name": "hostile", "title": f"{HOSTILE} title", "unit": f"{HOSTILE} unit"}
    catalogue.register(read_table(frame, f"{HOSTILE} target", **named))
    with pytest.MonkeyPatch.context() as monkeypatch:
        project = Project(folder)
        running.run("accuracy", "hostile", "smoke", folder / "runs" / "results", "cpu", progress=None, seeds=1)
        for path in project.other.root.glob("*/*/*.json"):
            content = json.loads(path.read_text())
            origin = content["provenance"]
            origin |= {"device": f"{HOSTILE} device\n\n{ATTACK}", "git_commit": ATTACK, "data_source": HOSTILE}
            origin["versions"] |= {"torch": f"{HOSTILE} torch"}
            content["sha256"][".json"] = digest(content)
            path.write_text(json.dumps(content))
        parameters = Parameters("hostile", "smoke", "cpu", project.other.root, False)
        out = folder / "book"
        out.mkdir()
        shutil.copy(root() / "book" / "_config.yml", out)
        shutil.copytree(root() / "book" / "assets", out / "assets")
        pages = {notebook: executed(notebook, parameters, monkeypatch) for notebook in ("accuracy", "status")}
        sources = "\n".join(cell.source for page in pages.values() for cell in page.cells)
        links = set(re.findall(r"\]\((\w+)\)", sources))
        record = {**searches.records()[0], "command": f"`{ATTACK}`\n\n{ATTACK}"}
        record["provenance"] = {**record["provenance"], "device": f"{HOSTILE} device"}
        record["space"] = {**record["space"], "name": f"{HOSTILE} space", "source": f"{HOSTILE} source"}
        machine = speed.measured({"processor": HOSTILE, "parts": {}}, ["steps"])
        title = layout.literal(searches.title(record))
        table = layout.show(pd.DataFrame({"a": [1]}), f"{HOSTILE} table", machine)
        told = f"# Records\n\n## {title}\n\n{searches.summary(record)}\n\n{table.html}\n"
        (out / "records.md").write_text(told)
        for link in links:
            (out / f"{link}.md").write_text(f"# {link}\n")
        for notebook, page in pages.items():
            nbformat.write(page, folder / f"{notebook}.ipynb")
            (out / f"{notebook}.ipynb").write_bytes(book.clean(folder / f"{notebook}.ipynb", f"{HOSTILE} title"))
        chapters = "".join(f"  - file: {name}\n" for name in sorted({"status", "records", *links}))
        (out / "_toc.yml").write_text(f"format: jb-book\nroot: accuracy\nchapters:\n{chapters}")
        yield book.build(out).parent
    del catalogue.REGISTRY["hostile"]


def test_foreign_text_runs_no_script_and_is_shown_as_it_is(hostile_book, chromium):
    found = tour(chromium, hostile_book, ["accuracy.html", "status.html", "records.html"])
    for page, seen in found.items():
        assert seen["errors"] == [] and seen["title"] != "ran", page
        assert "mjx-container" not in seen["html"], page
    for page, names in {
        "accuracy.html": ("title", "device", "torch"),
        "status.html": ("title", "device", "torch"),
        "records.html": ("space", "source", "device"),
    }.items():
        shown = " ".join(re.sub("[‘’]", "'", re.sub("[“”]", '"', found[page]["text"])).split())
        for name in names:
            assert f"{HOSTILE} {name}" in shown, (page, name)


def test_chips_and_a_phrase_filter_rows_by_a_verdict_and_by_what_is_typed(tmp_path, chromium):
    verdicts = ("reproduced", "not reproduced", "not reproduced")
    rows = "".join(f"<tr><td>T{i}</td><td>{v}</td><td><i class=badge>{v}</i></td></tr>" for i, v in enumerate(verdicts))
    chips = "".join(f"<button data-where='{json.dumps({2: v})}'>{v}</button>" for v in verdicts[:2])
    script = """
      const rows = () => [...document.querySelectorAll("tbody tr")].filter((row) => !row.hidden).length;
      const count = () => document.querySelector("[role=status]").textContent.trim();
      const said = [], chips = document.querySelectorAll(".chips button"), input = document.querySelector("input");
      const type = (text) => { input.value = text; input.dispatchEvent(new Event("input")); };
      for (const chip of [chips[0], chips[1], chips[1]]) { chip.click(); said.push([rows(), count()]); }
      type("Not  reproduced"); said.push([rows(), count()]);
      chips[0].click(); said.push([rows(), count()]);
      chips[0].click(); location.hash = "#find=T1"; await new Promise((done) => setTimeout(done, 50));
      said.push([rows(), count()]);
      document.title = JSON.stringify(said);"""
    page = (
        f"<html><head></head><body><div class=chips data-for=card>{chips}</div><table id=card class=sortable "
        f"data-filter=find><thead><tr><th>a</th><th>b</th><th>c</th></tr></thead><tbody>{rows}</tbody></table>"
        f"<script src=tables.js></script><script>addEventListener('load', async () => {{{script}}})</script></body>"
    )
    (tmp_path / "page.html").write_text(page)
    shutil.copy(root() / "book" / "assets" / "tables.js", tmp_path)
    found = tour(chromium, tmp_path, ["page.html"])["page.html"]
    assert found["errors"] == []
    assert json.loads(found["title"]) == [
        [1, "1 of 3"],
        [2, "2 of 3"],
        [3, ""],
        [2, "2 of 3"],
        [0, "0 of 3"],
        [1, "1 of 3"],
    ]
