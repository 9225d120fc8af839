"""Made-up files in the formats of the data sets that cannot be kept here: small, valid, with something to learn.

Each `write_...` writes one file into a data directory and returns its path; `use` writes them all and has the
loaders take them for the publishers' own.
"""

import csv
import dataclasses
import gzip
from pathlib import Path

import numpy as np

from mixnam.data import catalogue, publishers

FOLDERS = {"mimic2": "mimic2", "mimic3": "mimic3", "income": "adult", "credit": "credit"}


def numbers(rows, columns, seed=0):
    """Standard normal columns, and labels that the first two columns explain in part."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, columns))
    return x, x[:, 0] + x[:, 1] ** 2 + 0.5 * random.normal(size=rows)


def labels(score, share):
    return (score > np.quantile(score, 1 - share)).astype(int)


def put(path, lines, end="\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((end.join(lines) + end).encode())
    return path


def write_credit(folder, rows=300, seed=0, name="creditcard.csv"):
    """Kaggle's form: header and class in quotes; at least 20 frauds, so that each fold tests some."""
    x, score = numbers(rows, 30, seed)
    x[:, 0] = np.sort(np.abs(x[:, 0]) * 60000).round()
    y = labels(score, max(0.002, 20 / rows))
    header = ",".join(f'"{c}"' for c in ("Time", *(f"V{k}" for k in range(1, 29)), "Amount", "Class"))
    body = (
        f"{row[0]:.0f}," + ",".join(map(repr, row[1:29].tolist())) + f',{abs(row[29]) * 80:.2f},"{label}"'
        for row, label in zip(x, y, strict=True)
    )
    return put(Path(folder) / name, [header, *body])


def write_year(folder, rows=300, seed=0, name="YearPredictionMSD.txt"):
    """The publisher's form: the year, then 90 numbers, and no header."""
    x, score = numbers(rows, 90, seed)
    years = np.clip(1998 + 5 * (score - score.mean()), 1922, 2011).round().astype(int)
    body = (f"{y}," + ",".join(f"{v:.5f}" for v in 30 * row) for y, row in zip(years, x, strict=True))
    return put(Path(folder) / name, body)


def write_mimic2(folder, rows=300, seed=0, name="mimic2/mimic2.data"):
    """NODE-GAM's form: 17 columns and the label, separated by spaces, without a header."""
    x, score = numbers(rows, 17, seed)
    x = (10 * x).round(1)
    for column, kinds in {1: 4, 4: 3, 6: 3, 13: 3, 14: 2, 15: 2, 16: 2}.items():
        x[:, column] = np.random.default_rng(column).integers(0, kinds, rows)
    body = (" ".join(f"{v:g}" for v in row) + f" {y}" for row, y in zip(x, labels(score, 0.15), strict=True))
    return put(Path(folder) / name, body)


def write_mimic3(folder, rows=300, seed=0, name="mimic3/adult_icu.gz"):
    """NODE-GAM's form: a gzipped table whose header has more columns than are used, in another order."""
    x, score = numbers(rows, len(publishers._MIMIC3_FEATURES), seed)
    header = ["", "subject_id", "mort_icu", *publishers._MIMIC3_FEATURES[::-1], "mort_oneyr"]
    body = (
        f"{k},{1000 + k},{y}," + ",".join(f"{v:.4f}" for v in row[::-1]) + f",{y}"
        for k, (row, y) in enumerate(zip(x, labels(score, 0.1), strict=True))
    )
    path = put(Path(folder) / name, [",".join(header), *body])
    path.write_bytes(gzip.compress(path.read_bytes(), 1, mtime=0))
    return path


def write_income(folder, rows=300, seed=0, name="adult.data"):
    """UCI's form: a comma and a space between fields, "?" where unknown, an empty line at the end."""
    x, score = numbers(rows, 14, seed)
    kinds = ("Private", "State-gov", "?")
    body = [
        ", ".join(
            kinds[int(abs(v) * 2) % 3] if i in publishers._INCOME_CATEGORICAL else f"{abs(v) * 40:.0f}"
            for i, v in enumerate(row)
        )
        + (", >50K" if y else ", <=50K")
        for row, y in zip(x, labels(score, 0.25), strict=True)
    ]
    return put(Path(folder) / name, [*body, ""])


def write_housing(folder, rows=300, seed=0, name="cal_housing.data"):
    """StatLib's form: nine columns, the value last, without a header."""
    x, score = numbers(rows, 8, seed)
    body = (
        ",".join(f"{v:.6f}" for v in (-120 + row[0], 36 + row[1], *(50 + 20 * np.abs(row[2:])), 2e5 + 3e4 * y))
        for row, y in zip(x, score, strict=True)
    )
    return put(Path(folder) / name, body)


SUPPORT2_HEADER = next(
    csv.reader(
        [
            "age,death,sex,hospdead,slos,d.time,dzgroup,dzclass,num.co,edu,income,scoma,charges,totcst,totmcst,avtisst,race,"
            "sps,aps,surv2m,surv6m,hday,diabetes,dementia,ca,prg2m,prg6m,dnr,dnrday,meanbp,wblc,hrt,resp,temp,pafi,alb,bili,"
            "crea,sod,ph,glucose,bun,urine,adlp,adls,sfdm2,adlsc"
        ]
    )
)
_TEXTS = {
    "sex": ("male", "female"),
    "dzgroup": ("Lung Cancer", "Cirrhosis", "ARF/MOSF w/Sepsis", "Coma"),
    "dzclass": ("Cancer", "COPD/CHF/Cirrhosis", "ARF/MOSF", "Coma"),
    "income": ("$11-$25k", "under $11k", ""),
    "race": ("white", "other", ""),
    "ca": ("no", "yes", "metastatic"),
    "dnr": ("no dnr", "dnr after sadm"),
    "sfdm2": ("<2 mo. follow-up", ""),
}


def write_support2(folder, rows=300, seed=0, name="support2.csv"):
    """The publisher's form: a row number that the header does not name, empty fields, padded numbers."""
    x, score = numbers(rows, len(SUPPORT2_HEADER), seed)
    y = labels(score, 0.26)
    lines = [",".join(SUPPORT2_HEADER)]
    for k, row in enumerate(x):
        fields = [str(k + 1)]
        for i, column in enumerate(SUPPORT2_HEADER):
            if column in _TEXTS:
                kinds = _TEXTS[column]
                fields.append(kinds[int(abs(row[i]) * 3) % len(kinds)])
            elif column in ("death", "hospdead"):
                fields.append(str(y[k]))
            elif column in publishers.NORMAL and row[i] > 1:
                fields.append("")
            else:
                fields.append(f"{50 + 10 * row[i]:10.5f}")
        lines.append(",".join(fields))
    return put(Path(folder) / name, lines)


def write_bike(folder, rows=300, seed=0, name="hour.csv"):
    """UCI's form: a header, lines that end in CR LF."""
    x, score = numbers(rows, 4, seed)
    casual = np.maximum(20 + 5 * score, 0).round().astype(int)
    header = "instant,dteday,season,yr,mnth,hr,holiday,weekday,workingday,weathersit,temp,atemp,hum,windspeed,casual,"
    day = np.datetime64("2011-01-01") + np.arange(rows) // 24
    body = (
        f"{k + 1},{day[k]},{1 + k % 4},{2 * k // rows},{1 + k % 12},{k % 24},0,{k // 24 % 7},1,{1 + k % 3},"
        + ",".join(f"{0.5 + v / 10:.4f}" for v in x[k])
        + f",{casual[k]},{2 * casual[k]},{3 * casual[k]}"
        for k in range(rows)
    )
    return put(Path(folder) / name, [header + "registered,cnt", *body], "\r\n")


WRITERS = {
    "housing": write_housing,
    "mimic2": write_mimic2,
    "mimic3": write_mimic3,
    "income": write_income,
    "credit": write_credit,
    "year": write_year,
    "support2": write_support2,
    "bike": write_bike,
}


def write_folds(folder, rows=300, seed=0):
    """Write NODE-GAM's train0.txt to test4.txt and return each row's test fold."""
    folds = np.random.default_rng(seed).permutation(np.arange(rows) % 5)
    for k in range(5):
        put(Path(folder) / f"test{k}.txt", map(str, np.flatnonzero(folds == k)))
        put(Path(folder) / f"train{k}.txt", map(str, np.flatnonzero(folds != k)))
    return folds


def write_year_rows(folder, train=270, seed=0):
    """Write NODE's two files of row numbers and return its training and validation rows."""
    rows = np.random.default_rng(seed).permutation(train)
    cut = round(0.8 * train)
    put(Path(folder) / "stratified_train_idx.txt", map(str, rows[:cut]))
    put(Path(folder) / "stratified_valid_idx.txt", map(str, rows[cut:]))
    return np.sort(rows[:cut]), np.sort(rows[cut:])


def accept(monkeypatch, folder, **expected):
    """Have the loaders look in `folder` and take what lies there, whatever its size and checksum.

    `expected` says by name what a file must hold nevertheless.
    """
    monkeypatch.setenv("MIXNAM_DATA", str(folder))
    for name in WRITERS:
        monkeypatch.setitem(publishers.EXPECTED, name, expected.get(name, {}))
        monkeypatch.setitem(catalogue.REGISTRY, name, dataclasses.replace(catalogue.REGISTRY[name], checksum=""))
    catalogue._load.cache_clear()
    catalogue._checksum.cache_clear()


def use(monkeypatch, folder, rows=300, names=tuple(WRITERS)):
    """Write small files of the data sets named and have the loaders take them: `names` can then be trained on."""
    for name in names:
        WRITERS[name](folder, rows)
    accept(monkeypatch, folder)
