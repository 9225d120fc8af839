"""The page on our own recipe: like against like on fresh runs, and what stands where nothing was run."""

import numpy as np
import pandas as pd
import pytest
from planted import predicted, result

from mixnam.data.splits import HOLDOUTS, REPEATS
from mixnam.paper.presets import load_preset
from mixnam.paper.search import folder
from mixnam.plots.look import BAND
from mixnam.report import ahead, layout


def fill(store, models, seeds=range(10, 20), **options):
    """Put fresh runs into a store: an error of its own for each model."""
    for model, error in models.items():
        for seed in seeds:
            store.put(predicted(seed, error, model=model, **options))


@pytest.fixture
def page(project):
    fill(project.store, {"MixNAM": 0.4, "XGBoost": 0.5, "EB2M": 0.3})
    fill(project.store, {"MixNAM": 0.4}, preset="quick")
    fill(project.store, {"NAM": 0.5}, range(10, 13))
    fill(project.store, {"CatBoost": 9.0}, range(5))  # seeds that were visible while settings were chosen
    return ahead.Ahead(project.parameters())


def test_one_model_stands_against_one_and_a_mean_against_a_mean(page):
    table = page.table("housing").set_index("test RMSE")
    assert [*table] == [f"{part}{name}" for part in ("", "ahead of it, ") for name in ahead.MEANS.values()]
    ours = table.loc["MixNAM, our recipe"]
    assert ours["one model"].endswith("(n = 10)")
    for name, expected in (("one model", 0.4), ("mean of four", 0.2), ("mean of eight", 0.4 / 8**0.5)):
        assert float(ours[name].split()[0]) == pytest.approx(expected, abs=0.01)
    assert set(ours[3:]) == {""}
    for name in ahead.MEANS.values():
        assert table.loc["XGBoost", f"ahead of it, {name}"].startswith("ahead ")
        assert table.loc["EB2M", f"ahead of it, {name}"].startswith("behind −")
        assert table.loc["MixNAM, quick setting", f"ahead of it, {name}"].startswith("level ")
    told = table.loc["XGBoost", "ahead of it, one model"]
    low, high = (float(end) for end in told.partition("[")[2].strip("]").split(","))
    assert 0 < low < 0.1 < high


def test_what_lacks_runs_has_no_advantage(page):
    table = page.table("housing").set_index("test RMSE")
    assert table.loc["NAM", "one model"].endswith("(n = 3)") and table.loc["NAM", "mean of four"] == ahead.NOT_YET
    assert table.loc["NAM", "ahead of it, one model"] == "–"
    assert table.loc["CatBoost", "one model"] == ahead.NOT_YET  # what was seen before does not count
    assert set(page.table("bike")["one model"]) == {ahead.NOT_YET}


def test_folds_of_other_partitions_and_other_splits_have_rows_of_their_own(project):
    for split in REPEATS:
        for seed in range(4):
            for model, error in (("MixNAM", 0.5), ("XGBoost", 0.7)):
                project.store.put(predicted(seed, error, "income", split, model))
    for split in HOLDOUTS:
        fill(project.store, {"MixNAM": 0.4, "XGBoost": 0.5}, range(10, 14), split=split)
    page = ahead.Ahead(project.parameters())
    table = page.table("income").set_index("test AUC")
    assert "mean of eight" not in table and table.loc["XGBoost", "ahead of it, one model"].startswith("ahead ")
    assert table.loc["MixNAM, our recipe", "mean of four"].endswith("(n = 10)")
    others = page.table("housing", other_splits=True).set_index("test RMSE")
    assert [*others.index] == ["MixNAM, our recipe", "XGBoost"]
    assert others.loc["XGBoost", "mean of four"].endswith("(n = 5)")
    assert others.loc["XGBoost", "ahead of it, mean of four"].startswith("ahead ")


def test_a_rerun_shows_the_references_runs_unless_it_is_one_of_the_recipe(project):
    fill(project.store, {"MixNAM": 0.4})
    rerun = project.parameters(rerun=True)
    assert ahead.Ahead(rerun).sample("housing", ahead.Ahead(rerun).rows[0]).n == 10
    assert layout.progress("ahead", rerun).startswith("10 of 880 runs of this page at the best preset")
    assert "run ahead --dataset housing,bike,income,support2 --preset best" in layout.progress("ahead", rerun)
    assert len(layout.page_results("ahead", rerun)) == 10


def test_the_sweep_sets_our_recipe_beside_the_quick_setting(project):
    page = ahead.Ahead(project.parameters())
    assert page.sweep_table().empty and page.sweep_picture() is None and page.mean() is None
    for preset in ("best", "quick"):
        for penalty in load_preset("best").values("lambda_sweep"):
            for seed in range(2):
                measures = {"additivity.marginal": 0.4, "tightness.range": 0.9, "bounds.width": 1.0}
                score = 0.4 + penalty / 1000
                options = {"measures": measures, "variation_penalty": penalty}
                project.store.put(result("housing", "MixNAM", seed, score, preset, **options))
    page = ahead.Ahead(project.parameters())
    table = page.sweep_table()
    assert len(table) == 10 and set(table["setting"]) == {"our recipe", "quick setting"} and set(table["n"]) == {2}
    assert len(page.sweep_picture().axes) == 4


def test_the_mean_is_drawn_beside_its_first_member(project):
    grid = np.tile(np.linspace(-124, -114, 40), (8, 1))
    for seed in range(10, 14):
        curve = np.sin(grid) + 0.1 * seed
        arrays = {
            "grid": grid, "grid_mean": curve, "grid_lower": curve - 1, "grid_upper": curve + 1,
            "contribution_mean": np.full(8, 0.1 * seed), "density": np.ones((8, 4), np.int32),
            "density_range": np.tile([-124.0, -114.0], (8, 1)), "sample_x": grid.T, "sample_contributions": curve.T,
        }  # fmt: skip
        project.store.put(predicted(seed, 0.4, **arrays))
    page = ahead.Ahead(project.parameters())
    mean = page.mean()
    assert [member.spec.seed for member in mean.members] == [10, 11, 12, 13] and page.mean(8) is None
    one, four = page.shapes(mean).axes
    assert not any(line.get_label() == BAND for line in one.lines)
    lower, upper = (line.get_ydata() for line in four.lines if line.get_label() == BAND)
    assert np.allclose(upper, lower, atol=1e-5)  # members that differ in a constant have one shape


def test_settings_of_the_recipe_come_from_the_presets():
    table = ahead.recipe_table().set_index("setting")
    (housing,) = (name for name in table if name.startswith("California"))
    best, quick = (load_preset(name).settings("housing", "MixNAM").all() for name in ("best", "quick"))
    assert table.loc["epochs", housing] == f"{quick['epochs']} → {best['epochs']}"
    assert "seed" not in table.index and len(table.columns) == 4


def test_the_table_of_searches_counts_the_trials_of_each_place():
    def record(model, trials, split="", space="ahead", dataset="housing"):
        plan = {"split": split} if split else {}
        return {"dataset": dataset, "model": model, "plan": plan, "space": {"name": space}, "trials": [{}] * trials}

    found = [
        record("XGBoost", 5, space="fast"),
        *(record("XGBoost", 7 + k, split, "fast") for k, split in enumerate(HOLDOUTS)),
        record("NAM", 7, "holdout2"),  # one of five is not each
        record("NAM", 3, dataset="bike"),
    ]
    found += [record("MixNAM", 2), record("MixNAM", 9, space="longer"), record("NAM", 4, dataset="diabetes")]
    table = ahead.search_table(found).set_index("model")
    assert table.loc["XGBoost"].tolist() == ["5", "–", "–", "–", "7"]
    assert table.loc["NAM"].tolist() == ["–", "3", "–", "–", "–"]
    assert table.loc["MixNAM", "California Housing"] == "2"
    assert set(table.loc["LightGBM"]) == {"–"}


def test_the_table_of_what_was_tried_has_the_searches_choice_beside_the_prototype():
    chosen = {"dataset": "bike", "model": "MixNAM", "space": {"name": "ahead"}, "chosen": {"mean": 54.321}}
    other = chosen | {"space": {"name": "longer"}, "chosen": {"mean": 1.0}}
    table = ahead.tried_table([chosen, other]).set_index("settings")
    assert table.loc[ahead.SEARCHED].tolist() == ["–", "54.32", "–", "–"]
    runs = pd.read_csv(folder() / "by_hand.csv").set_index(["dataset", "settings"])
    expected = runs.loc[("income", "the prototype's"), ["run1", "run2", "run3"]].mean()
    assert float(table.loc["the prototype's", "Income, AUC"]) == pytest.approx(expected, abs=5e-5)
