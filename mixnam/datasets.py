"""Data sets: one type, a registry, and loaders that look in one directory, else download into it.

The directory is the environment variable MIXNAM_DATA, or `data/` in the working directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray

from mixnam.fetching import DataError as DataError
from mixnam.fetching import DataMissing as DataMissing
from mixnam.fetching import fetch as fetch

Array = NDArray[np.float64]
Task = Literal["regression", "classification"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A table with its target.

    **Shape:** `x` is (rows, n) float64, categorical columns as codes 0, 1, ... into `categories[column]`;
    `y` is (rows,), in `unit`, or 0/1. `folds`, where they are fixed, gives each row's test fold. `parts`, where
    a holdout is fixed, gives each row's part: 1 training, 2 validation, 3 test, or 0 for one of the first two,
    drawn with the run's seed. `probe`, (P, n), holds further rows at which every model's prediction is stored
    (simulations: where the truth is known).

    Raises DataError for missing values, shapes that disagree, a part without rows, or a single class.
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
    parts: NDArray[np.int64] | None = None

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
        for what, of_rows in (("folds", self.folds), ("parts", self.parts)):
            if of_rows is not None and of_rows.shape != self.y.shape:
                raise DataError(f"{self.name}: {what} are {of_rows.shape}, y {self.y.shape}; they must agree in rows")
        if self.parts is not None:
            parts = set(map(int, np.unique(self.parts)))
            if not parts <= {0, 1, 2, 3} or 3 not in parts or not (0 in parts or {1, 2} <= parts):
                raise DataError(
                    f"{self.name}: parts must hold 3 (test) and 0 (drawn), or 1, 2 and 3 (training, validation, test), "
                    f"found {', '.join(map(str, sorted(parts)[:5]))}"
                )
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
            digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).data)
        if self.parts is not None:  # only then, so that other data keep their checksums
            digest.update(b"parts" + self.parts.astype("<i8").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Entry:
    """What the registry knows of a data set before it is loaded; no `checksum`: that of what is loaded.

    `files` are the names, in the data directory, of which one holds the data, in order of preference; those in
    `splitting` fix the split where they are there, and then `checksum` is not that of what is loaded. `ours`
    marks open data that the paper does not have.
    """

    title: str
    task: Task
    metric: Literal["rmse", "mse", "auc"]
    checksum: str
    splits: tuple[str, ...]
    load: Callable[[Path, bool], Dataset]
    remedy: str
    bundled: bool = False
    simulated: bool = False
    files: tuple[str, ...] = ()
    splitting: tuple[str, ...] = ()
    ours: bool = False
    #: whether its rows may be used by those alone who have signed for them: no result holds values of single rows
    credentialed: bool = False

    @property
    def every_split(self) -> tuple[str, ...]:
        """The splits that a run may have: its own, and where these are folds those of other partitions of the rows.

        An own table may keep groups of rows together, which other partitions would tear apart: it has its own alone.
        """
        return (*self.splits, *REPEATS) if self.splits == FOLDS and (self.files or self.bundled) else self.splits


HOLDOUT = ("holdout",)
FOLDS = tuple(f"fold{k}" for k in range(5))
#: Five folds of each of two further partitions of the rows.
REPEATS = tuple(f"repeat{r}-{fold}" for r in (1, 2) for fold in FOLDS)
#: NODE-GAM's files of row numbers, and NODE's for Year in either of its folders.
FOLD_FILES = tuple(f"{part}{k}.txt" for k in range(5) for part in ("train", "test"))
YEAR_FOLDERS, YEAR_FILES = ("year", "YEAR"), ("stratified_train_idx.txt", "stratified_valid_idx.txt")


def directory() -> Path:
    """Return where data files are looked for: MIXNAM_DATA, or `data/`."""
    return Path(os.environ.get("MIXNAM_DATA") or "data")


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


def _late(name: str) -> Callable[[Path, bool], Dataset]:
    def load(where: Path, download: bool) -> Dataset:
        from mixnam import loaders

        return loaders.LOADERS[name](where, download)

    return load


_UCI = "(UCI Machine Learning Repository, data set"
_NODE_GAM = "this needs an account at PhysioNet, its training and a signed agreement; then put NODE-GAM's"


def _folds_in(folder: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}" for name in FOLD_FILES)


REGISTRY: dict[str, Entry] = {
    "housing": Entry(
        "California Housing", "regression", "rmse",
        "0ddcd71747ec0d39cc20d106ca0b47b8b38b589d7bf25ca682663eccbf351c74", HOLDOUT, _housing,
        "put cal_housing.data (StatLib; also inside cal_housing.tgz of L. Torgo's Regression DataSets) into the data "
        "directory, or let it be downloaded where there is a network",
        files=("cal_housing.data", "cal_housing.tgz"),
    ),
    "mimic2": Entry(
        "MIMIC-II", "classification", "auc", "", FOLDS, _late("mimic2"),
        f"{_NODE_GAM} mimic2.data into the folder mimic2 of the data directory, its train0.txt to test4.txt beside it",
        files=("mimic2/mimic2.data", "mimic2.data"), splitting=_folds_in("mimic2"), credentialed=True,
    ),
    "mimic3": Entry(
        "MIMIC-III", "classification", "auc", "", FOLDS, _late("mimic3"),
        f"{_NODE_GAM} adult_icu.gz into the folder mimic3 of the data directory, its train0.txt to test4.txt beside it",
        files=("mimic3/adult_icu.gz", "adult_icu.gz"), splitting=_folds_in("mimic3"), credentialed=True,
    ),
    "income": Entry(
        "Income", "classification", "auc",
        "270c935da6200fa78bb54f4340ac7425d11b2f630385021acf82d2b3aaac6f68", FOLDS, _late("income"),
        f"put adult.data {_UCI} 2, Adult) into the data directory, or let it be downloaded where there is a network",
        files=("adult.data", "adult/adult.data"), splitting=_folds_in("adult"),
    ),
    "credit": Entry(
        "Credit card fraud", "classification", "auc", "", FOLDS, _late("credit"),
        "download creditcard.csv from Kaggle (mlg-ulb/creditcardfraud; needs an account) and put it, or Kaggle's "
        "creditcardfraud.zip, into the data directory",
        files=("creditcard.csv", "credit/creditcard.csv", "creditcardfraud.zip"), splitting=_folds_in("credit"),
    ),
    "year": Entry(
        "Year of a song", "regression", "mse", "", HOLDOUT, _late("year"),
        f"put YearPredictionMSD.txt, or the zip it comes in {_UCI} 203: "
        "https://archive.ics.uci.edu/static/public/203/yearpredictionmsd.zip), into the data directory",
        files=(
            "YearPredictionMSD.txt", "YearPredictionMSD.txt.zip", "yearpredictionmsd.zip",
            "year/YearPredictionMSD.txt", "YEAR/YearPredictionMSD.txt", "YEAR/data.csv",
        ),
        splitting=tuple(f"{folder}/{name}" for folder in YEAR_FOLDERS for name in YEAR_FILES),
    ),
    "support2": Entry(
        "SUPPORT2 (open, ours)", "classification", "auc",
        "0d98bd7163e0104de41b9573fb5df2461f751e1dec96b60b72093b26a1244744", FOLDS, _late("support2"),
        "put support2.csv, or the support2csv.zip of hbiostat.org/data, into the data directory",
        files=("support2.csv", "support2/support2.csv", "support2csv.zip"), ours=True,
    ),
    "bike": Entry(
        "Bike sharing (open, ours)", "regression", "rmse",
        "d0c977d309c1fc3406e03a890f9f3244107179b853ea9148a14131cd921faf3d", HOLDOUT, _late("bike"),
        f"put hour.csv, or the Bike-Sharing-Dataset.zip it comes in {_UCI} 275), into the data directory",
        files=("hour.csv", "bikeshare/hour.csv", "Bike-Sharing-Dataset.zip"), ours=True,
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


def credentialed(name: str) -> bool:
    """Return whether a data set may be used by those alone who have signed for it; an own table may be by its owner."""
    return name in REGISTRY and REGISTRY[name].credentialed


def at_hand(name: str, where: Path | None = None) -> bool:
    """Return whether a file of a data set is there, without reading it; bundled and simulated data always are."""
    known = entry(name, where)
    return not known.files or any(((where or directory()) / file).exists() for file in known.files)


_ABSENT = ": not at hand"


def absent(checksum: str) -> bool:
    """Return whether what `checksum` gave says that the data are not at hand."""
    return checksum.endswith(_ABSENT)


def checksum(name: str) -> str:
    """Return the SHA-256 that identifies a data set in a result's key; what has none pinned is loaded.

    Where that fails, a text says that the data are not at hand: no result can have such a key, for who
    trains loads the data.
    """
    known = entry(name)
    if known.checksum and not known.splitting:
        return known.checksum
    where = directory().absolute()
    stamp = _stamp(known, where)
    pinned = known.checksum and not any(file in known.splitting for file, *_ in stamp)
    return known.checksum if pinned else _checksum(name, where, stamp)


def _stamp(known: Entry, where: Path) -> tuple[tuple[str, int, int], ...]:
    """Return name, time and size of the files that are there: what is remembered holds as long as they do."""
    found = []
    for file in (*known.files, *known.splitting):
        with contextlib.suppress(OSError):
            status = (where / file).stat()
            found.append((file, status.st_mtime_ns, status.st_size))
    return tuple(found)


@lru_cache(maxsize=64)
def _checksum(name: str, where: Path, stamp: tuple[tuple[str, int, int], ...]) -> str:
    try:
        return _load(name, where, False, stamp).checksum
    except DataError:
        return f"{name}{_ABSENT}"


def family(name: str) -> str:
    """Return the name that presets give settings under: one for all simulations, else the data set's own."""
    return "simulations" if name.startswith("sim_") else name


def load(name: str, where: Path | None = None, download: bool = True) -> Dataset:
    """Load a registered or described data set from `where` (default: `directory()`), downloading it if it is not there.

    Raises DataMissing with the remedy where it is not at hand, DataError where a file holds something else.
    """
    where = (where or directory()).absolute()
    if name not in REGISTRY:
        return entry(name, where).load(where, download)
    return _load(name, where, download and not at_hand(name, where), _stamp(REGISTRY[name], where))


@lru_cache(maxsize=4)
def _load(name: str, where: Path, download: bool, stamp: tuple[tuple[str, int, int], ...]) -> Dataset:
    known = entry(name)
    try:
        dataset = known.load(where, download)
    except DataMissing as error:
        raise DataMissing(f"{error}. Remedy: {known.remedy} (data directory: {where})") from error
    plain = replace(dataset, folds=None) if known.splitting else dataset  # what the pinned checksum is of
    if known.checksum and plain.checksum != known.checksum:
        raise DataError(
            f"{name}: {dataset.source} in {where} holds other data than expected: {dataset.x.shape[0]} rows x "
            f"{dataset.x.shape[1]} features with SHA-256 {plain.checksum}, expected {known.checksum}; "
            "replace or remove the file"
        )
    return dataset
