"""Two results of one run: the same bits, within rounding, or different, with the part and the reason."""

import dataclasses
import math

import numpy as np
import pytest
from every import every
from untrained import LINEAR, MIXNAM, NAM, fresh

from mixnam.explain.measures import REVISION
from mixnam.runs.compare import DIFFERENT, METRICS, SAME, SHARE, WITHIN, compare
from mixnam.runs.store import Store


def changed(result, **parts):
    """The same result with some numbers, arrays or weights replaced; of a dictionary those that are named."""
    known = {"arrays": result.arrays, "weights": result.weights}
    known |= {name: getattr(result, name) for name in parts if name not in known}
    known |= {name: known[name] | value for name, value in parts.items()}
    arrays, weights = known.pop("arrays"), known.pop("weights")
    return dataclasses.replace(result, **known, fresh=(arrays, weights))


def elsewhere(result):
    """The same result, trained with another version of torch."""
    return changed(result, provenance={"versions": {"python": "3.11", "torch": "2.13"}})


def scored(score, r2=-0.1):
    return {"test": {"rmse": score, "r2": r2}}


#: One change of each kind: how a result would come out again.
CHANGES = {
    "metric test.rmse": {"metrics": scored(0.6)},
    "metric test.r2": {"metrics": scored(0.5, 0.1)},
    "metric train.rmse": {"metrics": {"train": {"rmse": 0.6, "r2": -0.1}}},
    "measure additivity.marginal": {"measures": {"additivity": {"marginal": 0.4, "per_feature": [1.0, None]}}},
    "measure additivity.per_feature": {"measures": {"additivity": {"marginal": 1.0, "per_feature": [0.4, None]}}},
    "measure tightness.range": {"measures": {"tightness": {"range": 0.9}}},
    "history best_epoch": {"history": {"best_epoch": 3}},
    "history stopped_early": {"history": {"stopped_early": True}},
    "history validation_scores": {"history": {"validation_scores": [[1, 0.9], [2, 0.7]]}},
    "array test_prediction": {"arrays": {"test_prediction": np.arange(5, dtype=np.float32)[::-1]}},
    "array grid": {"arrays": {"grid": np.array([[1.0, 2.0], [2.0, 3.0]], np.float32)}},
    "weights bias": {"weights": {"bias": np.array(0.5, np.float32)}},
}
#: On these the verdict rests where bits may differ.
DECIDE = ("metric test.", "measure additivity.marginal", "measure tightness.range")


def test_a_result_is_the_same_bits_as_itself_and_as_it_was_stored(tmp_path):
    result = fresh(MIXNAM)
    for again in (result, changed(result), Store(tmp_path).put(result)):
        found = compare(again, result)
        assert (found.verdict, found.worst, found.reason) == (SAME, None, "same device and versions")
        assert {part.verdict for part in found.parts} == {SAME}
        assert {part.kind for part in found.parts} == {"metric", "measure", "history", "array", "weights"}
        assert found.text.startswith("the same bits")
    assert compare(result, elsewhere(result)).verdict == SAME


@every("name, change", CHANGES.items())
def test_on_the_same_cpu_and_versions_any_change_is_different_and_named(name, change):
    result = fresh(MIXNAM)
    for pair in ((result, changed(result, **change)), (changed(result, **change), result)):
        found = compare(*pair)
        assert found.verdict == DIFFERENT
        assert found.text.startswith(f"different: {name} ")
        assert found.text.endswith("other bits in 1 of 19 parts; same device and versions")
        assert [f"{part.kind} {part.name}" for part in found.parts if part.verdict != SAME] == [name]


@every("name, change", CHANGES.items())
def test_elsewhere_scores_of_test_rows_and_shares_decide_and_all_else_is_told(name, change):
    result = fresh(MIXNAM)
    found = compare(result, elsewhere(changed(result, **change)))
    (part,) = (part for part in found.parts if part.verdict != SAME)
    assert (f"{part.kind} {part.name}", part.verdict) == (name, DIFFERENT)
    assert part.distance > part.tolerance
    assert found.verdict == (DIFFERENT if name.startswith(DECIDE) else WITHIN)
    assert f": {name} " in found.text and found.text.endswith("other torch: 2 against 2.13")


def test_the_last_bit_counts_where_bits_repeat_and_is_rounding_elsewhere():
    result, score = fresh(MIXNAM), math.nextafter(0.5, 1)
    arrays = {"test_prediction": np.nextafter(np.arange(5, dtype=np.float32), np.float32(9))}
    again = changed(result, metrics=scored(score), arrays=arrays)
    assert compare(result, again).text == (
        "different: metric test.rmse 0.5 before, 0.5000000000000001 now; other bits in 2 of 19 parts; "
        "same device and versions"
    )
    found = compare(result, elsewhere(again))
    assert found.verdict == WITHIN
    assert {part.verdict for part in found.parts} == {SAME, WITHIN}


@every("metric", METRICS)
def test_a_score_may_move_by_its_tolerance_and_no_further(metric):
    # a target with a standard deviation of 50, or a classification
    errors = {"rmse": 30.0, "mae": 20.0, "mse": 900.0, "r2": 1 - 900 / 2500}
    scores = errors if metric in errors else {"auc": 0.9, "average_precision": 0.8, "log_loss": 0.4, "accuracy": 0.8}
    result = changed(fresh(MIXNAM), metrics={"test": scores})
    tolerance = METRICS[metric][0] * {"rmse": 50, "mae": 50, "mse": 2500}.get(metric, 1)
    for factor, verdict in ((0.99, WITHIN), (-0.99, WITHIN), (1.01, DIFFERENT), (-1.01, DIFFERENT)):
        moved = scores | {metric: scores[metric] + factor * tolerance}
        found = compare(result, elsewhere(changed(result, metrics={"test": moved})))
        assert found.verdict == verdict
        assert found.worst.tolerance == pytest.approx(tolerance)
        assert found.worst.distance == pytest.approx(0.99 * tolerance, rel=0.03)


def test_a_share_may_move_by_its_tolerance_and_no_further():
    result = fresh(MIXNAM)
    for marginal, verdict in ((1 - 0.99 * SHARE, WITHIN), (1 - 1.01 * SHARE, DIFFERENT)):
        measures = {"additivity": {"marginal": marginal, "per_feature": [1.0, None]}}
        assert compare(result, elsewhere(changed(result, measures=measures))).verdict == verdict


def without(result, kind, name):
    parts = {"arrays": dict(result.arrays), "weights": dict(result.weights)}
    known = parts[kind] if kind in parts else dict(getattr(result, kind))
    del known[name]
    fields = {} if kind in parts else {kind: known}
    return dataclasses.replace(result, **fields, fresh=(parts["arrays"], parts["weights"]))


@every(
    "kind, name",
    [("metrics", "test"), ("measures", "additivity"), ("history", "epochs"), ("arrays", "grid"), ("weights", "bias")],
)
def test_what_one_result_lacks_is_different_everywhere(kind, name):
    result = fresh(MIXNAM)
    less = without(result, kind, name)
    for again in (less, elsewhere(less)):
        now, before = compare(result, again), compare(again, result)
        assert now.verdict == before.verdict == DIFFERENT
        assert (now.worst.after, before.worst.before) == (None, None)
        assert f" {name}" in now.text and "nothing now" in now.text
        assert f" {name}" in before.text and "nothing before" in before.text


@every("arrays", [{"grid": np.zeros((0, 2), np.float32)}, {"grid": np.zeros((2, 2), np.float64)}])
def test_an_array_of_another_shape_or_type_has_other_bits(arrays):
    result = fresh(MIXNAM)
    assert compare(result, changed(result, arrays=arrays)).verdict == DIFFERENT
    (array,) = arrays.values()
    assert (
        f"array grid float32 (2, 2) before, {array.dtype} {array.shape} now"
        in compare(result, changed(result, arrays=arrays)).text
    )


def test_nan_equals_nan_and_no_number():
    nan = {"test": {"rmse": math.nan, "r2": math.nan}}
    result = changed(fresh(MIXNAM), metrics=nan, arrays={"grid": np.full((2, 2), np.nan, np.float32)})
    assert compare(result, changed(result)).verdict == SAME
    for again in (changed(result, metrics=scored(0.5)), fresh(MIXNAM)):
        assert compare(result, elsewhere(again)).verdict == DIFFERENT


def test_weights_count_where_both_results_have_them(tmp_path):
    result, other = fresh(MIXNAM), changed(fresh(MIXNAM), weights={"bias": np.array(0.5, np.float32)})
    stored = Store(tmp_path).put(result)
    assert compare(stored, other).text.startswith("different: weights bias ")
    stored.path(".weights.safetensors").unlink()
    found = compare(Store(tmp_path).get(MIXNAM), other)
    assert found.verdict == SAME
    assert "weights" not in {part.kind for part in found.parts}


def test_cost_and_provenance_explain_and_are_not_compared():
    result = fresh(MIXNAM)
    origin = {"created": "today", "git_commit": "f" * 40, "dirty": True, "preset": "paper"}
    found = compare(result, changed(result, provenance=origin, cost={"fit_seconds": 9.0, "peak_memory_mb": 1.0}))
    assert (found.verdict, found.reasons) == (SAME, ())


@every(
    "change, reason",
    [
        ({"provenance": {"versions": {"python": "3.12", "torch": "2"}}}, "other python: 3.11 against 3.12"),
        ({"provenance": {"device": "another CPU"}}, "other device: a CPU against another CPU"),
        ({"provenance": {"threads": 2}}, "other threads: 1 against 2"),
        ({"provenance": {"device_type": "cuda"}}, "on a GPU, where bits may differ each time"),
        ({"cost": {"stack": 5}}, "other stack: 1 against 5"),
        (
            {"provenance": {"versions": {"python": "3.12", "torch": "2"}, "device": "a GPU", "device_type": "cuda"}},
            "other device: a CPU against a GPU; other python: 3.11 against 3.12",
        ),
    ],
)
def test_what_explains_other_bits_is_named(change, reason):
    result = fresh(MIXNAM)
    found = compare(result, changed(result, metrics=scored(0.501), **change))
    assert (found.verdict, found.reason) == (WITHIN, reason)
    assert found.text.endswith(f"; {reason}")


def test_measures_of_another_revision_are_different_and_no_more_is_said_of_them():
    result = fresh(MIXNAM)
    old = changed(result, measures={"revision": REVISION - 1, "additivity": {"marginal": 0.1}, "gone": 1.0})
    found = compare(old, result)
    assert (found.verdict, found.reason) == (
        DIFFERENT,
        f"measures of another revision: {REVISION - 1} against {REVISION}",
    )
    assert [part.name for part in found.parts if part.kind == "measure"] == ["revision"]
    assert {part.verdict for part in found.parts if part.kind != "measure"} == {SAME}
    # a library's models hold no measure that was revised
    library = dataclasses.replace(fresh(LINEAR), measures={"revision": REVISION, "importance": {"per_feature": [1.0]}})
    assert compare(changed(library, measures={"revision": 1}), library).verdict == SAME


def test_two_runs_are_not_compared():
    with pytest.raises(ValueError, match=f"{MIXNAM.key[:12]} and {NAM.key[:12]}"):
        compare(fresh(MIXNAM), fresh(NAM))


def test_what_a_later_version_keeps_more_is_told_and_decides_nothing():
    stored = changed(fresh(MIXNAM), provenance={"versions": {"mixnam": "0.6.0"}})
    more = {"arrays": {"pairs": np.array([[6, 7]])}}
    later = changed(stored, provenance={"versions": {"mixnam": "0.7.0"}}, **more)
    found = compare(stored, later)
    assert (found.verdict, found.worst.name) == (WITHIN, "pairs")
    assert compare(later, stored).verdict == DIFFERENT  # lost, not gained
    assert compare(stored, changed(stored, **more)).verdict == DIFFERENT  # of the same version
