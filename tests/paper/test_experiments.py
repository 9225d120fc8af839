"""Each experiment's rows and the runs that they ask for."""

import dataclasses

import pytest

from mixnam.data import catalogue
from mixnam.data.splits import FOLDS
from mixnam.paper import experiments, presets, published
from mixnam.paper.presets import load_preset


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


def test_the_sweep_varies_the_variation_penalty_alone():
    for preset in presets.PRESETS:
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
    without = {"simulation", "sparsity", "variability", "ahead"}
    assert {name for name in keys if not mixnam <= keys[name]} == without  # trained once, it serves all the others
    assert len(keys["expert_scaling"] & keys["mixnam_e"]) == 20  # MixNAM (4, 4) and MixNAM-E (32, 16)
    assert len(keys["simulation"] & keys["routing"]) == 10  # MixNAM on two modes


def test_cases_are_told_apart_by_their_labels_and_give_valid_specs():
    for preset in presets.PRESETS:
        for experiment in experiments.EXPERIMENTS:
            cases = experiments.cases(experiment, preset)
            assert len({(case.dataset, case.label) for case in cases}) == len(cases)
            assert (
                all(bool(case.dataset) == (experiment in experiments.SIMULATED) for case in cases)
                or experiment == "routing"
            )
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


def test_first_seeds_come_first():
    for experiment in [name for name in experiments.EXPERIMENTS if name != "ahead"]:  # its runs are always the same
        for dataset in ("housing", "breast_cancer"):
            for preset in ("quick", "paper"):
                specs = experiments.specs_for(experiment, dataset, preset)
                assert [(s.seed, s.split) for s in specs] == sorted((s.seed, s.split) for s in specs)
        assert {s.seed for s in experiments.specs_for(experiment, "housing", "quick", seeds=7)} == set(range(7))


def test_the_simulations_run_at_one_setting_whatever_the_preset():
    for experiment in experiments.SIMULATED:
        quick, paper = ({s.key for s in experiments.specs_for(experiment, "", p, seeds=1)} for p in ("quick", "paper"))
        assert quick and quick <= paper


def test_every_experiment_names_each_spec_once():
    for preset in presets.PRESETS:
        for dataset in catalogue.REGISTRY:
            for experiment in experiments.EXPERIMENTS:
                specs = experiments.specs_for(experiment, dataset, preset)
                assert specs or (experiment == "ahead" and preset in ("smoke", "quick"))
                assert len(set(specs)) == len(specs)


def test_our_own_recipe_runs_where_no_choice_has_seen():
    ten = [("holdout", seed) for seed in range(10, 20)]
    assert experiments.fresh_runs("housing") == experiments.fresh_runs("bike") == ten
    for dataset in ("income", "support2"):
        runs = experiments.fresh_runs(dataset)
        assert {split.split("-")[0] for split, _ in runs} == {"repeat1", "repeat2"} and len(runs) == 40
    specs = experiments.specs_for("ahead", "housing", "best")
    main, other = specs[:80], specs[80:]
    assert {s.split for s in main} == {"holdout"} and {s.split for s in other} == {f"holdout{k}" for k in range(1, 6)}
    assert [s.seed for s in main] == sorted(s.seed for s in main)  # each model once before any is repeated
    assert len({s.settings for s in main}) == 8 and {s.model for s in other} == {"MixNAM", *experiments.BOOSTED}
    assert {s.seed for s in other} == {10, 11, 12, 13} and len(set(specs)) == len(specs) == 160
    paper = experiments.specs_for("ahead", "housing", "paper")
    assert {s.settings for s in paper} == {experiments.specs_of("housing", "MixNAM", "paper")[0].settings}


def test_the_recipes_runs_are_its_own_and_take_no_number_of_seeds():
    with pytest.raises(ValueError, match="leave the seeds out"):
        experiments.specs_for("ahead", "housing", "best", seeds=2)
