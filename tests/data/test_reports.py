"""Inputs that public reports of other projects describe: what becomes of each here."""

import io
import zipfile

import numpy as np
import pandas as pd
import pytest

from mixnam.data.columns import encode
from mixnam.data.own import read_table
from mixnam.data.table import TableError

ROWS = 40
Y = np.arange(ROWS) / 7
FLOOR = np.arange(ROWS) % 5


def read(column, **options):
    return read_table(pd.DataFrame({"c": column, "floor": FLOOR, "y": Y}), "y", **options)


def parsed(text, tmp_path, target="y", **options):
    (tmp_path / "table.csv").write_text(text, encoding="utf-8")
    return read_table(tmp_path / "table.csv", target, **options)


def lines(*columns):
    return "\n".join(",".join(map(str, row)) for row in zip(*columns, strict=True)) + "\n"


def test_leading_zeros_of_postal_codes_stay(tmp_path):
    """sdv-dev/SDV#2780, wireservice/csvkit#977: 02116 became 2116, a number."""
    table = parsed("zip,y\n" + lines(np.array(["02116", "80202", "00501"])[np.arange(ROWS) % 3], Y), tmp_path)
    assert table.categories[0] == ("00501", "02116", "80202")


def test_a_word_that_comes_late_is_not_cut_to_its_digits(tmp_path):
    """turi-code/SFrame#23: types went by the first rows, and a late 9a was read as 9, a as nothing."""
    with pytest.raises(TableError, match="column 'a' holds '9a' in row 5001 among numbers"):
        parsed("a,y\n" + lines([*np.arange(5000) % 7, "9a"], np.arange(5001)), tmp_path)


def test_two_files_put_together_with_both_headers_are_refused(tmp_path):
    """scikit-learn/scikit-learn#12621: the second header was a value of every column."""
    half = "kind,y\n" + lines(["a", "b"] * 10, range(20))
    with pytest.raises(TableError, match="line 22 repeats the header; remove it"):
        parsed(half + half, tmp_path)


def test_times_are_refused_not_read_as_a_constant_or_a_count():
    """MemberJunction/MJ#3104, SauersML/gam#3044: a column of times became a constant 0, or plain numbers."""
    when = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(ROWS), "D")
    for column in (
        when,
        when.to_numpy(),
        when.tz_localize("UTC"),
        when.to_period("M"),
        when - when[0],
        when.astype(str),
    ):
        with pytest.raises(TableError, match="column 'c' holds times, such as"):
            read(column)


def test_decimal_commas_are_not_taken_for_dates_or_words():
    """alanarazi7/MulTaBench#43, pandas-dev/pandas#59299: 168,71 was parsed as a date, 1.234,56 as text."""
    for values in (["168,71", "21,5"], ["1.234,56", "1,20"]):
        with pytest.raises(TableError, match="column 'c' holds numbers written as text, such as '1"):
            read(np.array(values)[np.arange(ROWS) % 2])


def test_an_unknown_among_counts_does_not_scramble_their_order():
    """yakew7/Fair-Code#539: one Unknown made categories of counts, 10 and 20 before 3."""
    counts = np.array(["0", "1", "2", "3", "10", "20", "Unknown"], object)[np.arange(ROWS) % 7]
    with pytest.raises(TableError, match="column 'c' holds 'Unknown' in row 7 among numbers"):
        read(counts)
    assert read(counts, categorical=["c"]).categories[0] == ("0", "1", "2", "3", "10", "20", "Unknown")
    assert read(counts, missing=["Unknown"]).gaps == (0,)


def test_classes_that_are_numbers_are_in_their_order_as_text_too():
    """mljar/mljar-supervised#245, google-research/tabfm#7: 10 stood before 2, or classes in order of appearance."""
    for classes in (["10", "2"], [10, 2], [10.0, 2.0]):
        table = read_table(pd.DataFrame({"a": Y, "t": np.array(classes)[np.arange(ROWS) % 2]}), "t")
        assert table.target == "t = 10"
        assert table.y[0] == 1


def test_classes_need_not_be_whole_numbers():
    """EducationalTestingService/skll#285: classes 1 and 1.6 became 1 and 1."""
    table = read_table(pd.DataFrame({"a": Y, "t": np.where(np.arange(ROWS) % 3, 1.6, 1)}), "t")
    assert table.target == "t = 1.6"
    assert table.y.sum() == (np.arange(ROWS) % 3 > 0).sum()


def test_namibia_is_a_country(tmp_path):
    """gshs-ornl/wbstats#26, datasets/country-codes#38: NA was missing."""
    table = parsed("code,y\n" + lines(["NA", "DE"] * 20, Y), tmp_path)
    assert table.categories[0] == ("DE", "NA")
    assert table.notes["code"] == "'NA' is a category"
    assert parsed("code,y\n" + lines(["NA", "DE"] * 20, Y), tmp_path, missing=["NA"]).categories[0] == ("DE", "missing")


@pytest.mark.parametrize("name", ["distance, km", "[bio].[x]", 'a "b": {c}', "площадь", "a<b", "x\ty"])
def test_names_of_columns_have_any_characters(name):
    """lightgbm-org/LightGBM#6202, mljar/mljar-supervised#285, autogluon/autogluon#399: such names were refused."""
    assert read_table(pd.DataFrame({name: FLOOR, "y": Y}), "y").features == (name,)


def test_numbers_that_are_kinds_match_however_they_are_written():
    """PriorLabs/TabPFN#1015, UCL/TLOmodel#715: "1.0" at prediction, or beside a missing value, was another category."""
    about = read(pd.Series(FLOOR % 3 + 1).where(FLOOR != 4), categorical=["c"]).about
    assert about.categories[0] == ("1", "2", "3", "missing")
    for value in (2, 2.0, "2", "2.0", np.float32(2), pd.array([2], "Int64")[0]):
        rows = pd.DataFrame({"c": pd.Series([value], dtype=object), "floor": [1]})
        assert encode(rows, about)[0, 0] == 1


def test_codes_beside_missing_values_are_not_told_with_a_point():
    """tensorflow/tfx#819: census tracts became 12345.0 where one was missing."""
    tracts = pd.Series(np.array([12345, 678])[np.arange(ROWS) % 2]).where(np.arange(ROWS) != 3)
    assert tracts.dtype == float
    assert read(tracts, categorical=["c"]).categories[0] == ("678", "12345", "missing")


def test_a_column_without_any_value_is_refused():
    """PriorLabs/TabPFN#1002: a column that was all missing in training failed at the first prediction with a value."""
    for column in (None, np.nan, "", pd.array([pd.NA] * ROWS, "Int64")):
        for categorical in ([], ["c"]):
            with pytest.raises(TableError, match="column 'c' holds no value; drop it"):
                read(column, categorical=categorical)


def test_numbers_of_numpy_are_not_told_by_their_class():
    """SauersML/gam#387: cells became 'np.float64(-3.0)', so that each was a category."""
    values = np.array([np.float64(v) for v in Y], object)
    assert np.array_equal(read(values).x[:, 0], Y)
    assert read(np.array([np.float64(v) for v in FLOOR], object), categorical=["c"]).categories[0] == tuple("01234")


def test_sparse_columns_are_numbers():
    """skrub-data/skrub#679, lightgbm-org/LightGBM#2143, dmlc/xgboost#4648: their type was not known."""
    for values in (FLOOR, FLOOR / 3):
        assert np.array_equal(read(pd.arrays.SparseArray(values)).x[:, 0], values)


def test_intervals_keep_their_order():
    """hanjinliu/tabulous#104: the categories that pandas.cut gives were not taken."""
    cut = pd.cut(np.arange(ROWS), [-1, 5, 9, 100])
    assert read(cut).categories[0] == ("(-1, 5]", "(5, 9]", "(9, 100]")


def test_errors_of_a_spreadsheet_are_named():
    """dilshod/xlsx2csv#268, #286: #nv and #DIV/0! among numbers."""
    for error in ("#DIV/0!", "#NV", "#VALUE!"):
        with pytest.raises(TableError, match=f"column 'c' holds '{error}' in row 3 among numbers"):
            read([error if row == 2 else row for row in range(ROWS)])
    assert read(["#N/A" if row == 2 else row for row in range(ROWS)]).notes["c"] == "'#N/A' (1) read as missing"


def test_categories_that_a_table_had_not_are_the_average_or_refused():
    """Quantco/glum#748, automl/auto-sklearn#1141: unseen categories were all-zero columns, or an obscure error."""
    words = np.array(["oil", "gas"])[np.arange(ROWS) % 2]
    rows = pd.DataFrame({"c": ["sun"], "floor": [1]})
    assert encode(rows, read(words).about)[0, 0] == -1
    with pytest.raises(
        TableError, match="column 'c' holds 'sun' in row 1, which training had not; there were 'gas', 'o"
    ):
        encode(rows, read(words, unseen="refuse").about)


def test_a_changed_order_of_columns_changes_nothing():
    """Where a library goes by places, columns in another order at prediction change its answer."""
    about = read(np.array(["oil", "gas"])[np.arange(ROWS) % 2]).about
    rows = pd.DataFrame({"floor": [4], "unknown": ["x"], "c": ["oil"]})
    assert encode(rows, about).tolist() == [[1, 4]]


def test_complex_numbers_and_columns_of_arrays_are_refused():
    """A frame of Fourier coefficients or of embeddings holds values that no axis has."""
    for column, what in (
        (Y + 1j, "numbers written as text"),
        ([[1, 2]] * ROWS, "lists"),
        ([np.ones(2)] * ROWS, "lists"),
    ):
        with pytest.raises(TableError, match=f"column 'c' holds {what}"):
            read(column)


def test_a_workbook_or_an_archive_under_another_name_is_named(tmp_path):
    """A workbook that was renamed to .csv is bytes, of which a reader may make anything."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("xl/workbook.xml", "é" * 50)
    (tmp_path / "table.csv").write_bytes(content.getvalue())
    with pytest.raises(TableError, match=r"table.csv (is no text in UTF-8|: line 1|holds|cannot be read).*"):
        read_table(tmp_path / "table.csv", "y")
