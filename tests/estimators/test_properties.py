"""What holds for any data frame: predictions row by row, contributions that add up, saved models that say the same."""

import pickle
import tempfile
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixnam import MixNAMClassifier, MixNAMRegressor, NAMClassifier, NAMRegressor, TableError

FAST = {"epochs": 2, "batch_size": 16, "learning_rate": 0.02, "verbose": False}
MIXTURE = {"width": 4, "layers": 1, "experts": 3}
#: dtypes by what they hold; the object columns are mixed, for a gap makes one of any
DTYPES = {
    "number": ["float64", "float32", "Float64", "double[pyarrow]", "object"],
    "count": ["int64", "uint8", "Int64", "int64[pyarrow]", "object"],
    "truth": ["bool", "boolean", "bool[pyarrow]", "object"],
    "word": ["object", "str", "string", "string[pyarrow]", "category", "ordered", "dictionary"],
    "level": ["category", "ordered"],
}
WORDS = ["red", "blue", "a b", "$x$", "Zürich", "NA", "10 to 20", "true", "-"]
WHOLE = {"int64", "uint8", "bool"}  # no value is missing in these


@st.composite
def columns(draw, rows):
    """A column of so many rows, of any dtype that is read, perhaps with gaps, perhaps of one value."""
    kind = draw(st.sampled_from(sorted(DTYPES)))
    dtype = draw(st.sampled_from(DTYPES[kind]))
    values = {
        "number": st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, -0.0, 1e-12, 1e12]),
        "count": st.integers(0, 255),
        "truth": st.booleans(),
        "word": st.sampled_from(WORDS),
        "level": st.integers(-2, 2),
    }[kind]
    distinct = draw(st.lists(values, min_size=1, max_size=6, unique=True))
    distinct = ["red"] if distinct == ["NA"] else distinct
    source = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    chosen = [distinct[i] for i in source.integers(0, len(distinct), rows)]
    if dtype not in WHOLE and draw(st.booleans()):
        gap = draw(st.sampled_from([None, np.nan, pd.NA])) if dtype == "object" else None
        chosen = [gap if missing else value for value, missing in zip(chosen, source.random(rows) < 0.3, strict=True)]
        chosen[0] = distinct[0]
    if dtype in ("category", "ordered"):
        known = pd.CategoricalDtype([*distinct, "unused" if kind == "word" else 99], ordered=dtype == "ordered")
        return pd.Series(chosen, dtype=known)
    if dtype == "dictionary":
        pa = pytest.importorskip("pyarrow")
        return pd.Series(chosen, dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())))
    return pd.Series(chosen, dtype=dtype)


@st.composite
def cases(draw, kind):
    """An estimator, and what it is fitted on: rows in any order of index, a target, and weights or none."""
    rows = draw(st.integers(12, 30))
    frame = pd.concat(draw(st.lists(columns(rows), min_size=1, max_size=4)), axis=1)
    source = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    frame.columns = [f"c{i}" for i in range(frame.shape[1])]
    frame.index = source.permutation(rows) * 3
    if hasattr(kind, "predict_proba"):
        labels = draw(st.sampled_from([["no", "yes"], [0, 1], [3, 1, 2], [False, True], ["a", "b", "c"]]))
        y = np.array(labels)[np.append(np.arange(len(labels)), source.integers(0, len(labels), rows - len(labels)))]
    else:
        scale, shift = draw(st.sampled_from([(1.0, 0.0), (1e6, -1e7), (1e-6, 3.0), (0.0, 5.0)]))
        y = scale * source.normal(size=rows) + shift
    weights = np.where(np.arange(rows) < 3, 1.0, source.integers(0, 3, rows)) if draw(st.booleans()) else None
    options = FAST | {"n_members": draw(st.integers(1, 2)), "random_state": draw(st.integers(0, 9))}
    options |= {"encoding": draw(st.sampled_from(["scalar", "piecewise_linear"]))}
    options |= {"unseen": draw(st.sampled_from(["average", "refuse"]))}
    if kind in (MixNAMRegressor, MixNAMClassifier):
        options |= MIXTURE | {"variant": draw(st.sampled_from(["mixnam", "d", "e"]))}
    else:
        options["hidden"] = (4,)
    return kind(**options), frame, y, weights, source


def scores(model, frame):
    """The additive scores, (classes or 1, rows)."""
    return np.atleast_2d((getattr(model, "decision_function", None) or model.predict)(frame).T)


def holds_what_must(model, frame, y, weights, source):
    model.fit(frame, y, weights)
    found = scores(model, frame)
    assert np.isfinite(found).all()
    told = model.explain_local(frame)
    scale = np.abs(told.contributions).sum(axis=-1) + np.abs(told.intercept)[:, None]
    near = 1e-9 * scale + 1e-300

    order = source.permutation(len(frame))
    assert (np.abs(scores(model, frame.iloc[order]) - found[:, order]) <= near[:, order]).all()
    part = order[: source.integers(1, len(frame))]
    assert (np.abs(scores(model, frame.iloc[part]) - found[:, part]) <= near[:, part]).all()
    for row in order[:2]:
        assert (np.abs(scores(model, frame.iloc[[row]]) - found[:, [row]]) <= near[:, [row]]).all()

    assert (np.abs(told.contributions.sum(axis=-1) + told.intercept[:, None] - found) <= near).all()
    assert (np.abs(told.prediction - found) <= near).all()
    assert (told.lower <= told.contributions + near[..., None]).all()
    assert (told.contributions <= told.upper + near[..., None]).all()

    with tempfile.TemporaryDirectory() as folder:
        model.save(folder)
        for again in (type(model).load(folder), pickle.loads(pickle.dumps(model))):
            assert np.array_equal(again.predict_members(frame), model.predict_members(frame))
            assert np.array_equal(again.predict(frame), model.predict(frame))
            pd.testing.assert_frame_equal(again.explain_global().frame(), model.explain_global().frame())

    for place in model.about_.categories:
        name = model.about_.features[place]
        new = frame.assign(**{name: frame[name].astype(object)})
        new.iloc[[0], place] = "never seen"
        if model.unseen == "refuse":
            with pytest.raises(TableError, match=f"'{name}' holds 'never seen' in row 1"):
                model.predict(new)
            continue
        predicted = scores(model, new)
        assert np.isfinite(predicted).all()
        assert (np.abs(predicted[:, 1:] - found[:, 1:]) <= near[:, 1:]).all()


def checked(case):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.filterwarnings("ignore", message="rows: ", category=UserWarning)
        holds_what_must(*case)


@settings(max_examples=10)
@given(cases(MixNAMRegressor))
def test_a_mixnam_of_any_frame_predicts_a_number(case):
    checked(case)


@settings(max_examples=8)
@given(cases(MixNAMClassifier))
def test_a_mixnam_of_any_frame_predicts_a_class(case):
    checked(case)


@settings(max_examples=10)
@given(cases(NAMRegressor))
def test_a_nam_of_any_frame_predicts_a_number(case):
    checked(case)


@settings(max_examples=8)
@given(cases(NAMClassifier))
def test_a_nam_of_any_frame_predicts_a_class(case):
    checked(case)
