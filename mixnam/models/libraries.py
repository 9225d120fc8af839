"""Baselines that other libraries fit, in the common form."""

from __future__ import annotations

import importlib
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression, LogisticRegression, LogisticRegressionCV, RidgeCV
from sklearn.preprocessing import SplineTransformer
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mixnam.data.table import Array, Task
from mixnam.models.encoding import known
from mixnam.models.layers import Tensors
from mixnam.models.settings import LibrarySettings, number

State = Mapping[str, NDArray[Any]]
Function = Callable[[Array], Array]
#: Penalties among which Spline's is chosen by cross-validation.
PENALTIES = np.logspace(-3, 3, 13)

#: Defaults of interpret 0.2.7 (signature of ExplainableBoostingRegressor at that tag; the classifier's are the
#: same) in today's arguments. From `smoothing_rounds` on: what came after it, turned off by the values that today's
#: release itself sets for its differentially private models.
EBM_027: dict[str, Any] = {
    "max_bins": 256, "max_interaction_bins": 32, "outer_bags": 8, "inner_bags": 0, "learning_rate": 0.01,
    "validation_size": 0.15, "early_stopping_rounds": 50, "early_stopping_tolerance": 1e-4, "max_rounds": 5000,
    "min_samples_leaf": 2, "max_leaves": 3,
    "smoothing_rounds": 0, "interaction_smoothing_rounds": 0, "greedy_ratio": 0.0, "cyclic_progress": True,
    "min_hessian": 0.0, "reg_alpha": 0.0, "reg_lambda": 0.0, "max_delta_step": 0.0, "gain_scale": 1.0,
    "min_cat_samples": 0, "cat_smooth": 0.0,
}  # fmt: skip

#: Settings of EBM and EB2M that are the library's arguments, where they are not 0.
_EBM_OPTIONS = (
    "outer_bags", "max_rounds", "learning_rate", "max_leaves", "min_samples_leaf", "max_interaction_bins",
)  # fmt: skip


@dataclass(frozen=True)
class SplineSettings(LibrarySettings):
    """Sum of cubic splines with knots at quantiles, ridge penalty chosen by cross-validation (scikit-learn)."""

    model = "Spline"
    parts = ("preprocessing", "spline")
    attributes = True

    knots: int = number(25, 2)


@dataclass(frozen=True)
class XGBoostSettings(LibrarySettings):
    """Gradient-boosted trees (xgboost); the defaults are the library's own, without early stopping."""

    model = "XGBoost"
    parts = ("preprocessing", "xgboost")

    trees: int = number(100, 1)
    max_depth: int = number(6, 1, 16)
    learning_rate: float = number(0.3, 1e-6, 1.0)
    min_child_weight: float = number(1.0, 0.0)
    subsample: float = number(1.0, 0.01, 1.0)
    colsample_bytree: float = number(1.0, 0.01, 1.0)
    reg_lambda: float = number(1.0, 0.0)
    #: stop after so many trees without a better validation score; 0 grows all trees
    early_stopping_rounds: int = number(0, 0)


@dataclass(frozen=True)
class LightGBMSettings(LibrarySettings):
    """Gradient-boosted trees grown leaf by leaf (lightgbm); the defaults are the library's own."""

    model = "LightGBM"
    parts = ("preprocessing", "lightgbm")

    trees: int = number(100, 1)
    num_leaves: int = number(31, 2)
    learning_rate: float = number(0.1, 1e-6, 1.0)
    min_child_samples: int = number(20, 0)
    #: share of the rows that each tree sees, drawn anew for each
    subsample: float = number(1.0, 0.01, 1.0)
    colsample_bytree: float = number(1.0, 0.01, 1.0)
    reg_lambda: float = number(0.0, 0.0)
    #: stop after so many trees without a better validation score; 0 grows all trees
    early_stopping_rounds: int = number(0, 0)


@dataclass(frozen=True)
class CatBoostSettings(LibrarySettings):
    """Gradient-boosted symmetric trees (catboost); the defaults are the library's own."""

    model = "CatBoost"
    parts = ("preprocessing", "catboost")

    trees: int = number(1000, 1)
    depth: int = number(6, 1, 16)
    #: 0 is the library's own: by the numbers of rows and trees, or 0.03 where one of the leaves' settings is given
    learning_rate: float = number(0.0, 0.0, 1.0)
    l2_leaf_reg: float = number(3.0, 0.0)
    random_strength: float = number(1.0, 0.0)
    #: of the Bayesian bootstrap; 0 is the library's own bootstrap, which draws rows by their gradients
    bagging_temperature: float = number(0.0, 0.0)
    #: steps that find a leaf's value; 0 is the library's own number
    leaf_estimation_iterations: int = number(0, 0)
    #: stop after so many trees without a better validation score; 0 grows all trees
    early_stopping_rounds: int = number(0, 0)


@dataclass(frozen=True)
class EBMSettings(LibrarySettings):
    """Explainable boosting machine (interpret) without interactions."""

    model = "EBM"
    parts = ("preprocessing", "ebm")
    attributes = True

    #: whose defaults: the installed release's, or those of 0.2.7, of the time of the paper's baselines
    release: Literal["today", "0.2.7"] = "today"
    #: models averaged; 0 is the release's own number (14 today, 8 in 0.2.7)
    outer_bags: int = number(0, 0)
    #: boosting rounds at most; 0 is the release's own number
    max_rounds: int = number(0, 0)
    #: of these, too, 0 is the release's own
    learning_rate: float = number(0.0, 0.0, 1.0)
    max_leaves: int = number(0, 0)
    min_samples_leaf: int = number(0, 0)
    max_interaction_bins: int = number(0, 0)


@dataclass(frozen=True)
class EB2MSettings(EBMSettings):
    """Explainable boosting machine with pairwise interactions."""

    model = "EB2M"
    parent = "EBM"
    attributes = False
    paired = True

    interactions: int = number(10, 1)


@dataclass(frozen=True)
class Fitted:
    """A model that another library fitted.

    Attributes: `predict`, from network inputs (rows, n) to predictions (rows,), on the scale of the standardised target
    or as log-odds; `contributions`, from inputs to each feature's part of the prediction (rows, n), or None where the
    model is no sum over features; `rounds`, boosting rounds kept, 1 elsewhere; `parameters`, how many numbers it
    learnt; `versions`, of libraries that only this model needs; `state` and `text`, what `restore` needs.
    """

    predict: Callable[[Array], Array]
    contributions: Callable[[Array], Array] | None
    rounds: int
    parameters: int
    versions: Mapping[str, str] = field(default_factory=dict)
    state: State = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True)
class Rows:
    """Inputs (rows, n) and targets (rows,), standardised or 0/1, of the training and the validation rows.

    `weights`, where training rows do not weigh the same, is (rows,).
    """

    x: Array
    y: Array
    x_validation: Array
    y_validation: Array
    weights: Array | None = None


def fit_library(settings: LibrarySettings, rows: Rows, task: Task, seed: int) -> Fitted:
    """Fit the library model that `settings` describe, on one thread; ValueError for one that is unknown.

    Raises ModuleNotFoundError, with the remedy, where the library is not installed.
    """
    with threadpool_limits(1):  # the order of numpy's sums, so the bits, would depend on the number of threads
        if isinstance(settings, SplineSettings):
            return _fit_spline(settings, rows, task)
        if isinstance(settings, XGBoostSettings):
            return _fit_xgboost(settings, rows, task, seed)
        if isinstance(settings, LightGBMSettings):
            return _fit_lightgbm(settings, rows, task, seed)
        if isinstance(settings, CatBoostSettings):
            return _fit_catboost(settings, rows, task, seed)
        if isinstance(settings, EBMSettings):
            return _fit_ebm(settings, rows, task, seed)
    raise ValueError(
        f"no library model {settings.model!r}; there are Spline, XGBoost, LightGBM, CatBoost, EBM and EB2M"
    )


def restore(settings: LibrarySettings, state: State, text: str) -> Fitted:
    """Return a fitted model from its `state` and `text`: its predictions are the same, what it learnt is not counted.

    Raises ModuleNotFoundError, with the remedy, where a library of boosted trees is missing; the others need none.
    """
    if isinstance(settings, XGBoostSettings):
        return Fitted(_trees(text), None, 1, 0, text=text)
    if isinstance(settings, (LightGBMSettings, CatBoostSettings)):
        read = _leafwise if isinstance(settings, LightGBMSettings) else _symmetric
        return Fitted(read(state), None, 1, 0, state=state)
    predict, contributions = _splines(state) if isinstance(settings, SplineSettings) else _steps(state)
    pairs = isinstance(settings, EB2MSettings)
    return Fitted(predict, None if pairs else contributions, 1, 0, state=state)


def fit_linear(x: Array, y: Array, task: Task, weights: Array | None = None, gaps: bool = False) -> Tensors:
    """Fit least squares, or logistic regression with scikit-learn's default penalty.

    **Shape:** x is (rows, n), y and weights (rows,); the result has `weight` (1, n), with `gaps` also `missing` (1, n),
    what a missing value adds, and `bias` (1,).
    """
    given = np.hstack([np.nan_to_num(x), np.isnan(x)]) if gaps else x
    model = (LinearRegression() if task == "regression" else LogisticRegression(max_iter=10_000)).fit(given, y, weights)
    parts = torch.tensor(model.coef_, dtype=torch.float32).reshape(1, -1).split(x.shape[1], dim=1)
    found = dict(zip(("weight", "missing"), parts, strict=False))
    return found | {"bias": torch.tensor(model.intercept_, dtype=torch.float32).reshape(1)}


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        extra = "catboost" if name == "catboost" else "baselines"
        raise ModuleNotFoundError(f"{error}; remedy: pip install 'mixnam[{extra}]'", name=name) from error


def _knots(column: Array, count: int) -> Array:
    """Return where the B-splines of one column (rows,) have their knots: at quantiles, each once, and at the extremes.

    Quantiles coincide where a value is frequent, as in encoded categories. Missing values do not count.
    """
    return np.unique(np.quantile(known(column), np.linspace(0, 1, count), method="nearest"))


def _basis(knots: Array) -> SplineTransformer | None:
    """Return B-splines, None for a constant; fewer than four knots take a lower degree (two: a straight line)."""
    if len(knots) == 1:
        return None
    spline = SplineTransformer(degree=min(3, len(knots) - 1), knots=knots[:, None], extrapolation="constant")
    return spline.fit(knots[:, None])


def _expanded(bases: Sequence[SplineTransformer | None], x: Array, gaps: Sequence[bool]) -> list[Array]:
    """Return each column's B-splines; where it has `gaps`, missing values have none of them but a column of their own.

    In other columns a missing value counts as 0, the median.
    """
    found = []
    for basis, column, gap in zip(bases, x.T, gaps, strict=True):
        missing = np.isnan(column)[:, None]
        part = np.zeros((len(x), 0)) if basis is None else basis.transform(np.nan_to_num(column)[:, None])
        found.append(np.hstack([np.where(missing, 0.0, part), missing]) if gap else part)
    return found


def _splines(state: State) -> tuple[Function, Function]:
    """Return prediction and contributions of a sum of splines."""
    count = sum(name.startswith("knots.") for name in state)
    bases = [_basis(state[f"knots.{i}"]) for i in range(count)]
    weights = [state[f"weights.{i}"] for i in range(count)]
    own = [0 if basis is None else basis.n_features_out_ for basis in bases]
    gaps = [len(weight) > size for weight, size in zip(weights, own, strict=True)]

    def contributions(x: Array) -> Array:
        parts = _expanded(bases, x, gaps)
        return np.stack([part @ weight for part, weight in zip(parts, weights, strict=True)], axis=1)

    return lambda x: contributions(x).sum(axis=1) + float(state["intercept"]), contributions


def _fit_spline(settings: SplineSettings, rows: Rows, task: Task) -> Fitted:
    """Fit a sum of splines with a ridge penalty, chosen among `PENALTIES` by cross-validation on training rows.

    The parts are as fitted, not centred: B-splines sum to one, so a constant may sit in any feature.
    """
    knots = [_knots(column, settings.knots) for column in rows.x.T]
    parts = _expanded([_basis(k) for k in knots], rows.x, [bool(np.isnan(column).any()) for column in rows.x.T])
    if task == "regression":
        model: Any = RidgeCV(PENALTIES)
    else:
        # far fewer columns than rows: Newton's method takes a tenth of the default solver's time
        options: dict[str, Any] = {"solver": "newton-cholesky", "max_iter": 1000}
        model = LogisticRegressionCV(Cs=1 / PENALTIES, cv=5, scoring="neg_log_loss", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # names of attributes not used here
        model.fit(np.hstack(parts), rows.y, sample_weight=rows.weights)
    widths = [part.shape[1] for part in parts]
    weights = np.split(np.ravel(model.coef_), np.cumsum(widths)[:-1])
    state = {f"knots.{i}": k for i, k in enumerate(knots)} | {f"weights.{i}": w for i, w in enumerate(weights)}
    state["intercept"] = np.ravel(model.intercept_)[0]
    predict, contributions = _splines(state)
    return Fitted(predict, contributions, 1, sum(widths) + 1, state=state)


def boosted_trees(settings: XGBoostSettings, rows: Rows, task: Task, seed: int, threads: int = 1) -> tuple[Any, int]:
    """Return xgboost's model, fitted, and how many of its trees count.

    Validation rows are used only with early stopping (by squared error or log loss).
    """
    xgboost = _library("xgboost")
    options = settings.all()
    del options["quantile_rows"]  # of the transform, not of the trees
    options["n_estimators"] = options.pop("trees")
    stopping = options["early_stopping_rounds"] = settings.early_stopping_rounds or None
    kind = xgboost.XGBRegressor if task == "regression" else xgboost.XGBClassifier
    model = kind(**options, tree_method="hist", device="cpu", n_jobs=threads, random_state=seed)
    seen = [(rows.x_validation, rows.y_validation)] if stopping else None
    model.fit(rows.x, rows.y, sample_weight=rows.weights, eval_set=seen, verbose=False)
    return model, model.best_iteration + 1 if stopping else settings.trees


def _trees(text: str) -> Function:
    """Return the prediction of boosted trees from xgboost's own JSON."""
    booster = _library("xgboost").Booster()
    booster.load_model(bytearray(text.encode()))
    return lambda x: booster.inplace_predict(x, predict_type="margin").astype(float)


def _fit_xgboost(settings: XGBoostSettings, rows: Rows, task: Task, seed: int) -> Fitted:
    """Fit boosted trees; `parameters` counts a number for each leaf (its value) and each split (its threshold)."""
    model, rounds = boosted_trees(settings, rows, task, seed)
    booster = model.get_booster()[:rounds]
    nodes = sum(tree.count("\n") for tree in booster.get_dump())
    text = booster.save_raw("json").decode()
    return Fitted(_trees(text), None, rounds, nodes, {"xgboost": _library("xgboost").__version__}, text=text)


def _leafwise(state: State) -> Function:
    """Return the prediction of boosted trees from lightgbm's own text."""
    booster = _library("lightgbm").Booster(model_str=state["model"].tobytes().decode())
    return lambda x: booster.predict(x, raw_score=True, num_threads=1)


def _fit_lightgbm(settings: LightGBMSettings, rows: Rows, task: Task, seed: int) -> Fitted:
    """Fit boosted trees; rounds and `parameters` as XGBoost's, of a tree that found no split one leaf."""
    lightgbm = _library("lightgbm")
    options = {k: v for k, v in settings.all().items() if k not in ("quantile_rows", "trees", "early_stopping_rounds")}
    options |= {"objective": "regression" if task == "regression" else "binary", "seed": seed, "bagging_freq": 1}
    # else the library times two ways of counting, whose sums differ in their last bits, and takes the faster
    options |= {"num_threads": 1, "deterministic": True, "force_col_wise": True, "verbose": -1}
    data, seen, stopping = lightgbm.Dataset(rows.x, rows.y, weight=rows.weights), [], []
    if settings.early_stopping_rounds:
        seen = [lightgbm.Dataset(rows.x_validation, rows.y_validation, reference=data)]
        stopping = [lightgbm.early_stopping(settings.early_stopping_rounds, verbose=False)]
    booster = lightgbm.train(options, data, settings.trees, seen, callbacks=stopping)
    rounds = booster.best_iteration if stopping else settings.trees
    text = booster.model_to_string(num_iteration=rounds)
    nodes = sum(2 * int(leaves) - 1 for leaves in re.findall(r"^num_leaves=(\d+)$", text, re.MULTILINE))
    state = {"model": np.frombuffer(text.encode(), np.uint8)}
    return Fitted(_leafwise(state), None, rounds, nodes, {"lightgbm": lightgbm.__version__}, state)


def _symmetric(state: State) -> Function:
    """Return the prediction of boosted trees from catboost's own bytes."""
    model = _library("catboost").CatBoost().load_model(blob=state["model"].tobytes())
    return lambda x: model.predict(x, prediction_type="RawFormulaVal", thread_count=1)


def _fit_catboost(settings: CatBoostSettings, rows: Rows, task: Task, seed: int) -> Fitted:
    """Fit boosted trees; `parameters` counts each leaf, and a split for each level: all its nodes share it."""
    catboost = _library("catboost")
    if np.ptp(rows.y) == 0:
        raise ValueError("CatBoost needs two values of the target in the training rows, got one; take another model")
    # an argument that is given, if only its default, changes how the library chooses others
    options = {k: v for k, v in settings.changed().items() if k not in ("quantile_rows", "trees")}
    if settings.bagging_temperature:
        options["bootstrap_type"] = "Bayesian"
    kind = catboost.CatBoostRegressor if task == "regression" else catboost.CatBoostClassifier
    quiet = {"verbose": False, "allow_writing_files": False}
    model = kind(iterations=settings.trees, random_seed=seed, thread_count=1, **options, **quiet)
    seen = (rows.x_validation, rows.y_validation) if settings.early_stopping_rounds else None
    model.fit(rows.x, rows.y, sample_weight=rows.weights, eval_set=seen)
    leaves = model.get_tree_leaf_counts()
    with tempfile.TemporaryDirectory() as folder:  # the library hands its bytes to files alone
        model.save_model(f"{folder}/model.cbm")
        state = {"model": np.frombuffer(Path(folder, "model.cbm").read_bytes(), np.uint8)}
    nodes = int(leaves.sum() + np.log2(leaves).sum())
    return Fitted(_symmetric(state), None, model.tree_count_, nodes, {"catboost": catboost.__version__}, state)


def boosting_machine(settings: EBMSettings, rows: Rows, task: Task, seed: int, threads: int = 1) -> Any:
    """Return interpret's model, fitted; it splits its own validation part off the training rows."""
    glassbox = _library("interpret.glassbox")
    options = dict(EBM_027) if settings.release == "0.2.7" else {}
    options |= {k: v for k in _EBM_OPTIONS if (v := getattr(settings, k))}
    options["interactions"] = settings.interactions if isinstance(settings, EB2MSettings) else 0
    # inputs are numbers; left to itself, the library takes a column of two values for categories
    options["feature_types"] = ["continuous"] * rows.x.shape[1]
    regression = task == "regression"
    kind = glassbox.ExplainableBoostingRegressor if regression else glassbox.ExplainableBoostingClassifier
    model = kind(**options, n_jobs=threads, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # advice on its arguments
        model.fit(rows.x, rows.y if regression else rows.y.astype(int), rows.weights)
    return model


def _steps(state: State) -> tuple[Function, Function]:
    """Return prediction and terms of a sum of step functions of one or two features, as interpret adds them up."""
    count = sum(name.startswith("scores.") for name in state)

    def terms(x: Array) -> Array:
        found = []
        for t in range(count):
            places = [
                # bin 0 is for missing values
                np.where(np.isnan(x[:, i]), 0, np.searchsorted(state[f"cuts.{t}.{k}"], x[:, i], side="right") + 1)
                for k, i in enumerate(state[f"features.{t}"])
            ]
            found.append(state[f"scores.{t}"][tuple(places)])
        return np.array(found).T  # a term after another in memory, as the library has them

    def predict(x: Array) -> Array:
        total = np.full(len(x), float(state["intercept"]))
        for part in terms(x).T:
            total += part
        return total

    return predict, terms


def _fit_ebm(settings: EBMSettings, rows: Rows, task: Task, seed: int) -> Fitted:
    """Fit an explainable boosting machine.

    `rounds` are the steps kept, a term each, of all bags; `parameters` the scores of all bins, and the intercept.
    """
    model = boosting_machine(settings, rows, task, seed)
    state: dict[str, NDArray[Any]] = {"intercept": np.ravel(model.intercept_)[0]}
    for t, (features, scores) in enumerate(zip(model.term_features_, model.term_scores_, strict=True)):
        state |= {f"features.{t}": np.array(features), f"scores.{t}": scores}
        for k, i in enumerate(features):
            levels = model.bins_[i]  # coarser cuts for pairs
            state[f"cuts.{t}.{k}"] = levels[min(len(features), len(levels)) - 1]
    predict, contributions = _steps(state)
    return Fitted(
        predict,
        None if isinstance(settings, EB2MSettings) else contributions,
        int(model.best_iteration_.sum()),
        1 + sum(scores.size for scores in model.term_scores_),
        {"interpret": _library("interpret").__version__},
        state,
    )
