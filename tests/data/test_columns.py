"""One decision a column: what each kind of value becomes, and what is refused with its row, value and remedy."""

import dataclasses
import datetime
import decimal
import fractions

import numpy as np
import pandas as pd
import pytest
from every import every

from mixnam.data.columns import encode, read_column
from mixnam.data.own import read_table
from mixnam.data.table import TableError

WORDS = ["oil", "gas", "wood"]


def column(values, dtype=object, **options):
    dtype = values.dtype if isinstance(values, np.ndarray) else dtype
    return read_column(pd.Series(values, dtype=dtype), "c", **options)


def as_label(value):
    return value.decode() if isinstance(value, bytes) else str(value)


@every(
    "values, read",
    [
        (["1", "2.5", " -3 ", "+4", "1e2", ".5", "7."], [1, 2.5, -3, 4, 100, 0.5, 7]),
        (["0", "0.5", "00.5", "-0"], [0, 0.5, 0.5, 0]),
        ([1, 2.5, decimal.Decimal("0.1"), np.float32(0.1), np.int8(3)], [1, 2.5, 0.1, 0.1, 3]),
        (["1", "", None, np.nan, pd.NA, "NA", "nan", "null", "N/A"], [1] + [np.nan] * 8),
    ],
)
def test_texts_of_numbers_alone_are_numbers(values, read):
    found = column(values)
    assert found.labels is None
    assert np.array_equal(found.values, read, equal_nan=True)
    assert np.array_equal(found.gaps, np.isnan(np.array(read, float)))


@every("dtype", ["float32", "Float32", "float16", "float32[pyarrow]"])
def test_short_numbers_are_what_a_file_would_say(dtype):
    if "arrow" in dtype:
        pytest.importorskip("pyarrow", reason="pandas has Arrow's types with pyarrow")
    assert column([0.1, 2.5, None], dtype).values.tolist()[:2] == [0.1, 2.5]


@every(
    "values, message",
    [
        # cases 01 and 02, and their kind
        (["70.9", "41.5", " "], "holds blanks, such as ' ' in row 3; leave the cell empty"),
        (["70.9", "41.5", "?"], r"holds '\?' in row 3 among numbers; correct it, or leave the cell empty \(or name it"),
        (["70.9", "unknown", "12"], "holds 'unknown' in row 2 among numbers"),
        (["12", *WORDS], "holds '12' in row 1 among words"),
        (["0", "1", "2", "9a"], "holds '9a' in row 4 among numbers"),
        ([1, 2, True], "holds 'True' in row 3 among numbers"),
        ([1.5, fractions.Fraction(1, 3), 2], "holds '1/3' in row 2 among numbers"),
        (["45,3", "1"], "holds numbers written as text, such as '45,3' in row 1; write plain numbers"),
        (["1.234,56", "7"], "holds numbers written as text, such as '1.234,56' in row 1"),
        (["1", "1,013"], "such as '1,013' in row 2"),
        (["12.5%", "3%"], "such as '12.5%' in row 1"),
        (["$1,013", "$7"], r"such as '\$1,013' in row 1"),
        (["3 €", "4 €"], "such as '3 €' in row 1"),
        (["US$ 3", "US$ 4.50"], "such as 'US. 3' in row 1"),
        (["EUR 3", "EUR 4"], "such as 'EUR 3' in row 1"),
        (["1 234", "5"], "such as '1 234' in row 1"),
        (["1\u00a0234", "5"], "holds numbers written as text"),
        (["1'234", "5"], "holds numbers written as text"),
        (["(1,234)", "5"], "holds numbers written as text"),
        (["\u22125", "5"], "such as '\u22125' in row 1"),
        (["<5", "7", "8"], "such as '<5' in row 1"),
        (["65+", "64"], r"such as '65\+' in row 1"),
        (["12 kg", "7.5 kg", "9 kg"], "such as '12 kg' in row 1"),
        (["1_000", "2"], "such as '1_000' in row 1"),
        (["1.5.2", "2"], "such as '1.5.2' in row 1"),
        (["2024-03-05", "2024-03-06"], "holds times, such as '2024-03-05' in row 1; turn times into numbers"),
        (["05/03/2024", "06/03/2024"], "holds times, such as '05/03/2024'"),
        (["5 Mar 2024", "6 Mar 2024"], "holds times, such as '5 Mar 2024'"),
        (["March 5, 2024", "x"], "holds times, such as 'March 5, 2024'"),
        (["12:30", "08:15"], "holds times, such as '12:30'"),
        (["2024-03", "2024-04"], "holds times, such as '2024-03'"),
        (["2024Q1", "2024Q2"], "holds times, such as '2024Q1'"),
        ([datetime.date(2024, 3, 5)] * 2, "holds times, such as '2024-03-05'"),
        ([pd.Timestamp("2024-03-05"), None], "holds times, such as '2024-03-05'"),
        ([pd.Timedelta(days=3)], "holds times, such as '3 days"),
        ([pd.Period("2024-03")], "holds times, such as '2024-03'"),
        (["[1, 2]", "[3]"], r"holds lists, such as '\[1, 2\]'"),
        ([[1, 2], [3]], r"holds lists, such as '\[1, 2\]'"),
        ([{"a": 1}], "holds lists"),
        (["1", "inf"], "holds inf in row 2; replace it"),
        ([1.0, -np.inf], "holds -inf in row 2; replace it"),
        (["", None, "NA"], "holds no value; drop it"),
        (np.array([1, -(2**63)]), "holds '-9223372036854775808' in row 2: whole numbers beyond"),
        ([2**60, 2**60 + 1], "holds '1152921504606846976' in row 1: whole numbers beyond 9,007,199,254,740,992"),
        (["a", " a"], "holds ' a' and 'a', which differ in spaces alone|holds 'a' and ' a', which differ in spaces"),
        (["007", "7"], "holds '007' in row 1 among numbers"),
        (["44", "05", "61", "-05"], "holds '05' in row 2 among numbers; correct it"),
        (["007", "7", "K7"], "holds '007' and '7', which differ in how a number is written alone; write them alike"),
        (["5-Mar", "0-2", "14-Dec"], "holds times, such as '5-Mar' in row 1"),
        ([b"1", b"2", b"x"], "holds 'x' in row 3 among numbers"),
        (["a", "  ", "b"], "holds blanks, such as '  ' in row 2"),
    ],
)  # fmt: skip
def test_what_would_be_guessed_is_refused_by_row_value_and_remedy(values, message):
    with pytest.raises(TableError, match=f"^column 'c' .*{message}" if "|" not in message else message):
        column(values)


def test_the_same_holds_for_every_type_of_a_column():
    large = np.array([1, 2**60])
    for values in (large, large.astype(str), pd.array([1, 2**60], "Int64"), large.astype(object)):
        with pytest.raises(TableError, match="holds '1152921504606846976' in row 2: whole numbers beyond"):
            read_column(pd.Series(values), "c")
    for values in (["2024-03-05"], pd.to_datetime(["2024-03-05"]), [datetime.date(2024, 3, 5)]):
        with pytest.raises(TableError, match="holds times, such as '2024-03-05' in row 1"):
            read_column(pd.Series(values), "c")


@every(
    "values, labels",
    [
        (["b", "a", "b"], ("a", "b")),
        ([True, False], ("False", "True")),
        (["True", None, "False"], ("False", "True", "missing")),
        (["b", "", np.nan], ("b", "missing")),
        (["00012", "K0012", "00007"], ("00007", "00012", "K0012")),
        (["007", "012"], ("007", "012")),
        (["NA", "DE"], ("DE", "NA")),
        (["18-24", "25-34", "65+"], ("18-24", "25-34", "65+")),
        (["<0", "0<=X<200", ">=200", "no checking"], ("0<=X<200", "<0", ">=200", "no checking")),
        (["None", "Norm", ">200"], (">200", "None", "Norm")),
        (["rs1234", "rs77"], ("rs1234", "rs77")),
        (["Mayfair 12", "Decatur 100"], ("Decatur 100", "Mayfair 12")),
        (["2019-20", "2020-21"], ("2019-20", "2020-21")),
        (["1000-19", "950-18"], ("1000-19", "950-18")),
        (["1a", "2a", "3a"], ("1a", "2a", "3a")),
        (["12 Main St", "14 Main St", "9 Main St"], ("12 Main St", "14 Main St", "9 Main St")),
        ([b"good", b"bad"], ("bad", "good")),
        (["18-25", "0-17", "26+x"], ("0-17", "18-25", "26+x")),
        (["A1", "A2"], ("A1", "A2")),
        (["é5", "ß 6"], ("ß 6", "é5")),
        (["1st", "2nd"], ("1st", "2nd")),
        (["may", "june"], ("june", "may")),
        (["$1-$5", ">$10"], ("$1-$5", ">$10")),
        (["(0, 5]", "(5, 9]"], ("(0, 5]", "(5, 9]")),
    ],
)
def test_words_are_categories(values, labels):
    found = column(values)
    assert found.labels == labels
    given = [as_label(v) if v is not None and v == v and v != "" else "missing" for v in values]
    assert [labels[int(code)] for code in found.values] == given


@every(
    "values, labels",
    [
        ([10, 9, 100], ("9", "10", "100")),
        (["10", "9", "100"], ("9", "10", "100")),
        ([10.0, 9.5, None], ("9.5", "10", "missing")),
        (["1", "1.0", "2"], ("1", "2")),
        (["1", "10", "2", "3 or more"], ("1", "2", "10", "3 or more")),
        (["50%", "10%"], ("10%", "50%")),
        (["2024-03-05", "2023-01-01"], ("2023-01-01", "2024-03-05")),
        ([2**60, 2**60 + 1], (str(2**60), str(2**60 + 1))),
        ([2**53, 2**53 + 1], (str(2**53), str(2**53 + 1))),
        (["9007199254740993"], ("9007199254740993",)),
        ([pd.Timestamp("2024-03-05"), pd.Timestamp("2024-03-05 06:00")], ("2024-03-05", "2024-03-05 06:00:00")),
    ],
)
def test_what_is_named_categorical_is(values, labels):
    assert column(values, categorical=True).labels == labels


def test_the_order_of_a_categorical_dtype_is_its_own():
    sizes = pd.Categorical(["low", "high", "low", None], ["low", "middle", "high"], ordered=True)
    assert read_column(pd.Series(sizes), "c").labels == ("low", "high", "missing")
    numbers = pd.Categorical([9, 10, 9])
    assert read_column(pd.Series(numbers), "c").labels == ("9", "10")
    with pytest.raises(TableError, match="column 'c' has categories that are the same as text; rename one"):
        read_column(pd.Series(pd.Categorical([1, "1"]), name="c"), "c")


def test_named_missing_values_are_missing_in_every_column():
    assert np.isnan(column(["1", "?", "-999"], missing=["?", "-999"]).values).tolist() == [False, True, True]
    assert np.isnan(column([1, -999.0], None, missing=["-999"]).values).tolist() == [False, True]
    assert column(["a", "?"], missing=["?"]).labels == ("a", "missing")


@every(
    "values, note",
    [
        (["1", "NA", "NA"], r"'NA' \(2\) read as missing"),
        (["NA", "DE"], "'NA' is a category"),
        (["007", "012"], "leading zeros are kept as codes"),
        (["a", "A"], "differ in upper and lower case alone"),
        ([" a", " b"], "some categories begin or end with a blank"),
        (["a", "b"], "^$"),
    ],
)
def test_a_note_says_what_is_worth_knowing(values, note):
    pd.Series([column(values).note]).str.contains(note).all() or pytest.fail(column(values).note)


@pytest.fixture
def about():
    rows = 30
    frame = pd.DataFrame(
        {
            "size": np.where(np.arange(rows) % 5, np.arange(rows) / 7, np.nan),
            "floor": np.arange(rows) % 4,
            "heating": np.where(np.arange(rows) % 7, np.array(WORDS)[np.arange(rows) % 3], None),
            "zone": np.array([10, 9, 100])[np.arange(rows) % 3],
            "garden": np.arange(rows) % 2 == 0,
            "price": np.arange(rows) * 1.5,
        }
    )
    return lambda **options: read_table(frame, "price", categorical=["zone"], missing=["?"], **options).about


ROW = {"size": [1.5], "floor": [2], "heating": ["gas"], "zone": [10], "garden": [True]}


def rows(**changes):
    return pd.DataFrame({name: changes.get(name, values) for name, values in ROW.items()})


@every(
    "change, expected",
    [
        ({}, [1.5, 2, 0, 1, 1]),
        ({"size": [None]}, [np.nan, 2, 0, 1, 1]),
        ({"size": ["NA"]}, [np.nan, 2, 0, 1, 1]),
        ({"size": ["?"]}, [np.nan, 2, 0, 1, 1]),
        ({"floor": ["2"]}, [1.5, 2, 0, 1, 1]),
        ({"heating": [None]}, [1.5, 2, 3, 1, 1]),
        ({"heating": ["?"]}, [1.5, 2, 3, 1, 1]),
        ({"heating": ["sun"]}, [1.5, 2, -1, 1, 1]),
        ({"zone": ["10.0"]}, [1.5, 2, 0, 1, 1]),
        ({"zone": [10.0]}, [1.5, 2, 0, 1, 1]),
        ({"zone": [11]}, [1.5, 2, 0, -1, 1]),
        ({"garden": ["true"]}, [1.5, 2, 0, 1, 1]),
        ({"garden": [0]}, [1.5, 2, 0, 1, 0]),
    ],
)
def test_new_rows_are_read_as_the_table_was(about, change, expected):
    assert np.array_equal(encode(rows(**change), about()), [expected], equal_nan=True)


@every(
    "change, message",
    [
        ({"floor": [None]}, "rows: column 'floor' holds 1 missing values, and had none in training; fill them"),
        ({"zone": [None]}, "rows: column 'zone' holds 1 missing values, and had none in training"),
        ({"floor": ["high"]}, "rows: column 'floor' holds 'high' in row 1, expected numbers as in training"),
        ({"floor": ["1,5"]}, "rows: column 'floor' holds '1,5' in row 1, expected numbers"),
        ({"floor": [np.inf]}, "rows: column 'floor' holds infinite values"),
        ({"floor": ["inf"]}, "rows: column 'floor' holds infinite values"),
    ],
)
def test_new_rows_that_cannot_be_read_are_refused(about, change, message):
    with pytest.raises(TableError, match=message):
        encode(rows(**change), about())


@every("given", [["TRUE", "FALSE"], ["true", "false"], ["True", "False"], [True, False]])
def test_truths_of_every_language_are_matched_as_pandas_reads_them(given):
    """R and JSON write TRUE and true, of which pandas makes True."""
    frame = pd.DataFrame({"a": np.array(given, object)[np.arange(30) % 2], "y": np.arange(30) / 7})
    about = read_table(frame, "y").about
    for value in ("TRUE", "true", True, np.True_, 1, 1.0, "1"):
        assert about.categories[0][int(encode(pd.DataFrame({"a": [value]}, dtype=object), about)[0, 0])] == str(
            given[0]
        )
    assert encode(pd.DataFrame({"a": ["maybe"]}), about)[0, 0] == -1


def test_codes_are_matched_by_value_where_pandas_took_their_zeros():
    frame = pd.DataFrame({"zip": np.array(["02116", "80202", "00501"])[np.arange(30) % 3], "y": np.arange(30) / 7})
    about = read_table(frame, "y").about
    for rows in ([2116, 80202, 501], ["02116", "80202", "00501"], [2116.0, 80202.0, 501.0]):
        assert encode(pd.DataFrame({"zip": rows}), about)[:, 0].tolist() == [1, 2, 0]


def test_rows_that_training_could_not_know_are_warned_of(about):
    with pytest.warns(
        UserWarning, match="training had no value of column 'heating', such as 'x' in row 1; there were 'g"
    ):
        encode(pd.concat([rows(heating=["x"]), rows(heating=["y"])]), about())
    frame = pd.DataFrame({"a": ["NA", "DE", None] * 10, "y": np.arange(30) / 7})
    with pytest.warns(
        UserWarning, match="1 missing values; of 'NA', a category, pandas makes one unless it reads with k"
    ):
        encode(pd.DataFrame({"a": [None]}), read_table(frame, "y").about)
    frame["a"] = frame["a"].fillna("DE")
    with pytest.raises(TableError, match="none in training; fill them; of 'NA', a category, pandas makes one unless"):
        encode(pd.DataFrame({"a": [None]}), read_table(frame, "y").about)


def test_codes_of_an_array_are_no_missing_values():
    frame = pd.DataFrame({"a": ["x", "y", "z"] * 10, "y": np.arange(30) + 0.5})
    table = read_table(frame, "y", missing=["1"])
    assert np.array_equal(encode(table.x, table.about), table.x)


def test_labels_of_models_saved_before_are_matched_as_numbers(about):
    old = dataclasses.replace(about(), categories=about().categories | {3: ("9.0", "10.0", "100.0")})
    assert [encode(rows(zone=[zone]), old)[0, 3] for zone in (9, 10.0, "100")] == [0, 1, 2]


def test_unseen_categories_are_refused_where_the_table_says_so(about):
    strict = about(unseen="refuse")
    with pytest.raises(
        TableError, match="'heating' holds 'sun' in row 2, which training had not; there were 'gas', 'oi"
    ):
        encode(pd.concat([rows(), rows(heating=["sun"])]), strict)
    assert encode(rows(heating=[None]), strict)[0, 2] == 3
