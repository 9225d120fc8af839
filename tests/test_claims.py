import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from mixnam import claims, datasets
from mixnam.claims import Claim, Sample
from mixnam.experiments import specs_of
from mixnam.results import Result, Store

ONE = ({"model": "MixNAM"},)
TWO = (*ONE, {"model": "NAM"})


def claim(kind, subjects=ONE, **changes):
    base = {
        "measure": "measures.additivity.marginal",
        "table": "table3",
        "quantity": "additivity",
        "dataset": "housing",
    }
    base |= {"id": "planted", "place": "", "statement": "", "page": ""}
    return Claim(**(base | {"kind": kind, "subjects": subjects} | changes))


def sample(values):
    values = np.array(values, dtype=float)
    return Sample(values.mean(), values.std(ddof=1), len(values), values)


def around(mean, spread=0.001, n=5):
    return sample(mean + spread * np.linspace(-1, 1, n))


def verdict(planted, *samples, printed=None):
    return claims.judge(planted, list(samples), printed or list(samples)).verdict


PRINTED = [Sample(0.451, 0.002, 10)]


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        (around(0.4525), "reproduced"),
        (around(0.475), "not reproduced"),
        (around(0.430), "better"),
        (around(0.4615, 0.01), "undecided"),
        (around(0.451, n=4), "not enough runs"),
        (Sample(0.451, math.nan, 1), "not enough runs"),
    ],
)
def test_a_value_is_judged_by_its_interval_against_the_margin(ours, expected):
    assert verdict(claim("value", margin=0.010, better=-1), ours, printed=PRINTED) == expected


def test_a_value_that_has_no_better_side_is_not_reproduced_on_either():
    for mean in (0.43, 0.475):
        assert verdict(claim("value", margin=0.010), around(mean), printed=PRINTED) == "not reproduced"


def test_a_printed_sd_of_zero_counts_as_half_its_last_digit():
    limit = claim("value", subjects=({"model": "MixNAM", "variation_penalty": 100.0},), margin=0.01)
    assert claims.printed_sample(limit, limit.subjects[0]) == Sample(0.998, 0.0005, 10)
    assert claims.on_paper(limit).verdict == "reproduced"


def test_welch_is_scipys():
    a, b = np.random.default_rng(0).normal(0, [[1.0], [3.0]], (2, 7))
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert claims.welch(sample(a), sample(b)) == pytest.approx((expected.low, expected.high))


def test_welch_of_two_constants_is_their_difference():
    assert claims.welch(Sample(2.0, 0.0, 5), Sample(1.0, 0.0, 5)) == (1.0, 1.0)


def test_welch_is_open_where_a_spread_is_unknown():
    assert claims.welch(Sample(2.0, math.nan, 1), Sample(1.0, 0.1, 5)) == (-math.inf, math.inf)


def test_nadeau_bengio_is_wider_than_the_plain_t_by_its_correction():
    differences = np.random.default_rng(1).normal(0.3, 0.1, 5)
    plain = stats.t.interval(0.95, 4, differences.mean(), differences.std(ddof=1) / math.sqrt(5))
    low, high = claims.nadeau_bengio(differences, 0.25)
    assert (high - low) / (plain[1] - plain[0]) == pytest.approx(math.sqrt((1 / 5 + 0.25) / (1 / 5)))


@pytest.mark.parametrize(
    ("ours", "rival", "expected"),
    [(0.44, 0.57, "reproduced"), (0.57, 0.44, "not reproduced"), (0.44, 0.4401, "undecided")],
)
def test_an_order_needs_the_interval_to_clear_zero(ours, rival, expected):
    assert verdict(claim("order", TWO, better=-1), around(ours), around(rival)) == expected


def test_an_order_over_several_rivals_needs_all_of_them():
    three = claim("order", (*TWO, {"model": "Linear"}), better=-1)
    assert verdict(three, around(0.44), around(0.57), around(0.73)) == "reproduced"
    assert verdict(three, around(0.44), around(0.57), around(0.4401)) == "undecided"
    assert verdict(three, around(0.44), around(0.57), around(0.40)) == "not reproduced"


@pytest.mark.parametrize(
    ("ours", "other", "expected"),
    [
        (around(0.451), around(0.452), "reproduced"),
        (around(0.451), around(0.470), "not reproduced"),
        (around(0.451, 0.01), around(0.452, 0.01), "undecided"),
    ],
)
def test_a_tie_needs_the_interval_inside_the_margin(ours, other, expected):
    assert verdict(claim("tie", TWO, margin=0.005), ours, other) == expected


def test_a_trend_needs_every_step_but_those_that_may_tie():
    steps = tuple({"model": "MixNAM", "variation_penalty": x} for x in (0.0, 0.1, 1.0))
    rising = claim("trend", steps, better=1)
    assert verdict(rising, around(0.3), around(0.4), around(0.5)) == "reproduced"
    assert verdict(rising, around(0.3), around(0.3001), around(0.5)) == "undecided"
    assert verdict(rising, around(0.3), around(0.5), around(0.4)) == "not reproduced"
    tied = dataclasses.replace(rising, ties=1)
    assert verdict(tied, around(0.3), around(0.3001), around(0.5)) == "reproduced"
    assert verdict(tied, around(0.3), around(0.29), around(0.5)) == "not reproduced"


def test_a_threshold_holds_for_each_run_or_a_share_of_them():
    limit = claim("threshold", limit=0.99)
    assert verdict(limit, sample([0.991, 0.992, 0.995, 0.99, 0.999])) == "reproduced"
    below = sample([0.98, 0.992, 0.995, 0.99, 0.999])
    assert verdict(limit, below) == "not reproduced"
    assert verdict(dataclasses.replace(limit, share=0.8), below) == "reproduced"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "sum"}, "kind must be one of value, order"),
        ({"kind": "order", "subjects": TWO}, "needs better"),
        ({"kind": "tie"}, "needs at least 2 subjects, got 1"),
    ],
)
def test_a_claim_that_cannot_be_judged_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        claim(**({"kind": "value"} | changes))


def test_the_claims_can_all_be_read_and_judged_on_the_papers_numbers():
    known = claims.claims()
    assert len({c.id for c in known}) == len(known) >= 5
    assert {c.kind for c in known} == {"value", "order", "tie", "trend", "threshold"}
    assert {claims.on_paper(c).verdict for c in known} <= set(claims.VERDICTS)


def stored(store, model, seed, prediction, dataset):
    spec = specs_of("diabetes", model, "quick", seeds=seed + 1)[seed]
    test = claims.split_rows(dataset, "holdout", seed).test
    error = prediction - dataset.y[test]
    arrays = {"test_prediction": prediction.astype(np.float32)}
    metrics = {"test": {"rmse": float(np.sqrt(np.mean(error**2)))}}
    blank = {"measures": {}, "history": {}, "cost": {}, "provenance": {}}
    return store.put(Result(spec, metrics, **blank, fresh=(arrays, {})))


@pytest.mark.parametrize(("wrong", "expected"), [(False, "reproduced"), (True, "not reproduced")])
def test_a_planted_wrong_result_flips_the_verdict(tmp_path, wrong, expected):
    dataset = datasets.load("diabetes")
    store = Store(tmp_path)
    rng = np.random.default_rng(0)
    y = dataset.y[claims.split_rows(dataset, "holdout", 0).test]
    good, bad = (10.0, 60.0) if not wrong else (60.0, 10.0)
    for seed in range(5):
        stored(store, "MixNAM", seed, y + rng.normal(0, good, len(y)), dataset)
        stored(store, "NAM", seed, y + rng.normal(0, bad, len(y)), dataset)
    planted = claim("order", TWO, better=-1, measure="metrics.test.rmse", dataset="diabetes")
    found = claims.on_results(planted, "quick", store)
    assert found.verdict == expected
    assert found.n == 5
    assert len(found.keys) == 10
    assert "short schedule" in found.text


def test_seeds_that_agree_do_not_decide_an_order_that_test_rows_leave_open(tmp_path):
    dataset = datasets.load("diabetes")
    store = Store(tmp_path)
    y = dataset.y[claims.split_rows(dataset, "holdout", 0).test]
    noise = np.random.default_rng(0).normal(0, 50, (2, len(y)))
    noise[1] *= np.sqrt((noise[0] ** 2).mean() / (noise[1] ** 2).mean()) * 1.01
    for seed in range(5):  # all seeds alike: over seeds the difference is certain
        stored(store, "MixNAM", seed, y + noise[0], dataset)
        stored(store, "NAM", seed, y + noise[1], dataset)
    planted = claim("order", TWO, better=-1, measure="metrics.test.rmse", dataset="diabetes")
    assert claims.on_results(planted, "quick", store).verdict == "undecided"


def test_without_data_and_results_the_verdict_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path / "none"))
    found = claims.on_results(claim("value", margin=0.05), "paper", Store(tmp_path))
    assert found.verdict == "data not available"
    assert "cal_housing.data" in found.text


def test_one_clear_interval_alone_decides_no_order(monkeypatch):
    planted = claim("order", TWO, better=-1)
    monkeypatch.setattr(claims, "_difference", lambda a, b, c: [(-0.005, 0.015), (0.001, 0.009)])
    assert verdict(planted, around(0.5), around(0.5)) == "undecided"
    monkeypatch.setattr(claims, "_difference", lambda a, b, c: [(0.002, 0.015), (0.001, 0.009)])
    assert verdict(planted, around(0.5), around(0.5)) == "not reproduced"


def test_the_reference_is_judged_without_the_data(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path))
    store = Store(Path(__file__).parents[1] / "book" / "results")
    found = {c.id: claims.on_results(c, "quick", store).verdict for c in claims.claims()}
    assert found["T1-beats-additive"] == "data not available"  # its bootstrap needs the test rows
    assert found["T1-housing"] in (*claims.DECIDED, "undecided")


def test_the_expected_number_of_false_verdicts_counts_the_tested():
    assert claims.expected_false(["reproduced", "better", "undecided", "not enough runs"]) == pytest.approx(0.15)
