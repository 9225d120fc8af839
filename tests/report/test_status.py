"""The status page counts results, and says where they come from and on which data."""

import nbformat
from planted import fill

from mixnam.report import status


def test_results_are_counted_and_their_time_is_summed(project):
    fill(project.store, seeds=2, scores=0.45)
    table = status.status_table(project.parameters()).set_index("page")
    assert "page run in" not in table
    assert table.loc["accuracy_housing"].tolist() == ["2 of 190", "4 s", "0 of 19", "–", "a test"]
    assert table.loc["simulation"].tolist() == ["0 of 60", "–", "0 of 6", "–", "–"]


def test_a_reruns_pages_tell_their_own_time(project):
    fill(project.other, seeds=1, scores=0.45, preset="smoke")
    folder = project.other.root.parent / "notebooks"
    folder.mkdir()
    executed = nbformat.v4.new_notebook(metadata={"papermill": {"duration": 81.6}})
    nbformat.write(executed, folder / "accuracy_housing.ipynb")
    table = status.status_table(project.parameters(rerun=True)).set_index("page")
    assert table["page run in"].to_dict() == dict.fromkeys(table.index, "–") | {"accuracy_housing": "82 s"}


def test_origins_are_grouped_and_data_listed(project):
    assert status.origin_table(project.parameters())["commit"].tolist() == ["no results yet"]
    assert status.data_table(project.parameters()).empty
    fill(project.store, seeds=2, scores=0.45)
    (row,) = status.origin_table(project.parameters()).to_dict("records")
    assert row == {"commit": "not recorded", "device": "a test, 1 thread", "versions": "torch 0", "results": 2}
    (row,) = status.data_table(project.parameters()).to_dict("records")
    assert row["data set"] == "housing" and row["read from"] == "made up"
