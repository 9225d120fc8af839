"""Tables of pages: planted numbers appear where they belong, what is lacking is said, trained results fit in."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from planted import fill, result
from scipy import stats

from mixnam.paper import experiments, published
from mixnam.paper.experiments import Case
from mixnam.paper.running import run
from mixnam.report import tables
from mixnam.report.parameters import Parameters

PAPER, QUICK = "ours, paper's setting", "ours, quick setting"
RMSE, MARGINAL = "metrics.test.rmse", "measures.additivity.marginal"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A rerun of the simulations at the smoke preset, beside an empty reference."""
    root = tmp_path_factory.mktemp("trained")
    for name in experiments.SIMULATED:
        outcome = run(name, "", "smoke", root / "results", "cpu", progress=None)
        assert outcome.missing == []
    return Parameters("", "smoke", "cpu", root / "results", False, root / "reference")


ROWS = [Case("λ = 0", "MixNAM", {"variation_penalty": 0.0}), Case("NAM", "NAM")]


def test_a_case_table_has_a_line_for_the_paper_and_each_source(project):
    fill(
        project.store,
        scores=[0.45, 0.46],
        seeds=2,
        variation_penalty=0.0,
        measures={"additivity.marginal": [0.3, None]},
    )
    printed = {("λ = 0", RMSE): (0.451, 0.003), ("λ = 0", MARGINAL): (0.366, 0.0)}
    measures = {RMSE: "test RMSE", MARGINAL: "additivity"}
    table = tables.case_table(
        project.parameters(), ROWS, measures, lambda case, m: printed.get((case.label, m)), "row", {MARGINAL: 1}
    )
    assert table.to_dict("records") == [
        {"row": "λ = 0", "source": "paper", "n": 10, "test RMSE": "0.451 ± 0.003", "additivity": "0.366 ± 0.000"},
        {
            "row": "λ = 0",
            "source": "paper's setting",
            "n": 2,
            "test RMSE": "0.455 ± 0.007",
            "additivity": "0.3 (n = 1)",
        },
        {"row": "λ = 0", "source": "quick setting", "n": 0, "test RMSE": "not run", "additivity": "not run"},
        {"row": "NAM", "source": "paper's setting", "n": 0, "test RMSE": "not run", "additivity": "not run"},
        {"row": "NAM", "source": "quick setting", "n": 0, "test RMSE": "not run", "additivity": "not run"},
    ]


def test_a_measure_that_results_do_not_have_is_a_dash(project):
    fill(project.store, seeds=2, scores=0.5, model="NAM")
    table = tables.case_table(project.parameters(), ROWS[1:], {RMSE: "RMSE", "measures.tightness.range": "tightness"})
    assert table.loc[0, "tightness"] == "–"
    assert table.loc[0, "RMSE"] == "0.500 ± 0.000"


@pytest.mark.parametrize("experiment", ["mixnam_d", "mixnam_e"])
def test_only_housing_stands_beside_housings_printed_numbers(project, experiment):
    rows = experiments.cases(experiment, "paper")
    for dataset in ("housing", "diabetes"):
        path, label = tables.score(dataset)
        table = tables.case_table(project.parameters(dataset), rows, {path: label}, tables.printed_for(dataset))
        assert ("paper" in set(table["source"])) == (dataset == "housing")


def test_printed_numbers_of_the_variants():
    printed = tables.printed_for("housing")
    by_label = {c.label: c for c in experiments.cases("mixnam_e", "paper")}
    assert printed(by_label["MixNAM-E, λ = 0.1"], RMSE) == (0.462, 0.002)
    assert printed(by_label["MixNAM-E, λ = 1"], RMSE) is None
    assert printed(by_label["MixNAM-E, λ = 0.1"], MARGINAL) is None
    assert printed(by_label["MixNAM, λ = 10"], MARGINAL) == (0.746, 0.003)
    diagonal = {c.label: c for c in experiments.cases("mixnam_d", "paper")}
    assert printed(diagonal["MixNAM-D"], RMSE) == (0.553, 0.001)
    assert printed(diagonal["MixNAM-D"], MARGINAL) is None
    assert printed(diagonal["MixNAM-D, sampled at prediction"], RMSE) is None
    income = tables.printed_for("income")
    assert income(diagonal["MixNAM-D"], "metrics.test.auc") == (0.927, 0.003)
    assert income(by_label["MixNAM, λ = 10"], MARGINAL) is None


def test_scores_are_named_after_the_data():
    assert tables.score("housing") == (RMSE, "test RMSE")
    assert tables.score("income") == ("metrics.test.auc", "test AUC")


def test_cells_near_the_printed_ones_are_counted(project):
    assert tables.scaling_count(project.parameters()).startswith(f"{PAPER}: 0 of 0 cells")
    fill(project.store, seeds=1, scores=0.455, experts=8, active_experts=4)  # 0.447 in print
    fill(project.store, seeds=2, scores=[0.44, 0.47], experts=8, active_experts=8)  # 0.449
    fill(project.store, seeds=1, scores=0.50, model="MixNAM-E", experts=16, active_experts=2)  # 0.486
    text = tables.scaling_count(project.parameters())
    assert text.startswith(f"{PAPER}: 2 of 3 cells that were run lie within 0.010 of the printed mean; {QUICK}: 0 of 0")


def test_the_note_on_tightness_cites_what_is_stored(project):
    fill(project.store, seeds=2, scores=0.5, variation_penalty=10.0, measures={"tightness.range": [0.8, 0.9]})
    text = tables.tightness_note(project.parameters())
    assert "Here (ours, paper's setting) it is 0.850 ± 0.071 at λ = 10." in text  # one setting a sentence
    elsewhere = tables.tightness_note(project.parameters("diabetes"))
    assert elsewhere == "The paper prints tightness for California Housing alone."


def test_a_table_tells_older_measures_from_none(project):
    measures = {"additivity.marginal": 0.7, "tightness.range": None}
    fill(project.store, scores=0.45, seeds=2, model="NAM", measures=measures)
    for old in list(project.store):
        stale = old.measures | {"revision": 1}
        project.store.put(dataclasses.replace(old, measures=stale, fresh=(old.arrays, {})))
    table = tables.sweep_table(project.parameters())
    nam = table[(table[""] == "NAM") & (table["source"] == "paper's setting")].iloc[0]
    assert nam[["test RMSE", "additivity", "tightness"]].tolist() == ["0.450 ± 0.000", tables.OLDER, "–"]


def test_the_sweep_table_stands_beside_table_3(project):
    fill(project.store, scores=0.45, seeds=1, variation_penalty=10.0, measures={"additivity.marginal": 0.7})
    table = tables.sweep_table(project.parameters())
    assert list(dict.fromkeys(table[""])) == [
        "MLP", "NA2M", "λ = 0", "λ = 0.001", "λ = 0.01", "λ = 0.1", "λ = 1", "λ = 10", "λ = 100", "NAM"
    ]  # fmt: skip
    ten = table[table[""] == "λ = 10"].set_index("source")
    assert ten.loc["paper", ["test RMSE", "additivity", "tightness"]].tolist() == [
        "0.515 ± 0.008", "0.746 ± 0.003", "0.999 ± 0.000"
    ]  # fmt: skip
    assert ten.loc["paper's setting", ["test RMSE", "additivity", "tightness"]].tolist() == ["0.450", "0.700", "–"]
    assert "paper" not in set(table[table[""] == "λ = 0.01"]["source"])  # lost with the pictures
    conditional = tables.sweep_table(project.parameters(), "conditional")
    assert "paper" not in set(conditional["source"])
    assert list(conditional.columns[3:]) == ["additivity, conditional", "tightness, conditional"]
    afterwards = tables.sweep_table(project.parameters(), "afterwards").set_index("source")
    assert not {"MLP", "NAM"} & set(afterwards[""])
    assert list(afterwards.columns[2:]) == [
        "tightness",
        "span of contributions over span of bounds",
        "conditional, in 15 groups",
    ]
    printed = afterwards[afterwards[""] == "λ = 10"].loc["paper"]
    assert printed.tolist()[2:] == ["0.999 ± 0.000", "–", "–"]  # print is set beside the primary reading alone
    assert "paper" not in set(tables.sweep_table(project.parameters("diabetes"))["source"])


def test_sweep_values_and_results_are_those_stored(project):
    for penalty, score in ((0.0, [0.45, 0.46]), (10.0, [0.5, 0.5])):
        fill(project.store, scores=score, seeds=2, variation_penalty=penalty)
    fill(project.store, scores=0.4, seeds=1, variation_penalty=1.0, preset="quick")
    values = tables.sweep_values(project.parameters()).set_index(["source", "measure", "penalty"])
    assert values.loc[("paper", "rmse", 0.0)].tolist() == [0.451, 0.003, ""]
    assert values.loc[(PAPER, "rmse", 0.0), ["mean", "sd"]].tolist() == pytest.approx([0.455, 0.00707], abs=1e-5)
    assert values.loc[(PAPER, "rmse", 10.0)].tolist() == [0.5, 0.0, (0.5, 0.5)]
    assert (PAPER, "tightness") not in values.index.droplevel("penalty")
    label, found = tables.sweep_results(project.parameters())
    assert label == PAPER
    assert [(p, r.spec.settings.variation_penalty, r.spec.seed) for p, r in found.items()] == [(0, 0, 0), (10, 10, 0)]


def test_pictures_over_the_penalty_are_of_the_papers_setting_where_it_has_the_default_and_others(project):
    for penalty in (0.0, 0.1, 1.0):
        fill(project.store, scores=0.44, seeds=1, variation_penalty=penalty, preset="quick")
    fill(project.store, scores=0.45, seeds=1, variation_penalty=0.1)
    assert tables.sweep_results(project.parameters())[0] == QUICK  # one λ is no sweep
    fill(project.store, scores=0.45, seeds=1, variation_penalty=100.0)
    label, found = tables.sweep_results(project.parameters())
    assert (label, list(found)) == (PAPER, [0.1, 100.0])  # though the other has more


def test_readings_say_each_source_at_each_penalty(project):
    measured = {"additivity.marginal": 0.4, "tightness.range": 0.9}
    fill(project.store, scores=[0.45, 0.46], seeds=2, variation_penalty=0.1, measures=measured)
    fill(project.store, scores=0.44, seeds=1, variation_penalty=0.01, preset="quick", measures=measured)
    found = tables.sweep_readings(project.parameters())
    assert list(found) == [0.01, 0.1]
    assert found[0.01] == f"{QUICK} (n = 1): test RMSE 0.440 · additivity 0.400 · tightness 0.900"
    assert found[0.1].splitlines() == [
        "paper (n = 10): test RMSE 0.451 ± 0.003 · additivity 0.381 ± 0.013 · tightness 0.953 ± 0.011",
        f"{PAPER} (n = 2): test RMSE 0.455 ± 0.007 · additivity 0.400 ± 0.000 · tightness 0.900 ± 0.000",
    ]
    assert tables.sweep_readings(project.parameters("diabetes")) == {}


def test_table_7_sets_both_models_side_by_side_at_every_penalty_at_hand(project):
    asked = ["MixNAM-E, λ = 0", "MixNAM, λ = 0", "MixNAM-E, λ = 0.1", "MixNAM, λ = 0.1"]
    asked += ["MixNAM-E, λ = 1", "MixNAM, λ = 1", "MixNAM-E, λ = 10", "MixNAM, λ = 10"]
    assert [case.label for case in tables.equal_rows(project.parameters())] == asked
    fill(project.store, scores=0.5, seeds=1, variation_penalty=100.0, preset="quick")
    rows = tables.equal_rows(project.parameters())
    assert [case.label for case in rows] == [*asked, "MixNAM, λ = 100"]
    assert rows[-1].overrides == {"variation_penalty": 100.0}


@pytest.mark.parametrize("model", ["MixNAM", "MixNAM-E"])
def test_scaling_cells_are_means_at_their_place(project, model):
    fill(project.store, scores=[0.44, 0.46], seeds=2, model=model, experts=16, active_experts=8)
    frames = tables.scaling_cells(project.parameters(), model)
    assert list(frames) == ["paper", PAPER, QUICK]
    assert frames["paper"].loc[8, 16] == {"MixNAM": 0.456, "MixNAM-E": 0.470}[model]
    assert frames[PAPER].loc[8, 16] == pytest.approx(0.45)
    assert frames[PAPER].notna().sum().sum() == 1
    assert frames[QUICK].isna().all().all()
    assert frames["paper"].notna().sum().sum() == {"MixNAM": 10, "MixNAM-E": 16}[model]
    assert frames["paper"].index.name == "K" and frames["paper"].columns.name == "C"


def test_the_scaling_table_says_how_far_off_each_cell_is(project):
    fill(project.store, scores=[0.44, 0.46], seeds=2, experts=8, active_experts=4)
    table = tables.scaling_table(project.parameters()).set_index(["model", "C", "K"])
    assert len(table) == 26
    row = table.loc[("MixNAM", 8, 4)]
    assert row[["paper", PAPER, QUICK]].tolist() == ["0.447 ± 0.004", "0.450 ± 0.014 (n = 2)", "not run"]
    assert row[["difference, paper's setting", "difference, quick setting"]].tolist() == ["+0.003", "–"]
    elsewhere = tables.scaling_table(project.parameters("diabetes"))
    assert not any(name.startswith("difference") for name in elsewhere.columns)
    assert (elsewhere["paper"] == "–").all()


def test_the_difference_table_holds_welchs_intervals_to_the_first_row(project):
    rng = np.random.default_rng(0)
    base, other = rng.normal(0.45, 0.01, 5), rng.normal(0.5, 0.03, 4)
    fill(project.store, scores=base)
    fill(project.store, seeds=4, scores=other, initialization="standard")
    table = tables.difference_table(project.parameters(), project.parameters().columns[0])
    assert table["label"].tolist() == ["standard initialisation"]
    expected = stats.ttest_ind(other, base, equal_var=False).confidence_interval(0.95)
    row = table.iloc[0]
    assert row[["mean", "low", "high"]].tolist() == pytest.approx([other.mean() - base.mean(), *expected])
    np.testing.assert_allclose(row["seeds"], other - base.mean())


def test_complexity_is_printed_and_counted():
    table = tables.complexity_table()
    assert len(table) == 12
    year = table[(table["data set"] == "year") & (table["model"] == "MixNAM")].iloc[0]
    assert year["counted"] == f"{90 * 4 * (91 * 128 + 2):,}"
    assert year["parameters, paper"] == "4.2M"
    assert year["counted, in k of 1,024 bytes"] == f"{4 * 90 * 4 * (91 * 128 + 2) / 1024:,.0f}k"


def test_the_first_results_come_from_the_fullest_column(project):
    cases = [Case("NAM", "NAM"), Case("mixture", "MixNAM"), Case("wave", "MixNAM", dataset="sim_unimodal")]
    assert tables.first_results(project.parameters(), cases) == ("", {})
    fill(project.store, seeds=2, scores=0.5, model="NAM")
    label, found = tables.first_results(project.parameters(), cases)
    assert label == PAPER and list(found) == ["housing"]
    fill(project.store, seeds=2, scores=0.6, model="NAM", preset="quick")
    assert tables.first_results(project.parameters(), cases)[0] == PAPER  # as full: the page's own comes first
    fill(project.store, seeds=1, scores=0.6, preset="quick")
    label, found = tables.first_results(project.parameters(), cases)
    assert label == QUICK
    assert {k: r.value(RMSE) for k, r in found["housing"].items()} == {"NAM": 0.6, "mixture": 0.6}
    fill(project.store, dataset="sim_unimodal", seeds=1, scores=0.1, preset="quick")
    assert list(tables.first_results(project.parameters(), cases)[1]) == ["housing", "sim_unimodal"]


@pytest.mark.parametrize("dataset", ["housing", "breast_cancer"])
def test_an_empty_store_leaves_not_run(project, dataset):
    parameters = project.parameters(dataset)
    column, labels = parameters.columns[0], [column.label for column in parameters.columns]
    assert (tables.scaling_table(parameters)[labels] == "not run").all(axis=None)
    sweep = tables.sweep_table(parameters)
    assert (sweep[sweep["source"] != "paper"].iloc[:, 3:] == "not run").all(axis=None)
    assert tables.difference_table(parameters, column).empty
    assert tables.sweep_results(parameters) == ("", {})
    assert tables.first_results(parameters, experiments.cases("explanations", "paper")) == ("", {})
    assert set(tables.sweep_values(parameters)["source"]) <= {"paper"}


def test_trained_simulations_fill_their_tables(trained):
    measures = {"derived.excess_mse": "error", "derived.interaction_on_x1": "on x1"}
    table = tables.law_table(trained, "simulation", measures)
    assert list(table.columns) == ["law", "model", "source", "n", "error", "on x1"]
    assert set(table["law"]) == {"one mode", "two modes"}
    assert set(table["source"]) == {"reference", "smoke"}
    ours = table[table["source"] == "smoke"]
    assert len(ours) == 6 and (ours["n"] == 1).all()
    errors = pd.to_numeric(ours["error"])
    assert errors.between(0, 5).all() and errors.nunique() > 3
    assert (table[table["source"] == "reference"]["error"] == "not run").all()
    for row in ours.itertuples():  # NAM has no interaction to be placed
        assert row[6].startswith("–") or row.model != "NAM"


def test_trained_simulations_give_first_results_for_every_law(trained):
    cases = experiments.cases("simulation", "smoke")
    label, found = tables.first_results(trained, cases)
    assert label == "this rerun, smoke"
    assert {law: list(results) for law, results in found.items()} == {
        law: ["NAM", "MixNAM, λ = 0.1", "MixNAM, λ = 0"] for law in ("sim_unimodal", "sim_multimodal")
    }
    assert found["sim_unimodal"]["MixNAM, λ = 0"].spec.settings.variation_penalty == 0
    rare = tables.first_results(trained, experiments.cases("sparsity", "smoke"))[1]
    assert set(rare) == {"sim_sparse_25", "sim_sparse_5", "sim_sparse_1"}


def test_every_derived_measure_of_the_simulations_pages_is_finite_somewhere(trained):
    wanted = {
        "simulation": [
            "excess_mse",
            "curve_error",
            "bound_error",
            "shape_size",
            "expert_opposition",
            "expert_distance",
        ],
        "sparsity": ["rare_excess_mse", "excess_mse", "majority"],
        "variability": ["explained_share", "variability_share"],
    }
    for experiment, names in wanted.items():
        table = tables.law_table(trained, experiment, {f"derived.{name}": name for name in names})
        ours = table[table["source"] == "smoke"]
        for name in names:
            assert ours[name].str.match(r"-?\d").any(), (experiment, name)


def test_the_references_page_of_simulations_has_one_source(project):
    fill(project.store, dataset="sim_unimodal", seeds=2, model="NAM", scores=0.1)
    table = tables.law_table(project.parameters(""), "simulation", {RMSE: "RMSE"})
    assert list(table.columns) == ["law", "model", "n", "RMSE"]
    assert table.loc[0].tolist() == ["one mode", "NAM", 2, "0.1000 ± 0.0000"]


def test_results_that_lack_a_number_are_counted_apart(project):
    for seed, score in ((0, 0.5), (1, 0.7), (2, None)):
        project.store.put(result(seed=seed, score=score))
    runs = project.parameters().columns[0].runs("housing", "MixNAM")
    assert tables.cell(runs, RMSE) == "0.600 ± 0.141 (n = 2)"
    assert tables.cell(runs[:2], RMSE, 1) == "0.6 ± 0.1"
    assert tables.cell(runs[2:], RMSE) == "–"
    assert tables.cell(runs[:0], RMSE) == "not run"


def test_table_8_stands_beside_housing_alone(project):
    elsewhere = project.parameters("diabetes")
    assert tables.scaling_cells(elsewhere, "MixNAM")["paper"].isna().all().all()
    assert tables.scaling_count(elsewhere).startswith(f"{QUICK}: 0 of 0 cells")


def test_printed_tables_are_spelled_without_underscores():
    for name in ("table4_datasets", "table5_hyperparameters"):
        table = tables.spelled(name)
        assert len(table) == len(published.table(name))
        assert not any("_" in text for text in [*table.columns, *table.astype(str).to_numpy().ravel()])
