"""Tables 1 and 6: planted scores give the ranks, intervals, gaps and cells that they must."""

import dataclasses

import numpy as np
import pytest
from planted import fill, result
from scipy import stats

from mixnam.data import catalogue
from mixnam.data.laws import SIMULATIONS
from mixnam.models import MODELS
from mixnam.paper import experiments, published, reasons
from mixnam.paper.experiments import XGBOOST_DEFAULTS, Case
from mixnam.paper.running import run
from mixnam.plots import look
from mixnam.report import accuracy, layout, tables
from mixnam.report.accuracy import Standing, overview_table
from mixnam.runs.results import Result

PAPER, QUICK = "ours, paper's setting", "ours, quick setting"
LABELS = [c.label for c in experiments.cases("accuracy", "paper")]


@pytest.fixture
def no_arrays(monkeypatch):
    """Refuse to load the arrays of a stored result."""

    def arrays(self):
        return pytest.fail("loaded arrays") if self.fresh is None else self.fresh[0]

    monkeypatch.setattr(Result, "arrays", property(arrays))


def table(standing, index="test RMSE of"):
    return standing.accuracy_table().set_index(index)


def test_the_rows_are_table_1s_in_its_order_and_the_mixtures_last():
    printed = [c.published for c in experiments.cases("accuracy", "paper") if c.published]
    in_print = list(dict.fromkeys(published.table("table1_accuracy")["model"]))
    assert printed == in_print and len(printed) == 15
    assert LABELS[-3:] == ["MixNAM", "MixNAM-D", "MixNAM-E"]
    assert {c.model for c in experiments.cases("accuracy", "paper")} == {*in_print, "MixNAM-E"}
    marks = dict(published.table("table1_accuracy")[["model", "feature_attribution"]].itertuples(index=False))
    assert {m for m, mark in marks.items() if mark == "yes"} == {m for m, kind in MODELS.items() if kind.attributes} - {
        "MixNAM-E"
    }


def test_every_model_stands_with_its_printed_and_our_score(project, no_arrays):
    fill(project.store, seeds=2, scores=[0.45, 0.46])
    fill(project.store, seeds=1, scores=0.49, model="EB2M", release="0.2.7", preset="quick")
    fill(project.store, seeds=1, scores=0.44, model="XGBoost", **XGBOOST_DEFAULTS)
    found = table(project.standing())
    assert list(found.index) == LABELS
    assert found.loc["MixNAM", ["paper", PAPER, QUICK]].tolist() == [
        "0.451 ± 0.002",
        "0.455 ± 0.007 (n = 2)",
        "not run",
    ]
    era, today = "EB2M (interpret 0.2.7's defaults)", "EB2M (interpret 0.7.8)"
    assert found.loc[era, [PAPER, QUICK]].tolist() == ["not run", "0.490 (n = 1)"]
    assert found.loc[[era, today], "paper"].tolist() == ["0.492 ± 0.000", "–"]
    assert found.loc["XGBoost, its defaults", ["paper", PAPER]].tolist() == ["–", "0.440 (n = 1)"]
    assert found.loc["XGBoost, tuned", ["paper", PAPER]].tolist() == ["0.443 ± 0.000", "not run"]
    assert set(found.index[found["FA"] == "✓"]) == {
        c.label for c in experiments.cases("accuracy", "paper") if MODELS[c.model].attributes
    }


def test_without_a_fixed_margin_two_per_cent_of_the_smallest_error_share_a_rank(project):
    for model, score in (("MixNAM", 50.0), ("NAM", 50.9), ("Linear", 51.1)):
        fill(project.store, dataset="diabetes", seeds=2, scores=score, model=model, preset="quick")
    found = table(project.standing("diabetes"))
    assert found["rank of 3, quick setting"][["MixNAM", "NAM", "Linear"]].tolist() == ["1", "1", "2"]
    assert "rank of 15" not in found.columns and "paper" not in found.columns
    assert found.loc["NAM", QUICK] == "50.90 ± 0.00 (n = 2)"
    assert "more than 2 % of the smallest RMSE" in project.standing("diabetes").ranks_note()


def test_the_papers_ranks_are_counted_by_the_same_rule(project):
    found = table(project.standing())["rank of 15"]
    rows = published.table("table1_accuracy").query("dataset == 'housing'")
    means = dict(zip(rows["model"], rows["mean"], strict=True))
    for case in experiments.cases("accuracy", "paper"):
        if case.published:
            expected = 1 + sum(means[case.published] - other > 0.010 + 1e-9 for other in means.values())
            assert found[case.label] == str(expected), case.label
        else:
            assert found[case.label] == "–"
    assert found["MixNAM"] == "1" and found["Linear"] == "15"


def test_rows_that_the_paper_has_not_take_a_rank_but_none_away(project):
    fill(project.store, seeds=2, scores=0.50, model="EB2M", release="0.2.7")
    fill(project.store, seeds=2, scores=0.43, model="EB2M")  # today's: better than MixNAM
    fill(project.store, seeds=2, scores=0.45)
    fill(project.store, seeds=2, scores=0.40, model="MixNAM-E")
    found = table(project.standing())["rank of 2, paper's setting"]
    assert found["MixNAM"] == "1"
    assert found["EB2M (interpret 0.2.7's defaults)"] == "2"
    assert found["EB2M (interpret 0.7.8)"] == "(1)"
    assert found["MixNAM-E"] == "(1)"
    assert found["NAM"] == "–"


def test_costs_are_means_and_say_where_it_was_no_cpu(project, no_arrays):
    for seed, seconds in ((0, 1000.0), (1, 2000.0)):
        one = result(seed=seed, score=0.5)
        cost, origin = one.cost | {"fit_seconds": seconds}, one.provenance | {"device_type": "cuda"}
        project.store.put(dataclasses.replace(one, cost=cost, provenance=origin))
    fill(project.store, seeds=1, scores=0.6, model="Linear", preset="quick")
    found = project.standing().cost_table().set_index("model")
    assert list(found.index) == ["Linear", "MixNAM"]
    assert found.loc["MixNAM", "seconds a run, paper's setting"] == "1,500.0 on cuda"
    assert found.loc["MixNAM", "parameters, paper's setting"] == "7"
    assert found.loc["Linear", "seconds a run, quick setting"] == "2.0"  # the same model at every preset
    assert found.loc["MixNAM", "parameters, quick setting"] == "–"
    assert project.standing("credit").cost_table().empty


def test_on_one_split_differences_are_welchs_over_seeds(project):
    rng = np.random.default_rng(0)
    own, rival = rng.normal(0.45, 0.01, 6), rng.normal(0.47, 0.02, 4)
    fill(project.store, seeds=6, scores=own)
    fill(project.store, seeds=4, scores=rival, model="NAM")
    found = project.standing().differences
    row = found[(found["label"] == "NAM") & (found["source"] == PAPER)].iloc[0]
    expected = stats.ttest_ind(rival, own, equal_var=False).confidence_interval(0.95)
    assert row[["mean", "low", "high"]].tolist() == pytest.approx([rival.mean() - own.mean(), *expected])
    assert row["n"] == 4
    paper = found[(found["label"] == "NAM") & (found["source"] == "paper")].iloc[0]
    assert paper["mean"] == pytest.approx(0.572 - 0.451)
    assert "MixNAM" not in set(found["label"])


def folds(store, model, scores, **settings):
    """Store the scores of folds by their number."""
    for fold, score in scores.items():
        store.put(result("breast_cancer", model, fold, score, "quick", **settings))


def test_over_folds_differences_are_paired_and_corrected(project):
    own = {0: 0.90, 1: 0.95, 2: 0.99, 3: 0.92, 4: 0.94}
    rival = {k: v - d for (k, v), d in zip(own.items(), (0.010, 0.012, 0.008, 0.011, 0.009), strict=True)}
    folds(project.store, "MixNAM", own)
    folds(project.store, "NAM", rival)
    folds(project.store, "Linear", {k: rival[k] for k in (4, 2, 1)})  # fewer folds: those that both have
    folds(project.store, "Spline", {3: 0.9})
    found = project.standing("breast_cancer").differences.set_index("label")
    differences = np.array([0.010, 0.012, 0.008, 0.011, 0.009])
    reach = stats.t.ppf(0.975, 4) * differences.std(ddof=1) * np.sqrt(1 / 5 + 0.2 / 0.64)
    assert found.loc["NAM", ["mean", "low", "high"]].tolist() == pytest.approx([0.010, 0.010 - reach, 0.010 + reach])
    assert found.loc["Linear", ["mean", "n"]].tolist() == pytest.approx([np.mean([0.012, 0.008, 0.009]), 3])
    assert found.loc["Spline", ["mean", "low", "high", "n"]].tolist() == pytest.approx([0.02, -np.inf, np.inf, 1])
    shown = project.standing("breast_cancer").difference_table().set_index("MixNAM ahead of")
    assert shown.loc["NAM", QUICK].startswith("+0.0100 [+0.00")
    assert shown.loc["Spline", QUICK] == "+0.0200"  # one fold has no interval
    assert list(shown.columns) == [QUICK]


def test_a_lower_error_and_a_higher_auc_are_both_an_advantage(project):
    fill(project.store, seeds=3, scores=[0.44, 0.45, 0.46])
    fill(project.store, seeds=3, scores=[0.54, 0.55, 0.56], model="NAM")
    folds(project.store, "MixNAM", {0: 0.9, 1: 0.9, 2: 0.91})
    folds(project.store, "NAM", {0: 0.8, 1: 0.8, 2: 0.8})
    for dataset, source in (("housing", PAPER), ("breast_cancer", QUICK)):
        found = project.standing(dataset).differences
        row = found[(found["label"] == "NAM") & (found["source"] == source)].iloc[0]
        assert 0 < row["low"] < row["mean"] < row["high"]


def test_the_forest_plot_has_a_row_for_each_model_and_tells_who_is_ahead(project):
    fill(project.store, seeds=3, scores=[0.44, 0.45, 0.46])
    fill(project.store, seeds=3, scores=[0.40, 0.401, 0.402], model="XGBoost")
    fill(project.store, seeds=1, scores=0.6, model="Linear")
    figure = project.standing().forest()
    assert "behind XGBoost, tuned." in project.standing().picture().html
    (ax,) = figure.axes
    rows = [t.get_text() for t in ax.get_yticklabels()]
    assert "MixNAM" not in rows and rows[:2] == ["MLP", "NODE"]
    rings = [li for li in ax.lines if li.get_markeredgecolor() == look.LOWER and len(li.get_xdata()) == 1]
    behind = [li for li in ax.lines if len(li.get_xdata()) == 2 and max(li.get_xdata()) < 0]
    assert len(behind) == len(rings) == 1 and rings[0].get_ydata()[0] == behind[0].get_ydata()[0]
    assert behind[0].get_color() == look.SOURCE_COLORS["paper"]  # the source's, though behind
    assert rows[round(float(behind[0].get_ydata()[0]))] == "XGBoost, tuned"
    points = [li for li in ax.lines if li.get_marker() == "o" and len(li.get_xdata()) == 1 and li not in rings]
    assert len(points) == 2 and "test RMSE" in ax.get_xlabel()
    diamonds = [li for li in ax.lines if li.get_marker() == "D" and len(li.get_xdata()) == 1]
    assert len(diamonds) == 14
    assert {t.get_text() for t in figure.legends[0].get_texts()} == {
        "paper",
        PAPER,
        "MixNAM is behind",
        "one run, no interval",
    }


def test_without_results_there_is_a_line_instead_of_a_picture(project):
    for dataset in ("housing", "credit", "diabetes"):
        assert "No model was trained" in project.standing(dataset).picture().data


def test_an_error_five_per_cent_off_is_named(project):
    for share, off in ((1.049, None), (1.051, "+5.1 %, worse"), (0.949, "-5.1 %, better")):
        fill(project.store, seeds=2, scores=0.451 * share)
        lines, note = project.standing().gaps(), project.standing().gaps_note()
        assert len(lines) == (off is not None)
        if off:
            assert lines[0].startswith("- **MixNAM**: ")
            assert f"(n = 2, paper's setting) against 0.451: {off}." in lines[0]
            assert lines[0].endswith("*no reason known yet*") and lines[0] in note
        else:
            assert (
                note
                == "## Differences from the paper\n\nNo model that was run differs by more than 5 % from the paper."
            )


def test_an_auc_is_off_by_its_difference(project):
    for score, off in ((0.917, None), (0.9165, "-0.011, worse"), (0.938, "+0.011, better")):
        for fold in range(5):
            project.store.put(result("income", "MixNAM", fold, score, preset="quick"))
        lines = project.standing("income").gaps()
        assert len(lines) == (off is not None)
        assert off is None or f"against 0.927: {off}" in lines[0]


def test_a_gap_of_todays_release_is_explained_and_told_once(project):
    for preset in ("paper", "quick"):
        fill(project.store, seeds=2, scores=0.457, model="EB2M", preset=preset)
    (line,) = project.standing().gaps()
    assert line.startswith("- **EB2M (interpret 0.7.8)**: ") and line.count("against 0.492") == 2
    assert "release 0.2.7" in line and "no reason known" not in line
    worse = reasons.reason(Case("EB2M (interpret 0.7.8)", "EB2M"), "housing", "paper", "worse")
    assert "margin" not in worse  # the particular reason is one for a better score


def overview(project, names=tuple(published.DATASETS), rerun=False):
    found = overview_table(project.parameters(rerun=rerun), list(names))
    found["model"] = found["model"].str.replace("\N{NON-BREAKING HYPHEN}", "-").str.partition("\N{NO-BREAK SPACE}")[0]
    found.columns = [c.partition(",")[0] for c in found.columns]
    return found.set_index(["model", "source"])


def test_the_overview_is_the_papers_tables_with_ours_below(project, monkeypatch, tmp_path, no_arrays):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path))
    fill(project.store, seeds=10, scores=0.45)
    fill(project.store, seeds=3, scores=0.57, model="NAM")
    fill(project.store, seeds=2, scores=0.56, model="MixNAM-D", preset="quick")
    fill(project.store, seeds=2, scores=0.40, preset="quick")
    found = overview(project)
    for row in published.table("table1_accuracy").to_dict("records"):
        label = {c.published: c for c in experiments.cases("accuracy", "paper")}[row["model"]]
        name = accuracy.short(label).replace("\N{NON-BREAKING HYPHEN}", "-").partition("\N{NO-BREAK SPACE}")[0]
        digits = 2 if row["metric"] == "mse" else 3
        expected = f"{row['mean']:.{digits}f} ± {row['std']:.{digits}f}"
        assert found.loc[(name, "paper"), published.DATASETS[row["dataset"]]] == expected, row
    ours = found.xs("ours", level="source")
    assert len(found) == 15 + len(LABELS) and list(ours.index) == [*dict.fromkeys(found.index.get_level_values(0))]
    assert ours.loc["MixNAM", "Housing"] == "0.450 ± 0.000"  # the paper's setting comes first, all ten seeds
    assert ours.loc["NAM", "Housing"] == "0.570 ± 0.000 (n = 3)"
    assert ours.loc["MixNAM-D", "Housing"] == "0.560 ± 0.000 (n = 2, quick)"
    assert (ours.drop(columns="Housing") == "data not at hand").all(axis=None)
    assert ours.loc["MLP", "Housing"] == "data not at hand"


def test_data_at_hand_that_were_not_run_are_not_run(project, monkeypatch, tmp_path):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path))
    for name in set(published.DATASETS) - {"year"}:
        file = tmp_path / catalogue.entry(name).files[0]
        file.parent.mkdir(exist_ok=True)
        file.touch()
    found = overview(project).xs("ours", level="source")
    assert (found["Year"] == "data not at hand").all()
    assert (found.drop(columns="Year") == "not run").all(axis=None)


def test_a_rerun_has_a_line_of_its_own(project):
    fill(project.store, seeds=1, scores=0.46)
    fill(project.store, seeds=2, scores=0.47, preset="quick")  # not the rerun's
    fill(project.other, seeds=1, scores=0.5, preset="smoke")
    found = overview(project, rerun=True).loc["MixNAM"]
    assert found["Housing"].to_dict() == {
        "paper": "0.451 ± 0.002", "reference": "0.460 (n = 1)", "rerun, smoke": "0.500 (n = 1)"
    }  # fmt: skip


def test_other_data_have_an_overview_without_the_paper(project):
    names = accuracy.other_names()
    assert {"diabetes", "breast_cancer", "support2", "bike"} <= set(names)
    assert not set(names) & {*published.DATASETS, *SIMULATIONS}
    fill(project.store, dataset="diabetes", seeds=2, scores=55.5, model="NAM")
    table = overview_table(project.parameters(), names)
    assert set(table["source"]) == {"ours"} and len(table) == len(LABELS)
    assert "Diabetes progression, RMSE\N{NO-BREAK SPACE}↓" in table.columns
    assert "55.50 ± 0.00 (n = 2)" in set(table["Diabetes progression, RMSE\N{NO-BREAK SPACE}↓"])


@pytest.mark.parametrize("dataset", ["credit", "mimic2", "year"])
def test_a_page_on_missing_data_shows_the_paper_and_the_remedy(dataset, project, monkeypatch, tmp_path):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path / "none"))
    parameters = project.parameters(dataset, rerun=True)
    outcome = run("accuracy", dataset, "smoke", parameters.results, "cpu", progress=None)
    text = accuracy.opening(outcome, parameters)
    assert layout.literal(catalogue.entry(dataset).remedy) in text and catalogue.entry(dataset).title in text
    assert "trains the others" not in text
    standing = Standing(parameters)
    found = standing.accuracy_table()
    assert (found["paper"] != "–").sum() == 15
    assert (found["reference, paper's setting"] == "not run").all() and not any(
        c.startswith("rank of 0") for c in found.columns
    )
    assert list(standing.difference_table().columns) == ["MixNAM ahead of", "paper"]
    assert "No model was run on these data" in standing.gaps_note()
    assert tables.first_result(parameters) is None
    assert "No stored result" in layout.footer("accuracy", parameters)


def test_data_at_hand_open_with_their_runs(project):
    parameters = project.parameters("diabetes")
    outcome = run("accuracy", "diabetes", "smoke", parameters.results, "cpu", False, progress=None)
    text = accuracy.opening(outcome, parameters)
    assert text.strip().endswith("Data set: **Diabetes progression**, one fixed split, with another seed for each run.")
    assert project.standing("diabetes").gaps_note() == layout.NOTHING
    assert "The paper has no numbers for these data" in text


def test_only_where_the_paper_prints_numbers_are_they_said_to_be_ranked(project):
    said = {name: project.standing(name).ranks_note() for name in ("housing", "bike")}
    assert "The paper's numbers are ranked" in said["housing"] and "paper's numbers" not in said["bike"]


def test_the_accuracy_table_shows_the_stored_scores(run):
    table = Standing(run).accuracy_table()
    (score,) = run.columns[1].runs("diabetes", "Linear")["metrics.test.rmse"]
    assert list(table.iloc[:, 0]) == [case.label for case in experiments.cases("accuracy", "smoke")]
    (row,) = table.index[table.iloc[:, 0] == "Linear"]
    assert table["this rerun, smoke"][row] == layout.spread(score, digits=2, n=1)
    assert not table["this rerun, smoke"].str.contains("not run").any()
    assert "paper" not in table
