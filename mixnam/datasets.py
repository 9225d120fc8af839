"""Data sets: one type, a registry, and loaders that look in one directory, else download into it.

The directory is the environment variable MIXNAM_DATA, or `data/` in the working directory.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import http.client
import os
import sys
import tarfile
import urllib.request
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Task = Literal["regression", "classification"]


class DataError(Exception):
    """Data that cannot be used; the message says what is wrong and what to do."""


class DataMissing(DataError):
    """A data set that is not at hand and could not be downloaded."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A table with its target.

    **Shape:** `x` is (rows, n) float64, categorical columns as codes 0, 1, ... into `categories[column]`;
    `y` is (rows,), in `unit`, or 0/1. `folds`, where they are fixed, gives each row's test fold. `probe`,
    (P, n), holds further rows at which every model's prediction is stored (simulations: where the truth is
    known).

    Raises DataError for missing values, shapes that disagree, or a single class.
    """

    name: str
    title: str
    task: Task
    metric: Literal["rmse", "mse", "auc"]
    x: Array
    y: Array
    features: tuple[str, ...]
    target: str
    unit: str = ""
    categories: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    folds: NDArray[np.int64] | None = None
    probe: Array | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.y.shape != self.x.shape[:1] or len(self.features) != self.x.shape[1]:
            raise DataError(
                f"{self.name}: x is {self.x.shape}, y {self.y.shape}, with {len(self.features)} feature names; "
                "they must agree in rows and columns"
            )
        for i, name in enumerate(self.features):
            bad = int((~np.isfinite(self.x[:, i])).sum())
            if bad:
                raise DataError(
                    f"{self.name}: feature {name!r} holds {bad} missing or infinite values; fill or drop them"
                )
        for i, labels in self.categories.items():
            codes = self.x[:, i]
            if ((codes < 0) | (codes >= len(labels)) | (codes != np.floor(codes))).any():
                raise DataError(
                    f"{self.name}: feature {self.features[i]!r} must hold codes 0 to {len(labels) - 1}, "
                    f"found {codes.min():g} to {codes.max():g}"
                )
        if self.folds is not None and self.folds.shape != self.y.shape:
            raise DataError(f"{self.name}: folds are {self.folds.shape}, y {self.y.shape}; they must agree in rows")
        bad = int((~np.isfinite(self.y)).sum())
        if bad:
            raise DataError(
                f"{self.name}: target {self.target!r} holds {bad} missing or infinite values; drop those rows"
            )
        if self.task == "classification" and set(np.unique(self.y)) != {0.0, 1.0}:
            found = ", ".join(f"{v:g}" for v in np.unique(self.y)[:5])
            raise DataError(f"{self.name}: target {self.target!r} must hold both classes 0 and 1, found {found}")

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the parsed arrays: identifies the data in a result's key, whatever file it came from."""
        digest = hashlib.sha256(f"{self.task} {self.x.shape} {sorted(self.categories)}".encode())
        for array in (self.x, self.y) if self.folds is None else (self.x, self.y, self.folds):
            digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Entry:
    """What the registry knows of a data set before it is loaded; no `checksum`: that of what is loaded."""

    title: str
    task: Task
    metric: Literal["rmse", "mse", "auc"]
    checksum: str
    splits: tuple[str, ...]
    load: Callable[[Path, bool], Dataset]
    remedy: str
    bundled: bool = False
    simulated: bool = False


HOLDOUT = ("holdout",)
FOLDS = tuple(f"fold{k}" for k in range(5))


def directory() -> Path:
    """Return where data files are looked for: MIXNAM_DATA, or `data/`."""
    return Path(os.environ.get("MIXNAM_DATA") or "data")


def fetch(url: str, path: Path, sha256: str, label: str) -> None:
    """Download `url` to `path`: to a temporary name first, checked against `sha256`, then renamed.

    Raises DataMissing where the download fails, DataError where the content is not what was expected.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    digest = hashlib.sha256()
    try:
        with contextlib.ExitStack() as stack:
            response = stack.enter_context(urllib.request.urlopen(url, timeout=20))
            path.parent.mkdir(parents=True, exist_ok=True)
            out = stack.enter_context(temporary.open("wb"))
            size, done = int(response.headers.get("Content-Length") or 0), 0
            while block := response.read(1 << 18):
                out.write(block)
                digest.update(block)
                done += len(block)
                share = f" of {size / 1e6:.1f} MB ({done / size:.0%})" if size else " MB"
                print(f"\r{label}: {done / 1e6:.1f}{share}", end="", file=sys.stderr)
            print(file=sys.stderr)
            out.flush()
            os.fsync(out.fileno())
        if size and done < size:
            raise OSError(f"the connection broke off after {done} of {size} bytes")
        if digest.hexdigest() != sha256:
            raise DataError(
                f"{label}: {url} sent other content than expected: SHA-256 {digest.hexdigest()} ({done} bytes), "
                f"expected {sha256}; nothing was kept"
            )
        os.replace(temporary, path)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DataMissing(f"{label}: could not download {url}: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


_HOUSING_URL = "https://ndownloader.figshare.com/files/5976036"
_HOUSING_SHA256 = "aaa5c9a6afe2225cc2aed2723682ae403280c4a3695a2ddda4ffb5d8215ea681"
_HOUSING_FEATURES = ("MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup", "Latitude", "Longitude")


def _housing(where: Path, download: bool) -> Dataset:
    raw, archive = where / "cal_housing.data", where / "cal_housing.tgz"
    if not raw.exists() and not archive.exists():
        if not download:
            raise DataMissing(f"housing: neither {raw} nor {archive} exists")
        fetch(_HOUSING_URL, archive, _HOUSING_SHA256, "housing")
    path = raw if raw.exists() else archive

    def parse(stream: IO[bytes] | Path) -> Array:
        table: Array = np.loadtxt(stream, delimiter=",", ndmin=2)
        return table

    try:
        if path == raw:
            table = parse(raw)
        else:
            with tarfile.open(archive) as bundle:
                member = bundle.extractfile("CaliforniaHousing/cal_housing.data")
                assert member is not None
                table = parse(member)
    except (ValueError, KeyError, OSError, EOFError, zlib.error, tarfile.TarError, AssertionError) as error:
        raise DataError(
            f"housing: {path} is not the California Housing table: {error}; remove it to download it"
        ) from error
    if table.shape[1] != 9:
        raise DataError(f"housing: {path} has {table.shape[1]} columns, expected 9; remove it to download it")
    longitude, latitude, age, rooms, bedrooms, population, households, income, value = table.T
    columns = (income, age, rooms / households, bedrooms / households, population, population / households)
    x = np.column_stack((*columns, latitude, longitude))
    return Dataset(
        "housing", "California Housing", "regression", "rmse", x, value / 100000.0, _HOUSING_FEATURES,
        "median house value", "100,000 dollars", source=path.name,
    )  # fmt: skip


_INCOME_URL = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/adult.data"
_INCOME_SHA256 = "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d"
_INCOME_FEATURES = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship", "race",
    "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country",
)  # fmt: skip
_INCOME_CATEGORICAL = (1, 3, 5, 6, 7, 8, 9, 13)


def _income(where: Path, download: bool) -> Dataset:
    path = where / "adult.data"
    if not path.exists():
        if not download:
            raise DataMissing(f"income: {path} does not exist")
        fetch(_INCOME_URL, path, _INCOME_SHA256, "income")
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            table = [row for row in csv.reader(lines, skipinitialspace=True) if row]
        widths = {len(row) for row in table}
        if widths != {15}:
            raise ValueError(f"rows of {', '.join(map(str, sorted(widths))) or 'no'} columns, expected 15")
        *columns, income = np.array(table).T
        categories, x = {}, []
        for i, column in enumerate(columns):
            if i in _INCOME_CATEGORICAL:  # "?" is a category of its own
                labels, column = np.unique(column, return_inverse=True)
                categories[i] = tuple(map(str, labels))
            x.append(column.astype(np.float64))
        return Dataset(
            "income", "Income", "classification", "auc", np.column_stack(x), (income == ">50K").astype(np.float64),
            _INCOME_FEATURES, "income above 50,000 dollars", categories=categories, source=path.name,
        )  # fmt: skip
    except (ValueError, OSError, csv.Error, DataError) as error:
        raise DataError(f"income: {path} is not the Adult table: {error}; remove it to download it") from error


def _diabetes(where: Path, download: bool) -> Dataset:
    from sklearn.datasets import load_diabetes

    data = load_diabetes(scaled=False)
    return Dataset(
        "diabetes", "Diabetes progression", "regression", "rmse", np.asarray(data.data, np.float64),
        np.asarray(data.target, np.float64), tuple(map(str, data.feature_names)), "disease progression after a year",
        "points", source="bundled with scikit-learn",
    )  # fmt: skip


def _breast_cancer(where: Path, download: bool) -> Dataset:
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    return Dataset(
        "breast_cancer", "Breast cancer Wisconsin", "classification", "auc", np.asarray(data.data, np.float64),
        np.asarray(data.target, np.float64), tuple(map(str, data.feature_names)), "benign",
        source="bundled with scikit-learn",
    )  # fmt: skip


#: Titles of the synthetic laws; the laws themselves are in `simulations`, which is loaded when one is asked for.
SIMULATIONS = {
    "sim_unimodal": "Simulation: one mode",
    "sim_multimodal": "Simulation: two modes",
    **{f"sim_sparse_{share}": f"Simulation: two modes, {share} % of the rows in one" for share in (25, 5, 1)},
    **{f"sim_variability_{count}": f"Simulation: modifiers of x1, {count} of them" for count in (1, 2, 4, 8, 16)},
    "sim_noise": "Simulation: noise that grows with x1",
    "sim_hidden": "Simulation: two modes, their switch not among the features",
}


def _simulation(name: str) -> Entry:
    def generate(where: Path, download: bool) -> Dataset:
        from mixnam import simulations

        return simulations.generate(name)

    return Entry(SIMULATIONS[name], "regression", "rmse", "", HOLDOUT, generate, "it is generated", simulated=True)


REGISTRY: dict[str, Entry] = {
    "housing": Entry(
        "California Housing", "regression", "rmse",
        "0ddcd71747ec0d39cc20d106ca0b47b8b38b589d7bf25ca682663eccbf351c74", HOLDOUT, _housing,
        "put cal_housing.data (StatLib; also inside cal_housing.tgz of L. Torgo's Regression DataSets) into the data "
        "directory, or let it be downloaded where there is a network",
    ),
    "income": Entry(
        "Income", "classification", "auc",
        "270c935da6200fa78bb54f4340ac7425d11b2f630385021acf82d2b3aaac6f68", FOLDS, _income,
        "put adult.data (UCI Machine Learning Repository, data set 2, Adult) into the data directory, or let it be "
        "downloaded where there is a network",
    ),
    "diabetes": Entry(
        "Diabetes progression", "regression", "rmse",
        "be1848e52614c144611a2564880c07047e650c74e5f8b4e18533678eea035b19", HOLDOUT, _diabetes,
        "it comes with scikit-learn", bundled=True,
    ),
    "breast_cancer": Entry(
        "Breast cancer Wisconsin", "classification", "auc",
        "eeb574675e556112bf335f03f612b099ec63295b8c3510470a7ed1e13fa7b116", FOLDS, _breast_cancer,
        "it comes with scikit-learn", bundled=True,
    ),
    **{name: _simulation(name) for name in SIMULATIONS},
}  # fmt: skip


def entry(name: str, where: Path | None = None) -> Entry:
    """Return what is known of `name`: the registry's entry, or what `<name>.toml` in `where` describes.

    Raises ValueError, which lists the known data sets, or TableError for a description that cannot be used.
    """
    if name in REGISTRY:
        return REGISTRY[name]
    path = (where or directory()) / f"{name}.toml"
    if name.isidentifier() and path.is_file():
        from mixnam import tables

        return tables.described(path)
    raise ValueError(f"dataset must be one of {', '.join(REGISTRY)}, or described by {path}, got {name!r}")


def checksum(name: str) -> str:
    """Return the SHA-256 that identifies a data set in a result's key; what has none pinned is loaded."""
    return entry(name).checksum or load(name).checksum


def family(name: str) -> str:
    """Return the name that presets give settings under: one for all simulations, else the data set's own."""
    return "simulations" if name.startswith("sim_") else name


def load(name: str, where: Path | None = None, download: bool = True) -> Dataset:
    """Load a registered or described data set from `where` (default: `directory()`), downloading it if it is not there.

    Raises DataMissing with the remedy where it is not at hand, DataError where a file holds something else.
    """
    where = (where or directory()).absolute()
    return _load(name, where, download) if name in REGISTRY else entry(name, where).load(where, download)


@lru_cache(maxsize=4)
def _load(name: str, where: Path, download: bool) -> Dataset:
    known = entry(name)
    try:
        dataset = known.load(where, download)
    except DataMissing as error:
        raise DataMissing(f"{error}. Remedy: {known.remedy} (data directory: {where})") from error
    if known.checksum and dataset.checksum != known.checksum:
        raise DataError(
            f"{name}: {dataset.source} in {where} holds other data than expected: {dataset.x.shape[0]} rows x "
            f"{dataset.x.shape[1]} features with SHA-256 {dataset.checksum}, expected {known.checksum}; "
            "replace or remove the file"
        )
    return dataset
