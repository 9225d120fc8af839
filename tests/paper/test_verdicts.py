"""Planted results turn the verdict of each rule."""

import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
from planted import Memory, fill, on_split, result
from scipy import stats
from stated import KNOWN, ONE, TWO, claim

from mixnam.data import catalogue, laws
from mixnam.data.splits import FOLDS, REPEATS, split_rows
from mixnam.paper import checks, experiments, published, verdicts, words
from mixnam.paper.claim import claims
from mixnam.paper.intervals import SHARE, difference, mean_of
from mixnam.paper.verdicts import Sample
from mixnam.runs.store import Store

ROOT = Path(__file__).parents[2]


def sample(values):
    values = np.array(values, dtype=float)
    return Sample(values.mean(), values.std(ddof=1), len(values), values)


def around(mean, spread=0.001, n=5):
    return sample(mean + spread * np.linspace(-1, 1, n))


def verdict(planted, *evidence, printed=None):
    return verdicts.judge(planted, list(evidence), printed or list(evidence)).verdict


PRINTED = [Sample(0.451, 0.002, 10)]


def test_a_value_is_judged_by_its_interval_against_the_margin():
    for ours, expected in [
        (around(0.4525), "reproduced"),
        (around(0.475), "not reproduced"),
        (around(0.430), "better"),
        (around(0.4615, 0.01), "undecided"),
        (around(0.451, n=4), "not enough runs"),
        (Sample(0.451, math.nan, 1), "not enough runs"),
    ]:
        assert verdict(claim("value", margin=0.010, better=-1), ours, printed=PRINTED) == expected


def test_print_of_one_model_is_held_against_where_one_more_of_ours_falls():
    ours = sample([0.62, 0.65, 0.66, 0.68, 0.70])  # its mean is known to 0.014, one more model to 0.08
    planted = claim("value", margin=0.01, one_model=True)
    for printed, expected in [(0.70, "reproduced"), (0.60, "reproduced"), (0.75, "not reproduced")]:
        assert verdict(planted, ours, printed=[Sample(printed, 0.003, 10)]) == expected
        ten = verdict(dataclasses.replace(planted, one_model=False), ours, printed=[Sample(printed, 0.003, 10)])
        assert ten != "reproduced"
    near_one = sample([0.9990, 0.9995, 0.9992, 0.9996, 0.9989])
    assert verdict(planted, near_one, printed=[Sample(1.0, 0.0005, 10)]) == "reproduced"  # 1.000 is rounded
    found = verdicts.judge(planted, [ours], [Sample(0.75, 0.003, 10)])
    assert "0.75 is printed of one model (its ± is too small for ten)" in found.text


def test_a_value_that_has_no_better_side_is_not_reproduced_on_either():
    for mean in (0.43, 0.475):
        assert verdict(claim("value", margin=0.010), around(mean), printed=PRINTED) == "not reproduced"


def test_an_order_needs_the_interval_to_clear_zero():
    for ours, rival, expected in [
        (0.44, 0.57, "reproduced"),
        (0.57, 0.44, "not reproduced"),
        (0.44, 0.4401, "undecided"),
    ]:
        assert verdict(claim("order", TWO, better=-1), around(ours), around(rival)) == expected


def test_an_order_over_several_rivals_needs_all_of_them():
    three = claim("order", (*TWO, {"model": "Linear"}), better=-1)
    assert verdict(three, around(0.44), around(0.57), around(0.73)) == "reproduced"
    assert verdict(three, around(0.44), around(0.57), around(0.4401)) == "undecided"
    assert verdict(three, around(0.44), around(0.57), around(0.40)) == "not reproduced"


def test_a_tie_needs_the_interval_inside_the_margin():
    for ours, other, expected in [
        (around(0.451), around(0.452), "reproduced"),
        (around(0.451), around(0.470), "not reproduced"),
        (around(0.451, 0.01), around(0.452, 0.01), "undecided"),
    ]:
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


def test_the_claims_can_all_be_read_and_judged_on_the_papers_numbers():
    known = claims()
    assert len({c.id for c in known}) == len(known) >= 217
    assert {c.kind for c in known} == {"value", "order", "tie", "trend", "threshold", "mean", "static"}
    assert {verdicts.on_paper(c).verdict for c in known} <= set(words.VERDICTS)


def stored(store, model, seed, prediction, dataset):
    error = prediction - dataset.y[split_rows(dataset, "holdout", seed).test]
    arrays = {"test_prediction": prediction.astype(np.float32)}
    score = np.sqrt(np.mean(error**2))
    return store.put(result("diabetes", model, seed, score, preset="quick", arrays=arrays))


@pytest.mark.parametrize(("wrong", "expected"), [(False, "reproduced"), (True, "not reproduced")])
def test_a_planted_wrong_result_flips_the_verdict(tmp_path, wrong, expected):
    dataset = catalogue.load("diabetes")
    store = Store(tmp_path)
    rng = np.random.default_rng(0)
    y = dataset.y[split_rows(dataset, "holdout", 0).test]
    good, bad = (10.0, 60.0) if not wrong else (60.0, 10.0)
    for seed in range(5):
        stored(store, "MixNAM", seed, y + rng.normal(0, good, len(y)), dataset)
        stored(store, "NAM", seed, y + rng.normal(0, bad, len(y)), dataset)
    planted = claim("order", TWO, better=-1, measure="metrics.test.rmse", dataset="diabetes")
    found = verdicts.on_results(planted, "quick", store)
    assert found.verdict == expected
    assert found.n == 5
    assert len(found.keys) == 10


def test_seeds_that_agree_do_not_decide_an_order_that_test_rows_leave_open(tmp_path):
    dataset = catalogue.load("diabetes")
    store = Store(tmp_path)
    y = dataset.y[split_rows(dataset, "holdout", 0).test]
    noise = np.random.default_rng(0).normal(0, 50, (2, len(y)))
    noise[1] *= np.sqrt((noise[0] ** 2).mean() / (noise[1] ** 2).mean()) * 1.01
    for seed in range(5):  # all seeds alike: over seeds the difference is certain
        stored(store, "MixNAM", seed, y + noise[0], dataset)
        stored(store, "NAM", seed, y + noise[1], dataset)
    planted = claim("order", TWO, better=-1, measure="metrics.test.rmse", dataset="diabetes")
    assert verdicts.on_results(planted, "quick", store).verdict == "undecided"


def test_without_data_and_results_the_verdict_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path / "none"))
    found = verdicts.on_results(claim("value", margin=0.05), "paper", Store(tmp_path))
    assert found.verdict == "data not available"
    assert "cal_housing.data" in found.text


def test_seeds_and_test_rows_decide_together():
    planted = claim("order", TWO, better=-1, measure="metrics.test.rmse")

    def found(mean, spread):
        values = mean + spread * np.linspace(-1, 1, 5)
        return Sample.of(values, tuple(result(seed=seed, score=score) for seed, score in enumerate(values)))

    def judged(spread, error):
        samples = [found(0.505, spread), found(0.5, spread)]
        return verdicts.judge(planted, samples, samples, rows=lambda a, b, metric: (error**2, 1000)).verdict

    assert judged(0.001, 0.002) == "not reproduced"
    assert judged(0.01, 0.002) == "undecided"  # over seeds the difference may be 0
    assert judged(0.001, 0.003) == "undecided"  # over test rows it may be


def test_a_trend_counts_test_rows_as_well():
    steps = tuple({"model": "MixNAM", "variation_penalty": x} for x in (0.1, 1.0))
    planted = claim("trend", steps, better=1, measure="metrics.test.rmse")
    samples = [
        Sample.of(s.values, tuple(result(seed=k, score=v) for k, v in enumerate(s.values)))
        for s in (around(0.45), around(0.46))
    ]
    for error, expected in [(0.001, "reproduced"), (0.01, "undecided")]:
        assert verdicts.judge(planted, samples, samples, lambda *_, e=error: (e**2, 1000)).verdict == expected


@pytest.mark.slow
def test_the_reference_is_judged_without_the_data(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path))
    monkeypatch.setattr("mixnam.data.publishers._HOUSING_URL", "http://127.0.0.1:9/none")
    store = Store(ROOT / "book" / "results")
    found = {c.id: verdicts.on_results(c, "quick", store).verdict for c in claims()}
    assert found["T1-housing"] in (*words.DECIDED, "undecided")


def test_an_order_whose_test_rows_are_not_at_hand_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path))
    store = Store(tmp_path / "results")
    for subject in KNOWN["T1-beats-additive"].subjects:
        arrays = {"test_prediction": np.zeros(3, np.float32)}
        fill(store, scores=0.45 if subject["model"] == "MixNAM" else 0.6, arrays=arrays, **subject)
    assert verdicts.on_results(KNOWN["T1-beats-additive"], "paper", store).verdict == "data not available"
    assert verdicts.on_results(KNOWN["T1-housing"], "paper", store).verdict == "reproduced"  # rests on scores alone


def test_the_expected_number_of_false_verdicts_counts_what_could_decide():
    three = (*TWO, {"model": "NODE"})
    order, absent = claim("order", three, better=-1), Sample.of([])
    both = verdicts.judge(order, [around(0.44), around(0.5), around(0.4401)], [])
    one = verdicts.judge(order, [around(0.44), around(0.5), absent], [])
    none = verdicts.judge(order, [absent, around(0.5), around(0.5)], [])
    counted = verdicts.judge(claim("threshold"), [around(0.99)], [])  # it counts runs, and rests on no interval
    value = verdicts.judge(claim("value", margin=0.01), [around(0.4525)], PRINTED)
    assert [v.comparisons for v in (both, one, none, counted, value)] == [2, 1, 0, 0, 1]
    assert verdicts.expected_false([both, one, none, counted, value]) == pytest.approx(0.05 + 0.025 + 0.05)
    static = verdicts.on_paper(KNOWN["T9-exact"])
    assert verdicts.expected_false([static, verdicts.Verdict("data not available")]) == 0


def test_a_threshold_needs_all_its_subjects_each_on_its_side():
    low = claim("threshold", TWO, limit=0.3, better=-1, share=0.8)
    good, one_off, two_off = [0.1, 0.2, 0.3, 0.1, 0.1], [0.1, 0.2, 0.31, 0.1, 0.1], [0.1, 0.4, 0.31, 0.1, 0.1]
    assert verdict(low, sample(good), sample(one_off)) == "reproduced"
    assert verdict(low, sample(good), sample(two_off)) == "not reproduced"
    assert verdict(low, sample(two_off), sample(good)) == "not reproduced"
    assert verdict(dataclasses.replace(low, share=1.0), sample(good), sample(one_off)) == "not reproduced"
    assert verdict(dataclasses.replace(low, better=1), sample(good), sample(good)) == "not reproduced"
    text = verdicts.judge(low, [sample(good), sample(one_off)], []).text
    assert text == "at or below 0.3: MixNAM: 5 of 5, most 0.3; NAM: 4 of 5, most 0.31"


def test_a_mean_is_judged_by_its_interval_against_the_limit():
    for better, limit, expected in [
        (1, 0.4, "reproduced"),
        (1, 0.5, "undecided"),
        (1, 0.6, "not reproduced"),
        (-1, 0.4, "not reproduced"),
        (-1, 0.5, "undecided"),
        (-1, 0.6, "reproduced"),
    ]:
        planted = claim("mean", limit=limit, better=better)
        ours = around(0.5, 0.05)
        assert verdict(planted, ours) == expected
        low, high = mean_of(ours, SHARE).interval  # additivity is a share
        for edge, side in ((low, 1), (high, -1)):  # just inside and just outside of the interval's end
            assert verdict(dataclasses.replace(planted, better=side, limit=edge - side * 1e-6), ours) == "reproduced"
            assert verdict(dataclasses.replace(planted, better=side, limit=edge + side * 1e-6), ours) == "undecided"


def test_the_interval_of_a_share_near_1_ends_there():
    near = sample([0.9999, 0.97, 0.999, 1.0, 0.9995])
    found = verdicts.judge(claim("mean", limit=0.9, better=1), [near], [])
    assert found.verdict == "reproduced"
    low, high = map(float, re.match(r"\[(.+), (.+)\],", found.text).groups())
    assert 0.9 < low < high <= 1
    straight = stats.t.interval(0.95, 4, near.mean, stats.sem(near.values))
    assert straight[1] > 1  # where a straight interval would end


def test_three_partitions_decide_what_five_folds_leave_open():
    planted = claim("order", TWO, better=1, measure="metrics.test.auc", dataset="income")
    rng = np.random.default_rng(0)
    folds = {split: 0.91 + rng.normal(0, 0.01) for split in (*FOLDS, *REPEATS)}
    for splits, expected, n in [
        (FOLDS, "undecided", 5),
        ([*FOLDS, *REPEATS[:9]], "undecided", 10),  # a partition that is not whole counts for nothing
        (folds, "reproduced", 15),
    ]:
        store = Memory()
        for number, (split, score) in enumerate(folds.items()):
            if split in splits:
                # over the folds of a partition the difference varies, its mean does not
                off = 0.004 + 0.006 * ((number % 5) - 2) / 2 + 0.0003 * (number // 5)
                store.put(on_split(result("income", "NAM", 0, score), split))
                store.put(on_split(result("income", "MixNAM", 0, score + off), split))
        found = verdicts.on_results(planted, "paper", store)
        assert (found.verdict, found.n) == (expected, n)


def test_a_mean_needs_all_its_subjects():
    planted = claim("mean", TWO, limit=0.4, better=1)
    assert verdict(planted, around(0.5), around(0.6)) == "reproduced"
    assert verdict(planted, around(0.5), around(0.4)) == "undecided"
    assert verdict(planted, around(0.4), around(0.3)) == "not reproduced"
    assert verdict(planted, around(0.3), around(0.6)) == "not reproduced"
    assert verdict(planted, around(0.5), around(0.6, n=4)) == "not enough runs"
    assert verdict(planted, around(0.3), around(0.6, n=4)) == "not reproduced"  # whatever the other would say


def test_a_number_that_does_not_exist_reproduces_nothing():
    for better in [1, -1]:
        for values in ([math.nan] * 5, [math.nan, 0.9, 0.9, 0.9, 0.9, 0.9]):
            mean = claim("mean", measure="joint.shape_r2", limit=0.8 if better > 0 else 1.0, better=better)
            assert verdict(mean, Sample.of(values)) == "undecided"
            limit = claim("threshold", limit=0.8 if better > 0 else 1.0, better=better, share=0.9)
            found = verdicts.judge(limit, [Sample.of(values)], [])
            assert found.verdict == "not reproduced"  # a run without the number has failed
            assert "nan" not in found.text


SHAPES = {
    "value": {"margin": 0.01, "better": -1},
    "order": {"subjects": TWO, "better": -1},
    "tie": {"subjects": TWO, "margin": 0.01},
    "trend": {"subjects": TWO, "better": 1},
    "mean": {"better": 1, "limit": 0.5},
    "threshold": {"better": 1, "limit": 0.5},
}


@pytest.mark.parametrize("measure", ["metrics.test.rmse", "measures.tightness.range", "derived.explained_share"])
@pytest.mark.parametrize("kind", SHAPES)
def test_odd_numbers_decide_nothing_and_break_nothing(kind, measure):
    planted = claim(kind, **{"measure": measure, **SHAPES[kind]})
    count = len(planted.subjects)
    for odd in ([math.nan] * 5, [math.inf] * 5, [-math.inf, 0.5, 0.5, 0.5, 0.5], [1e300, -1e300, 0, 0, 0]):
        for own, other in ((odd, [0.5] * 5), ([0.5] * 5, odd), (odd, odd)):
            found = verdicts.judge(planted, [Sample.of(own), Sample.of(other)][:count], PRINTED)
            if kind in ("order", "tie", "trend"):
                assert found.verdict == "undecided"
    few = [Sample.of([0.4, 0.5])] * count
    assert verdicts.judge(planted, few, PRINTED).verdict == "not enough runs"


def test_numbers_without_any_spread_are_judged_as_they_stand():
    for kind, options, level, lower, higher in [
        ("order", {"better": -1}, "undecided", "not reproduced", "reproduced"),
        ("order", {"better": 1, "margin": 0.01}, "not reproduced", "undecided", "not reproduced"),
        ("tie", {"margin": 0.01}, "reproduced", "reproduced", "not reproduced"),
        ("tie", {"margin": 0.01, "better": -1}, "reproduced", "reproduced", "reproduced"),
        ("trend", {"better": 1}, "undecided", "not reproduced", "reproduced"),
    ]:
        planted, same = claim(kind, TWO, **options), sample([0.45] * 5)
        # 0.45 - 0.44 is not 0.01, and five times 0.44 have a mean of 0.44000000000000006
        others = [same, sample([0.44] * 5), sample([0.47] * 5)]
        assert [verdict(planted, same, other) for other in others] == [level, lower, higher]
    near = [verdict(claim("value", margin=0.01), sample([x] * 5), printed=[Sample(0.45, 0, 10)]) for x in (0.44, 0.46)]
    assert near == ["reproduced", "reproduced"]
    for limit, better, expected in [(0.45, 1, "reproduced"), (0.46, 1, "not reproduced"), (0.46, -1, "reproduced")]:
        assert verdict(claim("mean", limit=limit, better=better), sample([0.45] * 5)) == expected


def test_a_limit_at_the_end_of_a_share_is_reached_by_what_lies_there():
    ones, noughts = sample([1.0] * 5), sample([0.0] * 5)
    assert verdict(claim("mean", limit=1.0, better=1), ones) == "reproduced"
    assert verdict(claim("mean", limit=0.0, better=-1), noughts) == "reproduced"
    assert verdict(claim("mean", limit=1.0, better=1), around(0.9, 0.05)) == "not reproduced"


def test_a_value_of_which_nothing_is_printed_is_not_judged():
    nothing = [Sample(math.nan, 0.0005, 2)]
    for one_model in (False, True):
        planted = claim("value", margin=0.01, one_model=one_model)
        assert verdicts.judge(planted, [around(0.45)], nothing) == verdicts.Verdict("not printed", n=5)


def test_a_tie_with_a_better_side_states_the_one_limit_that_it_has():
    ours = [around(0.45), around(0.449)]
    assert verdicts.judge(claim("tie", TWO, **LEVEL), ours, []).text.endswith("], by at most 0.01")
    assert verdicts.judge(claim("tie", TWO, margin=0.01), ours, []).text.endswith("], within ±0.01")


def test_rounding_does_not_decide():
    exact = claim("threshold", limit=0.9, better=1)
    assert verdict(exact, sample([0.9 - 1e-15] * 5)) == "reproduced"
    assert verdict(exact, sample([0.9 - 1e-6] * 5)) == "not reproduced"
    assert verdict(dataclasses.replace(exact, better=-1), sample([0.9 + 1e-15] * 5)) == "reproduced"
    assert verdict(dataclasses.replace(exact, better=-1), sample([0.9 + 1e-6] * 5)) == "not reproduced"
    mean = claim("mean", limit=0.9, better=1)
    assert verdict(mean, sample([0.9 - 1e-15] * 5)) == "reproduced"


def test_an_order_with_a_margin_needs_a_least_difference():
    for ours, expected in [
        (0.20, "reproduced"),
        (0.151, "undecided"),
        (0.145, "not reproduced"),
        (0.09, "not reproduced"),
    ]:
        planted = claim("order", TWO, better=1, margin=0.05)
        assert verdict(planted, around(ours), around(0.1)) == expected
        assert "to exceed 0.05" in verdicts.judge(planted, [around(ours), around(0.1)], []).text


LEVEL = {"measure": "metrics.test.rmse", "margin": 0.01, "better": -1}


def test_a_tie_with_a_better_side_asks_how_far_the_best_rival_is_ahead():
    for rivals, expected in [
        ((0.451,), "reproduced"),  # level
        ((0.60,), "reproduced"),  # far ahead
        ((0.445,), "reproduced"),  # behind, within the margin
        ((0.4405,), "undecided"),
        ((0.40,), "not reproduced"),
        ((0.60, 0.40), "not reproduced"),  # it is the best rival that counts
        ((0.60, 0.448), "reproduced"),
    ]:
        several = (*ONE, *({"model": m} for m in ("NAM", "MLP")[: len(rivals)]))
        assert verdict(claim("tie", several, **LEVEL), around(0.45), *map(around, rivals)) == expected


def test_of_several_leaders_each_must_be_ahead_of_each_rival():
    four = tuple({"model": name} for name in ("MLP", "NODE", "Linear", "Spline"))
    planted = claim("order", four, better=-1, leaders=2)
    for scores, expected in [
        ((0.50, 0.47, 0.73, 0.57), "reproduced"),
        ((0.50, 0.57, 0.73, 0.57), "undecided"),  # NODE and Spline are level
        ((0.50, 0.60, 0.73, 0.57), "not reproduced"),
    ]:
        found = verdicts.judge(planted, [around(score) for score in scores], [])
        assert (found.verdict, found.comparisons) == (expected, 4)
    first = verdicts.judge(planted, [Sample.of([]), *map(around, (0.60, 0.73, 0.57))], [])
    assert (first.verdict, first.comparisons) == ("not reproduced", 2)  # a missing leader hides no loss


def test_of_many_comparisons_those_that_are_not_won_are_shown():
    many = tuple({"model": f"rival {k}"} for k in range(15))
    samples = [around(0.4), *(around(0.5) for _ in range(13)), around(0.4001)]
    text = verdicts.judge(claim("order", many, better=-1), samples, []).text
    assert text.startswith("advantage over 13 of 14, not rival 14: ")


def test_a_decided_loss_decides_whatever_rival_is_missing():
    three = (*TWO, {"model": "NODE"})
    absent = Sample.of([])
    for kind, options, lost, won in [
        ("tie", LEVEL, 0.43, 0.46),
        ("order", {"better": -1}, 0.43, 0.46),
        ("trend", {"better": 1}, 0.43, 0.46),
    ]:
        planted = claim(kind, three, **options)
        assert verdict(planted, around(0.45), around(lost), absent) == "not reproduced"
        assert verdict(planted, around(0.45), around(won), absent) == "not enough runs"
        found = verdicts.judge(planted, [around(0.45), around(won), absent], [])
        assert (found.n, " for NODE; " in found.text) == (0, True)
    # a trend passes over what is missing: over two steps it falls
    trend = claim("trend", three, better=1)
    assert verdict(trend, around(0.45), absent, around(0.43)) == "not reproduced"
    # what is said of the first model needs it
    assert verdict(claim("order", three, better=-1), absent, around(0.43), around(0.46)) == "not enough runs"
    low = claim("threshold", TWO, limit=0.3, better=-1)
    assert verdict(low, around(0.5), absent) == "not reproduced"
    assert verdict(low, around(0.1), absent) == "not enough runs"


def test_a_loss_by_chance_to_one_of_seven_level_rivals_decides_nothing():
    rng = np.random.default_rng(0)
    eight = tuple({"model": f"rival {k}"} for k in range(8))
    for kind, options in [("order", {"better": -1}), ("tie", {"better": -1, "margin": 0.0})]:
        planted, found, alone = claim(kind, eight, **options), [], 0
        for _ in range(100):
            samples = [Sample.of(rng.normal(0.5, 0.01, 10)) for _ in eight]
            found.append(verdict(planted, *samples))
            pairs = [verdict(claim(kind, TWO, **options), samples[0], rival) for rival in samples[1:]]
            alone += "not reproduced" in pairs
        assert found.count("undecided") >= 95
        assert alone > 5  # each rival by itself would have decided too often


def test_every_rival_is_tested_not_the_one_with_the_best_mean():
    three = (*TWO, {"model": "MLP"})
    noisy = sample([0.40, 0.45, 0.38, 0.47, 0.42])  # the best mean, of which little is known
    assert verdict(claim("tie", three, **LEVEL), around(0.45), noisy, around(0.43)) == "not reproduced"
    assert verdict(claim("tie", three, **LEVEL), around(0.45), noisy, around(0.45)) == "undecided"


def test_a_tie_turns_with_its_better_side():
    up = LEVEL | {"better": 1}
    assert verdict(claim("tie", TWO, **up), around(0.45), around(0.40)) == "reproduced"
    assert verdict(claim("tie", TWO, **up), around(0.45), around(0.60)) == "not reproduced"
    without = LEVEL | {"better": 0}
    assert verdict(claim("tie", TWO, **without), around(0.45), around(0.60)) == "not reproduced"
    assert verdict(claim("tie", TWO, **without), around(0.45), around(0.40)) == "not reproduced"


def test_a_static_claim_is_what_its_check_says(monkeypatch, tmp_path):
    asked = []

    def check(ours):
        asked.append(ours)
        return "partly reproduced", "because"

    monkeypatch.setitem(checks.CHECKS, "sizes", check)
    expected = verdicts.Verdict("partly reproduced", "because")
    assert verdicts.on_paper(KNOWN["A-sizes"]) == expected
    assert verdicts.on_results(KNOWN["A-sizes"], "paper", Store(tmp_path)) == expected
    assert asked == [False, True]


def test_what_is_unavailable_is_not_judged(tmp_path):
    planted = claim("order", (), dataset="boston", better=-1, unavailable="no loader")
    assert verdicts.on_results(planted, "paper", Store(tmp_path)) == verdicts.Verdict("data not available", "no loader")
    assert verdicts.on_paper(planted).verdict == "not printed"


PRINTED_CELLS = {
    (2, 2): 0.479, (4, 2): 0.459, (8, 2): 0.455, (16, 2): 0.460, (4, 4): 0.451, (8, 4): 0.447, (16, 4): 0.455,
    (8, 8): 0.449, (16, 8): 0.456, (16, 16): 0.456,
}  # fmt: skip


def fill_cells(store, scores, seeds=6, noise=0.0001, left_out=()):
    """Store Table 8's cells of MixNAM: `scores` by (C, K); `left_out` are (seed, C, K)."""
    rng = np.random.default_rng(0)
    for cell, score in scores.items():
        for seed in range(seeds):
            if (seed, *cell) not in left_out:
                number = score + noise * rng.normal()
                store.put(result(seed=seed, score=number, experts=cell[0], active_experts=cell[1]))


def no_rows(a, b, metric):
    """Return no variance over test rows; made-up results have none."""
    return 0.0, math.inf


@pytest.mark.slow
def test_planted_cells_of_table_8_decide_its_claims():
    for changed, best, enough, order in [
        ({}, "reproduced", "reproduced", "reproduced"),
        ({(16, 16): 0.440}, "not reproduced", "not reproduced", "not reproduced"),
        ({(2, 2): 0.40}, "not reproduced", "reproduced", "not reproduced"),
        ({(2, 2): 0.446}, "reproduced", "reproduced", "not reproduced"),
    ]:
        store = Memory()
        fill_cells(store, PRINTED_CELLS | changed)
        found = {
            name: verdicts.on_results(KNOWN[name], "paper", store, no_rows).verdict for name in ("T8-best", "T8-enough")
        }
        assert found == {"T8-best": best, "T8-enough": enough}
        assert verdicts.on_results(KNOWN["T8-order"], "paper", store).verdict == order


def test_another_printed_table_gives_another_verdict(monkeypatch):
    assert verdicts.on_paper(KNOWN["T8-best"]).verdict == verdicts.on_paper(KNOWN["T8-enough"]).verdict == "reproduced"

    def better_with_sixteen(model, experts, active):
        return (0.43, 0.003) if (experts, active) == (16, 16) else (0.45 + 0.001 * experts, 0.003)

    monkeypatch.setattr(published, "scaling", better_with_sixteen)
    assert verdicts.on_paper(KNOWN["T8-best"]).verdict == "not reproduced"
    assert verdicts.on_paper(KNOWN["T8-enough"]).verdict == "not reproduced"
    assert verdicts.on_paper(KNOWN["T8-e-experts"]).verdict == "not reproduced"


def test_what_is_the_printed_number_itself_is_not_judged_on_print():
    for one in claims():
        found = verdicts.on_paper(one).verdict
        itself = (one.kind == "value" and one.table) or one.measure in ("pooled.rank_as_printed", "static.sizes")
        assert (found == "is a printed number") == bool(itself), one.id


def test_a_rival_that_wins_in_print_flips_the_verdict_on_print(monkeypatch):
    one = KNOWN["T1-beats-additive"]
    assert {s["model"] for s in one.subjects} == {"MixNAM", "Linear", "Spline", "EBM", "NAM", "NBM", "NODE-GAM"}
    found = verdicts.on_paper(one)
    assert found.verdict == "reproduced" and "NODE-GAM: " in found.text
    printed = published.accuracy

    def winning(dataset, model):
        return (0.30, 0.001) if model == "NODE-GAM" else printed(dataset, model)

    monkeypatch.setattr(published, "accuracy", winning)
    assert verdicts.on_paper(one).verdict == "not reproduced"
    fewer = tuple(s for s in one.subjects if s["model"] != "NODE-GAM")
    assert verdicts.on_paper(dataclasses.replace(one, subjects=fewer)).verdict == "reproduced"
    unknown = (*fewer, {"model": "MixNAM-E"})
    assert verdicts.on_paper(dataclasses.replace(one, subjects=unknown)).verdict == "not printed"


LEVELS = ("housing", "mimic2", "mimic3", "income", "credit", "year")


def test_the_comparisons_of_table_1_stand_for_each_data_set():
    """Rules and rivals are Housing's; metric, side and margin are the data set's."""
    for start in ["T1-beats-additive", "T1-blackbox", "T1-pairwise"]:
        for dataset in LEVELS:
            one, housing = KNOWN[start if dataset == "housing" else f"{start}-{dataset}"], KNOWN[start]
            metric = {"housing": "rmse", "year": "mse"}.get(dataset, "auc")
            assert (one.dataset, one.kind, one.subjects) == (dataset, housing.kind, housing.subjects)
            assert (one.measure, one.better) == (f"metrics.test.{metric}", 1 if metric == "auc" else -1)
            if one.kind == "tie":
                assert one.margin == {"income": 0.005, "year": 0.8}.get(dataset, 0.01)
            better = 1 if metric == "auc" else -1
            means = {s["model"]: better * published.accuracy(dataset, s["model"])[0] for s in one.subjects}
            ahead = means.pop("MixNAM") - max(means.values())
            verdict = verdicts.on_paper(one).verdict
            assert verdict != (
                "reproduced" if ahead < -one.margin else "not reproduced"
            )  # no verdict against the means
            assert (one.id, verdict) not in (
                ("T1-blackbox-year", "reproduced"),
                ("T1-beats-additive-income", "reproduced"),
            )


def test_without_its_data_a_claim_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path))
    for name in ("mimic2", "credit", "year"):
        for start in ("T1-", "T6-", "T1-beats-additive-"):
            found = verdicts.on_results(KNOWN[f"{start}{name}"], "paper", Store(tmp_path))
            assert found.verdict == "data not available"
            assert found.text == f"{name} is not at hand: {catalogue.entry(name).remedy}"


def test_the_rank_among_fourteen_is_taken_of_stored_means():
    """So many models are put before MixNAM on Year; on the other five it leads."""
    for worse, expected in ((3, "reproduced"), (4, "not reproduced")):
        store, ahead = Memory(), ["MLP", "NODE", "XGBoost", "NB2M"][:worse]
        for dataset in LEVELS:
            higher = dataset not in ("housing", "year")
            for case in experiments.cases("accuracy", "paper"):
                if not case.published or case.model == "MixNAM-D":
                    continue
                score = 50.0 if case.model == "MixNAM" else 40.0 if higher else 60.0
                if dataset == "year" and case.model in ahead:
                    score = 45.0
                fill(store, dataset=dataset, model=case.model, scores=score, **case.overrides)
        found = verdicts.on_results(KNOWN["T1-top4"], "paper", store)
        assert (found.verdict, found.n) == (expected, 5)
        assert found.text == f"housing: 1, mimic2: 1, mimic3: 1, income: 1, credit: 1, year: {worse + 1}"
        some = next(key for key, one in store.found.items() if one.spec.model == "NBM")
        del store.found[some]
        found = verdicts.on_results(KNOWN["T1-top4"], "paper", store)
        if expected == "reproduced":
            assert found.text == "1 of 84 cells have fewer than 5 runs"
        else:  # four that are ahead decide, whatever is missing
            assert found.verdict == expected


def test_the_rank_among_fourteen_needs_the_data(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path))
    found = verdicts.on_results(KNOWN["T1-top4"], "paper", Store(tmp_path))
    assert (found.verdict, found.text) == (
        "data not available",
        "not at hand: housing, mimic2, mimic3, income, credit, year",
    )


def test_what_cannot_be_tested_whatever_the_data_says_so(tmp_path):
    one = claim("order", (), better=-1, unavailable="nobody knows how")
    assert verdicts.on_results(one, "paper", Store(tmp_path)) == verdicts.Verdict(
        "data not available", "nobody knows how"
    )


def test_in_print_mixnam_is_far_ahead_of_the_pairwise_model_and_so_level():
    assert verdicts.on_paper(KNOWN["T1-pairwise"]).verdict == "reproduced"
    assert verdicts.on_paper(dataclasses.replace(KNOWN["T1-pairwise"], better=0)).verdict == "not reproduced"


def sines(store, opposite):
    """Store five seeds on two-mode data, so many of them with experts ± sine, the others with twice the same."""
    x = np.linspace(0, 1, 100)
    sine = np.sin(4 * np.pi * x)
    for seed in range(5):
        experts = np.column_stack([sine, -sine if seed < opposite else sine])
        arrays = {"grid": np.stack([x, x]), "grid_experts": np.stack([experts] * 2), "contribution_mean": np.zeros(2)}
        store.put(result("sim_multimodal", seed=seed, arrays=arrays))


def test_experts_that_are_not_opposite_flip_f5():
    for opposite, expected in [(5, "reproduced"), (4, "reproduced"), (3, "not reproduced")]:
        store = Memory()
        sines(store, opposite)
        assert verdicts.on_results(KNOWN["F5-opposite"], "paper", store).verdict == expected


FULL = {"experts": 16, "active_experts": 16}


MARGINAL = "additivity.marginal"


def test_a_planted_number_decides_a_claim_of_the_paper():
    for name, planted, expected in [
        ("T1-housing", {"scores": [0.450, 0.451, 0.452, 0.453, 0.449]}, "reproduced"),
        ("T1-housing", {"scores": [0.480, 0.481, 0.482, 0.483, 0.479]}, "not reproduced"),
        ("T1-housing", {"scores": [0.420, 0.421, 0.422, 0.423, 0.419]}, "better"),
        ("T3-add-limit", {"variation_penalty": 100.0, "measures": {MARGINAL: 0.995}}, "reproduced"),
        ("T3-add-limit", {"variation_penalty": 100.0, "measures": {MARGINAL: [0.995] * 4 + [0.98]}}, "not reproduced"),
        ("T6-additive", {"model": "MixNAM-D", "measures": {MARGINAL: 1.0}}, "reproduced"),
        ("T6-additive", {"model": "MixNAM-D", "measures": {MARGINAL: [1.0] * 4 + [0.999]}}, "not reproduced"),
        ("T8-e-additive", FULL | {"model": "MixNAM-E", "measures": {MARGINAL: 1.0}}, "reproduced"),
        ("T8-e-additive", FULL | {"model": "MixNAM-E", "measures": {MARGINAL: [0.7] + [1.0] * 4}}, "not reproduced"),
        ("L-intervene", {"measures": {"interventions_outside_bounds.mean": 0.001}}, "reproduced"),
        ("L-intervene", {"measures": {"interventions_outside_bounds.mean": 0.3}}, "not reproduced"),
    ]:
        store = Memory()
        fill(store, **planted)
        found = verdicts.on_results(KNOWN[name], "paper", store)
        assert (found.verdict, found.n) == (expected, 5)
        assert (
            verdicts.on_results(KNOWN[name], "quick", store).verdict == "not enough runs"
        )  # other settings, other results


def explaining(store, name, share, model="MixNAM", dead=()):
    """Store five seeds that explain such a share of a law; the `dead` ones predict a constant, somewhat off."""
    data = catalogue.load(name)
    x = data.probe
    signal = laws.truth(name, x)
    for seed in range(5):
        size = 0.0 if seed in dead else math.sqrt(share)
        prediction = signal.mean() + size * (signal - signal.mean()) + 0.2 * (seed in dead)
        y = data.y[split_rows(data, "holdout", seed).test]
        score = y.std() * (1.05 if seed in dead else 0.1)
        found = result(name, model, seed, score, arrays={"probe_prediction": prediction})
        store.put(dataclasses.replace(found, history={"best_epoch": 3 if seed in dead else 100}))


def test_a_run_that_did_not_learn_is_named_and_counted():
    whole = KNOWN["F7-mixnam"]
    first = dataclasses.replace(whole, subjects=whole.subjects[:1])
    for dead, expected in [((), "reproduced"), ((4,), "undecided")]:
        store = Memory()
        explaining(store, "sim_variability_1", 0.98, dead=dead)
        found = verdicts.on_results(first, "paper", store)
        assert (found.verdict, found.n) == (expected, 5)
        named = "sim_variability_1 MixNAM seed 4 (best epoch 3, test R² -0.10)"
        assert (f"did not learn: {named} (counted; without it: reproduced)" in found.text) == bool(dead)
    # where no run learns, there was nothing to be learnt
    store = Memory()
    explaining(store, "sim_variability_1", 0.98, dead=range(5))
    assert "did not learn" not in verdicts.on_results(first, "paper", store).text


def test_what_would_be_without_a_run_is_not_said_of_resampled_runs():
    store = Memory()
    cells = {(16, 2): 0.55, (32, 4): 0.5, (16, 4): 0.52, (32, 2): 0.54}
    for (experts, active), score in cells.items():
        for seed in range(6):
            planted = result(model="MixNAM-E", seed=seed, score=score, experts=experts, active_experts=active)
            y = np.array([-1.0, 1.0]) * (0.1 if (experts, active, seed) == (16, 2, 0) else 1.0)
            planted.__dict__["targets"] = y  # a run whose error is five times as large as its targets' spread
            store.put(planted)
    subjects = tuple({"model": "MixNAM-E", "experts": c, "active_experts": k} for c, k in cells)
    pooled = claim("mean", subjects, measure="pooled.slope_over_active", limit=0.0, better=-1)
    text = verdicts.on_results(pooled, "paper", store).text
    assert "did not learn: housing MixNAM-E seed 0" in text and text.endswith("(counted)")
    joint = dataclasses.replace(pooled, measure="joint.slope_over_active")
    assert verdicts.on_results(joint, "paper", store).text.endswith("(counted; without it: reproduced)")


def test_what_is_undecided_says_what_such_runs_could_have_told():
    for kind, options, samples in [
        ("order", {"better": -1}, (around(0.44), around(0.4401))),
        ("tie", {"better": -1, "margin": 0.001}, (around(0.44), around(0.4393))),
        ("trend", {"better": 1}, (around(0.44), around(0.4401))),
    ]:
        found = verdicts.judge(claim(kind, TWO, **options), list(samples), [])
        assert found.verdict == "undecided"
        error = math.sqrt(sum(s.sd**2 / s.n for s in samples))
        least = (stats.t.ppf(0.975, 8) + stats.t.ppf(0.8, 8)) * error
        assert f"; open: NAM {least:.2g} (the least that such runs tell apart, with 80 % power" in found.text
    value = verdicts.judge(claim("value", margin=0.010), [around(0.4615, 0.01)], PRINTED)
    assert value.text.endswith(" (the least that such runs tell apart, with 80 % power; the margin is 0.01)")
    one_of_two = claim("order", (*TWO, {"model": "MLP"}), better=-1)
    ahead = around(0.4388, 0.0007)  # lost by itself, not by Holm's correction over two
    found = verdicts.judge(one_of_two, [around(0.44), ahead, around(0.45)], [])
    assert found.verdict == "undecided"
    assert "lost by itself, not by Holm's correction over 2: NAM" in found.text


def test_the_least_difference_that_is_told_is_found_in_four_of_five_cases():
    rng = np.random.default_rng(0)
    rival, told = Sample(0.5, 0.01, 10), []
    design = difference(Sample(0.5, 0.01, 10), rival, "housing")
    for _ in range(400):
        ours, theirs = (Sample.of(rng.normal(m, 0.01, 10)) for m in (0.5 + design.detectable(0.0), 0.5))
        told.append(verdict(claim("order", TWO, better=1), ours, theirs) == "reproduced")
    assert 0.74 < np.mean(told) < 0.86


def test_subjects_may_have_data_sets_of_their_own():
    for one, two, expected in [(1.0, 1.0, "reproduced"), (1.0, 0.3, "not reproduced"), (0.3, 1.0, "not reproduced")]:
        store = Memory()
        explaining(store, "sim_variability_1", one)
        explaining(store, "sim_variability_2", two)
        whole = KNOWN["F7-mixnam"]
        first_two = dataclasses.replace(whole, subjects=whole.subjects[:2])
        assert verdicts.on_results(first_two, "paper", store).verdict == expected
        # what is missing keeps a win from being called one, not a loss
        lost = expected == "not reproduced"
        assert verdicts.on_results(whole, "paper", store).verdict == (expected if lost else "not enough runs")
        text = verdicts.on_results(first_two, "paper", store).text
        assert "MixNAM (Simulation: modifiers of x1, 2 of them): " in text


def test_a_run_without_the_peaks_that_a_threshold_asks_for_has_failed():
    for flat, expected in [(1, "reproduced"), (2, "not reproduced")]:
        store = Memory()
        grid = np.linspace(-124.3, -114.3, 200)
        peaks = np.exp(-((grid + 122.5) ** 2)) + np.exp(-((grid + 118.5) ** 2))
        for seed in range(5):
            curves = np.tile(peaks if seed >= flat else 0 * grid, (8, 1))
            arrays = {"grid": np.tile(grid, (8, 1)), "grid_mean": curves, "contribution_mean": np.zeros(8)}
            arrays["density_range"] = np.tile([-124.3, -114.3], (8, 1))
            store.put(result(model="NAM", seed=seed, arrays=arrays))
        found = verdicts.on_results(
            dataclasses.replace(KNOWN["F3-peaks"], subjects=({"model": "NAM"},)), "paper", store
        )
        assert (found.verdict, found.n) == (expected, 5)
        assert f"{5 - flat} of 5" in found.text
