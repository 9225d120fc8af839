"""Every row is in one part of a split: the paper's splits, the publishers' files, and other partitions."""

import dataclasses

import generated
import numpy as np
import pytest
from every import every

from mixnam.data import catalogue
from mixnam.data.splits import FOLD_FILES, FOLDS, HOLDOUTS, YEAR_FOLDERS, split_rows
from mixnam.data.table import DataError, Table


def make(rows=200, task="regression", columns=None, folds=None):
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 3)) if columns is None else np.column_stack(columns)
    y = random.normal(size=rows) * 5 + 3
    if task == "classification":
        y = (y > np.quantile(y, 0.7)).astype(float)
    features = tuple(f"x{i}" for i in range(x.shape[1]))
    return Table("mine", "Mine", task, "rmse", x, y, features, "y", folds=folds)


def parts(split):
    return split.train, split.validation, split.test


@every("seed", [0, 1, 12345])
def test_holdout_is_the_papers_one_split_whatever_the_seed(seed):
    dataset = make(20640, columns=[np.zeros(20640)])
    split = split_rows(dataset, "holdout", seed)
    assert [len(rows) for rows in parts(split)] == [14447, 2065, 4128]
    assert np.array_equal(np.sort(np.concatenate(parts(split))), np.arange(20640))
    for rows, again in zip(parts(split), parts(split_rows(dataset, "holdout", 0)), strict=True):
        assert np.array_equal(rows, again)
    # no key tells which rows were drawn: a scikit-learn that draws others must be noticed here
    first = [[9652, 9390, 16129], [11, 1867, 14030], [14740, 10101, 20566]]
    assert [rows[:3].tolist() for rows in parts(split)] == first


def test_other_holdouts_are_other_draws_of_the_same_shares():
    dataset = make(20640, columns=[np.zeros(20640)])
    splits = [split_rows(dataset, name, 0) for name in ("holdout", *HOLDOUTS)]
    for split in splits:
        assert [len(rows) for rows in parts(split)] == [14447, 2065, 4128]
        assert np.array_equal(np.sort(np.concatenate(parts(split))), np.arange(20640))
    for k, one in enumerate(splits):
        for other in splits[:k]:  # a fifth of the rows is tested: independent draws share a fifth of these
            assert len(np.intersect1d(one.test, other.test)) == pytest.approx(4128 / 5, rel=0.1)
    # no key tells which rows were drawn, as above
    firsts = [split.test[:3].tolist() for split in splits[1:]]
    assert firsts == [
        [4712, 2151, 15927], [10385, 1943, 7490], [9491, 11843, 11271], [6939, 8032, 18877], [14772, 10105, 20094],
    ]  # fmt: skip
    again = split_rows(dataset, "holdout3", 7)
    assert all(np.array_equal(a, b) for a, b in zip(parts(splits[3]), parts(again), strict=True))


def test_other_holdouts_draw_anew_from_rows_that_a_data_set_fixes():
    fixed = dataclasses.replace(make(), parts=np.repeat([1, 2, 3], [140, 20, 40]))
    found, drawn = (split_rows(table, "holdout2", 0) for table in (fixed, make()))
    assert all(np.array_equal(a, b) for a, b in zip(parts(found), parts(drawn), strict=True))


@every("task", ["regression", "classification"])
def test_folds_have_disjoint_test_rows_that_cover_the_data(task):
    dataset = make(203, task)
    splits = [split_rows(dataset, fold, 0) for fold in FOLDS]
    assert np.array_equal(np.sort(np.concatenate([s.test for s in splits])), np.arange(203))
    for split in splits:
        assert np.array_equal(np.sort(np.concatenate(parts(split))), np.arange(203))
        assert len(split.test) in (40, 41)
        assert len(split.validation) == pytest.approx(0.2 * (203 - len(split.test)), abs=1)


def test_validation_rows_of_a_fold_change_with_the_seed_and_its_test_rows_do_not():
    dataset = make(203)
    one, same, other = (split_rows(dataset, "fold2", seed) for seed in (0, 0, 1))
    assert np.array_equal(one.validation, same.validation)
    assert set(one.validation) != set(other.validation)
    assert np.array_equal(one.test, other.test)


@every("fold", FOLDS)
def test_validation_rows_of_a_fold_are_stratified(fold):
    dataset = make(1000, "classification")
    split = split_rows(dataset, fold, 3)
    # within one row of the training part's share: a draw without strata is off by several
    share = dataset.y[np.concatenate([split.train, split.validation])].mean()
    assert abs(dataset.y[split.validation].sum() - share * len(split.validation)) <= 1


def test_the_publishers_folds_are_honoured():
    folds = np.random.default_rng(1).permutation(np.repeat(np.arange(5), [10, 20, 30, 40, 50]))
    dataset = make(150, folds=folds)
    for k in range(5):
        split = split_rows(dataset, f"fold{k}", 0)
        assert np.array_equal(np.sort(split.test), np.flatnonzero(folds == k))
        assert np.array_equal(np.sort(np.concatenate([split.train, split.validation])), np.flatnonzero(folds != k))


@every("own", [True, False])
def test_repeated_folds_are_other_partitions_of_all_rows(own):
    folds = np.arange(200) % 5
    dataset = dataclasses.replace(make(), folds=folds) if own else make()
    partitions = []
    for prefix in ("", "repeat1-", "repeat2-"):
        tested = [split_rows(dataset, f"{prefix}fold{k}", 0).test for k in range(5)]
        assert sorted(np.concatenate(tested)) == list(range(200))
        partitions.append({tuple(sorted(test)) for test in tested})
        for k in range(5):
            split = split_rows(dataset, f"{prefix}fold{k}", 0)
            assert sorted(np.concatenate([split.train, split.validation, split.test])) == list(range(200))
    assert not (partitions[0] & partitions[1] or partitions[0] & partitions[2] or partitions[1] & partitions[2])


@every("split", ["fold5", "fold", "test", "", "Holdout", "repeat3-fold0", "repeat1-fold5", "holdout0", "holdout6"])
def test_an_unknown_split_is_refused(split):
    with pytest.raises(ValueError, match=f"split must be holdout or one of holdout1, .*, repeat2-fold4, got '{split}'"):
        split_rows(make(), split, 0)


def test_rows_left_open_are_drawn_beside_the_fixed_ones():
    fixed = np.repeat([1, 2, 3, 0], [10, 5, 20, 50])
    for task in ("regression", "classification"):
        y = np.arange(len(fixed)) % 2.0
        table = Table("mine", "Mine", task, "rmse", y[:, None], y, ("a",), "y", parts=fixed)
        rows = split_rows(table, "holdout", 1)
        assert rows.test.tolist() == list(range(15, 35))
        assert set(range(10)) <= set(rows.train) and set(range(10, 15)) <= set(rows.validation)
        assert (len(rows.train), len(rows.validation)) == (50, 15)


@every("name", generated.FOLDERS)
def test_the_publishers_folds_are_read(name, small):
    generated.WRITERS[name](small)
    ours = catalogue.load(name)
    folds = generated.write_folds(small / generated.FOLDERS[name])
    data = catalogue.load(name)
    assert np.array_equal(data.folds, folds) and ours.folds is None
    assert data.checksum != ours.checksum
    assert catalogue.checksum(name) == data.checksum
    assert data.source.endswith(", folds from files")
    for k, split in enumerate(FOLDS):
        rows = split_rows(data, split, 0)
        assert rows.test.tolist() == np.flatnonzero(folds == k).tolist()
        assert len(rows.train) + len(rows.validation) == 240


def edit(path, change):
    rows = change([int(v) for v in path.read_text().split()])
    path.write_text("\n".join(map(str, rows)))
    return rows


@every(
    "damage, message",
    [
        (lambda folder: (folder / "test3.txt").unlink(), r"has fold files but lacks test3\.txt; put all ten"),
        (
            lambda folder: [edit(folder / name, lambda rows: [r + 1 for r in rows]) for name in FOLD_FILES],
            "holds row numbers .* to 300, expected 0 to 299",
        ),
        (
            lambda folder: generated.put(folder / "test0.txt", map(str, range(1, 301))),
            r"row numbers 1 to 300, expected 0 to 299; are they counted from 1\?",
        ),
        (
            lambda folder: edit(folder / "test1.txt", lambda rows: rows + edit(folder / "test0.txt", sorted)[:1]),
            r"test1\.txt names 1 rows, such as \d+, that test0\.txt names too",
        ),
        (lambda folder: edit(folder / "test1.txt", lambda rows: rows[1:]), "leave out 1 of 300 rows, such as"),
        (lambda folder: edit(folder / "train1.txt", lambda rows: rows[1:]), r"not the rest beside test1\.txt, 1 rows"),
        (lambda folder: edit(folder / "test2.txt", lambda rows: [*rows, rows[0]]), "names 1 rows more than once"),
        (lambda folder: edit(folder / "test2.txt", lambda rows: [-1, *rows[1:]]), "holds row numbers -1 to"),
        (lambda folder: (folder / "test2.txt").write_text(""), r"test2\.txt holds no row numbers"),
        (lambda folder: (folder / "test2.txt").write_text("one\ntwo"), "cannot be read as row numbers"),
        (lambda folder: (folder / "train2.txt").write_bytes(b"\xff\xfe"), "cannot be read as row numbers"),
    ],
)  # fmt: skip
def test_folds_that_do_not_share_out_the_rows_are_refused(damage, message, small):
    generated.write_credit(small)
    generated.write_folds(small / "credit")
    damage(small / "credit")
    with pytest.raises(DataError, match=message) as caught:
        catalogue.load("credit")
    assert str(small / "credit") in str(caught.value) and "remove" in str(caught.value)


@every("folder", YEAR_FOLDERS)
def test_nodes_validation_rows_are_taken_where_they_are(folder, tmp_path, monkeypatch):
    generated.accept(monkeypatch, tmp_path)
    generated.write_year(tmp_path)
    drawn = catalogue.load("year")
    train, validation = generated.write_year_rows(tmp_path / folder)
    year = catalogue.load("year")
    assert year.checksum != drawn.checksum
    assert catalogue.checksum("year") == year.checksum
    for seed in (0, 1):
        rows = split_rows(year, "holdout", seed)
        assert np.array_equal(rows.train, train) and np.array_equal(rows.validation, validation)
        assert rows.test.tolist() == list(range(270, 300))
    assert "validation rows of NODE" in year.source


@every(
    "damage, message",
    [
        (lambda folder: (folder / "stratified_valid_idx.txt").unlink(), "lacks stratified_valid_idx.txt beside strat"),
        (lambda folder: edit(folder / "stratified_train_idx.txt", lambda rows: rows[2:]), "leave out 2 of 270 rows"),
        (
            lambda folder: (folder / "stratified_valid_idx.txt").write_text(
                (folder / "stratified_train_idx.txt").read_text()
            ),
            "name 216 rows",
        ),
        (lambda folder: edit(folder / "stratified_train_idx.txt", lambda rows: [*rows, 270]), "expected 0 to 269"),
    ],
)
def test_nodes_files_that_do_not_share_out_the_rows_are_refused(damage, message, small):
    generated.write_year(small)
    generated.write_year_rows(small / "YEAR")
    damage(small / "YEAR")
    with pytest.raises(DataError, match=message) as caught:
        catalogue.load("year")
    assert str(caught.value).startswith("year: ") and str(small / "YEAR") in str(caught.value)
