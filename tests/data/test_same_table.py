"""A table is the same table, or is refused in the same words, whatever it comes as."""

import datetime
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mixnam.data.columns import as_text
from mixnam.data.own import read_table
from mixnam.data.table import TableError

WORDS = ["oil", "gas", "wood", "none at all", "é", "$1-$5", "a,b", 'q"q', "x\ny", "18-25", "NA"]
ODD_WORDS = ["Oil", " gas", "nan", "?", "-", " ", "12a", "45,3", "$1,013", "12.5%", "2024-03-05", "[1]", "inf", "007"]
NAMES = ["a", "B", "0", "x y", " pad", "é", "a,b", 'q"q', "two\nlines", "_c", "$_$", "None", "1.5", "long " * 20]
#: Kinds of columns: what draws a value of each; ordinary ones, and such as make a reader guess.
KINDS = {
    "numbers": lambda g: float(g.normal()),
    "large numbers": lambda g: float(10.0 ** g.uniform(-300, 300)),
    "short numbers": lambda g: np.float32(g.normal()),
    "counts": lambda g: int(g.integers(0, 40)),
    "truths": lambda g: bool(g.integers(2)),
    "words": lambda g: WORDS[g.integers(len(WORDS))],
    "codes": lambda g: f"{g.integers(99):05d}",
    "letters and codes": lambda g: ("K" if g.integers(3) else "0") + f"{g.integers(99):04d}",
    "written numbers": lambda g: ["1", "2.50", " 3", "1e2", "+4", ".5", "NA"][g.integers(7)],
}  # fmt: skip
ODD_KINDS = {
    "large counts": lambda g: int(g.integers(-(2**62), 2**62)),
    "dates": lambda g: datetime.date(2000, 1, 1) + datetime.timedelta(int(g.integers(9999))),
    "days": lambda g: pd.Timestamp("2000-01-01") + pd.Timedelta(days=int(g.integers(9))),
    "moments": lambda g: pd.Timestamp("2000-01-01") + pd.Timedelta(hours=int(g.integers(99)) * 6),
    "odd words": lambda g: ODD_WORDS[g.integers(len(ODD_WORDS))],
    "numbers and a word": lambda g: ODD_WORDS[g.integers(len(ODD_WORDS))] if g.random() < 0.05 else int(g.integers(9)),
    "infinite": lambda g: math.inf if g.random() < 0.05 else float(g.normal()),
    "one value": lambda g: 3,
    "nothing": lambda g: None,
}  # fmt: skip
TYPES = {"short numbers": "float32", "numbers": "float64", "counts": "int64", "truths": "bool"}


@st.composite
def tables(draw):
    """Draw a frame with a target, one to five columns of any kinds, and arguments of `read_table`."""
    generator, rows = np.random.default_rng(draw(st.integers(0, 2**32))), draw(st.integers(20, 60))
    odd = draw(st.booleans())
    target = draw(st.sampled_from(["numbers", "counts", "truths", *(["words", "odd words"] if odd else [])]))
    ordinary = st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=4)
    kinds = [target, *draw(ordinary), *(draw(st.lists(st.sampled_from(list(ODD_KINDS)), max_size=2)) if odd else [])]
    names = draw(st.permutations(NAMES))[: len(kinds)]
    if odd and draw(st.integers(0, 5)) == 0:
        names[-1] = draw(st.sampled_from(["", " ", "Unnamed: 3", names[0]]))
    columns = []
    for i, kind in enumerate(kinds):
        values = [(KINDS | ODD_KINDS)[kind](generator) for _ in range(rows)]
        gaps = generator.random(rows) < draw(st.sampled_from([0, 0, 0.1])) * (i > 0 or odd)
        values = [None if gap else value for gap, value in zip(gaps, values, strict=True)]
        typed = kind in TYPES and draw(st.booleans()) and not (gaps.any() and TYPES[kind] in ("bool", "int64"))
        columns.append(pd.Series(values, dtype=TYPES[kind] if typed else object))
    frame = pd.concat([columns[i].rename(names[i]) for i in draw(st.permutations(range(len(kinds))))], axis=1)
    chosen = draw(st.lists(st.sampled_from(names[1:]), unique=True, max_size=2 if odd else 1))
    options = {
        draw(st.sampled_from(["categorical", "drop"])): chosen,
        "missing": draw(st.sampled_from([[], ["?"], ["1"]])),
    }
    return frame, names[0], options


def outcome(table, target, options):
    """Return all that a table is, or the words in which it is refused, without the file's own."""
    try:
        read = read_table(table, target, **options)
    except TableError as error:
        return str(error)
    return read.checksum, read.about, dict(read.notes), dict(read.aside), read.columns().to_csv()


def forms(frame, folder):
    """Yield a frame as it is, as texts, in another order of memory, and as each kind of file."""
    yield "frame", frame
    columns = [pd.Series([as_text(v) for v in c.to_numpy()], name=name, dtype=object) for name, c in frame.items()]
    as_texts = pd.concat(columns, axis=1)
    yield "texts", as_texts
    yield "strings", as_texts.astype("string")
    yield "another index", frame.set_index(np.arange(len(frame))[::-1] * 2)
    frame.to_csv(folder / "table.csv", index=False)
    yield "csv", folder / "table.csv"
    frame.to_csv(folder / "table.TSV", index=False, sep="\t", encoding="utf-8-sig")
    yield "tsv with a byte order mark", folder / "table.TSV"
    frame.to_csv(folder / "table.csv.gz", index=False, lineterminator="\r\n")
    yield "packed", folder / "table.csv.gz"
    try:
        frame.to_parquet(folder / "table.parquet")
    except (ValueError, TypeError, OverflowError):  # pyarrow takes no column of several types
        if not frame.columns.is_unique:
            return
        as_texts.to_parquet(folder / "table.parquet")
    except ImportError:
        return
    yield "parquet", folder / "table.parquet"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables())
def test_a_table_is_the_same_by_every_way(tmp_path_factory, drawn):
    frame, target, options = drawn
    folder = tmp_path_factory.mktemp("forms")
    found = {name: outcome(form, target, options) for name, form in forms(frame, folder)}
    assert all(one == found["frame"] for one in found.values()), found


def test_a_large_file_is_decided_as_a_whole(tmp_path):
    """pandas reads a file in chunks: numbers in some and codes in another became two categories each (its 21229)."""
    rows = 300_000
    codes = np.arange(rows) * 7919 % 50
    written = np.array([f"{code:05d}" for code in codes], object)
    late = np.arange(rows) > rows - 20_000
    written[late] = np.char.replace(written[late].astype(str), "0", "K", 1)
    pd.DataFrame({"code": written, "y": codes % 7}).to_csv(tmp_path / "large.csv", index=False)
    labels = read_table(tmp_path / "large.csv", "y").categories[0]
    assert set(labels) == set(written)
    assert len(labels) == 100


def test_rows_and_header_must_agree(tmp_path):
    for text, message in {
        "a,y\n1,2,3\n": r"header has 2 fields, line 2 has 3; put fields that hold a comma in quotes, or name",
        "sep=,\na,y\n1,2\n": r"begins with 'sep=,', no names of columns; remove that line",
        "# made by hand, twice\na,y\n1,2\n": r"begins with '# made by hand, twice', no names of columns",
        "a,y\n1,2,\n3,4,\n": r"the header has 2 fields, line 2 has 3; take the ',' at the end of each line away",
        "a,y\n1,2\n3\n": r"the header has 2 fields, line 3 has 1",
        'a,y\n1,"2\n3,4\n': r"line \d: unexpected end of data; is a quote not closed",
        'a,y\n1,"x "y" z"\n': r"line 2: .*; is a quote not closed",
        "a,y\n1,2\na,y\n3,4\n": r"line 3 repeats the header; remove it",
        "a,y\n1,2\0\n": r"line 2 holds a zero byte",
        ",y\n0,2\n": r"column 1 has no name \(''\): is it an index that was saved with the table\? Name it, or drop it",
        "a,a,y\n0,2,1\n": r"two columns are called 'a'; rename one",
    }.items():
        (tmp_path / "table.csv").write_text(text)
        with pytest.raises(TableError, match=message):
            read_table(tmp_path / "table.csv", "y")


@pytest.mark.parametrize("name", ["Unnamed: 0", "Unnamed: 1_level_0", "", " "])
def test_a_column_without_a_name_is_refused_or_dropped(name):
    frame = pd.DataFrame({name: range(30), "a": np.arange(30) % 7, "y": np.arange(30) / 2})
    with pytest.raises(TableError, match="column 1 has no name"):
        read_table(frame, "y")
    assert read_table(frame, "y", drop=[name]).features == ("a",)


def test_hints_name_the_likely_cause(tmp_path):
    for text, message in {
        "a, y\n1,2\n": "there are 'a', ' y'; did you mean ' y'?",
        "a,Y\n1,2\n": "did you mean 'Y'?",
        "a;b;y\n1;2;3\n": r"is ';' the separator, not ','\? Then save the file with ',', or pass pandas.read_csv",
        '"a";"y"\n7,4;0\n': "is ';' the separator, not ','",
        "a\ty\n1\t2\n": r"is '\\t' the separator",
    }.items():
        (tmp_path / "table.csv").write_text(text)
        with pytest.raises(TableError, match=message.replace("y'?", r"y'\?").replace("Y'?", r"Y'\?")):
            read_table(tmp_path / "table.csv", "y")
    (tmp_path / "table.csv").write_text("#id,y\n" + "".join(f"{i % 7},{i}\n" for i in range(20)))
    assert read_table(tmp_path / "table.csv", "y").features == ("#id",)
    with pytest.raises(
        TableError, match=r"no column is called 'y'; .*it is the frame's index: call reset_index\(\) first"
    ):
        read_table(pd.DataFrame({"y": range(9), "a": range(9)}).set_index("y"), "y")
