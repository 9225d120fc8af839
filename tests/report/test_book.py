"""The book: its notebooks, its pages, the build, and what README and pages name."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
import yaml
from filelock import FileLock

import mixnam
from mixnam.data import catalogue
from mixnam.paper import costs, experiments, published, running
from mixnam.paper.claim import claims
from mixnam.report import book, story
from mixnam.report.parameters import Parameters, check_parameters
from mixnam.report.scorecard import Scorecard
from mixnam.runs.files import root
from mixnam.runs.store import Store

ROOT = Path(__file__).resolve().parents[2]
EVERY = sorted((ROOT / "notebooks").glob("*.ipynb"))
#: Those of the book; that on own tables has parameters of its own.
NOTEBOOKS = [path for path in EVERY if path.stem != "own_data"]


def test_a_notebook_has_parameters_then_the_check_and_no_outputs():
    for path in NOTEBOOKS:
        notebook, simulated = nbformat.read(path, as_version=4), path.stem in experiments.SIMULATED
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# "), path
        assert code[0].metadata["tags"] == ["parameters"], path
        lines = [line.partition("  #")[0] for line in code[0].source.splitlines()]
        standard = ['preset = "smoke"', 'device = "auto"', 'results = ""', "train = True"]
        assert lines == standard if simulated else lines == ['dataset = "housing"', *standard], path
        given = "globals(), dataset=False" if simulated else "globals()"
        checked = f"from mixnam.report.parameters import check_parameters\n\nparameters = check_parameters({given})"
        assert code[1].source == checked, path
        assert all(not cell.outputs and cell.execution_count is None for cell in code), path
        assert notebook.cells[-1].source.endswith("display(Markdown(layout.set_aside(parameters)))"), path
        assert sum("parameters" in cell.metadata.get("tags", []) for cell in code) == 1, path


def test_a_notebooks_own_parameters_are_accepted_and_others_refused():
    for path in NOTEBOOKS:
        names, simulated = {}, path.stem in experiments.SIMULATED
        exec(next(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"), names)
        parameters = check_parameters(names, dataset=not simulated)
        assert (parameters.preset, parameters.dataset) == ("smoke", "" if simulated else "housing")
        with pytest.raises(ValueError, match="unknown parameter 'datasett'"):
            check_parameters(names | {"datasett": "housing"}, dataset=not simulated)


def test_a_notebook_imports_what_it_uses_and_names_what_there_is():
    for path in EVERY:
        code = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")
        for room, names in re.findall(r"^from (mixnam\S*) import (.+)$", code, re.M):
            for name in names.split(", "):
                assert re.search(rf"(?<![\w.]){name}[.(]", code), f"{path.name} does not use {name}"
                found = getattr(importlib.import_module(room), name, None) or importlib.import_module(f"{room}.{name}")
                lacking = {a for a in re.findall(rf"(?<![\w.]){name}\.(\w+)\(", code) if not hasattr(found, a)}
                assert not lacking, f"{path.name}: {name} has no {lacking}"


def test_every_page_has_its_notebook_and_every_notebook_its_page():
    pages = book.all_pages(["housing"])
    assert {notebook for notebook, _ in pages.values()} == {path.stem for path in NOTEBOOKS}
    assert set(experiments.EXPERIMENTS) | {*book.FRONT, *book.USE, *book.BACK} == {path.stem for path in NOTEBOOKS}
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
    assert "accuracy_diabetes" not in pages
    assert pages["accuracy_income"] == ("accuracy", "income")
    assert pages["routing"] == ("routing", "housing")
    toc = book.table_of_contents(["housing", "income"])
    assert sorted(re.findall(r"file: (\S+)", toc)) == sorted([*(p for p in pages if p != "index"), *book.HAND_WRITTEN])


def test_a_page_of_a_rerun_may_link_to_what_is_executed_beside_it_or_later(tmp_path):
    parameters = Parameters("housing", "quick", "cpu", tmp_path / "results", False)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "routing.ipynb").touch()
    found = set(book.pages_at_hand(parameters))
    assert {"routing", "tables", "scorecard", "evidence", "glossary"} <= found and "ablations" not in found


def test_the_reference_stays_within_its_size():
    files = [p for p in (ROOT / "book").rglob("*") if p.is_file() and "_build" not in p.parts]
    assert sum(p.stat().st_size for p in files) < 112 * 2**20


def test_the_reference_results_can_all_be_read():
    store = Store(ROOT / "book" / "results")
    results = list(store)
    assert store.problems == []
    assert all(r.arrays["test_prediction"].size for r in results)
    assert not any(r.superseded for r in results)


def test_the_reference_holds_the_papers_setting_with_its_weights():
    parameters = Parameters("housing", "paper", "cpu", ROOT / "book" / "results", False)
    first, *_ = parameters.columns[0].runs("housing", "MixNAM")["result"]
    assert first.spec.seed == 0
    assert first.metrics["test"]["rmse"] <= 0.458
    assert first.weights


def test_the_contents_are_those_that_the_pages_give():
    assert (ROOT / "book" / "_toc.yml").read_text() == book.table_of_contents(book.REFERENCE)


def test_pages_hold_no_local_path():
    for path in (ROOT / "book").glob("*.ipynb"):
        assert f"{Path.home()}/" not in path.read_text()
        assert f"{ROOT.parent}/" not in path.read_text()


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


def test_the_api_page_documents_every_name_of_the_face(html):
    shown = (html / "api.html").read_text()
    assert [name for name in mixnam.__all__ if f'id="mixnam.{name}"' not in shown] == []
    assert "<factory>" not in unescape(shown) and "numpy.ndarray" not in shown


def test_the_limits_quote_numbers_of_the_verdicts():
    text = (ROOT / "book" / "limits.md").read_text()
    numbers = pd.read_csv(ROOT / "book" / "verdicts.csv").set_index("claim")["numbers"]
    for claim, setting, form in (
        ("I-noise", 2, "are {:.0%} as wide"),
        ("L-intervene", 1, "in {:.0%} of the cases"),
        ("T3-additivity-0.1", 1, "is {:.2f} at λ = 0.1"),
        ("T3-additivity-100", 1, "and {:.3f} at λ = 100"),
    ):
        assert form.format(float(numbers[claim].split("\n")[setting])).replace("%", " %") in text, claim


def test_results_markdown_says_what_the_reference_says():
    parameters = Parameters("housing", "paper", "cpu", ROOT / "book" / "results", False)
    if not catalogue.at_hand("housing"):
        pytest.skip("the verdicts need Housing's test rows; set MIXNAM_DATA")
    results = (ROOT / "RESULTS.md").read_text()
    assert results == story.results_markdown(parameters)
    assert results.count("\n") < 300 and len(results.encode()) < 60_000
    opening = (ROOT / "README.md").read_text()
    assert opening == story.readme(opening, Scorecard(parameters)) and "1. **Reproduced**" in opening


def test_the_citation_names_the_papers_authors_and_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    (paper,) = cited["references"]
    assert cited["version"] == mixnam.__version__
    assert [a["family-names"] for a in paper["authors"]] == ["Xiong", "Sinha", "Zhang"]
    assert paper["title"].startswith("Neural Additive Experts") and "2602.10585" in paper["url"]


def test_pages_render_in_a_browser(html, opened):
    dom = opened(html / "lambda_sweep_housing.html")
    assert "<mjx-container" in dom, "formulas are not typeset"
    assert "results-table" in dom


def test_readmes_python_runs(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    data = os.environ.get("MIXNAM_DATA") or "data"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MIXNAM_DATA": str(Path(data).absolute())}
    for block in blocks:
        subprocess.run([sys.executable, "-c", block], check=True, cwd=tmp_path, env=environment, capture_output=True)


@pytest.mark.slow
def test_the_documented_batch_over_data_sets_and_presets_runs(tmp_path):
    (block,) = re.findall(
        r"```bash\n([^`]*?for dataset in .*?)```", (ROOT / "book" / "rerun.md").read_text(), re.DOTALL
    )
    short, count = re.subn(r"for (dataset|preset) in [^;]+", lambda m: f"for {m[1]} in {SHORT[m[1]]}", block)
    assert count == 2
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "MIXNAM_RESULTS": str(tmp_path / "results")}
    subprocess.run(["bash", "-ec", short], check=True, cwd=tmp_path, env=environment, capture_output=True)
    (page,) = tmp_path.glob("runs/*/*.ipynb")
    notebook = nbformat.read(page, as_version=4)
    assert {"dataset": "diabetes", "preset": "smoke"}.items() <= notebook.metadata.papermill.parameters.items()
    assert len(list(Store(tmp_path / "results"))) == len(experiments.specs_for("accuracy", "diabetes", "smoke"))


#: What the documented batch runs over in its test: bundled data, in seconds.
SHORT = {"dataset": "diabetes", "preset": "smoke"}


def test_readme_and_book_name_only_commands_that_exist():
    pages = ("README.md", "CONTRIBUTING.md", "book/rerun.md", "book/cluster.md")
    text = "".join((ROOT / page).read_text() for page in pages)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z][a-z-]+)", text)) <= targets
    commands = {"table", "run", "claim", "search", "status", "verify", "measure", "merge"}
    assert set(re.findall(r"python -m mixnam ([a-z]+)", text)) <= commands
    assert all((ROOT / name).exists() for name in re.findall(r"notebooks/[a-z_]+\.ipynb", text))


def test_published_tables_are_complete():
    assert len(published.table("table1_accuracy")) == 90
    assert set(published.table("settings")["source"]) and not published.table("settings").isna().any().any()
    assert json.dumps(published.settings("housing", "MixNAM"))


def test_the_estimate_goes_by_results_of_the_same_shape():
    specs = experiments.specs_of("housing", "MixNAM", "quick", seeds=4)
    known = [r.cost for r in Store(root() / "book" / "results") if r.spec in specs]
    assert known
    assert costs.estimate(specs, 2).startswith("4 to train, about ")
    assert "unknown length" in costs.estimate(experiments.specs_of("housing", "MixNAM", "smoke"))
    assert costs.estimate([]).startswith("0 to train, about 0 s")


def test_a_page_depends_on_content_alone(tmp_path):
    pages = []
    for time in ("2026-01-01", "2027-02-02"):
        cell = nbformat.v4.new_code_cell("1", metadata={"execution": {"started": time}, "tags": ["parameters"]})
        cell.outputs = [nbformat.v4.new_output("stream", name="stderr", text=time)]
        cell.outputs.append(nbformat.v4.new_output("stream", name="stdout", text="kept"))
        blank = {"text/markdown": " ", "text/plain": "<IPython.core.display.Markdown object>"}
        cell.outputs.append(nbformat.v4.new_output("display_data", blank))
        heading = nbformat.v4.new_markdown_cell("# Title\ntext")
        notebook = nbformat.v4.new_notebook(cells=[heading, cell], metadata={"papermill": {"start": time}})
        nbformat.write(notebook, tmp_path / "page.ipynb")
        pages.append(book.clean(tmp_path / "page.ipynb", "Diabetes"))
    assert pages[0] == pages[1]
    assert b"# Title: Diabetes\\ntext" in pages[0]
    assert b"kept" in pages[0] and b"IPython" not in pages[0]
    assert b"remove-input" in pages[0]


def test_preflight_names_what_is_short(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda where: SimpleNamespace(free=2.9e9))
    with pytest.raises(SystemExit, match=r"2\.9 GB of disk are free here; 3 GB are needed"):
        book.preflight([], 1)


def test_a_second_report_in_the_same_directory_names_the_first_and_leaves_it_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(book, "train", lambda *arguments: pytest.fail("trained something"))
    with running.held(FileLock(tmp_path / ".report.lock")):
        with pytest.raises(SystemExit, match=rf"process {os.getpid()} on .* makes the report in {tmp_path} already"):
            book.main(["rerun", "--run", str(tmp_path), "--datasets", "diabetes", "--preset", "smoke"])
        assert running.holder(FileLock(tmp_path / ".report.lock")).startswith(f"process {os.getpid()} ")
    assert [path.name for path in tmp_path.iterdir()] == [".report.lock"]


def test_a_report_goes_on_to_its_pages_and_ends_with_what_failed(tmp_path, monkeypatch, capsys):
    spec = experiments.specs_of("diabetes", "NAM", "smoke", seeds=1)[0]
    monkeypatch.setattr(book, "train", lambda *arguments: {spec: running.Failure(MemoryError, "memory is too short")})
    done = []
    monkeypatch.setattr(
        subprocess, "run", lambda command, **options: done.append(command) or SimpleNamespace(returncode=0)
    )
    assert book.main(["rerun", "--run", str(tmp_path), "--datasets", "diabetes", "--preset", "smoke"]) == 1
    assert {"--nolock", "preset=smoke", "datasets=diabetes", f"run={tmp_path}"} <= set(done[0])
    *_, place, count, failed = capsys.readouterr().out.splitlines()
    assert place.startswith("report: ") and count == "1 failed:"
    assert failed == f"failed: {spec}: memory is too short"


def test_a_report_that_cannot_be_written_says_so_in_one_line():
    with pytest.raises(
        SystemExit, match=r"^error: results directory /proc/x cannot be written: .*; name another with RUN="
    ):
        book.main(["rerun", "--run", "/proc/x", "--datasets", "diabetes"])


def test_what_a_book_cannot_have_is_refused(capsys):
    for arguments, message in (
        (["train", "--datasets", "hosing"], "--datasets: dataset must be one of housing, .*got 'hosing'"),
        (["train", "--datasets", "housing,sim_unimodal"], "sim_unimodal is simulated: its pages are always made"),
        (["train", "--jobs", "0"], "argument --jobs: must be an integer >= 1, got '0'"),
    ):
        with pytest.raises(SystemExit):
            book.main(arguments)
        assert re.search(message, capsys.readouterr().err.replace("\n", " "))


def test_every_claim_names_a_page_of_the_book():
    known = {notebook for notebook, _ in book.experiment_pages(["housing"]).values()}
    assert {c.page for c in claims()} <= known


def test_a_book_of_few_data_sets_has_no_links_to_pages_of_others():
    absent = book.all_pages(book.REFERENCE).keys() - book.all_pages(["diabetes"]).keys()
    assert {"ahead", "accuracy_housing"} <= absent and "method" not in absent
    sources = [*(ROOT / "book").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    whole = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    told = book.unlinked(whole, absent)
    assert "](ahead)" in whole and not [page for page in absent if f"]({page}" in told]
    assert told.count("](rules)") == whole.count("](rules)") > 0
    assert book.unlinked("[a](ahead.html), [b](ahead#c), [d](rules)", absent) == "a, b, [d](rules)"
