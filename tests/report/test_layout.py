import json
import re
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest

from mixnam.data import catalogue
from mixnam.paper import costs, experiments, running
from mixnam.paper.claim import claims
from mixnam.plots import shapes
from mixnam.report import accuracy, book, layout
from mixnam.report.parameters import Parameters, check_parameters
from mixnam.runs.files import root
from mixnam.runs.store import Store

GOOD = {"dataset": "diabetes", "preset": "smoke", "device": "cpu", "results": "", "train": True}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    where = tmp_path_factory.mktemp("run") / "results"
    running.run("accuracy", "diabetes", "smoke", where, "cpu", progress=None, seeds=1)
    return Parameters("diabetes", "smoke", "cpu", where, True)


def test_parameters_are_taken_from_a_notebooks_names(monkeypatch):
    monkeypatch.delenv("MIXNAM_RESULTS", raising=False)
    found = check_parameters(GOOD | {"In": [], "Out": {}, "_": 1, "json": json, "check": print})
    assert found.results == root() / "runs" / "smoke" / "results"
    assert found.dataset == "diabetes"
    assert not found.is_reference


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"sede": 3}, ValueError, r"unknown parameter 'sede' \(= 3\); this notebook takes dataset, preset"),
        ({"train": "yes"}, TypeError, "parameter train must be true or false, got 'yes'"),
        ({"train": 1}, TypeError, "parameter train must be true or false, got 1"),
        ({"preset": 3}, TypeError, "parameter preset must be text, got 3"),
        ({"preset": "fast"}, ValueError, "preset must be one of smoke, quick, paper, got 'fast'"),
        ({"dataset": "hosing"}, ValueError, "dataset must be one of housing, .*got 'hosing'"),
        ({"device": "tpu"}, ValueError, "device must be 'auto', 'cpu' or 'cuda', got 'tpu'"),
    ],
)
def test_wrong_parameters_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        check_parameters(GOOD | changes)


def test_a_missing_parameter_is_named():
    with pytest.raises(ValueError, match="parameter 'train' is missing"):
        check_parameters({k: v for k, v in GOOD.items() if k != "train"})


def test_spread_says_how_many_runs_stand_behind_it():
    assert layout.spread([]) == "not run"
    assert layout.spread([0.4512]) == "0.451 (n = 1)"
    assert layout.spread([0.45, 0.46]) == "0.455 ± 0.007 (n = 2)"
    assert layout.spread([0.45, np.nan], count=False) == "0.450"


def test_the_accuracy_table_shows_the_stored_scores(run):
    table = accuracy.Standing(run).accuracy_table()
    scores = [r.metrics["test"]["rmse"] for r in layout.stored(layout.columns(run)[1], "diabetes", "Linear")]
    assert list(table.iloc[:, 0]) == [case.label for case in experiments.cases("accuracy", "smoke")]
    assert len(scores) == 1
    (row,) = table.index[table.iloc[:, 0] == "Linear"]
    assert table["this rerun: smoke"][row] == layout.spread(scores, 2)
    assert not table["this rerun: smoke"].str.contains("not run").any()
    assert table["paper"][0] == "–"


def test_tables_escape_what_they_show_and_print_reasons_small():
    html = layout.show(pd.DataFrame([{"claim": "<b>", "ours": "undecided: so & so"}])).data
    assert "&lt;b&gt;" in html
    assert "<b>undecided</b><div class='reasons'>so &amp; so</div>" in html


def test_the_provenance_line_names_results_machine_and_data(run):
    results = layout.stored(layout.columns(run)[1], "diabetes", "MixNAM")
    line = layout.provenance_line(results)
    for part in (
        results[0].key[:8],
        "preset smoke",
        results[0].provenance["device"],
        catalogue.load("diabetes").checksum[:12],
    ):
        assert part in line
    assert "No stored result" in layout.provenance_line([])


def test_missing_runs_and_missing_data_are_said(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path / "none"))
    monkeypatch.setattr("mixnam.data.publishers._HOUSING_URL", "http://127.0.0.1:9/none")
    outcome = running.run("accuracy", "housing", "smoke", tmp_path / "results", "cpu", progress=None)
    assert "Not run here" in layout.notice(outcome, check_parameters(GOOD))
    assert "cal_housing.data" in layout.notice(outcome, check_parameters(GOOD))
    outcome = running.run("accuracy", "diabetes", "smoke", tmp_path / "results", "cpu", train=False)
    assert f"{len(outcome.specs)} of {len(outcome.specs)} runs" in layout.notice(outcome, check_parameters(GOOD))
    assert len(outcome.specs) == 2 * len(experiments.cases("accuracy", "smoke"))


@pytest.mark.parametrize(
    ("experiment", "dataset"), [("accuracy", "diabetes"), ("simulation", ""), ("routing", "housing")]
)
def test_the_command_for_what_is_missing_is_understood(experiment, dataset, tmp_path, monkeypatch):
    import mixnam.__main__ as command_line

    called = []

    def caught(arguments):
        """Stand in for the command."""
        called.append(arguments)
        return 0

    outcome = running.run(experiment, dataset, "smoke", tmp_path, "cpu", train=False)
    said = layout.notice(outcome, Parameters(dataset, "smoke", "cpu", tmp_path, False))
    monkeypatch.setattr(command_line, "run", caught)
    command = said.split("`")[1]
    assert command_line.main(command.split()[3:]) == 0
    assert (called[0].experiment, called[0].preset, called[0].results) == (experiment, "smoke", tmp_path)
    specs = experiments.specs_for(called[0].experiment, called[0].dataset, called[0].preset, called[0].seeds)
    assert specs == outcome.missing


def test_the_estimate_goes_by_results_of_the_same_shape():
    specs = experiments.specs_of("housing", "MixNAM", "quick", seeds=4)
    known = [r.cost for r in Store(root() / "book" / "results") if r.spec in specs]
    assert known
    assert costs.estimate(specs, 2).startswith("4 to train, about ")
    assert "unknown length" in costs.estimate(experiments.specs_of("housing", "MixNAM", "smoke"))
    assert costs.estimate([]).startswith("0 to train, about 0 s")


def test_plots_draw_bounds_rows_and_labels(run):
    result = layout.stored(layout.columns(run)[1], "diabetes", "MixNAM")[0]
    figure = shapes.shape_plots(result, [2, 0])
    ax = figure.axes[0]
    assert {line.get_label() for line in ax.lines} == {"upper bound", "lower bound", "mean"}
    assert ax.get_xlabel() == catalogue.load("diabetes").features[2]
    upper, lower = (
        next(li for li in ax.lines if li.get_label() == f"{k} bound").get_ydata() for k in ("upper", "lower")
    )
    assert (upper >= lower).all()


def test_a_page_depends_on_content_alone(tmp_path):
    pages = []
    for time in ("2026-01-01", "2027-02-02"):
        cell = nbformat.v4.new_code_cell("1", metadata={"execution": {"started": time}, "tags": ["parameters"]})
        cell.outputs = [nbformat.v4.new_output("stream", name="stderr", text=time)]
        cell.outputs.append(nbformat.v4.new_output("stream", name="stdout", text="kept"))
        heading = nbformat.v4.new_markdown_cell("# Title\ntext")
        notebook = nbformat.v4.new_notebook(cells=[heading, cell], metadata={"papermill": {"start": time}})
        nbformat.write(notebook, tmp_path / "page.ipynb")
        pages.append(book.clean(tmp_path / "page.ipynb", "Diabetes"))
    assert pages[0] == pages[1]
    assert b"# Title: Diabetes\\ntext" in pages[0]
    assert b"kept" in pages[0]
    assert b"remove-input" in pages[0]


def test_preflight_names_what_is_short(monkeypatch):
    monkeypatch.setattr(book, "LEAST_DISK_GB", 10**9)
    with pytest.raises(SystemExit, match="GB of disk are free here; 1000000000 GB are needed"):
        book.preflight([], 1)


def test_unknown_data_sets_are_refused_by_the_command_line(capsys):
    with pytest.raises(SystemExit):
        book.main(["estimate", "--datasets", "hosing"])
    said = capsys.readouterr().err
    assert "--datasets: dataset must be one of housing, " in said
    assert "got 'hosing'" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["estimate", "--datasets", "housing,sim_unimodal"], "sim_unimodal is simulated: its pages are always made"),
        (["page", "accuracy_income"], "page must be one of index, .*got 'accuracy_income'"),
        (["page", "accuracy"], "page must be one of index, .*got 'accuracy'"),
    ],
)
def test_what_a_book_cannot_have_is_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        book.main(arguments)
    assert re.search(message, capsys.readouterr().err.replace("\n", " "))


def test_papermill_stops_at_an_unknown_parameter(tmp_path):
    source = root() / "notebooks" / "status.ipynb"
    command = [sys.executable, "-m", "papermill", str(source), str(tmp_path / "out.ipynb"), "-p", "presett", "quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root())
    assert done.returncode != 0
    assert "unknown parameter 'presett'" in done.stderr


def test_every_claim_names_a_page_of_the_book():
    known = {notebook for notebook, _ in book.experiment_pages(["housing"]).values()}
    assert {c.page for c in claims()} <= known


def test_a_notebook_of_simulations_takes_no_data_set():
    without = {k: v for k, v in GOOD.items() if k != "dataset"}
    assert check_parameters(without, dataset=False).dataset == ""
    with pytest.raises(ValueError, match=r"unknown parameter 'dataset' .*takes preset, device, results, train"):
        check_parameters(GOOD, dataset=False)
    with pytest.raises(ValueError, match=r"unknown parameter 'law' \(= 'sim_unimodal'\)"):
        check_parameters(without | {"law": "sim_unimodal"}, dataset=False)
    with pytest.raises(ValueError, match="parameter 'dataset' is missing"):
        check_parameters(without)


def test_simulations_have_one_column_of_the_reference(tmp_path):
    reference = root() / "book" / "results"

    def labels(dataset, results):
        return [c.label for c in layout.columns(Parameters(dataset, "quick", "cpu", results, False))]

    assert labels("", reference) == ["reference"]
    assert labels("", tmp_path) == ["reference", "this rerun: quick"]
    assert labels("housing", reference) == ["reference: paper's setting", "reference: quick setting"]
    assert labels("housing", tmp_path) == ["reference: paper's setting", "this rerun: quick"]


def test_the_results_behind_a_page_are_those_of_its_rows(run):
    keys = {r.key for r in layout.page_results("accuracy", run)}
    own, reference = ({r.key for r in Store(path)} for path in (run.results, run.reference))
    assert own <= keys <= own | reference  # some models are the same at every preset
    assert len(own) == len(experiments.cases("accuracy", "smoke"))
    assert {r.spec.model for r in layout.page_results("lambda_sweep", run)} == {"MLP", "NA2M", "NAM", "MixNAM"}
    assert layout.footer("accuracy", run).count("`") > 2 * len(keys)


def test_verify_and_status_speak_of_a_stored_result(run, capsys):
    from mixnam.__main__ import main

    result = layout.stored(layout.columns(run)[1], "diabetes", "NAM")[0]
    assert main(["verify", result.key[:12], "--results", str(run.results)]) == 0
    assert "the same bits" in capsys.readouterr().out
    assert main(["status", "--results", str(run.results), "--dataset", "diabetes", "--preset", "smoke"]) == 0
    count = len(experiments.cases("accuracy", "smoke"))
    assert f"accuracy on diabetes (smoke): {count} of {2 * count}" in capsys.readouterr().out
    assert main(["verify", "ffffffffffff", "--results", str(run.results)]) == 2
    assert "no result in" in capsys.readouterr().err


def test_verify_notices_other_bits(run, tmp_path, capsys):
    from mixnam.__main__ import main

    result = layout.stored(layout.columns(run)[1], "diabetes", "NAM")[0]
    shutil.copytree(run.results, tmp_path / "results")
    path = tmp_path / "results" / "diabetes" / "NAM" / f"{result.key}.json"
    score = repr(result.metrics["test"]["rmse"])
    path.write_text(path.read_text().replace(score, repr(result.metrics["test"]["rmse"] + 1e-9)))
    assert main(["verify", result.key, "--results", str(tmp_path / "results")]) == 1
    assert "other bits on the same CPU" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["verify", "measure"])
def test_other_data_are_not_compared_with_nor_measured(command, run, tmp_path, capsys):
    from mixnam.__main__ import main

    result = layout.stored(layout.columns(run)[1], "diabetes", "MixNAM")[0]
    shutil.copytree(run.results, tmp_path / "results")
    path = tmp_path / "results" / "diabetes" / "MixNAM" / f"{result.key}.json"
    path.write_text(path.read_text().replace(result.provenance["data_sha256"], "f" * 64))
    before = path.read_bytes()
    assert main([command, result.key, "--results", str(tmp_path / "results"), "--device", "cpu"]) != 0
    said = capsys.readouterr()
    assert "it was trained on other data (SHA-256 ffffffffffff) than are at hand" in said.out + said.err
    assert path.read_bytes() == before


def test_measures_are_taken_again_from_weights(run, tmp_path, capsys):
    from mixnam.__main__ import main

    shutil.copytree(run.results, tmp_path / "results")
    result = layout.stored(layout.columns(run)[1], "diabetes", "MixNAM")[0]
    assert main(["measure", result.key, "--results", str(tmp_path / "results"), "--device", "cpu"]) == 0
    again = Store(tmp_path / "results").get(result.spec)
    assert again.measures == result.measures
    assert again.metrics == result.metrics
    assert all(np.array_equal(a, again.arrays[k], equal_nan=True) for k, a in result.arrays.items())
