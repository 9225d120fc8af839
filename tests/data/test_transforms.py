"""Transforms are fitted on training rows alone, and are those of the paper."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.preprocessing import QuantileTransformer

from mixnam import randomness
from mixnam.data.table import Table
from mixnam.data.transforms import Preprocessing


def make(rows=200, task="regression", columns=None, categories=None, **more):
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 3)) * [1, 10, 1000] if columns is None else np.column_stack(columns)
    y = random.normal(size=rows) * 5 + 3
    if task == "classification":
        y = (y > np.quantile(y, 0.7)).astype(float)
    features = tuple(f"x{i}" for i in range(x.shape[1]))
    return Table("mine", "Mine", task, "rmse", x, y, features, "y", categories=categories or {}, **more)


def test_only_training_rows_matter():
    categories = {2: ("a", "b", "c", "d")}
    codes = np.random.default_rng(2).integers(0, 4, 200).astype(float)
    dataset = make(categories=categories, columns=[*make().x.T[:2], codes])
    train = np.arange(0, 200, 2)
    x, y = dataset.x.copy(), dataset.y.copy()
    x[1::2, :2] = 1e6
    x[1::2, 2] = 0
    y[1::2] = -1e6
    other = dataclasses.replace(dataset, x=x, y=y)
    one, two = Preprocessing(dataset, train, 0), Preprocessing(other, train, 0)
    assert np.array_equal(one.inputs(dataset.x[train]), two.inputs(other.x[train]))
    # a transform that is the same on any values was fitted on the same rows
    assert np.array_equal(one.inputs(dataset.x), two.inputs(dataset.x))
    assert np.array_equal(one.scale_target(dataset.y), two.scale_target(dataset.y))
    assert (one.target_mean, one.target_scale) == (two.target_mean, two.target_scale)
    # and it does depend on those
    assert not np.array_equal(one.inputs(dataset.x), Preprocessing(dataset, train[:90], 0).inputs(dataset.x))


def test_a_category_becomes_its_mean_target_and_a_rare_one_the_overall_mean():
    codes = np.array([0, 0, 0, 1, 1, 2, 4, 4], dtype=float)
    y = np.array([1, 2, 6, 10, 20, 99, 1000, 3000], dtype=float)
    names = ("seen thrice", "seen twice", "seen once", "never seen", "not in training")
    dataset = Table(
        "mine", "Mine", "regression", "rmse", np.column_stack([np.arange(8.0), codes]), y, ("x0", "c"), "y",
        categories={1: names},
    )  # fmt: skip
    train = np.arange(6)
    prep = Preprocessing(dataset, train, 0)
    overall = y[train].mean()
    assert prep.encodings[1] == pytest.approx([3, 15, overall, overall, overall, overall])
    table = np.column_stack([np.zeros(5), np.arange(5.0)])
    inputs = prep.inputs(table)[:, 1]
    assert inputs[2] == inputs[3] == inputs[4]
    assert inputs[0] < inputs[1] < inputs[2]
    assert len(set(prep.inputs(table)[:, 0])) == 1
    # the table itself stays as it was
    assert table[:, 1].tolist() == [0, 1, 2, 3, 4]


def test_categories_encode_classes_by_their_share():
    codes = np.array([0, 0, 0, 0, 1, 1], dtype=float)
    y = np.array([1, 0, 0, 0, 1, 1], dtype=float)
    dataset = Table("mine", "Mine", "classification", "auc", codes[:, None], y, ("c",), "y", categories={0: ("a", "b")})
    assert Preprocessing(dataset, np.arange(6), 0).encodings[0] == pytest.approx([0.25, 1, 0.5])


def test_a_constant_column_gives_finite_inputs():
    dataset = make(columns=[np.full(200, 7.0), np.zeros(200), np.arange(200.0)])
    prep = Preprocessing(dataset, np.arange(0, 200, 2), 0)
    assert np.isfinite(prep.inputs(dataset.x)).all()
    assert np.isfinite(prep.inputs(dataset.x + 1)).all()


def test_inputs_are_float32_and_about_standard_normal():
    random = np.random.default_rng(3)
    columns = [random.lognormal(sigma=2, size=4000), random.uniform(size=4000), random.standard_cauchy(4000)]
    dataset = make(4000, columns=columns)
    inputs = Preprocessing(dataset, np.arange(0, 4000, 2), 0).inputs(dataset.x)
    assert inputs.dtype == np.float32
    assert inputs.shape == dataset.x.shape
    for rows in (inputs[::2], inputs[1::2]):  # training rows and the others
        assert rows.mean(axis=0) == pytest.approx(np.zeros(3), abs=0.05)
        assert rows.std(axis=0) == pytest.approx(np.ones(3), abs=0.07)
        assert np.quantile(rows, 0.975, axis=0) == pytest.approx(np.full(3, 1.96), abs=0.2)


def test_inputs_keep_the_order_of_the_raw_values():
    dataset = make()
    inputs = Preprocessing(dataset, np.arange(100), 0).inputs(dataset.x)
    for raw, new in zip(dataset.x.T, inputs.T, strict=True):
        assert (np.diff(new[np.argsort(raw)]) >= 0).all()


def test_values_beyond_the_training_range_stay_finite():
    dataset = make()
    prep = Preprocessing(dataset, np.arange(100), 0)
    assert np.abs(prep.inputs(dataset.x * 1e6)).max() < 6


def test_equal_raw_values_get_equal_inputs_in_the_middle_of_their_mass():
    half = np.repeat([0.0, 1.0], 100)
    thirds = np.arange(200) % 3.0
    dataset = make(columns=[half, thirds])
    inputs = Preprocessing(dataset, np.arange(0, 200, 2), 0).inputs(dataset.x)
    for raw, new in zip(dataset.x.T, inputs.T, strict=True):
        assert all(len(set(new[raw == value])) == 1 for value in set(raw))
    # without noise the least and greatest values would land at -5.2 and 5.2; with it somewhere in the lower
    # and upper half: the shared value lies where its own noisy copies are split
    assert -2.5 < inputs[0, 0] < -0.1
    assert 0.1 < inputs[-1, 0] < 2.5


def test_noise_has_the_papers_scale():
    # far apart, so that noise keeps the order; the quantiles are then the noisy values themselves
    columns = [np.arange(1000.0) * 10, np.arange(1000.0)]
    dataset = make(1000, columns=columns)
    quantiles = Preprocessing(dataset, np.arange(1000), 0).transformer.quantiles_
    noise = quantiles - dataset.x
    expected = 1e-3 / dataset.x.std(axis=0)
    assert noise.std(axis=0) == pytest.approx(expected, rel=0.1)
    assert np.abs(noise.mean(axis=0)) == pytest.approx([0, 0], abs=4 * expected.max() / np.sqrt(1000))
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.15


def test_noise_depends_on_the_seed_only():
    dataset = make()
    train = np.arange(100)

    def inputs(seed, data=dataset):
        return Preprocessing(data, train, seed).inputs(dataset.x)

    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    first = inputs(0)
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(2)
    assert np.array_equal(first, inputs(0))
    assert np.array_equal(first, inputs(0, dataclasses.replace(dataset, y=-dataset.y)))
    assert not np.array_equal(first, inputs(1))
    assert np.median(np.abs(inputs(1) - first)) < 1e-3  # it is small


def test_quantiles_are_2000_and_taken_from_all_training_rows():
    dataset = make(12_000, columns=[np.arange(12_000.0)])
    transformer = Preprocessing(dataset, np.arange(12_000), 0).transformer
    assert transformer.n_quantiles_ == 2000
    # a subsample would not hold both ends
    assert transformer.quantiles_[[0, -1], 0] == pytest.approx([0, 11_999], abs=0.01)
    assert transformer.subsample == 12_000
    assert Preprocessing(dataset, np.arange(50), 0).transformer.n_quantiles_ == 50


def test_quantiles_can_be_those_of_rows_drawn_with_the_seed_as_scikit_learn_does():
    """As the authors' code: scikit-learn's own transformer with its default subsample, on the same noisy rows."""
    generator = np.random.default_rng(0)
    dataset = make(12_000, columns=[generator.normal(size=12_000), generator.exponential(size=12_000)])
    train = np.arange(11_000)
    found = [Preprocessing(dataset, train, seed, 10_000) for seed in (0, 1)]
    whole = Preprocessing(dataset, train, 0)
    noisy = dataset.x[train].copy()
    noise = randomness.normal([randomness.key(0, "preprocessing/noise")], noisy.size).numpy().reshape(noisy.shape)
    noisy += 1e-3 / np.maximum(noisy.std(axis=0), 1e-3) * noise
    theirs = QuantileTransformer(n_quantiles=2000, output_distribution="normal", random_state=0, subsample=10_000)
    assert np.array_equal(found[0].transformer.quantiles_, theirs.fit(noisy).quantiles_)
    assert not np.array_equal(found[0].transformer.quantiles_, found[1].transformer.quantiles_)
    assert not np.array_equal(found[0].transformer.quantiles_, whole.transformer.quantiles_)
    few = Preprocessing(dataset, np.arange(500), 0, 10_000).transformer  # fewer rows than are drawn: all
    assert np.array_equal(few.quantiles_, Preprocessing(dataset, np.arange(500), 0).transformer.quantiles_)
    assert Preprocessing(dataset, train, 0, 50).transformer.n_quantiles_ == 50


def test_target_scaling_standardises_training_rows_and_inverts():
    dataset = make()
    train = np.arange(120)
    prep = Preprocessing(dataset, train, 0)
    scaled = prep.scale_target(dataset.y)
    assert scaled[train].mean() == pytest.approx(0, abs=1e-12)
    assert scaled[train].std() == pytest.approx(1)
    assert scaled * prep.target_scale + prep.target_mean == pytest.approx(dataset.y)


def test_a_constant_target_stays_finite():
    dataset = dataclasses.replace(make(), y=np.full(200, 4.0))
    assert Preprocessing(dataset, np.arange(100), 0).scale_target(dataset.y).tolist() == [0.0] * 200


def test_class_labels_are_not_scaled():
    dataset = make(task="classification")
    prep = Preprocessing(dataset, np.arange(100), 0)
    assert (prep.target_mean, prep.target_scale) == (0.0, 1.0)
    assert np.array_equal(prep.scale_target(dataset.y), dataset.y)


def own(columns, rows=400, **options):
    """Return a user's table of given columns, and its transforms fitted on the first three quarters of the rows."""
    table = make(rows, columns=columns, own=True, **options)
    return table, Preprocessing(table, np.arange(rows * 3 // 4), 0)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e-3, 0.01, 1.0, 1e6, 1e12])
def test_the_scale_of_a_users_column_does_not_matter(scale):
    """A rate in percent, as a fraction or as thousandths of it is one feature (interpretml/interpret#188)."""
    column = np.random.default_rng(0).normal(size=400)
    _, plain = own([column])
    table, scaled = own([column * scale])
    assert np.allclose(scaled.inputs(table.x), plain.inputs(column[:, None]), atol=1e-5)
    assert 0.9 < scaled.inputs(table.x).std() < 1.1
    heavy, prep = own([np.exp(9 * column)])
    assert np.allclose(prep.inputs(heavy.x), plain.inputs(column[:, None]), atol=0.2), "nor do heavy tails"


def test_tied_values_stand_in_the_middle_of_their_ranks():
    column = np.repeat([0.0, 1.0, 5.0, 5.0 + 1e-9], 100)[np.random.default_rng(0).permutation(400)]
    table, prep = own([column])
    train = column[:300]
    inputs = prep.inputs(table.x)[:, 0]
    for value in np.unique(column):
        middle = (train < value).mean() + (train == value).mean() / 2
        assert inputs[column == value] == pytest.approx(norm.ppf(middle), abs=1e-5)
    assert prep.inputs(np.array([[-9.0], [99.0]]))[:, 0].tolist() == [inputs.min(), inputs.max()]


def test_missing_values_stay_apart_where_training_had_some_and_are_the_median_elsewhere():
    generator = np.random.default_rng(0)
    often, late = generator.normal(size=(2, 400))
    often[::7], late[350:] = np.nan, np.nan
    table, prep = own([often, late, np.full(400, 3.0)])
    inputs = prep.inputs(table.x)
    assert prep.gaps.tolist() == [True, False, False]
    assert np.array_equal(np.isnan(inputs[:, 0]), np.isnan(often))
    assert (inputs[350:, 1] == 0).all() and not np.isnan(inputs[:, 1:]).any()
    assert (inputs[:, 2] == 0).all(), "a constant says nothing"
    known = ~np.isnan(often)
    alone, same = own([often[known]], rows=int(known.sum()))
    order = inputs[known, 0].argsort()
    assert np.array_equal(order, same.inputs(alone.x)[:, 0].argsort()), "missing values do not move others"


@pytest.mark.parametrize("rows", [30, 400, 9000])
def test_a_users_transforms_are_restored_and_undone(rows):
    column = np.round(np.random.default_rng(0).lognormal(size=rows), 3)
    column[::9] = np.nan
    table, prep = own([column, np.arange(rows, dtype=float)], rows=rows)
    restored = Preprocessing.restored(prep.state())
    assert np.array_equal(restored.inputs(table.x), prep.inputs(table.x), equal_nan=True)
    train = table.x[: rows * 3 // 4]
    back = prep.numbers(prep.inputs(train).astype(float))
    assert np.allclose(back, train, rtol=1e-3 if rows < 9000 else 0.05, atol=1e-3, equal_nan=True)


def test_a_users_table_has_other_keys_than_the_papers_treatment_of_it():
    table = make()
    assert dataclasses.replace(table, own=True).checksum != table.checksum
