"""Parameters of a notebook are checked, and give the columns that stand beside the paper."""

import json
import re
import shlex
import subprocess
import sys

import pandas as pd
import pytest
from planted import fill

from mixnam.data import catalogue
from mixnam.data.own import read_table
from mixnam.paper import experiments
from mixnam.report import layout
from mixnam.report.parameters import Parameters, check_parameters
from mixnam.runs.files import root

GOOD = {"dataset": "diabetes", "preset": "smoke", "device": "cpu", "results": "", "train": True}


def test_parameters_are_taken_from_a_notebooks_names(monkeypatch):
    monkeypatch.delenv("MIXNAM_RESULTS", raising=False)
    found = check_parameters(GOOD | {"In": [], "Out": {}, "_": 1, "json": json, "check": print})
    assert found.results == root() / "runs" / "smoke" / "results"
    assert found.dataset == "diabetes"
    assert not found.is_reference


def test_true_and_false_may_be_in_small_letters_as_papermill_leaves_them():
    assert [check_parameters(GOOD | {"train": text}).train for text in ("false", "true", "False")] == [
        False,
        True,
        False,
    ]


def test_a_file_is_no_directory_of_results():
    with pytest.raises(
        ValueError, match=r"parameter results must be a directory, got the file .*README\.md; name another"
    ):
        check_parameters(GOOD | {"results": "README.md"})
    with pytest.raises(ValueError, match=r"results must be a directory, got \(File name too long\) .*a{300}; "):
        check_parameters(GOOD | {"results": "a" * 300})


def test_a_users_table_has_the_columns_of_its_rerun_alone(tmp_path):
    frame = pd.DataFrame({"a": range(30), "y": [i / 7 for i in range(30)]})
    catalogue.register(read_table(frame, "y", name="mine"))
    try:
        assert [column.source for column in Parameters("mine", "quick", "cpu", tmp_path, False).columns] == [
            "this rerun"
        ]
    finally:
        del catalogue.REGISTRY["mine"]


def test_wrong_parameters_are_refused():
    wrong = [
        ({"sede": 3}, ValueError, r"unknown parameter 'sede' \(= 3\); this notebook takes dataset, preset"),
        ({"train": "yes"}, TypeError, "parameter train must be true or false, got 'yes'"),
        ({"train": 1}, TypeError, "parameter train must be true or false, got 1"),
        ({"preset": 3}, TypeError, "parameter preset must be text, got 3"),
        ({"preset": "fast"}, ValueError, "preset must be one of smoke, quick, paper, best, got 'fast'"),
        ({"dataset": "hosing"}, ValueError, "dataset must be one of housing, .*got 'hosing'"),
        ({"device": "tpu"}, ValueError, "device must be 'auto', 'cpu' or 'cuda', got 'tpu'"),
    ]
    for changes, error, message in wrong:
        with pytest.raises(error, match=message):
            check_parameters(GOOD | changes)


def test_a_missing_parameter_is_named():
    with pytest.raises(ValueError, match="parameter 'train' is missing"):
        check_parameters({k: v for k, v in GOOD.items() if k != "train"})


def test_papermill_stops_at_an_unknown_parameter(tmp_path):
    source = root() / "notebooks" / "status.ipynb"
    command = [sys.executable, "-m", "papermill", str(source), str(tmp_path / "out.ipynb"), "-p", "presett", "quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root())
    assert done.returncode != 0
    assert "unknown parameter 'presett'" in done.stderr


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
        return [c.label for c in Parameters(dataset, "quick", "cpu", results, False).columns]

    assert labels("", reference) == ["ours"]
    assert labels("", tmp_path) == ["reference", "this rerun, quick"]
    assert labels("housing", reference) == ["ours, paper's setting", "ours, quick setting"]
    assert labels("housing", tmp_path) == ["reference, paper's setting", "this rerun, quick"]


def test_an_experiments_runs_are_selected_column_by_column(project):
    fill(project.store, seeds=2, scores=[0.45, 0.46], variation_penalty=1.0)
    fill(project.store, seeds=1, scores=0.5, variation_penalty=1.0, preset="quick")
    fill(project.store, seeds=1, scores=0.6, model="NAM")
    fill(project.store, seeds=1, scores=0.7, experts=2, active_experts=2)  # no row of this experiment
    runs = project.parameters().runs(experiments.cases("lambda_sweep", "paper"))
    found = runs[["source", "row", "seed", "metrics.test.rmse"]].to_numpy().tolist()
    paper, quick = (column.label for column in project.parameters().columns)
    own = [[paper, "λ = 1", 0, 0.45], [paper, "λ = 1", 1, 0.46], [paper, "NAM", 0, 0.6]]
    assert found == [*own, [quick, "λ = 1", 0, 0.5]]
    assert project.parameters("diabetes").runs(experiments.cases("lambda_sweep", "paper")).empty


def test_the_command_that_a_page_gives_can_be_copied_whatever_the_directory(tmp_path):
    where = tmp_path / "my results"
    said = layout.progress("complexity", Parameters("diabetes", "smoke", "cpu", where, False))
    command = re.search(r"`(python -m mixnam run .*)`", said)[1]
    assert shlex.split(command)[-2:] == ["--results", str(where)]
