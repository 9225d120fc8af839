"""The benchmark of estimators: the same rows for all, nothing lost, nothing measured twice. Nothing is timed here."""

import json

import numpy as np
import pytest

from benchmarks import estimators
from mixnam.data import catalogue
from mixnam.data.table import Table


def table(task="classification", rows=60):
    """Return one column of numbers and one of three categories, and a target that both tell."""
    source = np.random.default_rng(3)
    x = np.column_stack([source.normal(size=rows), np.arange(rows) % 3])
    y = x[:, 0] + x[:, 1] + source.normal(scale=0.3, size=rows)
    y = y if task == "regression" else (y > 1).astype(float)
    return Table(f"tiny_{task}", "tiny", task, "rmse" if task == "regression" else "auc", x, y, ("size", "kind"), "y",
                 categories={1: ("a", "b", "c")})  # fmt: skip


def test_a_frame_has_numbers_and_labelled_categories():
    x, y = estimators.frame(table())
    assert x.dtypes.astype(str).to_dict() == {"size": "float64", "kind": "category"}
    assert list(x["kind"][:4]) == ["a", "b", "c", "a"]
    assert set(y.tolist()) == {0, 1}


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_each_row_is_tested_once_and_classes_are_shared_out(task):
    data = table(task)
    parts = [estimators.rows_of(data, fold) for fold in range(estimators.FOLDS)]
    assert sorted(np.concatenate([test for _, test in parts])) == list(range(60))
    assert all(not set(train) & set(test) and len(train) + len(test) == 60 for train, test in parts)
    if task == "classification":
        counts = [data.y[test].sum() for _, test in parts]
        assert max(counts) - min(counts) <= 1
    assert [len(part) for part in estimators.rows_of(data, None)] == [60, 60]


def contestants():
    """Return all makers that this installation has, ours and EBM cut short."""
    quick = {"epochs": 3, "n_members": 1, **estimators.OURS}
    short = {"outer_bags": 1, "max_rounds": 5, "n_jobs": 1}
    found = {name: estimators.of_library("mixnam", name, **quick) for name in ("MixNAM", "NAM")}
    found["EBM"] = estimators.of_library("interpret.glassbox", "ExplainableBoosting", **short)
    return estimators.CONTESTANTS | found


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("model", [name for name in estimators.CONTESTANTS if name != "EBM without pairs"])
def test_each_contestant_takes_a_frame_and_is_scored(model, task, monkeypatch):
    if model == "pyGAM":
        pytest.importorskip("pygam")
    monkeypatch.setitem(estimators.CONTESTANTS, model, contestants()[model])
    row = estimators.measure(table(task), model, 0)
    assert "error" not in row
    assert set(row["scores"]) == ({"rmse"} if task == "regression" else {"auc", "log_loss"})
    assert row["rows"] == 48
    assert min(row["fit"].values()) > 0
    json.dumps(row, allow_nan=False)


def test_a_fit_that_fails_is_told_and_one_on_all_rows_is_not_scored(monkeypatch):
    def refusing(classes):
        raise ValueError("no")

    monkeypatch.setitem(estimators.CONTESTANTS, "linear", refusing)
    assert estimators.measure(table(), "linear", 0)["error"] == "ValueError: no"
    monkeypatch.undo()
    assert "scores" not in estimators.measure(table(), "linear", None)


def test_a_record_is_appended_to_and_nothing_is_measured_twice(tmp_path, capsys):
    out = tmp_path / "record.jsonl"
    asked = ["--datasets", "diabetes", "--models", "linear", "--out", str(out)]
    estimators.main([*asked, "--folds", "1", "all"])
    before = out.read_text()
    estimators.main([*asked, "--folds", "0", "1"])
    assert out.read_text().startswith(before)
    assert [row["fold"] for row in estimators.read(out)] == [1, None, 0]
    assert {row["dataset"] for row in estimators.read(out)} == {"diabetes"}
    assert catalogue.load("diabetes").x.shape[0] == 442
