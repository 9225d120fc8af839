"""The page on own tables: its parameters, what models are given, and the model that it saves."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from mixnam import MixNAMClassifier
from mixnam.data.table import TableError
from mixnam.report import own_data

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "own_data.ipynb"
NONE = {"table": "diabetes", "target": "", "categorical": "", "drop": "", "group": "", "missing": ""}
NONE |= {"quick": "true", "model_folder": ""}


@pytest.fixture
def patients(tmp_path):
    """Return a CSV of words, gaps and clinics."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"age": random.integers(20, 90, 120), "town": random.choice(["Bath", "York"], 120)})
    frame["clinic"], frame["dose"] = random.integers(0, 12, 120), random.choice([1, 5], 120)
    frame["well"] = np.where(frame["age"] + random.normal(0, 20, 120) < 55, "yes", "no")
    frame["age"] = frame["age"].astype(object)
    frame.loc[::9, "age"], frame.loc[::11, "town"] = "?", None
    frame.to_csv(tmp_path / "patients.csv", index=False)
    return tmp_path / "patients.csv"


def given(patients, **changes):
    return (
        NONE | {"table": str(patients), "target": "well", "missing": "?", "model_folder": f"{patients}-model"} | changes
    )


def test_the_notebook_has_the_parameters_that_are_read_and_no_outputs():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert cells[0].source.startswith("# ") and code[0].metadata["tags"] == ["parameters"]
    assert code[1].source == "from mixnam.report import own_data\n\nown = own_data.read(globals())"
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    names = {}
    exec(code[0].source, names)
    assert own_data.read(names).table.name == own_data.EXAMPLE
    assert {name for name in names if not name.startswith("_")} == set(own_data.TYPES)


def test_a_table_is_read_with_its_gaps_words_and_the_names_of_its_classes(patients):
    own = own_data.read(given(patients, categorical="dose", drop="clinic"))
    assert list(own.x) == ["age", "town", "dose"] and own.quick
    assert own.x["age"].isna().sum() == 14 and own.x["town"].isna().sum() == 11
    assert [str(kind) for kind in own.x.dtypes] == ["float64", "category", "category"]
    assert own.labels.name == "well" and set(own.labels) == {"no", "yes"}
    assert not own_data.read(NONE | {"quick": False}).quick


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": ""}, "target must name the column of .* that is predicted: -p target NAME"),
        ({"target": "wel"}, "no column is called 'wel'"),
        ({"table": "nothing.csv"}, "nothing.csv cannot be read"),
        ({"table": "diabetes"}, "target is for files, 'diabetes' has its own"),
        ({"table": "housig", "target": "", "missing": ""}, "dataset must be one of housing"),
        ({"quick": "perhaps"}, "quick must be true, false or auto, got 'perhaps'"),
        ({"targt": "well"}, "unknown parameter 'targt'"),
        ({"group": 3}, "parameter group must be text, got 3"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_line(patients, changes, message):
    with pytest.raises(TableError, match=message) as refused:
        own_data.read(given(patients, **changes))
    assert refused.value._render_traceback_()[0].count("\n") == 0


def test_models_are_compared_on_shared_folds_that_keep_groups_together(patients):
    own = own_data.read(given(patients, group="clinic"))
    folds = own.folds()
    assert len(folds) == 5 and sorted(np.concatenate([test for _, test in folds])) == list(range(120))
    assert not any(set(own.table.groups[train]) & set(own.table.groups[test]) for train, test in folds)
    scores = own_data.compare(own)
    assert list(scores["model"]) == list(own.models()) and {"MixNAM", "NAM", "linear"} <= set(scores["model"])
    assert scores["test AUC"].str.fullmatch(r"[01]\.\d{3} ± \d\.\d{3}").all()
    assert scores["MixNAM is better by [95 % interval]"].str.match(r"[+−]\d\.\d{3} \[").tolist()[1:] == [True] * (
        len(scores) - 1
    )


def test_bounds_and_scores_are_drawn_over_the_penalty():
    axes = own_data.trade_off(own_data.read(NONE)).axes
    assert [ax.get_ylabel() for ax in axes] == ["test RMSE", "mean width of bounds\n(points)"]
    for ax in axes:
        assert len(ax.lines[0].get_ydata()) == len(own_data.PENALTIES)
    assert axes[1].lines[0].get_ydata()[0] > axes[1].lines[0].get_ydata()[-1]


def test_the_saved_model_predicts_rows_as_a_file_has_them(patients):
    own = own_data.read(given(patients, drop="clinic"))
    model = own.fit(own.models()["MixNAM"], slice(None), own.labels)
    model.save(own.folder)
    raw = pd.read_csv(patients, na_values="?").drop(columns=["clinic", "well"])
    again = MixNAMClassifier.load(own.folder)
    np.testing.assert_array_equal(again.predict_proba(raw), model.predict_proba(own.x))
    assert set(again.classes_) == {"no", "yes"} and model.about_.target == "well = yes"


@pytest.mark.slow
def test_one_command_leads_from_a_file_to_the_page(patients):
    command = [
        sys.executable,
        "-m",
        "papermill",
        NOTEBOOK,
        "page.ipynb",
        "-p",
        "table",
        patients.name,
        "-p",
        "target",
        "well",
    ]
    environment = os.environ | {"PYTHONPATH": str(NOTEBOOK.parents[1])}
    told = ["-p", "missing", "?", "-p", "group", "clinic", "-p", "quick", "true"]
    subprocess.run([*command, *told], check=True, cwd=patients.parent, env=environment, capture_output=True)
    outputs = [
        output for cell in nbformat.read(patients.parent / "page.ipynb", 4).cells for output in cell.get("outputs", [])
    ]
    assert "predicts all 120 rows the same" in outputs[-1].text
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
