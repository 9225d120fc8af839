"""What needs data that are not at hand is skipped and said, all through the house."""

import dataclasses

import generated
import pytest
from every import every

from mixnam.data import catalogue, publishers
from mixnam.data.laws import SIMULATIONS
from mixnam.paper import experiments
from mixnam.paper.running import run
from mixnam.report import book, status
from mixnam.report.parameters import Parameters
from mixnam.runs.store import Store


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path / "empty"))
    return tmp_path


@every("name", ["mimic2", "mimic3", "credit", "year"])
def test_missing_data_are_skipped_and_nothing_is_raised(name, nothing):
    folder = nothing / name
    outcome = run("accuracy", dataset=name, preset="smoke", results=folder, device="cpu")
    assert outcome.missing == outcome.specs != []
    assert outcome.results == []
    assert f"Remedy: {catalogue.REGISTRY[name].remedy}" in outcome.skipped
    assert str(nothing / "empty") in outcome.skipped
    assert not list(folder.glob("*/*"))
    assert experiments.stored(Store(folder), name, "MixNAM", "smoke") == []
    assert len(set(outcome.specs)) == len(outcome.specs)


def test_damaged_data_are_skipped_too_and_read_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path))
    generated.put(tmp_path / "creditcard.csv", ["a,b", "1,2"])
    reads = []
    counted = dataclasses.replace(
        catalogue.REGISTRY["credit"], load=lambda *a: [reads.append(1), publishers.credit(*a)][1]
    )
    monkeypatch.setitem(catalogue.REGISTRY, "credit", counted)
    outcome = run("accuracy", dataset="credit", preset="smoke", results=tmp_path / "r", device="cpu")
    assert "has 2 columns (a, b, ...)" in outcome.skipped
    assert len(reads) == 2, "once for all keys, once for the reason"


def test_the_status_table_and_what_a_report_lacks_stand_without_the_data(nothing):
    parameters = Parameters("housing", "smoke", "cpu", nothing / "results", False)
    table = status.status_table(parameters)
    assert {"accuracy_credit", "accuracy_year", "accuracy_bike"} <= set(table["page"])
    lacking, (skipped,) = book.lacking(["credit"], "smoke", Store(nothing / "results"))
    assert {spec.dataset for spec in lacking} <= set(SIMULATIONS)
    assert skipped.startswith("will be skipped: credit: ") and "Kaggle" in skipped
