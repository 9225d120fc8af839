import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from mixnam.paper import experiments, verdicts
from mixnam.paper.claim import claims
from mixnam.report import book, layout
from mixnam.report.parameters import Parameters, check_parameters
from mixnam.runs.store import Store

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """The reference book, built from a copy with no network and no data."""
    where = tmp_path_factory.mktemp("book") / "book"
    shutil.copytree(ROOT / "book", where, ignore=shutil.ignore_patterns("_build", "results"))
    return book.build(where).parent


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_has_parameters_then_the_check_and_no_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    assert code[0].metadata["tags"] == ["parameters"]
    lines = [line.partition("  #")[0] for line in code[0].source.splitlines()]
    standard = ['preset = "smoke"', 'device = "auto"', 'results = ""', "train = True"]
    assert lines == standard if path.stem in experiments.SIMULATED else lines == ['dataset = "housing"', *standard]
    given = "globals(), dataset=False" if path.stem in experiments.SIMULATED else "globals()"
    checked = f"from mixnam.report.parameters import check_parameters\n\nparameters = check_parameters({given})"
    assert code[1].source == checked
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in code) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebooks_own_parameters_are_accepted_and_others_refused(path):
    source = next(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")
    names = {}
    exec(source, names)
    simulated = path.stem in experiments.SIMULATED
    parameters = check_parameters(names, dataset=not simulated)
    assert parameters.preset == "smoke"
    assert parameters.dataset == ("" if simulated else "housing")
    with pytest.raises(ValueError, match="unknown parameter 'datasett'"):
        check_parameters(names | {"datasett": "housing"}, dataset=not simulated)


def test_every_page_has_its_notebook_and_every_notebook_its_page():
    pages = book.all_pages(["housing"])
    assert {notebook for notebook, _ in pages.values()} == {path.stem for path in NOTEBOOKS}
    assert set(experiments.EXPERIMENTS) | {*book.FRONT, *book.BACK} == {path.stem for path in NOTEBOOKS}
    assert all((dataset == "") == (page in experiments.SIMULATED) for page, (_, dataset) in pages.items())
    for experiment in experiments.EXPERIMENTS:
        source = (ROOT / "notebooks" / f"{experiment}.ipynb").read_text()
        assert f' run(\\"{experiment}\\"' in source, experiment
        assert f'layout.footer(\\"{experiment}\\"' in source, experiment
        assert f'scorecard.Scorecard(parameters, \\"{experiment}\\")' in source or not any(
            c.page == experiment for c in claims()
        ), experiment


def test_a_book_of_two_data_sets_has_pages_for_both():
    pages = book.all_pages(["housing", "income"])
    assert pages["accuracy_income"] == ("accuracy", "income")
    assert pages["routing"] == ("routing", "housing")
    toc = book.table_of_contents(["housing", "income"])
    assert sorted(re.findall(r"file: (\S+)", toc)) == sorted([*(p for p in pages if p != "index"), *book.HAND_WRITTEN])


def test_the_reference_stays_within_its_size():
    files = [p for p in (ROOT / "book").rglob("*") if p.is_file() and "_build" not in p.parts]
    assert sum(p.stat().st_size for p in files) < 96 * 2**20


def test_the_reference_results_can_all_be_read():
    store = Store(ROOT / "book" / "results")
    results = list(store)
    assert store.problems == []
    assert all(r.arrays["test_prediction"].size for r in results)
    assert not any(r.superseded for r in results)


def test_the_reference_holds_the_papers_setting_with_its_weights():
    parameters = Parameters("housing", "paper", "cpu", ROOT / "book" / "results", False)
    first = layout.stored(layout.columns(parameters)[0], "housing", "MixNAM")[0]
    assert first.spec.seed == 0
    assert first.metrics["test"]["rmse"] <= 0.458
    assert first.weights


def test_the_contents_are_those_that_the_pages_give():
    assert (ROOT / "book" / "_toc.yml").read_text() == book.table_of_contents(book.REFERENCE)


def test_pages_hold_no_local_path():
    for path in (ROOT / "book").glob("*.ipynb"):
        assert str(Path.home()) + "/" not in path.read_text()
        assert "/work/" not in path.read_text()


def test_the_book_builds_without_a_warning_and_fetches_nothing(html):
    pages = list(html.glob("*.html"))
    assert len(pages) >= 11
    # a script, style, image or font from elsewhere would be fetched on opening the page
    outside = re.compile(r"<(?:script|link|img|iframe|source)[^>]+(?:src|href)=[\"'](?:https?:)?//[^\"']+")
    allowed = re.compile(r"rel=[\"'](?:canonical|license)")
    for page in pages:
        found = [tag for tag in outside.findall(page.read_text()) if not allowed.search(tag)]
        assert found == [], page.name
    for style in html.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//", style.read_text(errors="replace")), style


def test_results_markdown_says_what_the_reference_says():
    parameters = Parameters("housing", "paper", "cpu", ROOT / "book" / "results", False)
    if not verdicts._available("housing"):
        pytest.skip("the verdicts need Housing's test rows; set MIXNAM_DATA")
    assert (ROOT / "RESULTS.md").read_text() == book.results_markdown(parameters)


def test_pages_render_in_a_browser(html, opened):
    dom = opened(html / "lambda_sweep_housing.html")
    assert "<mjx-container" in dom, "formulas are not typeset"
    assert "results-table" in dom


def test_readmes_python_runs():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        subprocess.run([sys.executable, "-c", block], check=True, cwd=ROOT, capture_output=True)


def test_readme_and_book_name_only_commands_that_exist():
    text = "".join(p.read_text() for p in (ROOT / "README.md", ROOT / "book" / "rerun.md", ROOT / "CONTRIBUTING.md"))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z][a-z-]+)", text)) <= targets
    commands = {"run", "claim", "search", "status", "verify", "measure"}
    assert set(re.findall(r"python -m mixnam ([a-z]+)", text)) <= commands
    assert all((ROOT / name).exists() for name in re.findall(r"notebooks/[a-z_]+\.ipynb", text))


def test_published_tables_are_complete():
    from mixnam.paper import published

    assert len(published.table("table1_accuracy")) == 90
    assert set(published.table("settings")["source"]) and not published.table("settings").isna().any().any()
    assert json.dumps(published.settings("housing", "MixNAM"))
