import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

import mixnam
from mixnam import __main__ as command_line
from mixnam.data import catalogue
from mixnam.data.laws import SIMULATIONS
from mixnam.data.splits import FOLDS
from mixnam.data.table import DataMissing
from mixnam.models import MODELS, MixNAMSettings, make_settings
from mixnam.paper import experiments, presets, published, running
from mixnam.paper.presets import Preset, load_preset
from mixnam.runs import fitting
from mixnam.runs.spec import stacks
from mixnam.runs.store import Store

CHOICE = {"experiment": "explanations", "dataset": "diabetes", "preset": "smoke"}
SPECS = experiments.specs_for(*CHOICE.values())


def run(results, **options):
    return running.run(**CHOICE | {"results": results, "device": "cpu", "progress": None} | options)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A store with all results of the experiment, trained without interruption."""
    folder = tmp_path_factory.mktemp("reference")
    lines = []
    outcome = run(folder, progress=lines.append)
    assert outcome.specs == SPECS
    assert [result.spec for result in outcome.results] == SPECS
    assert sum(line.endswith(": training") for line in lines) == len(SPECS)
    return folder


@pytest.fixture
def copy(reference, tmp_path):
    shutil.copytree(reference, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def no_training(monkeypatch):
    def fail(*arguments):
        pytest.fail("trained something")

    monkeypatch.setattr("mixnam.paper.running.fit", fail)


def forget(folder, *specs):
    for spec in specs:
        (Store(folder).folder(spec) / f"{spec.key}.json").unlink()


def files(folder):
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path): folder / path for path in paths if path.parts[0] not in (".locks", ".unfinished")}


def outcomes(folder):
    """What must be the same bytes in every repetition: all but times and circumstances."""
    found = {}
    for name, path in files(folder).items():
        if path.suffix == ".json":
            content = json.loads(path.read_text())
            del content["cost"], content["provenance"]
            found[name] = json.dumps(content)
        else:
            found[name] = path.read_bytes()
    return found


def test_nothing_is_trained_twice(reference, no_training):
    outcome = run(reference)
    assert [result.spec for result in outcome.results] == SPECS
    assert outcome.missing == []
    assert outcome.skipped == ""


def test_only_what_is_missing_is_trained(copy):
    gone = SPECS[3]
    forget(copy, gone)
    lines = []
    outcome = run(copy, progress=lines.append)
    assert [line for line in lines if line.endswith(": training")] == [f"{gone}: training"]
    assert [result.spec for result in outcome.results] == SPECS


def test_without_training_results_are_only_read(copy, no_training, tmp_path_factory):
    gone = SPECS[3]
    forget(copy, gone)
    outcome = run(copy, train=False)
    assert [result.spec for result in outcome.results] == [spec for spec in SPECS if spec != gone]
    assert outcome.missing == [gone]
    assert outcome.skipped == ""
    empty = tmp_path_factory.mktemp("empty")
    assert run(empty, train=False).missing == SPECS
    assert list(empty.iterdir()) == []


def test_an_unreadable_result_is_reported_and_trained_again(copy, reference):
    spec = SPECS[0]
    path = Store(copy).folder(spec) / f"{spec.key}.json"
    path.write_bytes(path.read_bytes()[:100])
    lines = []
    with pytest.warns(UserWarning, match=path.name):
        outcome = run(copy, progress=lines.append)
    assert [line for line in lines if line.endswith(": training")] == [f"{spec}: training"]
    assert outcome.missing == []
    assert path.with_suffix(".json.unreadable").stat().st_size == 100
    path.with_suffix(".json.unreadable").unlink()
    assert outcomes(copy) == outcomes(reference)


def test_missing_data_are_skipped_with_the_reason(tmp_path, monkeypatch, no_training):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("mixnam.data.publishers._HOUSING_URL", "http://127.0.0.1:9/")
    lines = []
    outcome = run(tmp_path / "results", dataset="housing", progress=lines.append)
    assert outcome.results == []
    assert outcome.missing == outcome.specs == experiments.specs_for("explanations", "housing", "smoke")
    assert "Remedy: put cal_housing.data" in outcome.skipped
    assert str(tmp_path / "data") in outcome.skipped
    assert lines == [f"skipped explanations on housing: {outcome.skipped}"]


def test_stored_results_are_used_where_data_are_missing(copy, monkeypatch):
    def load(name):
        raise DataMissing(f"{name} is gone")

    gone = SPECS[-1]
    forget(copy, gone)
    monkeypatch.setattr(catalogue, "load", load)
    outcome = run(copy)
    assert [result.spec for result in outcome.results] == SPECS[:-1]
    assert outcome.missing == [gone]
    assert outcome.skipped == "diabetes is gone"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"experiment": "table1"}, "experiment must be one of accuracy, .*, got 'table1'"),
        ({"dataset": "boston"}, "dataset must be one of housing, .*, got 'boston'"),
        ({"preset": "fast"}, "preset must be one of smoke, quick, paper, got 'fast'"),
        ({"device": "tpu"}, "device must be 'auto', 'cpu' or 'cuda', got 'tpu'"),
    ],
)
def test_unknown_choices_are_refused(wrong, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, **wrong)


# started by a line on its standard input, so that it collides with this process and no import counts
CHILD = f"""
import sys
from mixnam.paper.running import run
print("ready", flush=True)
sys.stdin.readline()
outcome = run(**{CHOICE!r}, results=sys.argv[1], device="cpu")
print(len(outcome.results), len(outcome.missing))
"""


def child(folder, log):
    with log.open("w") as errors:
        return subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder)],
            env=os.environ | {"PYTHONPATH": str(Path(mixnam.__file__).parents[1]), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )


def test_a_killed_run_goes_on_to_the_same_results_and_leaves_nothing_else(reference, tmp_path):
    folder = tmp_path / "results"
    for count in (1, 5):  # among the quick ones, and among the MixNAMs
        process = child(folder, tmp_path / "log")
        process.stdin.write("go\n")
        process.stdin.flush()
        deadline = time.monotonic() + 120
        while len(list(folder.glob("*/*/*.json"))) < count:
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.kill()  # SIGKILL: it cannot clean up
        process.communicate()
        assert process.returncode == -9
        assert len(list(Store(folder))) < len(SPECS)
    lines = []
    outcome = run(folder, progress=lines.append)
    assert 0 < sum(line.endswith(": training") for line in lines) <= len(SPECS) - 5
    assert [result.spec for result in outcome.results] == SPECS
    assert outcomes(folder) == outcomes(reference)


def test_two_processes_share_the_work_and_train_nothing_twice(reference, tmp_path):
    folder, log, lines = tmp_path / "results", tmp_path / "log", []
    process = child(folder, log)
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("go\n")
    process.stdin.flush()
    outcome = run(folder, progress=lines.append)
    said, _ = process.communicate(timeout=120)
    assert said == f"{len(SPECS)} 0\n", log.read_text()
    assert [result.spec for result in outcome.results] == SPECS
    trained = [line for line in [*lines, *log.read_text().splitlines()] if line.endswith(": training")]
    assert sorted(trained) == sorted(f"{spec}: training" for spec in SPECS)
    assert 0 < sum(line in lines for line in trained) < len(SPECS)
    assert outcomes(folder) == outcomes(reference)


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Share the work out as on a GPU, but train on the CPU; return the lists of specs that were trained."""
    calls = []

    def fit(specs, device, *arguments, **options):
        calls.append(list(specs))
        return fitting.fit(specs, "cpu", *arguments, **options)

    monkeypatch.setattr("mixnam.paper.running.pick_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr("mixnam.paper.running.fit", fit)
    return calls


def test_on_a_gpu_all_that_is_missing_trains_together(copy, reference, as_on_a_gpu):
    forget(copy, *SPECS[1:4])
    outcome = run(copy, device="auto")
    assert as_on_a_gpu == stacks(SPECS[1:4], side_by_side=True)
    assert [result.spec for result in outcome.results] == SPECS
    assert outcomes(copy) == outcomes(reference)


def test_on_a_gpu_what_another_process_trains_is_waited_for(copy, as_on_a_gpu):
    forget(copy, SPECS[0], SPECS[2])
    store, held, trained_before = Store(copy), threading.Event(), []
    (theirs,) = fitting.fit([SPECS[2]], "cpu")

    def train_theirs():
        with store.lock(SPECS[2]):
            held.set()
            deadline = time.monotonic() + 10
            while not as_on_a_gpu and time.monotonic() < deadline:
                time.sleep(0.01)
            trained_before.append(list(as_on_a_gpu))
            store.put(theirs)

    other = threading.Thread(target=train_theirs)
    other.start()
    held.wait()
    outcome = run(copy, device="auto")
    other.join()
    assert as_on_a_gpu == trained_before[0] == [[SPECS[0]]]  # what is free does not wait
    assert [result.spec for result in outcome.results] == SPECS


def test_on_a_gpu_a_failure_keeps_what_was_trained_and_frees_the_rest(copy, as_on_a_gpu, monkeypatch):
    def fail(specs, *arguments, **options):
        yield from fitting.fit(specs[:1], "cpu")
        raise FloatingPointError("diverged")

    forget(copy, *SPECS)
    with monkeypatch.context() as patch:
        patch.setattr("mixnam.paper.running.fit", fail)
        # the first of each group was stored; the others diverged, which is told and raises nothing
        left = [spec for group in stacks(SPECS, side_by_side=True) for spec in group[1:]]
        assert left
        assert set(run(copy, device="auto").missing) == set(left)
    assert set(run(copy, train=False).missing) == set(left)
    assert run(copy, device="auto").missing == []
    assert [spec for group in as_on_a_gpu for spec in group] == left


def test_accuracy_takes_ten_seeds_or_five_folds_on_paper():
    for dataset, runs in (
        ("housing", [("holdout", seed) for seed in range(10)]),
        ("breast_cancer", [(fold, 0) for fold in FOLDS]),
    ):
        specs = experiments.specs_for("accuracy", dataset, "paper")
        for case in experiments.cases("accuracy", "paper"):
            settings = load_preset("paper").settings(dataset, case.model, case.overrides)
            assert [(s.split, s.seed) for s in specs if s.settings == settings] == runs
        assert len(specs) == len(experiments.cases("accuracy", "paper")) * len(runs)


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_the_sweep_varies_the_variation_penalty_alone(preset):
    specs = [s for s in experiments.specs_for("lambda_sweep", "housing", preset) if s.model == "MixNAM"]
    penalties = {spec.settings.variation_penalty for spec in specs}
    assert penalties == set(load_preset(preset).values("lambda_sweep"))
    assert len({dataclasses.replace(spec.settings, variation_penalty=0.1) for spec in specs}) == 1


def test_experiments_share_results():
    keys = {name: {s.key for s in experiments.specs_for(name, "housing", "paper")} for name in experiments.EXPERIMENTS}
    # MLP, NA2M, NAM and MixNAM at λ = 0.1, ten seeds each
    assert len(keys["accuracy"] & keys["lambda_sweep"]) == 40
    mixnam = {s.key for s in experiments.specs_of("housing", "MixNAM", "paper")}
    assert len(mixnam) == 10
    without = {"simulation", "sparsity", "variability"}
    assert {name for name in keys if not mixnam <= keys[name]} == without  # trained once, it serves all the others
    assert len(keys["expert_scaling"] & keys["mixnam_e"]) == 20  # MixNAM (4, 4) and MixNAM-E (32, 16)
    assert len(keys["simulation"] & keys["routing"]) == 10  # MixNAM on two modes


@pytest.mark.parametrize("preset", presets.PRESETS)
@pytest.mark.parametrize("experiment", experiments.EXPERIMENTS)
def test_cases_are_told_apart_by_their_labels_and_give_valid_specs(experiment, preset):
    cases = experiments.cases(experiment, preset)
    assert len({(case.dataset, case.label) for case in cases}) == len(cases)
    assert all(bool(case.dataset) == (experiment in experiments.SIMULATED) for case in cases) or experiment == "routing"
    for case in cases:
        specs = experiments.specs_of(case.dataset or "housing", case.model, preset, case.overrides, experiment)
        assert [s.seed for s in specs] == list(range(load_preset(preset).number("seeds", experiment)))
        for spec in specs:
            assert spec.model == case.model
            assert all(getattr(spec.settings, name) == value for name, value in case.overrides.items())


def test_the_papers_cells_of_table_8_are_all_run_and_quicks_are_among_them():
    table = published.table("table8_expert_scaling_housing")
    for model in ("MixNAM", "MixNAM-E"):
        cells = {
            preset: [
                (c.overrides["experts"], c.overrides["active_experts"])
                for c in experiments.cases("expert_scaling", preset)
                if c.model == model
            ]
            for preset in ("paper", "quick")
        }
        rows = table[table["model"] == model]
        assert sorted(cells["paper"]) == sorted(zip(rows["C"], rows["K"], strict=True))
        assert set(cells["quick"]) < set(cells["paper"])
        assert len(set(cells["paper"])) == len(cells["paper"]) and len(set(cells["quick"])) == len(cells["quick"])


@pytest.mark.parametrize("experiment", experiments.EXPERIMENTS)
def test_first_seeds_come_first(experiment):
    for dataset in ("housing", "breast_cancer"):
        for preset in ("quick", "paper"):
            specs = experiments.specs_for(experiment, dataset, preset)
            assert [(s.seed, s.split) for s in specs] == sorted((s.seed, s.split) for s in specs)
    assert {s.seed for s in experiments.specs_for(experiment, "housing", "quick", seeds=7)} == set(range(7))


def test_the_simulations_run_at_one_setting_whatever_the_preset():
    for experiment in experiments.SIMULATED:
        quick, paper = ({s.key for s in experiments.specs_for(experiment, "", p, seeds=1)} for p in ("quick", "paper"))
        assert quick and quick <= paper


def test_missing_data_do_not_keep_simulations_from_running(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("mixnam.data.publishers._HOUSING_URL", "http://127.0.0.1:9/")
    outcome = run(tmp_path / "results", experiment="routing", dataset="housing")
    assert {r.spec.dataset for r in outcome.results} == {"sim_multimodal"}
    assert {s.dataset for s in outcome.missing} == {"housing"}
    assert len(outcome.results) == 2 and len(outcome.missing) == 5
    assert "Remedy: put cal_housing.data" in outcome.skipped


@pytest.mark.parametrize("preset", presets.PRESETS)
@pytest.mark.parametrize("dataset", catalogue.REGISTRY)
@pytest.mark.parametrize("experiment", experiments.EXPERIMENTS)
def test_every_experiment_names_each_spec_once(experiment, dataset, preset):
    specs = experiments.specs_for(experiment, dataset, preset)
    assert specs
    assert len({spec.key for spec in specs}) == len(specs)


def test_published_housing_settings_are_the_frozen_defaults():
    values = published.settings("housing", "MixNAM")
    assert len(values) == 13
    for name, value in values.items():
        assert value == getattr(MixNAMSettings(), name), name
    assert load_preset("paper").settings("housing", "MixNAM").changed() == {}


def test_every_published_setting_is_a_valid_one():
    pairs = published.table("settings")[["dataset", "model"]].drop_duplicates()
    for dataset, model in pairs.itertuples(index=False):
        values = published.settings(dataset, model)
        settings = make_settings(model, values)
        assert all(getattr(settings, name) == value for name, value in values.items())
    assert published.settings("credit", "MixNAM")["normalization"] == "batch_norm"
    assert published.settings("year", "MixNAM")["learning_rate"] == 1.17e-4
    assert published.settings("housing", "Linear") == published.settings("boston", "MixNAM") == {}


def test_published_numbers_are_found():
    assert published.accuracy("housing", "MixNAM") == (0.451, 0.002)
    assert published.accuracy("boston", "MixNAM") is None
    assert published.sweep("additivity", 0.1) == (0.381, 0.013)
    assert published.sweep("tightness", 100.0) == (1.0, 0.0)
    assert published.sweep("rmse", 10.0, "NAM") == (0.572, 0.005)  # the same at every λ
    assert published.sweep("additivity", 3.0) is None


def test_later_layers_of_settings_win(monkeypatch):
    layers = [
        {"width": 1, "layers": 1, "epochs": 1, "experts": 4},
        {"width": 2, "layers": 2, "epochs": 2},
        {"width": 3, "layers": 3},
        {"width": 4},
    ]
    monkeypatch.setattr(presets, "published_settings", lambda dataset, model: layers[0])
    content = {"models": {"MixNAM": layers[1], "NAM": {"epochs": 9}}, "data": {"diabetes": {"MixNAM": layers[2]}}}
    settings = Preset("mine", content).settings("diabetes", "MixNAM", layers[3])
    assert settings.changed() == {"width": 4, "layers": 3, "epochs": 2}
    elsewhere = Preset("mine", content).settings("housing", "MixNAM")
    assert elsewhere.changed() == {"width": 2, "layers": 2, "epochs": 2}


@pytest.mark.parametrize("preset", presets.PRESETS)
@pytest.mark.parametrize("model", ["MixNAM-D", "MixNAM-E"])
def test_variants_start_from_mixnams_settings_but_for_the_numbers_of_experts(model, preset):
    kind, chosen = MODELS[model], load_preset(preset)
    parent, own = chosen.settings("housing", "MixNAM").all(), chosen.settings("housing", model).all()
    said = published.settings("housing", model) | chosen.content["models"].get(model, {})
    for name, value in own.items():
        if name in said:
            assert value == said[name], name
        elif name in ("experts", "active_experts"):
            assert value == getattr(kind, name), name
        elif name in parent:
            assert value == parent[name], name


def test_a_variants_settings_come_after_its_parents(monkeypatch):
    published_ones = {
        "MixNAM": {"width": 1, "layers": 1, "experts": 3, "active_experts": 3, "epochs": 1},
        "MixNAM-E": {"epochs": 2},
    }
    monkeypatch.setattr(presets, "published_settings", lambda dataset, model: published_ones.get(model, {}))
    content = {
        "models": {"MixNAM": {"width": 5, "batch_size": 10}, "MixNAM-E": {"batch_size": 11}},
        "data": {
            "simulations": {"MixNAM": {"batch_size": 12, "experts": 2, "active_experts": 2}, "MixNAM-E": {"layers": 6}}
        },
    }
    mine = Preset("mine", content)
    found = mine.settings("housing", "MixNAM-E").changed()
    assert found == {"width": 5, "layers": 1, "epochs": 2, "batch_size": 11}
    found = mine.settings("housing", "MixNAM-E", {"experts": 64}).changed()
    assert found == {"width": 5, "layers": 1, "epochs": 2, "batch_size": 11, "experts": 64}
    alone = mine.settings("housing", "MixNAM").changed()
    assert alone == {"width": 5, "layers": 1, "epochs": 1, "batch_size": 10, "experts": 3, "active_experts": 3}
    law = mine.settings("sim_unimodal", "MixNAM").changed()
    assert law == alone | {"batch_size": 12, "experts": 2, "active_experts": 2}
    assert mine.settings("sim_unimodal", "MixNAM-E").changed()["layers"] == 6


def test_eb2m_starts_from_ebms_settings():
    content = {"models": {"EBM": {"outer_bags": 2, "max_rounds": 9}, "EB2M": {"max_rounds": 7}}}
    assert Preset("mine", content).settings("housing", "EB2M").changed() == {"outer_bags": 2, "max_rounds": 7}
    assert Preset("mine", content).settings("housing", "EBM").changed() == {"outer_bags": 2, "max_rounds": 9}


def test_all_simulations_are_one_family():
    assert {catalogue.family(name) for name in SIMULATIONS} == {"simulations"}
    assert {catalogue.family(n) for n in ("housing", "income", "diabetes")} == {"housing", "income", "diabetes"}


def test_an_experiments_own_number_of_seeds_wins():
    preset = Preset("mine", {"seeds": 10, "folds": 5, "experiments": {"lambda_sweep": {"seeds": 2, "values": [0.0]}}})
    assert preset.number("seeds") == preset.number("seeds", "accuracy") == 10
    assert preset.number("seeds", "lambda_sweep") == 2
    assert preset.number("folds", "lambda_sweep") == 5


@pytest.mark.parametrize("preset", presets.PRESETS)
@pytest.mark.parametrize("model", MODELS)
def test_every_preset_gives_valid_settings(preset, model):
    for dataset in catalogue.REGISTRY:
        settings = load_preset(preset).settings(dataset, model, {})
        assert settings.model == model


def test_pairs_and_values_are_read_as_written():
    said = {"expert_scaling": {"MixNAM": [[2, 2], [8, 4]], "MixNAM-E": [[16, 2]]}, "sparsity": {"values": [2, 4]}}
    content = {"experiments": said}
    assert Preset("mine", content).pairs("expert_scaling", "MixNAM") == [(2, 2), (8, 4)]
    assert Preset("mine", content).pairs("expert_scaling", "MixNAM-E") == [(16, 2)]
    assert Preset("mine", content).values("sparsity") == [2, 4]


def test_an_unknown_override_is_refused():
    with pytest.raises(ValueError, match="MixNAM has no setting 'lambda'"):
        load_preset("smoke").settings("housing", "MixNAM", {"lambda": 1.0})


GOOD = """
seeds = 1
folds = 1
[experiments.lambda_sweep]
values = [0.0]
[models.MixNAM]
width = 2
[data.diabetes.MixNAM]
width = 3
"""


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("", ""),
        ("seeds = 1", "seeds = 1\nsedes = 2"),
        ("[models.MixNAM]\n", "[models.MixNaM]\n"),
        ("width = 2", "wdith = 2"),
        ("[data.diabetes.MixNAM]", "[data.diabets.MixNAM]"),
        ("[data.diabetes.MixNAM]", "[data.diabetes.MixNaM]"),
        ("width = 3", "wdith = 3"),
        ("values = [0.0]", "values = [0.0]\nsedes = 2"),
        ("[data.diabetes.MixNAM]", "[data.simulations.MixNaM]"),
        ("[data.diabetes.MixNAM]", "[data.sim_unimodel.MixNAM]"),
        ("[experiments.lambda_sweep]", "[experiments.lambda_swep]"),
        ("values = [0.0]", "values = [0.0]\nMixNaM = [[2, 2]]"),
    ],
    ids=lambda text: text.splitlines()[-1] if text else "none",
)
def test_an_unknown_entry_of_a_preset_is_an_error(right, wrong, tmp_path, monkeypatch):
    (tmp_path / "smoke.toml").write_text(GOOD.replace(right, wrong, 1) if right else GOOD)
    monkeypatch.setattr(presets, "files", lambda package: tmp_path)

    def use():
        preset = load_preset.__wrapped__("smoke")
        preset.settings("diabetes", "MixNAM")
        return preset.number("seeds", "lambda_sweep")

    if not right:
        assert use() == 1
    else:
        with pytest.raises(ValueError, match=r"sedes|wdith|diabets|MixNaM|unimodel|swep"):
            use()


@pytest.mark.parametrize(
    ("old", "new"),
    [("MixNAM", "models.MixNAM"), ("lambda_sweep", "experiments.lambda_sweep"), ("income.EBM", "data.income.MODEL")],
)
def test_a_preset_of_version_0_4_is_refused_with_the_new_heading(old, new, tmp_path, monkeypatch):
    (tmp_path / "smoke.toml").write_text(f"seeds = 1\nfolds = 1\n[{old}]\n")
    monkeypatch.setattr(presets, "files", lambda package: tmp_path)
    with pytest.raises(ValueError, match=re.escape(f"[{old.split('.')[0]}] is of version 0.4; write [{new}]")):
        load_preset.__wrapped__("smoke")


@pytest.mark.parametrize("command", [["run", "accuracy"], ["claim", "T1-housing"], ["status"]])
@pytest.mark.parametrize("seeds", ["0", "-1", "two"])
def test_a_number_of_seeds_that_runs_nothing_is_refused(command, seeds, capsys):
    with pytest.raises(SystemExit):
        command_line.main([*command, f"--seeds={seeds}"])
    assert f"argument --seeds: must be an integer >= 1, got '{seeds}'" in capsys.readouterr().err
