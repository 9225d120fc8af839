"""The page on the estimators' defaults beside other libraries': the committed record of `benchmarks.estimators`."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from mixnam.data import catalogue
from mixnam.data.table import better
from mixnam.paper.costs import duration
from mixnam.paper.intervals import over_folds
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
FOLDS = 5
TESTED = 1 / (FOLDS - 1)  # a fold's test rows over its training rows
_COLUMNS = ["dataset", "title", "metric", "model", "word", "mean", "low", "high", "told"]


def record(path: Path | None = None) -> pd.DataFrame:
    """Return the record, a row a fit, with columns such as `scores.auc` and `fit.cpu`; NaN where a fit has none."""
    text = (path or root() / "book" / "benchmarks" / "estimators.jsonl").read_text(encoding="utf-8")
    found = pd.json_normalize([json.loads(line) for line in text.splitlines()], max_level=1)
    return found.reindex(columns=found.columns.union(["scores.rmse", "scores.auc", "scores.log_loss"], sort=False))


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
    for dataset, model in itertools.product(DATASETS, MODELS[1:]):
        known = catalogue.entry(dataset)
        ours, theirs = (_runs(found, dataset, name)["score"] for name in (OURS, model))
        scale, digits, unit = (100 / theirs, 1, "\N{NO-BREAK SPACE}%") if known.metric == "rmse" else (1, 4, "")
        off = ((ours - theirs) * better(known.metric) * scale).dropna()
        if len(off) > 2:  # two folds may differ alike by chance
            ahead = over_folds(off.to_numpy(), TESTED)
            numbers = (ahead.mean, *ahead.interval)
            word = "ahead" if numbers[1] > 0 else "behind" if numbers[2] < 0 else "level"
            mean, low, high = (f"{number:+.{digits}f}".replace("-", "−") for number in numbers)
            told = f"{word} {mean}{unit} [{low},\N{NO-BREAK SPACE}{high}]"
            rows.append((dataset, known.title, known.metric, model, word, *numbers, told))
    return pd.DataFrame(rows, columns=_COLUMNS)


def table(found: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return each model's score on a data set, ours beside it, and its processor time to fit and to predict a fold."""
    metric = catalogue.entry(dataset).metric
    told = advantages(found).query("dataset == @dataset").set_index("model")["told"]
    rows = []
    for model in MODELS:
        if len(own := _runs(found, dataset, model)):
            mean, sd = own.mean(numeric_only=True), own.std(numeric_only=True)
            row = {"model": model, "folds": str(own["score"].count())}
            for column, name in (("score", f"test {metric.upper()}"), ("scores.log_loss", "test log loss")):
                if own[column].notna().any():
                    row[name] = spread(mean[column], sd[column], 2 if mean[column] >= 10 else 4)
            row["MixNAM beside it"] = told.get(model, "")
            for name in ("fit", "predict"):
                seconds = mean[f"{name}.cpu"]
                row[name] = duration(seconds) if seconds >= 10 else f"{seconds:.2g}\N{NO-BREAK SPACE}s"
            rows.append(row)
    return pd.DataFrame(rows).fillna("–")


def forests(found: pd.DataFrame, metric: str) -> Figure:
    """Draw how far our defaults are ahead of each model on a metric's data sets; dotted: the lowest end wanted."""
    lines = advantages(found).query("metric == @metric")
    titles = list(dict.fromkeys(lines["title"]))
    places = {title: 1.4 * (i - (len(titles) - 1) / 2) for i, title in enumerate(titles)}
    lines = lines.assign(label=lines["model"], kind=lines["title"], place=lines["title"].map(places))
    lines = lines.sort_values("label", key=lambda names: names.map(MODELS.index), kind="stable")
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


def lacking(found: pd.DataFrame) -> str:
    """Return which models lack folds on which data sets, and which fits failed or gave a warning, as Markdown."""
    pairs = itertools.product(MODELS, DATASETS)
    counts = [(m, catalogue.entry(name).title, len(_runs(found, name, m))) for m, name in pairs]
    short = [f"{model} on {title} ({count} of {FOLDS} folds)" for model, title, count in counts if count < FOLDS]
    said = (
        [f"Not measured yet: {literal(', '.join(short))}. `python -m benchmarks.estimators` goes on."] if short else []
    )
    told = found.reindex(columns=["model", "dataset", "fold", "error", "said"])
    for model, name, fold, *texts in told.dropna(subset=["error", "said"], how="all").values:
        text = next(text for text in texts if isinstance(text, str))
        said.append(literal(f"{model} on {catalogue.entry(name).title}, fold {fold:.0f}: {text}") + ".")
    return " ".join(said)


def measured(found: pd.DataFrame) -> str:
    """Return how long ours took on all rows of a table, and where, when and with what all was measured."""
    whole = found[found["fold"].isna()][["model", "rows", "dataset", "fit.cpu"]]
    said = [
        f"{model} on all {n:,} rows of {catalogue.entry(name).title}: {s:.0f} s." for model, n, name, s in whole.values
    ]
    stamps = found.filter(like="measured.").rename(columns=lambda name: str(name).removeprefix("measured."))
    commits = dict.fromkeys(commit({"git_commit": c, "dirty": d}) for c, d in stamps[["git_commit", "dirty"]].values)
    named = dict.fromkeys(" ".join(one) for own in stamps["versions"] for one in own.items())
    where = f"{stamps['processor'].iloc[0]}, load average {stamps['load'].min():.1f} to {stamps['load'].max():.1f}"
    return " ".join([*said, f"All on {where}; commits {', '.join(commits)}; {', '.join(named)}."])
