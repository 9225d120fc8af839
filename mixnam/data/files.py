"""A table's file as texts, none repaired: rows of other lengths, unclosed quotes and other encodings are refused."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import IO, Any

import pandas as pd

from mixnam.data.table import TableError

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_KNOWN = ".csv, .tsv (or either with .gz) or .parquet"
#: Bytes that a packed file may unpack to: a few kilobytes may hold more than any memory.
LARGEST = 2**30


def check_size(size: int) -> None:
    """Raise ValueError for more bytes than a packed file may hold."""
    if size > LARGEST:
        raise ValueError(f"it unpacks to more than {LARGEST / 2**30:g} GiB; unpack it yourself, if that is meant")


class _Counted(io.RawIOBase):
    """A stream of unpacked bytes that ends in ValueError where there are more than a packed file may hold."""

    def __init__(self, packed: IO[bytes] | gzip.GzipFile) -> None:
        self.packed, self.size = packed, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self.packed.read(len(buffer))
        buffer[: len(found)] = found
        self.size += len(found)
        check_size(self.size)
        return len(found)


def unpacked(packed: IO[bytes] | gzip.GzipFile) -> io.BufferedReader:
    """Return a stream of unpacked bytes that raises ValueError after `LARGEST` of them."""
    return io.BufferedReader(_Counted(packed), 2**16)


def read_file(path: Path) -> pd.DataFrame:
    """Return a file's columns: of a .parquet file as they are, of a text file as texts, nothing taken for missing.

    Raises TableError, which names the file, the line and the remedy, for whatever a reader would have to repair.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    packed = suffixes[-1:] == [".gz"]
    suffix = suffixes[-2 if packed and len(suffixes) > 1 else -1] if suffixes else ""
    try:
        if suffix == ".parquet" and not packed:
            return _read_parquet(path)
        if suffix not in _SEPARATORS:
            hint = "pass pandas.read_excel(...)" if suffix.startswith(".xls") else "convert it, or pass a data frame"
            raise TableError(f"{path} must end in {_KNOWN}; {hint}")

        def opened() -> io.TextIOWrapper:
            return io.TextIOWrapper(unpacked(gzip.open(path)) if packed else path.open("rb"), "utf-8-sig", newline="")

        with opened() as lines:
            _look(path, lines.readline(2**20), _SEPARATORS[suffix])
        with opened() as lines:
            header = _header(path, lines, _SEPARATORS[suffix])
        with opened() as lines:
            frame = pd.read_csv(
                lines, sep=_SEPARATORS[suffix], header=None, dtype=str, keep_default_na=False, na_values=[],
                index_col=False,
            )  # fmt: skip
    except TableError:
        raise
    except UnicodeError as error:
        raise TableError(f"{path} is no text in UTF-8: {error}; save it in UTF-8, or pass a data frame") from error
    except (OSError, EOFError, ValueError, ImportError, csv.Error) as error:  # ImportError: parquet takes pyarrow
        raise TableError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    frame = frame.iloc[1:].reset_index(drop=True)
    frame.columns = pd.Index(header)
    return frame


def _read_parquet(path: Path) -> pd.DataFrame:
    from pyarrow.parquet import read_metadata

    told = read_metadata(path)  # repeated values take next to nothing in a file
    check_size(8 * told.num_rows * told.num_columns)
    check_size(sum(told.row_group(group).total_byte_size for group in range(told.num_row_groups)))
    return pd.read_parquet(path, dtype_backend="numpy_nullable")  # whole numbers stay so beside missing ones


def _look(path: Path, first: str, separator: str) -> None:
    """Raise TableError where a file's first line is none of names between separators."""
    other = [mark for mark in (";", "\t", "|", ",") if mark in first]
    if other and separator not in other:
        remedy = f"save the file with {separator!r}, or pass pandas.read_csv(..., sep={other[0]!r})"
        raise TableError(f"{path}: is {other[0]!r} the separator, not {separator!r}? Then {remedy}")
    if first.startswith(("# ", "sep=")):
        raise TableError(f"{path} begins with {first.strip()[:40]!r}, no names of columns; remove that line")


def _header(path: Path, lines: IO[str], separator: str) -> list[str]:
    """Return the names in the first line, once every other line has been found to have as many fields."""
    rows = csv.reader(lines, delimiter=separator, strict=True)
    header: list[str] = []
    try:
        for row in rows:
            if len(row) <= 1 and not "".join(row).strip():
                continue
            if "\0" in "".join(row):
                raise TableError(f"{path}: line {rows.line_num} holds a zero byte; save the file as text in UTF-8")
            header = header or row
            if len(row) != len(header):
                remedy = "put fields that hold a comma in quotes" if separator == "," else "correct it"
                if len(row) == len(header) + 1:
                    remedy += ", or name the first column, if that is an index"
                if len(row) == len(header) + 1 and not row[-1]:
                    remedy = f"take the {separator!r} at the end of each line away"
                fields = (
                    f"the header has {len(header)} field{'s' * (len(header) > 1)}, line {rows.line_num} has {len(row)}"
                )
                raise TableError(f"{path}: {fields}; {remedy}")
            if row == header and rows.line_num > 1 and header is not row:
                raise TableError(f"{path}: line {rows.line_num} repeats the header; remove it")
    except csv.Error as error:
        raise TableError(f"{path}: line {rows.line_num}: {error}; is a quote not closed?") from error
    if not header:
        raise TableError(f"{path} holds nothing")
    return header
