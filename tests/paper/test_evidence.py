"""What claims compare: printed numbers and stored results, of one model or of several."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from planted import Memory, fill, on_split, predicted, result
from scipy import stats
from stated import KNOWN, ONE, claim

from mixnam.data import catalogue
from mixnam.data.splits import HOLDOUT, HOLDOUTS, REPEATS
from mixnam.paper import derived, evidence, experiments, intervals, published, verdicts
from mixnam.paper.claim import claims
from mixnam.paper.verdicts import Sample
from mixnam.runs.store import Store

ROOT = Path(__file__).parents[2]


def test_a_printed_sd_of_zero_counts_as_half_its_last_digit():
    limit = claim("value", subjects=({"model": "MixNAM", "variation_penalty": 100.0},), margin=0.01)
    assert evidence.printed_sample(limit, limit.subjects[0]) == Sample(0.998, 0.0005, 10)
    assert verdicts.on_paper(limit).verdict == "is a printed number"


WIDEN = KNOWN["T2-bounds-widen"]


def fill_widths(store, widths, left_out=()):
    """Store six seeds of the λ of T2-bounds-widen: `widths` by λ; `left_out` are (seed, λ)."""
    for penalty, width in widths.items():
        for seed in range(6):
            if (seed, penalty) not in left_out:
                measures = {"bounds.median_width_per_feature": [width + seed, width - seed]}
                store.put(result(seed=seed, measures=measures, variation_penalty=penalty))


NARROWING = {0.0: 4.0, 0.001: 3.0, 0.01: 2.0, 0.1: 1.0}


def test_a_joint_measure_takes_the_seeds_that_all_subjects_have():
    store = Memory()
    fill_widths(store, NARROWING, [(2, 0.01)])
    found = verdicts.on_results(WIDEN, "paper", store)
    assert (found.verdict, found.n, len(found.keys)) == ("reproduced", 5, 20)
    assert result(seed=2, variation_penalty=0.0).key not in found.keys
    store = Memory()
    fill_widths(store, NARROWING | {0.01: 0.5})
    assert verdicts.on_results(WIDEN, "paper", store).verdict == "not reproduced"


def test_a_joint_measure_with_fewer_than_five_whole_seeds_is_not_judged():
    store = Memory()
    fill_widths(store, NARROWING, [(2, 0.01), (0, 0.1)])
    found = verdicts.on_results(WIDEN, "paper", store)
    assert (found.verdict, found.text) == (
        "not enough runs",
        "4 of 5 (today's measures) for all its models together",
    )
    assert verdicts.on_results(WIDEN, "paper", Memory()).text == "0 of 5 (today's measures) for all its models together"


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


def test_a_pooled_measure_is_taken_of_means_with_seeds_resampled():
    store = Memory()
    fill_cells(store, PRINTED_CELLS, seeds=10, noise=0.004)
    spread = KNOWN["T8-order"]
    (pooled,) = evidence.stored_samples(spread, "paper", store)
    assert (pooled.n, len(pooled.results)) == (10, 100)
    means = [
        np.mean([store.get(s.spec).value("metrics.test.rmse") for s in pooled.results if cell_of(s) == cell])
        for cell in PRINTED_CELLS
    ]
    assert pooled.mean == pytest.approx(stats.spearmanr(means, list(PRINTED_CELLS.values())).statistic)
    low, high = pooled.interval
    assert low < pooled.mean <= high < 1.0 + 1e-9
    lowest = dataclasses.replace(spread, limit=low - 0.01)
    assert verdicts.on_results(lowest, "paper", store).verdict == "reproduced"
    assert (
        verdicts.on_results(dataclasses.replace(spread, limit=(low + high) / 2), "paper", store).verdict == "undecided"
    )
    assert (
        verdicts.on_results(dataclasses.replace(spread, limit=high + 0.01), "paper", store).verdict == "not reproduced"
    )


def cell_of(found):
    return found.spec.settings.experts, found.spec.settings.active_experts


def test_a_pooled_measure_needs_five_whole_seeds():
    store = Memory()
    fill_cells(store, PRINTED_CELLS, left_out=[(2, 16, 8)])
    assert verdicts.on_results(KNOWN["T8-order"], "paper", store).n == 5
    store = Memory()
    fill_cells(store, PRINTED_CELLS, left_out=[(2, 16, 8), (0, 2, 2)])
    assert verdicts.on_results(KNOWN["T8-order"], "paper", store).text == "4 of 5 for all its models together"
    assert verdicts.on_results(KNOWN["T8-order"], "paper", Memory()).verdict == "not enough runs"


def test_the_tradeoff_is_that_of_means_even_where_single_seeds_disagree():
    for rmse, expected in [
        ((0.45, 0.46, 0.47, 0.5, 0.6), "reproduced"),
        ((0.6, 0.5, 0.47, 0.46, 0.45), "not reproduced"),
    ]:
        store, singles = Memory(), []
        wobble = np.array([0.008, 0.004, 0.0, -0.004, -0.008])
        for place, (penalty, score) in enumerate(zip((0.0, 0.1, 1.0, 10.0, 100.0), rmse, strict=True)):
            scores = score + np.roll(wobble, place) * (place < 2)
            singles.append(scores)
            fill(store, scores=scores, variation_penalty=penalty, measures={MARGINAL: 0.3 + 0.1 * place})
        assert min(stats.spearmanr(column, range(5)).statistic for column in np.array(singles).T) < 0.95
        found = verdicts.on_results(KNOWN["T3-tradeoff"], "paper", store)
        assert (found.verdict, found.n) == (expected, 5)


def test_a_crossed_measure_sets_each_seed_beside_the_next():
    for drift, expected in [(0.1, "reproduced"), (1.0, "not reproduced"), (0.25, "undecided")]:
        store, z = Memory(), np.array([-2.0, -1, 0, 1, 2])[:, None]
        for seed in range(6):  # seeds 0.1 apart, the last from the first 0.5
            size = 1 + 0.1 * seed
            for penalty, factor in ((0.1, size), (0.001, size + drift)):
                arrays = {"sample_contributions": factor * z, "contribution_mean": np.zeros(1)}
                store.put(result(seed=seed, arrays=arrays, variation_penalty=penalty))
        alike = KNOWN["T2-contributions-alike"]
        (found,) = evidence.stored_samples(alike, "paper", store)
        assert sorted(found.values) == pytest.approx([drift / 0.5] + [drift / 0.1] * 5)
        assert verdicts.on_results(alike, "paper", store).verdict == expected
        one = Memory()
        for penalty in (0.001, 0.1):
            one.put(store.get(result(variation_penalty=penalty).spec))
        assert verdicts.on_results(alike, "paper", one).text == "0 of 5 for all its models together"


def test_a_crossed_number_rests_on_the_results_of_both_seeds():
    store, z = Memory(), np.array([-2.0, -1, 0, 1, 2])[:, None]
    for seed in range(6):
        for penalty, factor in ((0.1, 1 + 0.1 * seed), (0.001, 1.05 + 0.1 * seed)):
            arrays = {"sample_contributions": factor * z, "contribution_mean": np.zeros(1)}
            store.put(result(seed=seed, arrays=arrays, variation_penalty=penalty))
    (found,) = evidence.stored_samples(KNOWN["T2-contributions-alike"], "paper", store)
    third = result(seed=2, variation_penalty=0.1).key
    assert (found.n, found.without({third}).n) == (6, 4)  # its own number and the one after it
    verdict = verdicts.on_results(KNOWN["T2-contributions-alike"], "paper", store)
    assert (verdict.n, len(verdict.keys)) == (6, 12)


def test_a_joint_number_that_does_not_exist_fails_a_threshold():
    store = Memory()
    for penalty in NARROWING:
        for seed in range(5):  # the bounds of one seed have one width at any λ: no rank correlation
            width = [4.0 - 10 * penalty if seed else 1.0] * 2
            store.put(result(seed=seed, measures={"bounds.median_width_per_feature": width}, variation_penalty=penalty))
    found = verdicts.on_results(WIDEN, "paper", store)
    assert (found.verdict, found.n) == ("not reproduced", 5)
    assert found.text == "at or below -0.9: 4 of 5, most -1"


def test_targets_that_do_not_vary_leave_nothing_to_learn():
    flat = result(score=0.4)
    flat.__dict__["targets"] = np.ones(3)
    assert math.isnan(evidence.skill(flat))
    assert evidence.unlearned([flat]) == []


def slope(column, model="MixNAM-E", most=128):
    table = published.table("table8_expert_scaling_housing").query("model == @model and K < C and C <= @most")
    design = np.column_stack([np.ones(len(table)), np.log2(table["C"]), np.log2(table["K"])])
    return np.linalg.solve(design.T @ design, design.T @ table["rmse_mean"])[1 + ("C", "K").index(column)]


def test_measures_of_several_models_are_taken_of_the_printed_tables():
    for name, expected in [
        ("T8-e-experts", slope("C")),
        ("T8-e-active", slope("K")),
        ("T3-tradeoff", stats.spearmanr([0.366, 0.381, 0.416, 0.746, 0.998], [0.451, 0.451, 0.458, 0.515, 0.582])[0]),
        (
            "T3-tradeoff-all",
            stats.spearmanr(
                [0.085, 0.170, 0.366, 0.381, 0.416, 0.746, 0.998, 1.0],
                [0.501, 0.492, 0.451, 0.451, 0.458, 0.515, 0.582, 0.572],
            )[0],
        ),
    ]:
        assert evidence.printed_joint(KNOWN[name]).mean == pytest.approx(expected)
        assert verdicts.on_paper(KNOWN[name]).verdict == "reproduced"


def test_a_printed_mean_stands_on_seeds_or_folds():
    for dataset, n in (("housing", 10), ("year", 10), ("income", 5), ("mimic2", 5), ("credit", 5)):
        assert evidence.printed_sample(claim("value", dataset=dataset, table="table1"), ONE[0]).n == n


def test_a_joint_measure_of_curves_is_not_printed():
    for name in ["T2-bounds-widen", "F8-shape-nam", "F6-gain-25", "T2-additive-limit"]:
        assert verdicts.on_paper(KNOWN[name]) == verdicts.Verdict("not in our text copy")  # it stands on pictures
        without = dataclasses.replace(KNOWN[name], in_copy=True)
        assert verdicts.on_paper(without) == verdicts.Verdict("not printed")


MARGINAL = "additivity.marginal"


def test_runs_whose_measure_does_not_exist_do_not_count():
    store = Memory()
    tightness = [0.9, 0.9, None, 0.9, 0.9, 0.9]  # bounds of no width have none
    fill(store, seeds=6, measures={"tightness.range": tightness}, variation_penalty=0.1)
    planted = dataclasses.replace(KNOWN["T3-tightness-0.1"], margin=0.1)
    assert verdicts.on_results(planted, "paper", store).n == 5
    fewer = dataclasses.replace(planted, subjects=({"model": "MixNAM", "variation_penalty": 1.0},))
    fill(store, seeds=5, measures={"tightness.range": tightness[:5]}, variation_penalty=1.0)
    assert verdicts.on_results(fewer, "paper", store).text == "4 of 5 (today's measures) for MixNAM (λ = 1)"


def test_a_joint_measure_passes_over_results_from_before_its_numbers():
    store = Memory()
    for penalty in (0.0, 0.001, 0.01, 0.1):
        fill(store, variation_penalty=penalty)  # without widths
    assert verdicts.on_results(KNOWN["T2-bounds-widen"], "paper", store).verdict == "not enough runs"


def test_the_runs_of_a_claim_are_those_that_it_is_judged_on():
    for name in [name for name, one in KNOWN.items() if not one.unavailable]:
        one = KNOWN[name]
        specs = evidence.specs_for_claim(one, "smoke", 5)
        assert len(set(specs)) == len(specs)
        assert [s.seed for s in specs] == sorted(s.seed for s in specs)
        if one.preset:
            runs = experiments.fresh_runs(one.dataset, one.other_splits)
            assert {(s.split, s.seed) for s in specs} == set(runs) and len(specs) == len(runs) * len(one.subjects)
            continue
        splits = catalogue.entry(one.dataset).splits
        assert len(specs) <= 5 * len(one.subjects) and (one.kind == "static") == (not specs)
        assert splits == HOLDOUT or {s.split for s in specs} == set(splits)


def test_the_numbers_in_statements_are_those_that_decide():
    for one in claims():
        if one.kind == "value" and one.subjects:
            printed = evidence.printed_sample(one, one.subjects[0])
            text = f"{printed.mean:.2f}" if one.dataset == "year" else f"{printed.mean:.3f}"
            assert text in one.statement, one.id


def test_a_sample_holds_results_of_todays_measures_alone():
    for name in ["T3-add-limit", "T3-tradeoff", "T2-bounds-widen"]:
        one = next(c for c in claims() if c.id == name)
        store = Memory()
        for subject in one.subjects:
            _, model, overrides = evidence.parts(one, subject)
            penalty = overrides.get("variation_penalty", 0)
            for seed in range(6):
                found = result(
                    model=model,
                    seed=seed,
                    score=0.5 + penalty,
                    **overrides,
                    measures={"additivity.marginal": 0.995, "bounds.median_width_per_feature": [1.0, 2.0 - penalty]},
                )
                if seed == 2:
                    found.measures["revision"] = 1
                    found.measures.setdefault("additivity", {})
                store.put(found)
        for sample in evidence.stored_samples(one, "paper", store):
            assert sample.n == 5
            assert not any(one.outdated for one in sample.results)
            assert {one.spec.seed for one in sample.results} == {0, 1, 3, 4, 5}


def test_every_measure_is_held_by_the_references_results():
    store, looked = Store(ROOT / "book" / "results"), set()
    for one in claims():
        if one.kind == "static" or one.joint or one.unavailable:
            continue
        for subject in one.subjects:
            dataset = subject.get("dataset", one.dataset)
            for preset in ("paper", "quick"):
                # those with measures of an older revision are trained again in the course of time
                found = [r for r in evidence.stored(one, subject, preset, store) if not r.outdated]
                before = one.measure == "derived.valley_low" and found and "low_share" not in found[0].arrays
                if found and verdicts._available(dataset) and not before:
                    assert math.isfinite(derived.value(found[0], one.measure)), (one.id, subject, preset)
                    looked.add(one.id)
                    break
    assert len(looked) > 40


def test_every_joint_measure_can_be_taken_of_the_references_results():
    store, looked = Store(ROOT / "book" / "results"), set()
    for one in claims():
        if one.joint and verdicts._available(one.dataset) and one.measure not in looked:
            (found,) = evidence.stored_samples(one, "quick", store)
            assert found.n == 0 or math.isfinite(found.mean), one.id
            looked |= {one.measure} if found.n else set()
    assert len(looked) >= 5


def test_means_of_seeds_average_over_every_mean_that_can_be_made():
    runs = [predicted(seed, 0.5) for seed in range(6)]
    found = evidence.of_means(runs, 4, "metrics.test.rmse")
    assert found.n == 6
    # independent errors of 0.5: a mean of four has half of it
    assert found.mean == pytest.approx(0.25, abs=0.01)
    assert found.sd / math.sqrt(6) < 0.01
    assert all(len(mean.keys) == 4 for mean in found.results)
    assert {key for mean in found.results for key in mean.keys} == {run.key for run in runs}
    singles = evidence.of_means(runs, 1, "metrics.test.rmse")
    assert np.allclose(singles.values, [run.metrics["test"]["rmse"] for run in runs], atol=1e-4)


def test_the_jackknife_of_means_is_not_too_small():
    """Seeds of random size of error: the standard error covers how the average over means varies between draws."""
    draw = np.random.default_rng(1)
    base = [predicted(seed, 1.0) for seed in range(6)]
    y = base[0].targets
    noise = [run.arrays["test_prediction"].astype(float) - y for run in base]
    means, errors = [], []
    for _ in range(60):
        sizes = draw.uniform(0.3, 0.9, 6)
        runs = [
            dataclasses.replace(run, fresh=({"test_prediction": (y + size * own).astype(np.float32)}, {}))
            for run, size, own in zip(base, sizes, noise, strict=True)
        ]
        found = evidence.of_means(runs, 3, "metrics.test.rmse")
        means.append(found.mean)
        errors.append(found.sd**2 / found.n)
    assert np.mean(errors) > 0.8 * np.var(means, ddof=1)
    assert np.mean(errors) < 2 * np.var(means, ddof=1)


def test_so_many_seeds_as_members_make_one_mean_and_fewer_none():
    runs = [predicted(seed, 0.5) for seed in range(4)]
    assert evidence.of_means(runs, 4, "metrics.test.rmse").n == 1
    assert evidence.of_means(runs[:3], 4, "metrics.test.rmse").n == 0
    assert evidence.of_means([], 4, "metrics.test.rmse").n == 0


def test_each_fold_and_each_split_has_a_mean_of_its_own():
    runs = [predicted(seed, 0.5, split=split) for seed in range(10, 14) for split in HOLDOUTS]
    found = evidence.of_means([*runs, predicted(10, 0.5)], 4, "metrics.test.rmse")
    assert [*found.by_split] == [*HOLDOUTS] and found.n == 5  # one run of the first split makes no mean
    assert found.mean == pytest.approx(0.25, abs=0.02)


def test_our_own_recipe_is_judged_on_fresh_runs_alone():
    one, store = KNOWN["AH-housing-trees"], Memory()
    for seed in range(20):
        for model, error in (("MixNAM", 0.3), ("XGBoost", 0.5), ("LightGBM", 0.5), ("CatBoost", 0.5)):
            store.put(predicted(seed, error if seed >= 10 else 9.0, model=model))
    for id, runs in (("AH-housing-trees", 10), ("AH-housing-trees-4", 10)):
        for preset in ("best", "quick", "paper"):  # it has one setting, whatever the column
            found = verdicts.on_results(KNOWN[id], preset, store)
            assert (found.verdict, found.n) == ("reproduced", runs), id
    assert {run.spec.seed for run in evidence.stored(one, one.subjects[0], "best", store)} == set(range(10, 20))
    assert len(verdicts.on_results(KNOWN["AH-housing-trees-4"], "best", store).keys) == 40
    assert verdicts.on_results(KNOWN["AH-splits-trees"], "best", store).verdict == "not enough runs"


def test_several_holdouts_are_paired_and_corrected_for_the_rows_that_they_share():
    ours = [predicted(seed, 0.4, split=split) for seed in range(10, 14) for split in HOLDOUTS]
    theirs = [predicted(seed, 0.5, split=split, model="XGBoost") for seed in range(10, 14) for split in HOLDOUTS]
    one = KNOWN["AH-splits-trees"]
    a, b = (evidence._single(one, runs) for runs in (ours, theirs))
    found = intervals.difference(a, b, "housing", "rmse")
    apart = np.array([a.by_split[split] - b.by_split[split] for split in HOLDOUTS])
    assert found.n == 5 and found.mean == pytest.approx(apart.mean())
    assert found.error == pytest.approx(math.sqrt(apart.var(ddof=1) * (1 / 5 + 2 / 7)))
    assert found.freedom == pytest.approx(4)


def test_folds_of_other_partitions_alone_are_compared_all_together():
    draw = np.random.default_rng(0)

    def sample(model, level):
        runs = tuple(on_split(result("income", model, 0, level), split) for split in REPEATS)
        return Sample.of(level + 0.01 * draw.normal(size=len(runs)), runs)

    a, b = sample("MixNAM", 0.93), sample("XGBoost", 0.92)
    found = intervals.difference(a, b, "income", "auc")
    apart = a.values - b.values
    assert found.n == 10 and found.mean == pytest.approx(apart.mean())
    assert found.error == pytest.approx(math.sqrt(apart.var(ddof=1) * (1 / 10 + intervals.share_tested("income"))))


def test_values_of_one_split_count_once_where_splits_are_paired():
    runs = tuple(on_split(result("income", "MixNAM", 0, 0.9), split) for split in ("fold0", "fold0", "fold1"))
    assert Sample.of([0.8, 0.9, 0.7], runs).by_split == {"fold0": pytest.approx(0.85), "fold1": 0.7}
