"""The page on the estimators' defaults beside other libraries': the committed record of `benchmarks.estimators`."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from mixnam.data import catalogue
from mixnam.data.table import better
from mixnam.paper.costs import duration
from mixnam.paper.intervals import LEVEL, over_folds
from mixnam.plots.forests import forest_plot
from mixnam.plots.look import COLORS, GREY
from mixnam.report.layout import commit, literal, spread
from mixnam.runs.files import root

OURS, ADDITIVE = "MixNAM", "EBM without pairs"
DATASETS = ("diabetes", "breast_cancer", "support2", "income", "bike", "housing")
MODELS = (OURS, "NAM", "linear", "pyGAM", ADDITIVE, "EBM", "XGBoost", "LightGBM")
#: Where our defaults' interval over an EBM without pairs was to lie above 0, and its lowest end elsewhere, in % of the
#: EBM's RMSE or in AUC; written down before anything was measured.
INTERACTING, LOWEST = ("bike", "housing"), {"rmse": -2.0, "auc": -0.005}
SMALL, SIMPLE = 1_000, ("linear", ADDITIVE, "EBM")  # rows, and what may do as well on so few
_NUMBERS = [
    ("scores", "rmse"),
    ("scores", "auc"),
    ("scores", "log_loss"),
    ("fit", "cpu"),
    ("fit", "wall"),
    ("predict", "cpu"),
]
TESTED = 1 / 4  # a fold's test rows over its training rows


def record(path: Path | None = None) -> pd.DataFrame:
    """Return the record, a row a fit, with columns such as `scores.auc` and `fit.cpu`; NaN where a fit has none."""
    text = (path or root() / "book" / "benchmarks" / "estimators.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    numbers = [{f"{part}.{name}": row.get(part, {}).get(name, math.nan) for part, name in _NUMBERS} for row in rows]
    return pd.DataFrame([row | own for row, own in zip(rows, numbers, strict=True)])


def _runs(found: pd.DataFrame, dataset: str, model: str) -> pd.DataFrame:
    """Return a model's fits on a data set by fold, with `score`."""
    own = found[found["dataset"].eq(dataset) & found["model"].eq(model) & found["fold"].notna()].set_index("fold")
    return own.assign(score=own[f"scores.{catalogue.entry(dataset).metric}"]).sort_index()


def advantages(found: pd.DataFrame) -> pd.DataFrame:
    """Return how far our defaults are ahead of each model, in AUC or in % of the other's RMSE; positive is better.

    Columns: dataset, title, metric, model, word, mean, low, high (95 %, the corrected resampled t over shared folds)
    and told, all of it in words.
    """
    rows = []
    for dataset, model in ((dataset, model) for dataset in DATASETS for model in MODELS[1:]):
        known = catalogue.entry(dataset)
        ours, theirs = (_runs(found, dataset, name)["score"] for name in (OURS, model))
        off = ((ours - theirs) * better(known.metric) * (100 / theirs if known.metric == "rmse" else 1)).dropna()
        if len(off) > 1:
            ahead = over_folds(off.to_numpy(), TESTED)
            word = (
                "ahead" if ahead.chance_above(0) <= LEVEL else "behind" if ahead.chance_below(0) <= LEVEL else "level"
            )
            digits, unit = (1, "\N{NO-BREAK SPACE}%") if known.metric == "rmse" else (4, "")
            mean, low, high = (f"{v:+.{digits}f}".replace("-", "−") for v in (ahead.mean, *ahead.interval))
            told = f"{word} {mean}{unit} [{low},\N{NO-BREAK SPACE}{high}]"
            rows.append((dataset, known.title, known.metric, model, word, ahead.mean, *ahead.interval, told))
    columns = ["dataset", "title", "metric", "model", "word", "mean", "low", "high", "told"]
    return pd.DataFrame(rows, columns=columns)


def table(found: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return each model's score on a data set, ours beside it, and its processor time to fit and to predict a fold."""
    metric = catalogue.entry(dataset).metric
    told = advantages(found).query("dataset == @dataset").set_index("model")["told"]
    rows = []
    for model in MODELS:
        if len(own := _runs(found, dataset, model)):
            row = {"model": model, "folds": str(own["score"].count())}
            for column, name in (("score", f"test {metric.upper()}"), ("scores.log_loss", "test log loss")):
                if column in own and own[column].notna().any():
                    mean = own[column].mean()
                    row[name] = spread(mean, own[column].std(), 2 if mean >= 10 else 4)
            row["MixNAM beside it"] = told.get(model, "")
            for column, name in (("fit.cpu", "fit"), ("predict.cpu", "predict")):
                mean = own[column].mean()
                row[name] = duration(mean) if mean >= 10 else f"{mean:.2g} s"
            rows.append(row)
    return pd.DataFrame(rows).fillna("–")


def forests(found: pd.DataFrame, metric: str) -> Figure:
    """Draw how far our defaults are ahead of each model on a metric's data sets; dotted: the lowest end wanted."""
    lines = advantages(found).query("metric == @metric")
    titles = [catalogue.entry(name).title for name in DATASETS if catalogue.entry(name).metric == metric]
    places = {title: i - (len(titles) - 1) / 2 for i, title in enumerate(titles)}
    lines = lines.assign(label=lines["model"], kind=lines["title"], place=lines["title"].map(places) * 1.4)
    unit = "AUC" if metric == "auc" else "% of the other's RMSE"
    figure = forest_plot(lines, f"MixNAM is better by ({unit})", dict(zip(titles, COLORS, strict=False)))
    figure.axes[0].axvline(LOWEST[metric], color=GREY, linewidth=1, linestyle=":", zorder=1)
    return figure


def verdict(found: pd.DataFrame) -> str:
    """Return where our defaults are what was wanted beside an EBM without pairs, and where they fall short."""
    said: dict[bool, list[str]] = {True: [], False: []}
    for row in advantages(found).query("model == @ADDITIVE").to_dict("records"):
        holds = row["low"] > 0 if row["dataset"] in INTERACTING else row["low"] >= LOWEST[row["metric"]]
        said[bool(holds)].append(literal(f"{row['title']} ({row['told']})"))
    good = f"It holds on {', '.join(said[True])}. " if said[True] else ""
    return good + (f"**It does not hold on {', '.join(said[False])}: the defaults' next task.**" if said[False] else "")


def on_small_tables(found: pd.DataFrame) -> str:
    """Return on which small tables a linear model or an EBM is as good as our defaults or better; or nothing."""
    rows = found.groupby("dataset")["rows"].max() * (1 + TESTED)
    some = advantages(found).query("model in @SIMPLE and word != 'ahead'")
    some = some[some["dataset"].map(rows) < SMALL]
    where = [f"{name}: " + ", ".join(own["model"] + " (" + own["told"] + ")") for name, own in some.groupby("title")]
    said = f"Below {SMALL:,} rows a linear model or an EBM is as good as our defaults or better. "
    return said + literal("; ".join(where)) + "." if where else ""


def measured(found: pd.DataFrame) -> str:
    """Return how long ours took on all rows of a table, and where, when and with what all was measured."""
    whole = found[found["fold"].isna() & found["model"].eq(OURS)]
    said = [
        f"{OURS} on all {row['rows']:,} rows of {catalogue.entry(row['dataset']).title}: {row['fit.cpu']:.0f} s of "
        f"processor time to fit, {row['fit.wall']:.0f} s by the clock."
        for _, row in whole.iterrows()
    ]
    stamps = found["measured"]
    commits = dict.fromkeys(commit(stamp) for stamp in stamps)
    versions = {name: version for stamp in stamps for name, version in stamp["versions"].items()}
    named, loads = ", ".join(" ".join(one) for one in versions.items()), [stamp["load"] for stamp in stamps]
    where = f"{stamps[0]['processor']}, load average {min(loads):.1f} to {max(loads):.1f}"
    return " ".join([*said, f"All on {where}; commits {', '.join(commits)}; {named}."])
