"""One decision a column, over all of its values: numbers, or categories; what is neither for certain is refused.

Decisions go by what a value would be in a file, so that a table is the same wherever it comes from.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types

from mixnam.data.table import MISSING, About, Array, Table, TableError, Unseen

#: More categories are names or numbers of rows rather than kinds, and make curves as long.
MAX_CATEGORIES = 1000
#: What stands for a missing value among numbers; an empty cell does in every column.
MISSING_WORDS = frozenset({"NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "#N/A", "<NA>"})
#: What some formats add to a date and others do not.
_MIDNIGHT = " 00:00:00"
#: Whole numbers beyond are not told apart by 64 bits.
_LARGEST = 2**53

_CURRENCY = r"[$\u20ac\u00a3\u00a5\u20b9\u20bd]"
_AMOUNT = r" ?[-+\u2212]?\d[\d.,' \u00a0\u202f\u2019_]*"
_MONTH = (
    "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?|oct(?:ober)?"
    "|nov(?:ember)?|dec(?:ember)?)"
)
_YEAR = r"(?:1[5-9]|20)\d\d"
_UNITS = (
    "kg|g|mg|lbs?|oz|km|m|cm|mm|ft|in|miles?|l|ml|h|hrs?|hours?|min|minutes?|s|sec|seconds?|ms|yrs?|years?|months?|days?"
    "|k|bn|[kmgt]b|[kmg]?hz|[kmg]?wh?|mph|km/h|\u00b0?[cf]|percent|pct"
)
#: What a text may be, tried in this order; a word is what is none of them.
_KINDS = {
    kind: re.compile("|".join(patterns), re.IGNORECASE | re.ASCII | re.DOTALL)
    for kind, patterns in {
        "code": [r"[+-]?0\d+"],
        "number": [r" *[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)? *"],
        "infinity": ["[+-]?inf(?:inity)?"],
        "time": [
            rf"{_YEAR}[-/.](?:0?[1-9]|1[0-2])(?:[-/.]\d{{1,2}})?(?:[t ].*)?",
            r"\d{1,2}[-/.]\d{1,2}[-/.](?:\d{2}|\d{4})(?: .*)?", r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[ap]m)?",
            r"-?\d+ days.*", rf"{_YEAR}-?q[1-4]", rf"\d{{1,2}}[-. ]+{_MONTH}(?:[-., ]+(?:\d{{2}}|\d{{4}}))?",
            rf"{_MONTH}[-., ]+(?:\d{{1,2}},? +)?{_YEAR}",
        ],
        "list": [r"\[.*\]", r"\{.*\}"],
        "dressed": [
            rf"(?:(?:us|ca?|au?|nz|hk|s|r)?{_CURRENCY}|(?:usd|eur|gbp|chf|rs\.?) |[#~])?{_AMOUNT}",
            rf"{_AMOUNT}(?:%|{_CURRENCY})", r"\(\d[\d.,]*\)", r"\(?[-+\d.e]*\d[-+\d.e]*j\)?",
        ],
        "limit": [r"[<>\u2264\u2265] ?\d[\d.,]*", r"\d[\d.,]*\+"],
        "blank": [r"\s+"],
    }.items()
}  # fmt: skip
_UNIT = re.compile(rf"[-+]?\d[\d.,]*(\s?(?:{_UNITS}))", re.IGNORECASE)
_KINDS_SAID = {
    "list": ("lists", "make columns of its parts, or drop it"),
    "time": ("times", "turn times into numbers, such as days since a date, or drop the column"),
    "dressed": ("numbers written as text", "write plain numbers, such as 1234.5, without signs, commas and units"),
    "blank": ("blanks", "leave the cell empty where the value is missing"),
}
_IF_KINDS = "; name the column in `categorical` if its values are kinds"


@dataclass(frozen=True)
class Column:
    """A column as read: `values`, (rows,), are numbers, NaN where missing, or codes into `labels`.

    `gaps`, (rows,), says where a value is missing; `note` what a reader of the table should know of the decision;
    `ordered`, whether the labels have an order of their own: that of numbers, or of a data frame's ordered categories.
    """

    values: Array
    labels: tuple[str, ...] | None
    gaps: NDArray[np.bool_]
    note: str = ""
    ordered: bool = False


@dataclass(frozen=True)
class _Texts:
    """A column as a file would hold it: the distinct `texts`, and for each row the place of its own, -1 for none."""

    codes: NDArray[np.intp]
    texts: list[str]

    def mapped(self, values: Sequence[float]) -> Array:
        """Return each row's of the values given for `texts` and, last, for none."""
        return np.array(values, np.float64)[self.codes]

    def rows(self, texts: Collection[str]) -> NDArray[np.bool_]:
        """Return which rows hold one of some texts."""
        chosen = set(texts)
        return np.array([*(text in chosen for text in self.texts), False])[self.codes]

    def first(self, texts: Collection[str]) -> str:
        """Return the first of some texts, and its row."""
        row = int(np.argmax(self.rows(texts)))
        return f"{self.texts[self.codes[row]]!r} in row {row + 1}"


def read_column(
    column: pd.Series[Any], name: str, categorical: bool = False, missing: Sequence[str] = (), hint: str = _IF_KINDS
) -> Column:
    """Return a column as numbers or as categories, which take `categorical` or a dtype that says so to be numbers.

    Values in `missing` are missing ones. TableError names the column, the first row at fault (counted from 1, without
    the header), its value and the remedy; `hint` ends a refusal of what might be kinds.
    """
    if _numeric(column) and not categorical:
        if types.is_integer_dtype(column.dtype):
            beyond = ((column > _LARGEST) | (column < -_LARGEST)).to_numpy(bool, na_value=False)
            if beyond.any():
                row = int(np.argmax(beyond))
                _refuse_large(name, f"'{column.iloc[row]}' in row {row + 1}", hint)
        return _numbers(name, _floats(column), missing)
    told = _distinct(column)
    given = {text for text in told.texts if text in ("", *missing)}
    kinds = {text: _kind(text) for text in told.texts if text not in given}
    if not categorical and not isinstance(column.dtype, pd.CategoricalDtype):
        words = {text for text in kinds if text in MISSING_WORDS}
        if {kind for text, kind in kinds.items() if text not in words} <= {"number", "infinity"}:
            large = [t for t in kinds if re.fullmatch(r"[+-]?\d{16,}", t) and abs(int(t)) > _LARGEST]
            if large:
                _refuse_large(name, told.first(large), hint)
            values = told.mapped([*(np.nan if t in given | words else float(t) for t in told.texts), np.nan])
            said = [f"{text!r} ({told.rows([text]).sum()})" for text in words]
            note = f"{', '.join(sorted(said))} read as missing" if said else ""
            return replace(_numbers(name, values, missing), note=note)
        _refuse_odd(name, told, {text: kind for text, kind in kinds.items() if text not in words}, hint)
    found = _categories(name, told, given, kinds, isinstance(column.dtype, pd.CategoricalDtype))
    own = isinstance(column.dtype, pd.CategoricalDtype) and bool(column.dtype.ordered)
    return replace(found, ordered=own or set(kinds.values()) == {"number"})


def _numbers(name: str, values: Array, missing: Sequence[str]) -> Column:
    values = np.where(np.isin(values, _as_numbers(missing)), np.nan, values)
    if np.isinf(values).any():
        row = int(np.argmax(np.isinf(values)))
        raise TableError(f"column {name!r} holds {values[row]} in row {row + 1}; replace it, or leave the cell empty")
    if np.isnan(values).all():
        raise TableError(f"column {name!r} holds no value; drop it")
    return Column(values, None, np.isnan(values))


def _categories(name: str, told: _Texts, given: set[str], kinds: dict[str, str], ordered: bool) -> Column:
    """Return a column's categories: in their own order, or numbers by value before words; missing values come last."""
    if not kinds:
        raise TableError(f"column {name!r} holds no value; drop it")
    if blank := [text for text, kind in kinds.items() if kind == "blank"]:
        raise TableError(f"column {name!r} holds {told.first(blank)}: leave the cell empty, or give it a name")
    numeric = set(kinds.values()) == {"number"}
    labels = {text: _short(text) if numeric else text for text in kinds}
    codes = "code" in kinds.values()
    order = list(kinds) if ordered else sorted(kinds, key=None if codes else lambda text: _place(text, kinds[text]))
    known = list(dict.fromkeys(labels[text] for text in order))
    for what, alike in (("spaces", str.strip), ("how a number is written", _as_number)):
        seen: dict[Any, str] = {}
        for label in known:
            other = seen.setdefault(alike(label), label)
            if other != label:
                both = f"{other!r} and {label!r}"
                raise TableError(f"column {name!r} holds {both}, which differ in {what} alone; write them alike")
    if len(known) > MAX_CATEGORIES:
        raise TableError(
            f"column {name!r} has {len(known)} categories, at most {MAX_CATEGORIES} can be shown; "
            "drop it, or merge categories"
        )
    gaps = (told.codes < 0) | told.rows(given)
    if gaps.any() and MISSING not in known:
        known.append(MISSING)
    places = {label: place for place, label in enumerate(known)}
    nothing = places.get(MISSING, -1)
    values = told.mapped([*(nothing if t in given else places[labels[t]] for t in told.texts), nothing])
    notes = [f"{label!r} is a category" for label in known if label in MISSING_WORDS]
    if codes:
        notes.append("numbers with leading zeros are kept as codes")
    if any(label != label.strip() for label in known):
        notes.append("some categories begin or end with a blank")
    if len({label.casefold() for label in known}) < len(known):
        notes.append("some categories differ in upper and lower case alone")
    return Column(values, tuple(known), gaps, "; ".join(notes))


def _refuse_odd(name: str, told: _Texts, kinds: dict[str, str], hint: str) -> None:
    """Raise TableError where a column of texts holds anything that a person would not take for a category."""
    odd = {kind: [text for text, k in kinds.items() if k == kind] for kind in kinds.values()}
    units = {None if (found := _UNIT.fullmatch(text)) is None else found[1] for text in kinds}
    if len(units) == 1 and None not in units and len(kinds) > 2:
        odd["dressed"] = list(kinds)
    limits = odd.pop("limit", [])  # "65+" is a kind beside "18-24", and no number beside 64
    odd["word" if "word" in odd else "dressed"] = odd.get("word" if "word" in odd else "dressed", []) + limits
    for kind, (what, remedy) in _KINDS_SAID.items():
        if odd.get(kind):
            raise TableError(f"column {name!r} holds {what}, such as {told.first(odd[kind])}; {remedy}{hint}")
    numbers, words = odd.get("number", []) + odd.get("infinity", []), odd.get("word", [])
    codes = odd.get("code", [])
    if codes and not words and len({len(text) for text in kinds}) > 1:  # codes are of one length: 02116, 80202
        words, codes = codes, []
    if numbers and not codes:
        few, many = (words, "numbers") if told.rows(numbers).sum() >= told.rows(words).sum() else (numbers, "words")
        raise TableError(
            f"column {name!r} holds {told.first(few)} among {many}; correct it, or leave the cell empty (or name it in "
            f"`missing`) where the value is missing{hint}"
        )


def _refuse_large(name: str, where: str, hint: str) -> None:
    raise TableError(
        f"column {name!r} holds {where}: whole numbers beyond {_LARGEST:,} cannot be told apart; drop it if it numbers "
        f"the rows{hint}"
    )


def _kind(text: str) -> str:
    return next((kind for kind, pattern in _KINDS.items() if pattern.fullmatch(text)), "word")


def _as_number(text: str) -> float | str:
    if not re.fullmatch(r"[+-]?\d+", text, re.ASCII):
        return float(text) if _kind(text) == "number" else text
    return int(text)


def _as_numbers(texts: Collection[str]) -> list[float]:
    return [float(text) for text in texts if _kind(text) == "number"]


def _short(text: str) -> str:
    """Return a number's text as a label: as `number_text` has it, whole ones of any size."""
    number = _as_number(text.strip())
    return str(number) if isinstance(number, int) else number_text(float(text))


def _place(text: str, kind: str) -> tuple[int, float, str]:
    return (0, float(text), text) if kind == "number" else (1, 0.0, text)


def number_text(value: float) -> str:
    """Return a number as a label: whole numbers without a point, others as short as they are exact.

    >>> number_text(10.0), number_text(0.1)
    ('10', '0.1')
    """
    return str(int(value)) if abs(value) <= _LARGEST and value == int(value) else repr(float(value))


def _numeric(column: pd.Series[Any]) -> bool:
    return types.is_any_real_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype)


def _floats(column: pd.Series[Any]) -> Array:
    """Return a column of numbers as float64, 0.1 of 32 bits as 0.1, as it would be read from a file."""
    size = getattr(column.dtype, "itemsize", 8)
    if size >= 8 or not types.is_float_dtype(column.dtype):
        return column.to_numpy(np.float64, na_value=np.nan)
    short = np.float16 if size == 2 else np.float32
    return column.to_numpy(short, na_value=np.nan).astype("U32").astype(np.float64)


def _distinct(column: pd.Series[Any]) -> _Texts:
    """Return a column's texts: those of a categorical dtype in its order, others in that of their first rows."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.remove_unused_categories()
        texts = [(as_text(value) or "").removesuffix(_MIDNIGHT) for value in column.cat.categories]
        if len(set(texts)) < len(texts):
            raise TableError(f"column {column.name!r} has categories that are the same as text; rename one")
        return _Texts(np.asarray(column.cat.codes, np.intp), texts)
    if not isinstance(column.dtype, pd.StringDtype):
        values = _floats(column) if types.is_float_dtype(column.dtype) else column
        column = pd.Series([as_text(value) for value in values], dtype=object)
    codes, found = pd.factorize(column)
    places: dict[str, int] = {}
    to = [places.setdefault(str(text).removesuffix(_MIDNIGHT), len(places)) for text in found]
    return _Texts(np.array([*to, -1], np.intp)[codes], list(places))


def as_text(value: Any) -> str | None:
    """Return a value as a file would hold it, None for a missing one.

    >>> as_text(np.float32(2)), as_text(True), as_text(float("nan"))
    ('2', 'True', None)
    """
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, (float, np.floating)):
        number = float(str(value))  # of 32 bits as short as it is written
        return None if np.isnan(number) else number_text(number) if np.isfinite(number) else str(number)
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def refuse_gaps(what: str, gaps: NDArray[np.bool_]) -> None:
    """Raise TableError where a column that must have every value lacks some: `gaps`, (rows,), says where."""
    if gaps.any():
        first = int(np.argmax(gaps)) + 1
        raise TableError(f"{what} holds {gaps.sum()} missing values, the first in row {first}; drop those rows")


def read_kinds(column: pd.Series[Any], name: str, missing: Sequence[str]) -> NDArray[np.int64]:
    """Return each row's fold or group, numbered in the order of the column's dtype, of numbers or of words.

    TableError for missing values, and where all rows have one.
    """
    told = _distinct(column)
    refuse_gaps(f"column {name!r}", (told.codes < 0) | told.rows(("", *missing)))
    ordered = isinstance(column.dtype, pd.CategoricalDtype)
    order = told.texts if ordered else sorted(told.texts, key=lambda text: _place(text, _kind(text)))
    if len(order) < 2:
        raise TableError(f"column {name!r} has one value; it needs two or more to split rows by")
    places = {text: place for place, text in enumerate(order)}
    return told.mapped([*(places[text] for text in told.texts), -1]).astype(np.int64)


def distinct(column: pd.Series[Any], missing: Sequence[str]) -> int:
    """Return how many values a column has, as texts; missing ones do not count."""
    return len(set(_distinct(column).texts) - {"", *missing})


def encode(rows: pd.DataFrame | Table | Array, about: About, new_gaps: Unseen = "refuse") -> Array:
    """Return the features of new rows as the numbers that `about`'s table has: (rows, n), unseen categories as -1.

    `rows` is a data frame with (at least) the columns that `about` names, a `Table`, or an array (rows, n) of numbers
    and codes. Missing values in columns that had none are refused, or with `new_gaps` "average" stay NaN or become -1,
    and a warning says so. Raises TableError for these, for columns that are lacking, categories that the table had not
    where `about.unseen` refuses them, and text where numbers are expected.
    """
    if isinstance(rows, Table):  # its codes are of its own categories: labels decide
        columns = {
            name: pd.Series(
                np.array(rows.categories[i], object)[rows.x[:, i].astype(int)] if i in rows.categories else x
            )
            for i, (name, x) in enumerate(zip(rows.features, rows.x.T, strict=True))
        }
        rows = pd.DataFrame(columns)
    if not isinstance(rows, pd.DataFrame):
        values = np.asarray(rows, np.float64)
        if values.ndim != 2 or values.shape[1] != len(about.features):
            raise TableError(f"rows must be (rows, {len(about.features)}), got {values.shape}")
        for i, labels in about.categories.items():
            codes = values[:, i]
            if not np.isin(codes, np.arange(-1, len(labels))).all():
                raise TableError(
                    f"rows: feature {about.features[i]!r} must hold codes 0 to {len(labels) - 1}, or -1 for a category "
                    f"that is none of them, got {codes.min():g} to {codes.max():g}; a data frame may hold labels"
                )
        rows = pd.DataFrame(values, columns=list(about.features))
        about = replace(about, categories={}, missing=())
    frame = rows.rename(columns=str)
    lacking = [name for name in about.features if name not in frame.columns]
    if lacking:
        raise TableError(f"rows lack column {lacking[0]!r}; the model takes {', '.join(about.features)}")
    twice = [name for name in about.features if not isinstance(frame[name], pd.Series)]
    if twice:
        raise TableError(f"rows: two columns are called {twice[0]!r}; rename or drop one")
    if frame.empty:
        raise TableError("rows hold no row: there is nothing to predict")
    read = (_known_codes if i in about.categories else _known_numbers for i in range(len(about.features)))
    return np.column_stack([of(frame[about.features[i]], i, about, new_gaps) for i, of in enumerate(read)])


def _known_numbers(column: pd.Series[Any], i: int, about: About, new_gaps: Unseen) -> Array:
    name = about.features[i]
    if _numeric(column):
        values = _floats(column)
    else:
        told = _distinct(column)
        gone = {"", *about.missing, *MISSING_WORDS}
        odd = [t for t in told.texts if t not in gone and _kind(t) not in ("number", "code", "infinity")]
        if odd:
            raise TableError(f"rows: column {name!r} holds {told.first(odd)}, expected numbers as in training")
        values = told.mapped([*(np.nan if t in gone else float(t) for t in told.texts), np.nan])
    values = np.where(np.isin(values, _as_numbers(about.missing)), np.nan, values)
    if np.isinf(values).any():
        raise TableError(f"rows: column {name!r} holds infinite values; replace them")
    gaps = int(np.isnan(values).sum())
    if gaps and i not in about.gaps:
        _new_gaps(name, gaps, new_gaps)
    return values


def _new_gaps(name: str, gaps: int, what: Unseen, hint: str = "") -> None:
    """Raise TableError for missing values in a column that had none, or warn that they count as the average."""
    told = f"rows: column {name!r} holds {gaps} missing values, and had none in training"
    if what == "refuse":
        raise TableError(f"{told}; fill them{hint}")
    warnings.warn(f"{told}; they count as the average{hint}", stacklevel=2)


def _known_codes(column: pd.Series[Any], i: int, about: About, new_gaps: Unseen) -> Array:
    """Return each value's place among the labels, -1 where it is none.

    1, 1.0 and "1" are one value, as are 7 and "007" where that is the label, and true, TRUE and True.
    """
    name, labels = about.features[i], list(about.categories[i])
    told, places = _distinct(column), {label: place for place, label in enumerate(labels)}
    own = [label for label in labels if label != MISSING]
    numbers = {_as_number(label): places[label] for label in own if _kind(label) in ("number", "code")}
    truths = {label.casefold(): places[label] for label in own}
    truths |= {digit: truths[truth] for digit, truth in (("1", "true"), ("0", "false")) if truth in truths}
    gone, is_truth = {"", *about.missing}, {label.casefold() for label in own} <= {"true", "false"}

    def place(text: str) -> int:
        if text in gone:
            return places.get(MISSING, -1)
        if is_truth:
            return truths.get(text.casefold(), truths.get(text.removesuffix(".0"), -1))
        return places.get(text, numbers.get(_as_number(text), -1) if _kind(text) in ("number", "code") else -1)

    found = [place(text) for text in told.texts]
    codes, gaps = told.mapped([*found, places.get(MISSING, -1)]), (told.codes < 0) | told.rows(gone)
    words = [label for label in own if label in MISSING_WORDS]
    hint = (
        f"; of {words[0]!r}, a category, pandas makes one unless it reads with keep_default_na=False" if words else ""
    )
    if gaps.any() and MISSING not in labels:
        _new_gaps(name, int(gaps.sum()), new_gaps, hint)
    elif gaps.any() and words:
        warnings.warn(f"rows: column {name!r} holds {gaps.sum()} missing values{hint}", stacklevel=2)
    unknown = [text for text, at in zip(told.texts, found, strict=True) if at < 0]
    shown = f"there were {', '.join(map(repr, labels[:8]))}{', ...' if len(labels) > 8 else ''}"
    if unknown and about.unseen == "refuse":
        raise TableError(f"rows: column {name!r} holds {told.first(unknown)}, which training had not; {shown}")
    if len(unknown) == len(told.texts) > 1:
        warnings.warn(
            f"rows: training had no value of column {name!r}, such as {told.first(unknown)}; {shown}", stacklevel=2
        )
    return codes
