"""The page on estimators says what its record holds."""

import json
import math

import pytest
from scipy import stats

from mixnam.report import estimators

#: Ours, fold by fold, in % of the other's RMSE, or in thousandths of AUC.
GAINS = (1.0, 2.0, 3.0, 4.0, 5.0)
STAMP = {
    "git_commit": "0123456789abcdef", "dirty": False, "created": "2026-01-02T03:04:05+00:00", "load": 0.25,
    "processor": "Some CPU (2 cores)", "seed": 0, "versions": {"numpy": "2.4.6"},
}  # fmt: skip


def fit(dataset, model, fold, rows=400, **scores):
    row = {"dataset": dataset, "model": model, "fold": fold, "rows": rows, "measured": STAMP}
    return row | {"scores": scores, "fit": {"cpu": 12.4, "wall": 30.0}, "predict": {"cpu": 0.0125, "wall": 0.1}}


def regression(dataset, gains=GAINS, rows=400, other="EBM without pairs"):
    pairs = [(fit(dataset, "MixNAM", k, rows, rmse=50 * (1 - g / 100)), k) for k, g in enumerate(gains)]
    return [row for ours, k in pairs for row in (ours, fit(dataset, other, k, rows, rmse=50.0))]


def classes(dataset, gains=GAINS, rows=400, other="EBM without pairs"):
    ours = [fit(dataset, "MixNAM", k, rows, auc=0.9 + g / 1000, log_loss=0.2) for k, g in enumerate(gains)]
    return [*ours, *(fit(dataset, other, k, rows, auc=0.9, log_loss=0.3) for k in range(len(gains)))]


@pytest.fixture
def read(tmp_path):
    def of(*rows):
        path = tmp_path / "record.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        return estimators.record(path)

    return of


def test_an_advantage_has_the_interval_of_nadeau_and_bengio(read):
    (row,) = estimators.advantages(read(*regression("diabetes"))).to_dict("records")
    reach = stats.t.ppf(0.975, 4) * math.sqrt(2.5 * (1 / 5 + 1 / 4))
    assert [row["mean"], row["low"], row["high"]] == pytest.approx([3.0, 3.0 - reach, 3.0 + reach])
    assert (row["word"], row["told"]) == ("ahead", "ahead +3.0\u00a0% [+0.1,\u00a0+5.9]")
    (row,) = estimators.advantages(read(*classes("income", [-g for g in GAINS]))).to_dict("records")
    assert (row["word"], row["told"]) == ("behind", "behind −0.0030 [−0.0059,\u00a0−0.0001]")


def test_an_advantage_needs_three_folds_that_both_have(read):
    rows = regression("diabetes")
    assert estimators.advantages(read(*rows[:5])).empty
    assert len(estimators.advantages(read(*rows[:6]))) == 1
    failed = [row | {"scores": {}} if row["fold"] > 0 and row["model"] != "MixNAM" else row for row in rows]
    assert estimators.advantages(read(*failed)).empty


def test_what_was_wanted_is_judged_by_the_lower_end(read):
    none, slight = [0.0] * 5, [-1.0] * 5
    found = read(*regression("housing", none), *regression("bike"), *regression("diabetes", slight))
    good, short = estimators.verdict(found).split("**")[:2]
    assert "Bike" in good and "Diabetes" in good and "Housing" not in good
    assert short.startswith("It does not hold on California Housing") and short.endswith("the defaults' next task.")
    assert "not hold" not in estimators.verdict(read(*classes("income", [-4.9] * 5)))
    assert "It does not hold on Income" in estimators.verdict(read(*classes("income", [-5.1] * 5)))
    assert estimators.verdict(read(*regression("bike", other="XGBoost"))) == ""


def test_small_tables_are_named_where_ours_is_not_ahead(read):
    level = [-1.0, 1.0, 0.0, 2.0, -2.0]
    said = estimators.on_small_tables(
        read(*regression("diabetes", level, other="linear"), *regression("bike", level, 9000))
    )
    assert "Below 1,000 rows" in said and "Diabetes progression: linear (level" in said and "Bike" not in said
    assert estimators.on_small_tables(read(*regression("diabetes"))) == ""
    assert estimators.on_small_tables(read(*regression("diabetes", level, other="XGBoost"))) == ""


def test_a_table_has_scores_and_processor_seconds(read):
    failed = [fit("income", "pyGAM", k) for k in range(5)]
    ours, gam, boosted = estimators.table(read(*classes("income"), *failed), "income").to_dict("records")
    assert ours == {
        "model": "MixNAM", "folds": "5", "test AUC": "0.9030 ± 0.0016", "test log loss": "0.2000 ± 0.0000",
        "MixNAM beside it": "", "fit": "12 s", "predict": "0.013\u00a0s",
    }  # fmt: skip
    assert boosted["MixNAM beside it"].startswith("ahead +0.0030")
    assert (gam["folds"], gam["test AUC"]) == ("0", "–")
    assert "test log loss" not in estimators.table(read(*regression("bike")), "bike")


def test_the_picture_has_a_line_a_data_set_and_the_end_wanted(read):
    rows = [*regression("diabetes", other="XGBoost"), *regression("bike", other="linear"), *classes("income")]
    (ax,) = estimators.forests(read(*rows), "rmse").axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["linear", "XGBoost"]  # the tables' order
    assert [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"] == [-2.0]
    points = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata()) == 1]
    assert points == pytest.approx([3.0, 3.0])


def test_what_lacks_folds_is_said(read):
    said = estimators.lacking(read(*regression("bike")[:-1]))
    assert "EBM without pairs on Bike sharing (open, ours) (4 of 5 folds)" in said
    assert "EBM on Income (0 of 5 folds)" in said and "MixNAM on Bike" not in said
    full = [fit(d, m, k, rmse=1.0, auc=0.9) for d in estimators.DATASETS for m in estimators.MODELS for k in range(5)]
    assert estimators.lacking(read(*full)) == ""
    full[0] |= {"error": "ValueError: no", "scores": {}}
    assert estimators.lacking(read(*full)) == "MixNAM on Diabetes progression, fold 0: ValueError: no."


def test_times_on_all_rows_and_the_origin_are_told(read):
    whole = fit("income", "MixNAM", None, 32561)
    said = estimators.measured(read(*classes("income"), whole))
    assert said.startswith("MixNAM on all 32,561 rows of Income: 12 s.")
    assert "Some CPU (2 cores), load average 0.2 to 0.2; commits 0123456789; numpy 2.4.6." in said
    assert len(estimators.table(read(*classes("income"), whole), "income")) == 2


def test_the_committed_record_is_of_committed_code_and_has_every_fold_once():
    found = estimators.record()
    assert not found["measured.dirty"].any()
    assert not found.duplicated(["dataset", "model", "fold"]).any()
    for dataset in estimators.DATASETS:
        folds = estimators.table(found, dataset).set_index("model")["folds"].astype(int)
        assert folds[["MixNAM", "EBM without pairs"]].min() > 2, dataset
        assert folds[["linear", "XGBoost", "LightGBM"]].eq(estimators.FOLDS).all(), dataset
    assert "MixNAM on all 32,561 rows of Income" in estimators.measured(found)
