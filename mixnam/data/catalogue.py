"""The catalogue of data sets by name, found in one directory, else downloaded into it.

The directory is the environment variable MIXNAM_DATA, or `data/` in the working directory.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from mixnam.data import laws, own, publishers
from mixnam.data.laws import SIMULATIONS
from mixnam.data.splits import FOLD_FILES, FOLDS, HOLDOUT, HOLDOUTS, REPEATS, YEAR_FILES, YEAR_FOLDERS, splits_of
from mixnam.data.table import DataError, DataMissing, Metric, Table, TableError, Task


@dataclass(frozen=True)
class Entry:
    """What the registry knows of a data set before it is loaded; no `checksum`: that of what is loaded.

    `files` are the names, in the data directory, of which one holds the data, in order of preference; those in
    `splitting` fix the split where they are there, and then `checksum` is not that of what is loaded. `ours`
    marks open data that the paper does not have.
    """

    title: str
    task: Task
    metric: Metric
    checksum: str
    splits: tuple[str, ...]
    load: Callable[[Path, bool], Table]
    remedy: str
    bundled: bool = False
    simulated: bool = False
    files: tuple[str, ...] = ()
    splitting: tuple[str, ...] = ()
    ours: bool = False
    #: how many, of a table that was read already
    features: int = 0
    #: whether its rows may be used by those alone who have signed for them: no result holds values of single rows
    credentialed: bool = False

    @property
    def every_split(self) -> tuple[str, ...]:
        """The splits that a run may have: its own, and those of other partitions of the rows.

        An own table may keep groups of rows together, and Year's publisher does (an artist's songs). Other partitions
        would tear them apart: these have their own alone.
        """
        if not (self.files or self.bundled):
            return self.splits
        return (*self.splits, *(REPEATS if self.splits == FOLDS else () if self.splitting else HOLDOUTS))


def directory() -> Path:
    """Return where data files are looked for: MIXNAM_DATA, or `data/`."""
    return Path(os.environ.get("MIXNAM_DATA") or "data")


def _simulation(name: str) -> Entry:
    return Entry(
        SIMULATIONS[name], "regression", "rmse", "", HOLDOUT, lambda where, download: laws.generate(name),
        "it is generated", simulated=True,
    )  # fmt: skip


_UCI = "(UCI Machine Learning Repository, data set"
_NODE_GAM = "this needs an account at PhysioNet, its training and a signed agreement; then put NODE-GAM's"


def _folds_in(folder: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}" for name in FOLD_FILES)


REGISTRY: dict[str, Entry] = {
    "housing": Entry(
        "California Housing", "regression", "rmse",
        "0ddcd71747ec0d39cc20d106ca0b47b8b38b589d7bf25ca682663eccbf351c74", HOLDOUT, publishers.housing,
        "put cal_housing.data (StatLib; also inside cal_housing.tgz of L. Torgo's Regression DataSets) into the data "
        "directory, or let it be downloaded where there is a network",
        files=publishers.FILES["housing"],
    ),
    "mimic2": Entry(
        "MIMIC-II", "classification", "auc", "", FOLDS, publishers.mimic2,
        f"{_NODE_GAM} mimic2.data into the folder mimic2 of the data directory, its train0.txt to test4.txt beside it",
        files=publishers.FILES["mimic2"], splitting=_folds_in("mimic2"), credentialed=True,
    ),
    "mimic3": Entry(
        "MIMIC-III", "classification", "auc", "", FOLDS, publishers.mimic3,
        f"{_NODE_GAM} adult_icu.gz into the folder mimic3 of the data directory, its train0.txt to test4.txt beside it",
        files=publishers.FILES["mimic3"], splitting=_folds_in("mimic3"), credentialed=True,
    ),
    "income": Entry(
        "Income", "classification", "auc",
        "270c935da6200fa78bb54f4340ac7425d11b2f630385021acf82d2b3aaac6f68", FOLDS, publishers.income,
        f"put adult.data {_UCI} 2, Adult) into the data directory, or let it be downloaded where there is a network",
        files=publishers.FILES["income"], splitting=_folds_in("adult"),
    ),
    "credit": Entry(
        "Credit card fraud", "classification", "auc", "", FOLDS, publishers.credit,
        "download creditcard.csv from Kaggle (mlg-ulb/creditcardfraud; needs an account) and put it, or Kaggle's "
        "creditcardfraud.zip, into the data directory",
        files=publishers.FILES["credit"], splitting=_folds_in("credit"),
    ),
    "year": Entry(
        "Year of a song", "regression", "mse", "", HOLDOUT, publishers.year,
        f"put YearPredictionMSD.txt, or the zip it comes in {_UCI} 203: "
        "https://archive.ics.uci.edu/static/public/203/yearpredictionmsd.zip), into the data directory",
        files=publishers.FILES["year"],
        splitting=tuple(f"{folder}/{name}" for folder in YEAR_FOLDERS for name in YEAR_FILES),
    ),
    "support2": Entry(
        "SUPPORT2 (open, ours)", "classification", "auc",
        "0d98bd7163e0104de41b9573fb5df2461f751e1dec96b60b72093b26a1244744", FOLDS, publishers.support2,
        "put support2.csv, or the support2csv.zip of hbiostat.org/data, into the data directory",
        files=publishers.FILES["support2"], ours=True,
    ),
    "bike": Entry(
        "Bike sharing (open, ours)", "regression", "rmse",
        "d0c977d309c1fc3406e03a890f9f3244107179b853ea9148a14131cd921faf3d", HOLDOUT, publishers.bike,
        f"put hour.csv, or the Bike-Sharing-Table.zip it comes in {_UCI} 275), into the data directory",
        files=publishers.FILES["bike"], ours=True,
    ),
    "diabetes": Entry(
        "Diabetes progression", "regression", "rmse",
        "be1848e52614c144611a2564880c07047e650c74e5f8b4e18533678eea035b19", HOLDOUT, publishers.diabetes,
        "it comes with scikit-learn", bundled=True,
    ),
    "breast_cancer": Entry(
        "Breast cancer Wisconsin", "classification", "auc",
        "eeb574675e556112bf335f03f612b099ec63295b8c3510470a7ed1e13fa7b116", FOLDS, publishers.breast_cancer,
        "it comes with scikit-learn", bundled=True,
    ),
    **{name: _simulation(name) for name in SIMULATIONS},
}  # fmt: skip


def entry(name: str, where: Path | None = None) -> Entry:
    """Return what is known of `name`: the registry's entry, or what `<name>.toml` in `where` describes.

    Raises ValueError, which lists the known data sets, or TableError for a description that cannot be used.
    """
    path = (where or directory()) / f"{name[:120]}.toml"
    if name in REGISTRY:
        if not _published(name) and path.is_file() and own.described(path).checksum != REGISTRY[name].checksum:
            raise TableError(f"{name!r} is registered, and {path} describes other data by that name; rename one")
        return REGISTRY[name]
    refused = own.name_refused(name)
    if not refused and path.is_file():
        _refuse_taken(name, path.parent)
        return _entry(own.described(path))
    raise ValueError(
        f"dataset must be one of {', '.join(REGISTRY)}, or described by {path}, got {name[:120]!r}"
        + (f"; {refused}" if refused else "")
    )


def _refuse_taken(name: str, where: Path) -> None:
    """Raise TableError for a name that something else has, if only in other case."""
    described = [path.stem for path in where.glob("*.toml")] if where.is_dir() else []
    for other in (*REGISTRY, *described):
        if other != name and other.casefold() == name.casefold():
            raise TableError(f"name {other!r} is taken by other data; give the table another name than {name!r}")


def _published(name: str) -> bool:
    known = REGISTRY[name]
    return bool(known.files or known.bundled or known.simulated)


def register(dataset: Table) -> str:
    """Make a data set known by its name in this process, and return the name.

    Raises TableError for a name that is taken by other data, or that no data set may have.
    """
    own.check_name(dataset.name)
    known = REGISTRY.get(dataset.name)
    _refuse_taken(dataset.name, directory())
    if known is not None and known.checksum != dataset.checksum:
        raise TableError(f"name {dataset.name!r} is taken by other data; give the table another name")
    if known is None or not _published(dataset.name):
        REGISTRY[dataset.name] = _entry(dataset)  # the same rows may have better names now
        _load.cache_clear()
    return dataset.name


@lru_cache(maxsize=8)
def _entry(dataset: Table) -> Entry:
    return Entry(
        dataset.title, dataset.task, dataset.metric, dataset.checksum, splits_of(dataset),
        lambda where, download: dataset, "register it, or describe it in the data directory",
        features=len(dataset.features),
    )  # fmt: skip


def credentialed(name: str) -> bool:
    """Return whether a data set may be used by those alone who have signed for it; an own table may be by its owner."""
    return name in REGISTRY and REGISTRY[name].credentialed


def at_hand(name: str, where: Path | None = None) -> bool:
    """Return whether a file of a data set is there, without reading it; bundled and simulated data always are."""
    known = entry(name, where)
    return not known.files or any(((where or directory()) / file).exists() for file in known.files)


def checksum(name: str) -> str | None:
    """Return the SHA-256 that identifies a data set in a result's key; what has none pinned is loaded.

    None says that the data are not at hand.
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
def _checksum(name: str, where: Path, stamp: tuple[tuple[str, int, int], ...]) -> str | None:
    try:
        return _load(name, where, False, stamp).checksum
    except DataError:
        return None


def family(name: str) -> str:
    """Return the name that presets give settings under: one for all simulations, else the data set's own."""
    return "simulations" if name.startswith("sim_") else name


def load(name: str, where: Path | None = None, download: bool = True) -> Table:
    """Load a registered or described data set from `where` (default: `directory()`), downloading it if it is not there.

    Raises DataMissing with the remedy where it is not at hand, DataError where a file holds something else.
    """
    where = (where or directory()).absolute()
    if name not in REGISTRY:
        return entry(name, where).load(where, download)
    return _load(name, where, download and not at_hand(name, where), _stamp(REGISTRY[name], where))


@lru_cache(maxsize=4)
def _load(name: str, where: Path, download: bool, stamp: tuple[tuple[str, int, int], ...]) -> Table:
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
