"""The command line: what it refuses before anything trains, where it writes, and what it says of stored results."""

import dataclasses
import hashlib
import json
import math
import os
import re
import shlex
import shutil
import sys

import numpy as np
import pytest
from every import every
from safetensors.numpy import load, save
from sklearn.datasets import load_diabetes

from mixnam.__main__ import main
from mixnam.paper import experiments, running
from mixnam.paper.experiments import stored
from mixnam.report import layout
from mixnam.report.parameters import Parameters
from mixnam.runs import files
from mixnam.runs.results import digest
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


@pytest.fixture
def no_training(monkeypatch):
    monkeypatch.setattr(running, "fit", lambda *arguments, **options: pytest.fail("trained something"))


SMOKE = ["--dataset", "diabetes", "--preset", "smoke", "--seeds", "1", "--device", "cpu"]


@every(
    "words, message",
    [
        (["run", "complexity,nosuch", *SMOKE], "experiment must be one of accuracy, .*, got 'nosuch'"),
        (["run", "complexity", "--dataset", "diabetes,nosuch"], "dataset must be one of housing, .*, got 'nosuch'"),
        (["run", "complexity", "--dataset", "a" * 300], "dataset must be one of housing, .*at most 100"),
        (["run", "complexity", *SMOKE, "--models", "NAM,nosuch"], "model must be one of Linear, .*, got 'nosuch'"),
        (["run", "complexity", *SMOKE, "--models", "XGBoost"], "complexity has no run of XGBoost at the smoke preset"),
        (["run", "all", "--preset", "best", "--seeds", "2"], "leave the seeds out"),
        (
            ["run", "reference", "--budget", "1s", "--out", "/proc/x"],
            "directory /proc/x cannot .*; name another with --out",
        ),
        (
            ["run", "complexity", *SMOKE, "--results", "/proc/x"],
            "/proc/x cannot be written: .*; name another with --res",
        ),
        (["run", "complexity", *SMOKE, "--results", "FILE"], "FILE cannot be written: it is a file; name another"),
        (
            ["run", "complexity", *SMOKE, "--results", "FILE/x"],
            "FILE/x cannot be written: Not a directory; name another",
        ),
        (
            ["run", "complexity", *SMOKE, "--results", "a" * 300],
            "a+ cannot be written: File name too long; name another",
        ),
        (
            ["claim", "T1-housing", "--results", "/proc/x"],
            "results directory /proc/x cannot be written: .*; name another",
        ),
        (["claim", "nosuch"], "no claim 'nosuch'; known are "),
        (["search", "--dataset", "diabetes", "--results", "/proc/x"], "/proc/x cannot be written: .* with --results"),
        (["search", "--dataset", "diabetes", "--out", "FILE/x"], "FILE cannot be written: it is a file; .* with --out"),
        (["search", "--budget=-5m"], "a budget is a number with s, m or h behind it, such as 25m, got '-5m'"),
        (["verify", "abc", "--results", "/nosuch"], "no result in /nosuch has a key that starts with abc"),
    ],
)
def test_what_cannot_be_is_said_in_one_line_before_anything_trains(
    words, message, tmp_path, monkeypatch, capsys, no_training
):
    (tmp_path / "book").mkdir(exist_ok=True)
    (tmp_path / "book" / "_config.yml").write_text("")  # what makes a project's directory
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "file"
    file.write_text("")
    assert main([word.replace("FILE", str(file)) for word in words]) == 2
    said = capsys.readouterr().err
    assert re.match("error: .*" + message.replace("FILE", str(file)), said), said
    assert said.count("\n") == 1
    assert words[0] == "search" or not (tmp_path / "runs").exists()


def test_models_restrict_a_run_whose_results_are_the_presets_own(tmp_path, monkeypatch, capsys):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "_config.yml").write_text("")  # what makes a project's directory
    monkeypatch.chdir(tmp_path)
    assert main(["run", "accuracy", *SMOKE, "--models", "Linear"]) == 0
    assert [r.spec.model for r in Store(tmp_path / "runs" / "smoke" / "results")] == ["Linear"]
    assert not (tmp_path / "book" / "results").exists()
    assert "accuracy on diabetes (smoke): 1 results in runs/smoke/results, 0 missing" in capsys.readouterr().out
    results = ["--results", "runs/smoke/results"]
    assert main(["status", "accuracy", *SMOKE[:6], "--models", "Linear,NAM", *results]) == 0
    assert "accuracy on diabetes (smoke): 1 of 2; 1 to train" in capsys.readouterr().out
    assert main(["status", "accuracy", *SMOKE[:6], "--results", "nosuch"]) == 0
    assert "0 results in nosuch: there is no such directory\n" in capsys.readouterr().out
    trained = []
    monkeypatch.setattr("mixnam.__main__.train_available", lambda specs, store, *rest, **options: trained.append(store))
    assert main(["claim", "T1-housing", "--preset", "smoke"]) == 0
    assert [store.root for store in trained] == [tmp_path / "runs" / "smoke" / "results"]
    assert "  on runs/smoke/results (smoke): " in capsys.readouterr().out


def test_what_failed_is_listed_last_and_the_exit_code_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "xgboost", None)
    line = ["run", "accuracy", *SMOKE, "--models", "XGBoost,Linear", "--results", str(tmp_path)]
    assert main(line) == 1
    *_, count, first, second = capsys.readouterr().out.splitlines()
    assert count == "2 failed:"
    for said in (first, second):
        assert re.match(r"failed: diabetes XGBoost .*holdout seed 0: .*xgboost.*; remedy: pip install 'mixnam\[", said)
    assert [r.spec.model for r in Store(tmp_path)] == ["Linear"]


def test_whoever_reads_the_first_lines_alone_sees_no_traceback(monkeypatch, capsys):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert main(["table", "diabetes"]) == 1
    assert capsys.readouterr().err == ""


def verified(run, folder, capsys, change):
    """Change the JSON and the arrays of a copied NAM by hand and return what `verify` says of it."""
    result = stored(Store(run), "diabetes", "NAM", "smoke")[0]
    shutil.copytree(run, folder)
    path = folder / "diabetes" / "NAM" / f"{result.key}.json"
    content = json.loads(path.read_text())
    change(content, path.with_suffix(".safetensors"))
    content["sha256"][".json"] = digest(content)  # whoever changed it knows of that, too
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
    del content["sha256"][".safetensors"]


def before_checksums(content):
    """Make a record one of a version that gave none a checksum of its own."""
    del content["sha256"][".json"]
    content["provenance"]["versions"]["mixnam"] = "0.11.0"


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


def in_record(edit):
    """Edit a record's content."""

    def change(result):
        path = result.path(".json")
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))

    return change


def in_arrays(edit):
    """Edit a result's arrays."""

    def change(result):
        path = result.path(".safetensors")
        arrays = load(path.read_bytes())
        edit(arrays)
        path.write_bytes(save(arrays))

    return change


def swap(arrays):
    arrays["grid"], arrays["grid_mean"] = arrays["grid_mean"], arrays["grid"]


def swap_files(result):
    other = stored(Store(result.folder.parents[1]), "diabetes", "MixNAM", "smoke")[0]
    whole = [one.path(".safetensors").read_bytes() for one in (result, other)]
    for one, content in zip((other, result), whole, strict=True):
        one.path(".safetensors").write_bytes(content)


def flip(suffix):
    def change(result):
        path = result.path(suffix)
        content = bytearray(path.read_bytes())
        content[-9] ^= 1
        path.write_bytes(content)

    return change


#: Ways of editing a result, and what is said of it.
WAYS = {
    "a measure": (in_record(lambda c: c["measures"]["importance"]["per_feature"].reverse()), "its content was changed"),
    "a metric": (
        in_record(lambda c: c["metrics"]["test"].update(rmse=c["metrics"]["test"]["rmse"] * 1.015)),
        "changed",
    ),
    "a metric and versions": (
        in_record(lambda c: (c["metrics"]["test"].update(rmse=60.0), c["provenance"]["versions"].update(torch="2.0"))),
        "its content was changed after it was stored",
    ),
    "an emptied array": (in_arrays(lambda a: a.update(grid_mean=np.zeros((0,), np.float32))), "it is not the file"),
    "an extra array": (in_arrays(lambda a: a.update(extra=np.ones(3))), "it is not the file"),
    "swapped arrays": (in_arrays(swap), "it is not the file"),
    "swapped files": (swap_files, "it is not the file"),
    "a flipped byte": (flip(".safetensors"), "it is not the file"),
    "a flipped byte of weights": (flip(".weights.safetensors"), "it is not the file"),
    "another seed": (in_record(lambda c: c["spec"].update(seed=3)), "its content belongs to key"),
    "a wrong type": (in_record(lambda c: c.update(provenance=[])), "provenance is [], not dict"),
    "a NaN": (in_record(lambda c: c["metrics"]["test"].update(rmse=math.nan)), "metrics.test.rmse is nan, not finite"),
    "a failure": (in_record(lambda c: c.update(status="failed")), "status 'failed', expected"),
}


@pytest.mark.filterwarnings("ignore:set aside")
@every("way, case", WAYS.items())
def test_an_edited_result_is_named_by_verify_status_and_the_page_and_not_used(way, case, run, tmp_path, capsys):
    (change, why), where = case, tmp_path / "results"
    shutil.copytree(run, where)
    key = stored(Store(run), "diabetes", "NAM", "smoke")[0].key
    change(dataclasses.replace(stored(Store(run), "diabetes", "NAM", "smoke")[0], folder=where / "diabetes" / "NAM"))

    assert main(["verify", key, "--results", str(where), "--device", "cpu"]) == 1
    said = capsys.readouterr().out
    assert (
        said.startswith("set aside: ") and key in said and why in said and said.count("\n") == 1
    )  # nothing was trained

    assert main(["status", "complexity", "--dataset", "diabetes", "--preset", "smoke", "--results", str(where)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("set aside: diabetes/NAM/")]
    assert len(lines) == 1 and key in lines[0] and why in lines[0]

    page = Parameters("diabetes", "smoke", "cpu", where, False, tmp_path / "reference")
    assert key not in page.runs(experiments.cases("complexity", "smoke")).index
    shown = layout.set_aside(page).replace("<wbr>", "")
    assert f"diabetes/NAM/{key[:12]}\\*." in shown and layout.literal(why) in shown


def test_a_page_says_nothing_where_nothing_was_set_aside(run, tmp_path):
    page = Parameters("diabetes", "smoke", "cpu", run, False, tmp_path / "reference")
    assert len(page.runs(experiments.cases("complexity", "smoke"))) == 3
    assert layout.set_aside(page) == layout.NOTHING


def test_status_tells_records_without_a_checksum_results_of_unknown_tables_and_of_other_revisions(
    run, tmp_path, capsys
):
    where = tmp_path / "results"
    shutil.copytree(run, where)
    store = Store(where)
    plain, revised = (stored(store, "diabetes", model, "smoke")[0] for model in ("NAM", "MixNAM"))
    in_record(before_checksums)(plain)
    unknown = dataclasses.replace(plain.spec)
    object.__setattr__(unknown, "dataset", "nobody_knows")
    store.put(dataclasses.replace(plain, spec=unknown, fresh=(plain.arrays, {"bias": np.zeros(1)})))
    revisions = revised.revisions | {"mixture": 2}
    other = revised.spec.key_for(revised.provenance["data_sha256"], revisions)
    store.put(dataclasses.replace(revised, key=other, revisions=revisions, fresh=(revised.arrays, revised.weights)))
    revised.path(".json").unlink()
    assert main(["status", "complexity", "--dataset", "diabetes", "--preset", "smoke", "--results", str(where)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"diabetes +NAM +smoke, no checksum of its own +1 results", said)
    assert re.search(r"nobody_knows +NAM +smoke, a table that is not described here +1 results", said)
    reason = "trained by revision 2 of mixture, this version has 1"
    assert f"set aside: diabetes/MixNAM/{other}.json: {reason}\n" in said
    page = Parameters("diabetes", "smoke", "cpu", where, False, tmp_path / "reference")
    page.runs(experiments.cases("complexity", "smoke"))
    assert reason in layout.set_aside(page)
    assert main(["verify", other, "--results", str(where)]) == 1
    assert f"{reason}; not comparable" in capsys.readouterr().out


def test_merge_says_once_that_its_directory_cannot_be_written(run, tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    assert main(["merge", str(run), "--results", str(file)]) == 2
    assert capsys.readouterr().err == (
        f"error: results directory {file} cannot be written: it is a file; name another with --results\n"
    )
    (tmp_path / "empty").mkdir()
    assert main(["merge", str(tmp_path / "empty"), "--results", str(tmp_path / "new")]) == 2
    assert not (tmp_path / "new").exists()


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
    suffixes = (".safetensors", ".weights.safetensors")
    sums = {suffix: hashlib.sha256(again.path(suffix).read_bytes()).hexdigest() for suffix in suffixes}
    assert again.sha256 == sums | {".json": digest(again.to_json())}
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
