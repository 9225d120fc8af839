"""The command line on stored results: status, verify, measure."""

import dataclasses
import shutil

import numpy as np
import pytest

from mixnam.__main__ import main
from mixnam.paper import running
from mixnam.paper.experiments import stored
from mixnam.runs.store import Store


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    where = tmp_path_factory.mktemp("run") / "results"
    running.run("complexity", "diabetes", "smoke", where, "cpu", progress=None, seeds=1)
    return where


def test_verify_and_status_speak_of_a_stored_result(run, capsys):
    result = stored(Store(run), "diabetes", "NAM", "smoke")[0]
    assert main(["verify", result.key[:12], "--results", str(run)]) == 0
    assert "the same bits" in capsys.readouterr().out
    assert main(["status", "--results", str(run), "--dataset", "diabetes", "--preset", "smoke"]) == 0
    assert "complexity on diabetes (smoke): 3 of 6" in capsys.readouterr().out
    assert main(["verify", "ffffffffffff", "--results", str(run)]) == 2
    assert "no result in" in capsys.readouterr().err


def test_verify_notices_other_bits(run, tmp_path, capsys):
    result = stored(Store(run), "diabetes", "NAM", "smoke")[0]
    shutil.copytree(run, tmp_path / "results")
    path = tmp_path / "results" / "diabetes" / "NAM" / f"{result.key}.json"
    score = repr(result.metrics["test"]["rmse"])
    path.write_text(path.read_text().replace(score, repr(result.metrics["test"]["rmse"] + 1e-9)))
    assert main(["verify", result.key, "--results", str(tmp_path / "results")]) == 1
    assert "other bits on the same CPU" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["verify", "measure"])
def test_other_data_are_not_compared_with_nor_measured(command, run, tmp_path, capsys):
    result = stored(Store(run), "diabetes", "MixNAM", "smoke")[0]
    key, origin = result.spec.key_for("f" * 64), result.provenance | {"data_sha256": "f" * 64}
    other = dataclasses.replace(result, key=key, provenance=origin, fresh=(result.arrays, result.weights))
    path = Store(tmp_path / "results").put(other).path(".json")
    before = path.read_bytes()
    assert main([command, key, "--results", str(tmp_path / "results"), "--device", "cpu"]) != 0
    said = capsys.readouterr()
    assert "it was trained on other data (SHA-256 ffffffffffff) than are at hand" in said.out + said.err
    assert path.read_bytes() == before


def test_measures_are_taken_again_from_weights(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "results")
    result = stored(Store(run), "diabetes", "MixNAM", "smoke")[0]
    assert main(["measure", result.key, "--results", str(tmp_path / "results"), "--device", "cpu"]) == 0
    again = Store(tmp_path / "results").get(result.spec)
    assert again.measures == result.measures
    assert again.metrics == result.metrics
    assert all(np.array_equal(a, again.arrays[k], equal_nan=True) for k, a in result.arrays.items())
