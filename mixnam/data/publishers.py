"""Loaders of data that are no part of this package: the paper's Income, Credit, Year and MIMIC, and two open sets.

Each returns a `Table` from a file that the registry names. `EXPECTED` is what a publisher's file must hold.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import numpy as np
import pandas as pd

from mixnam.data.download import fetch
from mixnam.data.files import check_size, unpacked
from mixnam.data.splits import FOLD_FILES, TEST, TRAIN, VALIDATION, publishers_folds, year_parts
from mixnam.data.table import Array, DataError, DataMissing, Table

#: What each file must hold; what is not named is not checked. Year's mean and standard deviation are those of the
#: target over the training rows, within `YEAR_TOLERANCE`.
EXPECTED: dict[str, dict[str, float]] = {
    "mimic2": {"rows": 24_508},
    "mimic3": {"rows": 27_348},
    "credit": {"rows": 284_807, "of class 1": 492},
    "year": {"rows": 515_345, "test rows": 51_630, "mean": 1998.39193, "deviation": 10.92832},
    "support2": {"rows": 9_105, "of class 1": 2_360},
    "bike": {"rows": 17_379, "rentals": 3_292_679},
}
YEAR_TOLERANCE = 0.05
_REMEDY = "replace or remove the file"


#: The names, in the data directory, of which one holds the data, in order of preference.
FILES: dict[str, tuple[str, ...]] = {
    "housing": ("cal_housing.data", "cal_housing.tgz"),
    "mimic2": ("mimic2/mimic2.data", "mimic2.data"),
    "mimic3": ("mimic3/adult_icu.gz", "adult_icu.gz"),
    "income": ("adult.data", "adult/adult.data"),
    "credit": ("creditcard.csv", "credit/creditcard.csv", "creditcardfraud.zip"),
    "year": (
        "YearPredictionMSD.txt", "YearPredictionMSD.txt.zip", "yearpredictionmsd.zip",
        "year/YearPredictionMSD.txt", "YEAR/YearPredictionMSD.txt", "YEAR/data.csv",
    ),
    "support2": ("support2.csv", "support2/support2.csv", "support2csv.zip"),
    "bike": ("hour.csv", "bikeshare/hour.csv", "Bike-Sharing-Table.zip"),
}  # fmt: skip


def _find(name: str, where: Path) -> Path:
    files = FILES[name]
    for file in files:
        if (where / file).exists():
            return where / file
    raise DataMissing(f"{name}: {where} holds none of {', '.join(files)}")


@contextlib.contextmanager
def _opened(name: str, path: Path, member: str) -> Iterator[IO[bytes]]:
    """Open a file, or `member` of a zip; whatever goes wrong while it is read becomes a DataError."""
    try:
        with path.open("rb") as raw:
            if path.suffix == ".zip":
                with zipfile.ZipFile(raw) as bundle:
                    found = [n for n in bundle.namelist() if PurePosixPath(n).name == member]
                    if not found:
                        raise ValueError(f"the archive holds no {member}")
                    check_size(bundle.getinfo(found[0]).file_size)  # what it says; then what it is
                    with unpacked(bundle.open(found[0])) as stream:
                        yield stream
            elif path.suffix == ".gz":
                with unpacked(gzip.GzipFile(fileobj=raw)) as packed:
                    yield packed
            else:
                yield raw
    # RuntimeError: an encrypted archive; NotImplementedError, one of its kind: an unknown compression
    except (OSError, ValueError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"{name}: {path} is not what it should be: {error}; {_REMEDY}") from error


def _check(name: str, path: Path, found: Mapping[str, int]) -> None:
    """Compare counts with what is expected, all of them in one message."""
    expected = EXPECTED.get(name, {})
    if any(key in expected and count != expected[key] for key, count in found.items()):
        said = ", ".join(f"{count:,} {key}" for key, count in found.items())
        wanted = ", ".join(f"{expected[key]:,} {key}" for key in found if key in expected)
        raise DataError(f"{name}: {path} holds {said}, expected {wanted}; {_REMEDY}")


_RELEASE = tuple(map(int, pd.__version__.split(".")[:2]))
#: pandas reads numbers to the last bit, so that all its releases give the same checksum; since 3.1 it does anyway.
_EXACTLY: dict[str, Any] = {"float_precision": "round_trip"} if _RELEASE < (3, 1) else {}


def _numbers(frame: pd.DataFrame, columns: Sequence[str]) -> Array:
    """Return columns as (rows, n) float64; ValueError for absent ones, words and missing values."""
    lacking = [column for column in columns if column not in frame.columns]
    if lacking:
        has = ", ".join(map(str, frame.columns[:8]))
        raise ValueError(f"it lacks {len(lacking)} columns, such as {lacking[0]!r}; it has {has}, ...")
    out = []
    for column in columns:
        values = pd.to_numeric(frame[column], errors="coerce")
        words = frame[column][values.isna() & frame[column].notna()]
        if len(words):
            raise ValueError(f"column {column!r} holds {words.iloc[0]!r}, expected numbers")
        if values.isna().any():
            raise ValueError(f"column {column!r} lacks {int(values.isna().sum())} values")
        out.append(values.to_numpy(np.float64))
    return np.column_stack(out)


def _codes(column: pd.Series[Any]) -> tuple[Array, tuple[str, ...]]:
    """Return a column's codes and labels: numbers in their order, else sorted text; ValueError for missing values."""
    if column.isna().any():
        raise ValueError(f"column {column.name!r} lacks {int(column.isna().sum())} values")
    numeric = pd.api.types.is_any_real_numeric_dtype(column.dtype)
    codes, labels = pd.factorize(column if numeric else column.astype(str), sort=True)
    return codes.astype(np.float64), tuple(f"{label:g}" if numeric else str(label) for label in labels)


def _with_folds(dataset: Table, folder: Path) -> Table:
    """Return the data with the folds of the files in `folder`; the source says whose folds they are."""
    folds = publishers_folds(dataset.name, folder, len(dataset.y))
    said = "folds of ours" if folds is None else "folds from files"
    return replace(dataset, folds=folds, source=f"{dataset.source}, {said}")


_INCOME_URL = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/adult.data"
_INCOME_SHA256 = "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d"
_INCOME_FEATURES = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship", "race",
    "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country",
)  # fmt: skip
_INCOME_CATEGORICAL = (1, 3, 5, 6, 7, 8, 9, 13)


def income(where: Path, download: bool = False) -> Table:
    """Adult, the training file; a "?" is a category of its own."""
    folder = where / "adult"
    try:
        path = _find("income", where)
    except DataMissing:
        # with fold files only the data give a result's key: they are not to come while it is being trained
        if not download or any((folder / name).exists() for name in FOLD_FILES):
            raise
        path = where / "adult.data"
        fetch(_INCOME_URL, path, _INCOME_SHA256, "income")
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            table = [row for row in csv.reader(lines, skipinitialspace=True) if row]
        widths = {len(row) for row in table}
        if widths != {15}:
            raise ValueError(f"rows of {', '.join(map(str, sorted(widths))) or 'no'} columns, expected 15")
        *columns, label = np.array(table).T
        categories, x = {}, []
        for i, column in enumerate(columns):
            if i in _INCOME_CATEGORICAL:
                labels, column = np.unique(column, return_inverse=True)
                categories[i] = tuple(map(str, labels))
            x.append(column.astype(np.float64))
        dataset = Table(
            "income", "Income", "classification", "auc", np.column_stack(x), (label == ">50K").astype(np.float64),
            _INCOME_FEATURES, "income above 50,000 dollars", categories=categories, source=path.name,
        )  # fmt: skip
    except (ValueError, OSError, csv.Error, DataError) as error:
        raise DataError(f"income: {path} is not the Adult table: {error}; remove it to download it") from error
    with_folds = _with_folds(dataset, folder)
    return dataset if with_folds.folds is None else with_folds


_CREDIT_FEATURES = ("Time", *(f"V{k}" for k in range(1, 29)), "Amount")


def credit(where: Path, download: bool = False) -> Table:
    """Credit card fraud: Kaggle's creditcard.csv, whose header and class are in quotes."""
    path = _find("credit", where)
    with _opened("credit", path, "creditcard.csv") as stream:
        frame = pd.read_csv(stream, **_EXACTLY)
        if tuple(frame.columns) != (*_CREDIT_FEATURES, "Class"):
            has = ", ".join(map(str, frame.columns[:8]))
            raise ValueError(
                f"it has {frame.shape[1]} columns ({has}, ...), expected 31: Time, V1 to V28, Amount and Class"
            )
        frame["Class"] = frame["Class"].astype(str).str.strip("'\"")
        x, y = _numbers(frame, _CREDIT_FEATURES), _numbers(frame, ["Class"])[:, 0]
    del frame
    _check("credit", path, {"rows": len(y), "of class 1": int((y == 1).sum())})
    dataset = Table(
        "credit", "Credit card fraud", "classification", "auc", x, y, _CREDIT_FEATURES, "fraud", source=path.name
    )
    return _with_folds(dataset, where / "credit")


def year(where: Path, download: bool = False) -> Table:
    """YearPredictionMSD: the first column is the target, the last rows are the test set.

    Read in parts, as the table has half a million rows.
    """
    path = _find("year", where)
    xs, ys = [], []
    with _opened("year", path, "YearPredictionMSD.txt") as stream:
        options: dict[str, Any] = {"header": None, "dtype": np.float64, "chunksize": 50_000}
        for part in pd.read_csv(stream, **options, **_EXACTLY):
            if part.shape[1] != 91:
                raise ValueError(f"it has {part.shape[1]} columns, expected the year and 90 features")
            xs.append(part.iloc[:, 1:].to_numpy(copy=True))
            ys.append(part.iloc[:, 0].to_numpy(copy=True))
        x, y = np.concatenate(xs), np.concatenate(ys)
        del xs, part
        odd = y[~((y >= 1900) & (y <= 2100) & (y == np.floor(y)))]
        if len(odd):
            raise ValueError(f"its first column holds {odd[0]:g}, expected years")
    _check("year", path, {"rows": len(y)})
    expected = EXPECTED["year"]
    train = len(y) - int(expected.get("test rows", max(len(y) // 10, 1)))
    parts, said = year_parts(where, train, len(y))
    for rows in (slice(0, train), parts == TRAIN):
        found = y[rows]
        for what, value in {"mean": found.mean(), "deviation": found.std()}.items() if len(found) else ():
            if abs(value - expected.get(what, value)) > YEAR_TOLERANCE:
                raise DataError(
                    f"year: the {len(found):,} training rows of {path} have a target of {what} {value:.3f}, expected "
                    f"{expected[what]:.3f} within {YEAR_TOLERANCE}: rows in another order? {_REMEDY}"
                )
    kinds = ("average", "covariance")
    features = tuple(f"timbre {kinds[k >= 12]} {k + 1 - 12 * (k >= 12)}" for k in range(90))
    return Table(
        "year", "Year of a song", "regression", "mse", x, y, features, "year of release", "years",
        source=f"{path.name}, {said}", parts=parts,
    )  # fmt: skip


_MIMIC2_FEATURES = (
    "Age", "GCS", "SBP", "HR", "Temperature", "PFratio", "Renal", "Urea", "WBC", "CO2", "Na", "K", "Bilirubin",
    "AdmissionType", "AIDS", "MetastaticCancer", "Lymphoma",
)  # fmt: skip
_MIMIC2_CATEGORICAL = ("GCS", "Temperature", "Renal", "AdmissionType", "AIDS", "MetastaticCancer", "Lymphoma")


def mimic2(where: Path, download: bool = False) -> Table:
    """MIMIC-II as NODE-GAM has it: columns without a header, separated by spaces, the last the death in hospital."""
    path = _find("mimic2", where)
    with _opened("mimic2", path, "mimic2.data") as stream:
        frame = pd.read_csv(stream, header=None, sep=r"\s+", **_EXACTLY)
        if frame.shape[1] != len(_MIMIC2_FEATURES) + 1:
            raise ValueError(f"it has {frame.shape[1]} columns, expected 17 features and the label")
        frame.columns = pd.Index([*_MIMIC2_FEATURES, "label"])
        categories, x = {}, []
        for i, feature in enumerate(_MIMIC2_FEATURES):
            if feature in _MIMIC2_CATEGORICAL:
                codes, categories[i] = _codes(frame[feature])
                x.append(codes)
            else:
                x.append(_numbers(frame, [feature])[:, 0])
        y = _numbers(frame, ["label"])[:, 0]
    _check("mimic2", path, {"rows": len(y)})
    dataset = Table(
        "mimic2", "MIMIC-II", "classification", "auc", np.column_stack(x), y, _MIMIC2_FEATURES, "death in hospital",
        categories=categories, source=path.name,
    )  # fmt: skip
    return _with_folds(dataset, where / "mimic2")


_MIMIC3_FEATURES = (
    "age", "first_hosp_stay", "first_icu_stay", "adult_icu",
    *(f"eth_{group}" for group in ("asian", "black", "hispanic", "other", "white")),
    *(f"admType_{kind}" for kind in ("ELECTIVE", "EMERGENCY", "NEWBORN", "URGENT")),
    *(
        f"{vital}_{of}"
        for vital in ("heartrate", "sysbp", "diasbp", "meanbp", "resprate", "tempc", "spo2", "glucose")
        for of in ("min", "max", "mean")
    ),
    "aniongap", "albumin", "bicarbonate", "bilirubin", "creatinine", "chloride", "glucose", "hematocrit",
    "hemoglobin", "lactate", "magnesium", "phosphate", "platelet", "potassium", "ptt", "inr", "pt", "sodium", "bun",
    "wbc",
)  # fmt: skip


def mimic3(where: Path, download: bool = False) -> Table:
    """MIMIC-III as NODE-GAM has it: a table with a header, of which 57 columns are features."""
    path = _find("mimic3", where)
    with _opened("mimic3", path, "adult_icu") as stream:
        frame = pd.read_csv(stream, **_EXACTLY)
        x, y = _numbers(frame, _MIMIC3_FEATURES), _numbers(frame, ["mort_icu"])[:, 0]
    _check("mimic3", path, {"rows": len(y)})
    dataset = Table(
        "mimic3", "MIMIC-III", "classification", "auc", x, y, _MIMIC3_FEATURES, "death in the ICU", source=path.name
    )
    return _with_folds(dataset, where / "mimic3")


_SUPPORT2_FEATURES = (
    "age", "sex", "dzclass", "num.co", "edu", "income", "scoma", "race", "hday", "diabetes", "dementia", "ca",
    "meanbp", "wblc", "hrt", "resp", "temp", "pafi", "alb", "bili", "crea", "sod", "ph", "glucose", "bun", "urine",
    "adlp", "adls", "adlsc",
)  # fmt: skip
_SUPPORT2_CATEGORICAL = ("sex", "dzclass", "income", "race", "ca")
#: The publisher's normal values for what was not measured; other numbers get their column's median.
NORMAL = {"alb": 3.5, "pafi": 333.3, "bili": 1.01, "crea": 1.01, "bun": 6.51, "wblc": 9.0, "urine": 2502.0}


def support2(where: Path, download: bool = False) -> Table:
    """SUPPORT2, death in hospital: what is known on the third day, without prognoses, costs and what came later."""
    path = _find("support2", where)
    with _opened("support2", path, "support2.csv") as stream:
        frame = pd.read_csv(stream, skipinitialspace=True, **_EXACTLY)
        lacking = [column for column in (*_SUPPORT2_FEATURES, "hospdead") if column not in frame.columns]
        if lacking:
            raise ValueError(f"it lacks the columns {', '.join(lacking)}")
        categories, x = {}, []
        for i, feature in enumerate(_SUPPORT2_FEATURES):
            if feature in _SUPPORT2_CATEGORICAL:
                codes, categories[i] = _codes(frame[feature].astype(object).fillna("missing"))
                x.append(codes)
            else:
                there = frame[feature].notna().to_numpy()
                known = _numbers(frame[there], [feature])[:, 0]
                column = np.full(len(frame), NORMAL.get(feature, np.median(known)))
                column[there] = known
                x.append(column)
        y = _numbers(frame, ["hospdead"])[:, 0]
    _check("support2", path, {"rows": len(y), "of class 1": int((y == 1).sum())})
    return Table(
        "support2", "SUPPORT2 (open, ours)", "classification", "auc", np.column_stack(x), y, _SUPPORT2_FEATURES,
        "death in hospital", categories=categories, source=f"{path.name}, folds of ours",
    )  # fmt: skip


_BIKE_FEATURES = (
    "season", "yr", "mnth", "hr", "holiday", "weekday", "workingday", "weathersit", "temp", "atemp", "hum", "windspeed"
)  # fmt: skip


def bike(where: Path, download: bool = False) -> Table:
    """Bike sharing by the hour, split by time: the first 70 % are for training, then 10 % validation, 20 % test."""
    path = _find("bike", where)
    with _opened("bike", path, "hour.csv") as stream:
        frame = pd.read_csv(stream, **_EXACTLY)
        x, y = _numbers(frame, _BIKE_FEATURES), _numbers(frame, ["cnt"])[:, 0]
        if (
            "dteday" not in frame.columns
            or not pd.to_datetime(frame["dteday"], format="ISO8601").is_monotonic_increasing
        ):
            raise ValueError("its rows are not in the order of a column dteday, and the split goes by time")
    _check("bike", path, {"rows": len(y), "rentals": int(y.sum())})
    parts = np.full(len(y), TRAIN)
    parts[round(0.7 * len(y)) :] = VALIDATION
    parts[round(0.8 * len(y)) :] = TEST
    return Table(
        "bike", "Bike sharing (open, ours)", "regression", "rmse", x, y, _BIKE_FEATURES, "rentals", "rentals an hour",
        source=f"{path.name}, split by time", parts=parts,
    )  # fmt: skip


_HOUSING_URL = "https://ndownloader.figshare.com/files/5976036"


_HOUSING_SHA256 = "aaa5c9a6afe2225cc2aed2723682ae403280c4a3695a2ddda4ffb5d8215ea681"


_HOUSING_FEATURES = ("MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup", "Latitude", "Longitude")


def housing(where: Path, download: bool = False) -> Table:
    """California Housing, its target in 100,000 dollars and its counts as means over households."""
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
            with unpacked(gzip.open(archive)) as packed, tarfile.open(fileobj=packed, mode="r|") as bundle:
                wanted = "CaliforniaHousing/cal_housing.data"
                member = next((m for m in bundle if m.name == wanted), None)
                assert member is not None, f"the archive holds no {wanted}"
                table = parse(cast(IO[bytes], bundle.extractfile(member)))
    except (ValueError, KeyError, OSError, EOFError, zlib.error, tarfile.TarError, AssertionError) as error:
        raise DataError(
            f"housing: {path} is not the California Housing table: {error}; remove it to download it"
        ) from error
    if table.shape[1] != 9:
        raise DataError(f"housing: {path} has {table.shape[1]} columns, expected 9; remove it to download it")
    longitude, latitude, age, rooms, bedrooms, population, households, income, value = table.T
    columns = (income, age, rooms / households, bedrooms / households, population, population / households)
    x = np.column_stack((*columns, latitude, longitude))
    return Table(
        "housing", "California Housing", "regression", "rmse", x, value / 100000.0, _HOUSING_FEATURES,
        "median house value", "100,000 dollars", source=path.name,
    )  # fmt: skip


def diabetes(where: Path, download: bool = False) -> Table:
    """Diabetes progression, which scikit-learn brings."""
    from sklearn.datasets import load_diabetes

    data = load_diabetes(scaled=False)
    return Table(
        "diabetes", "Diabetes progression", "regression", "rmse", np.asarray(data.data, np.float64),
        np.asarray(data.target, np.float64), tuple(map(str, data.feature_names)), "disease progression after a year",
        "points", source="bundled with scikit-learn",
    )  # fmt: skip


def breast_cancer(where: Path, download: bool = False) -> Table:
    """Breast cancer Wisconsin, which scikit-learn brings."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    return Table(
        "breast_cancer", "Breast cancer Wisconsin", "classification", "auc", np.asarray(data.data, np.float64),
        np.asarray(data.target, np.float64), tuple(map(str, data.feature_names)), "benign",
        source="bundled with scikit-learn",
    )  # fmt: skip
