"""The command line on stored results: status, verify, measure."""

import dataclasses
import hashlib
import json
import re
import shlex
import shutil

import numpy as np
import pytest
from every import every
from safetensors.numpy import save
from sklearn.datasets import load_diabetes

from mixnam.__main__ import main
from mixnam.paper import running
from mixnam.paper.experiments import stored
from mixnam.runs import files
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


def verified(run, folder, capsys, change):
    """Change the JSON and the arrays of a copied NAM by hand and return what `verify` says of it."""
    result = stored(Store(run), "diabetes", "NAM", "smoke")[0]
    shutil.copytree(run, folder)
    path = folder / "diabetes" / "NAM" / f"{result.key}.json"
    content = json.loads(path.read_text())
    change(content, path.with_suffix(".safetensors"))
    path.write_text(json.dumps(content))
    assert main(["verify", result.key, "--results", str(folder), "--device", "cpu"]) == 1
    return capsys.readouterr().out


def edit_score(content, arrays):
    content["metrics"]["test"]["rmse"] += 1e-9


def edit_additivity(content, arrays):
    content["measures"]["additivity"]["marginal"] = 0.999


def edit_additivity_and_version(content, arrays):
    content["measures"]["additivity"]["marginal"] = 0.1
    content["provenance"]["versions"]["torch"] = "2.0"


def empty_arrays(content, arrays):
    arrays.write_bytes(save({}))
    del content["sha256"]


@every(
    "change, text",
    [
        (edit_score, r": different: metric test\.rmse [\d.]+ before, .* 1 of \d+ parts; same device and versions"),
        (edit_additivity, r": different: measure additivity\.marginal 0\.999 before, .* 1 of \d+ parts; same device"),
        (
            edit_additivity_and_version,
            r": different: measure additivity\.marginal 0\.1 before, .*; other torch: 2\.0 against",
        ),
        (empty_arrays, r": different: array \w+ nothing before, float32 \(.*; same device and versions"),
    ],
)
def test_verify_notices_what_was_changed_by_hand(change, text, run, tmp_path, capsys):
    assert re.search(text, verified(run, tmp_path / "results", capsys, change))


def test_verify_names_a_result_whose_arrays_are_not_those_it_was_stored_with(run, tmp_path, capsys):
    with pytest.warns(UserWarning, match="set aside"):
        said = verified(run, tmp_path / "results", capsys, lambda content, arrays: arrays.write_bytes(save({})))
    assert re.search(r"^set aside: .*\.safetensors: it is not the file that the result was stored with", said)


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
    assert again.sha256 == {s: hashlib.sha256(again.path(s).read_bytes()).hexdigest() for s in result.sha256}
    assert again.measures == result.measures
    assert again.metrics == result.metrics
    assert all(np.array_equal(a, again.arrays[k], equal_nan=True) for k, a in result.arrays.items())


@pytest.fixture
def houses(tmp_path, monkeypatch):
    """A file of a table, which is the data directory's own."""
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path))
    generator = np.random.default_rng(0)
    lines = [
        f"{area:.3f},{rooms},{'yes' if area + rooms > 3 else 'no'}" for area, rooms in generator.normal(2, 1, (80, 2))
    ]
    path = tmp_path / "my houses.csv"
    path.write_text("\n".join(["area,rooms,sold", *lines, ""]))
    return path


def test_table_shows_how_a_file_is_read_and_what_describes_it(houses, capsys):
    assert main(["table", str(houses), "--target", "sold", "--drop", "rooms", "--title", "Häuser"]) == 0
    said = capsys.readouterr().out
    assert "Häuser: 80 rows, 1 feature; classification; class 1 is sold = yes" in said
    _, text = said.split("NAME.toml:\n")
    (houses.parent / "häuser.toml").write_text(text, encoding="utf-8")
    assert main(["table", "häuser"]) == 0
    assert capsys.readouterr().out.strip() == said.partition("\nTo train")[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["FILE"], "error: --target is missing: name the column to predict"),
        (["FILE", "--target", "price"], "no column is called 'price'; there are 'area', 'rooms', 'sold'"),
        (["nosuch"], "error: dataset must be one of"),
        (["diabetes", "--target", "y"], "error: 'diabetes' is no file; for a data set's name leave out --target"),
        (["FILE.xlsx", "--target", "y"], "must end in .csv, .tsv"),
    ],
)
def test_table_says_what_is_wrong_in_one_line(arguments, message, houses, capsys):
    assert main(["table", *(word.replace("FILE", str(houses)) for word in arguments)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_table_tells_how_many_pairs_a_wide_table_has(houses, capsys):
    wide = houses.parent / "wide.csv"
    names = ",".join(f"c{j}" for j in range(51))
    wide.write_text("\n".join([names, *(",".join(f"{(i * j) % 7 + i / 9}" for j in range(51)) for i in range(30))]))
    assert main(["table", str(wide), "--target", "c50"]) == 0
    assert "1,225 pairs of features: EB2M, NA2M, NB2M, NODE-GA2M have a term for each" in capsys.readouterr().out


def test_the_page_on_data_shows_what_the_command_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    load_diabetes(as_frame=True, scaled=False).frame.to_csv("patients.csv", index=False)
    page = (files.root() / "book" / "data.md").read_text(encoding="utf-8")
    command, said = re.search(
        r"```bash\npython -m mixnam (table .*)\n```\n\n```text\n(.*?)\n```", page, re.DOTALL
    ).groups()
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out.partition("\nTo train")[0] == said
