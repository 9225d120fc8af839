"""Experiments: each is a list of RunSpecs; `run` trains those that have no result yet."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mixnam.data import catalogue
from mixnam.data.splits import HOLDOUT, HOLDOUTS, REPEATS
from mixnam.models import make_settings, settings_class
from mixnam.paper.presets import Preset, load_preset
from mixnam.runs.frame import results_of
from mixnam.runs.results import Result
from mixnam.runs.spec import RunSpec, repetitions
from mixnam.runs.store import Store


@dataclass(frozen=True)
class Case:
    """One row of an experiment: a model with settings over the preset's, on the page's data set or its own.

    `label` names it in tables; `published`, where the paper prints its number, the name it has there; `preset`, where
    it is not the experiment's, whose settings it has.
    """

    label: str
    model: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    dataset: str = ""
    published: str = ""
    preset: str = ""


#: Seeds of one split and of each fold that no choice of our own recipe has seen, and of each other split.
FRESH_SEEDS, FRESH_IN_FOLDS, FRESH_ELSEWHERE = range(10, 20), range(4), range(10, 14)


def fresh_runs(dataset: str, other_splits: bool = False) -> list[tuple[str, int]]:
    """Return the split and seed of each run that our own recipe is judged by, first seeds first.

    They are ten seeds of the one split, or four seeds in each of the ten folds of two other partitions of the rows;
    with `other_splits` four seeds of each of five other holdouts.
    """
    if other_splits:
        return [(split, seed) for seed in FRESH_ELSEWHERE for split in HOLDOUTS]
    if catalogue.entry(dataset).splits == HOLDOUT:
        return [(HOLDOUT[0], seed) for seed in FRESH_SEEDS]
    return [(split, seed) for seed in FRESH_IN_FOLDS for split in REPEATS]


def fresh_specs(
    dataset: str, model: str, preset: str, overrides: Mapping[str, Any] | None = None, other_splits: bool = False
) -> list[RunSpec]:
    """Return the specs of `fresh_runs` of one model at a preset, where that searched on a split with its settings."""
    chosen, runs = load_preset(preset), fresh_runs(dataset, other_splits)
    return [RunSpec(dataset, chosen.settings(dataset, model, overrides, split), split, seed) for split, seed in runs]


def specs_of(
    dataset: str,
    model: str,
    preset: str,
    overrides: Mapping[str, Any] | None = None,
    experiment: str = "",
    seeds: int | None = None,
) -> list[RunSpec]:
    """Return the specs of one model on one data set: seeds on one split, or folds with seed 0.

    How many is the preset's to say, unless `seeds` says how many seeds (and then all folds).
    """
    chosen = load_preset(preset)
    settings = chosen.settings(dataset, model, overrides)
    if seeds is None:
        runs = repetitions(dataset, chosen.number("seeds", experiment), chosen.number("folds", experiment))
    else:
        runs = repetitions(dataset, seeds)
    return [RunSpec(dataset, settings, split, seed) for split, seed in runs]


def stored(
    store: Store,
    dataset: str,
    model: str,
    preset: str,
    overrides: Mapping[str, Any] | None = None,
    every_split: bool = False,
) -> list[Result]:
    """Return what a store holds of a model at a preset: every seed up to the paper's number, or every fold.

    With `every_split` those on other partitions into folds follow.
    """
    settings = load_preset(preset).settings(dataset, model, overrides)
    return results_of(store, dataset, settings, load_preset("paper").number("seeds"), every_split)


def _mixture(label: str, **overrides: Any) -> Case:
    return Case(label, "MixNAM", overrides)


def _plain(*models: str) -> list[Case]:
    """Return rows of models that the paper prints, at their own settings."""
    return [Case(model, model, published=model) for model in models]


#: The release of interpret that trains EBM and EB2M, as `requirements.txt` pins it.
INTERPRET = "0.7.8"


def accuracy(preset: Preset) -> list[Case]:
    """Tables 1 and 6 on one data set, in Table 1's order; libraries as in the paper's time and as they are today."""
    era = {"release": "0.2.7"}
    return [
        *_plain("MLP", "NODE"),
        Case("XGBoost, tuned", "XGBoost", published="XGBoost"),
        Case("XGBoost, its defaults", "XGBoost", XGBOOST_DEFAULTS),
        Case("EB2M (interpret 0.2.7's defaults)", "EB2M", era, published="EB2M"),
        Case(f"EB2M (interpret {INTERPRET})", "EB2M"),
        *_plain("NA2M", "NB2M", "NODE-GA2M", "Linear", "Spline"),
        Case("EBM (interpret 0.2.7's defaults)", "EBM", era, published="EBM"),
        Case(f"EBM (interpret {INTERPRET})", "EBM"),
        *_plain("NAM", "NBM", "NODE-GAM", "MixNAM", "MixNAM-D"),
        Case("MixNAM-E", "MixNAM-E"),
    ]


#: xgboost as it comes; the presets hold the setting that we searched
XGBOOST_DEFAULTS = make_settings("XGBoost", {}).all()


def lambda_sweep(preset: Preset) -> list[Case]:
    """Tables 2 and 3: MixNAM over the variation penalty λ, between MLP and NA2M, and NAM."""
    sweep = [_mixture(f"λ = {v:g}", variation_penalty=v) for v in preset.values("lambda_sweep")]
    return [Case("MLP", "MLP"), Case("NA2M", "NA2M"), *sweep, Case("NAM", "NAM")]


#: Models whose shape functions are compared.
_SHAPED = (Case("EBM", "EBM"), Case("NAM", "NAM"), _mixture("MixNAM"))


def explanations(preset: Preset) -> list[Case]:
    """Figures 3 and 9 to 12: what each model says about each feature, and NA2M about two at once."""
    return [*_SHAPED, Case("NA2M", "NA2M")]


def simulation(preset: Preset) -> list[Case]:
    """Figures 4 and 5: one mode or two, NAM and MixNAM; λ = 0 beside the default."""
    return [
        dataclasses.replace(case, dataset=law)
        for law in ("sim_unimodal", "sim_multimodal")
        for case in (Case("NAM", "NAM"), _mixture("MixNAM, λ = 0.1"), _mixture("MixNAM, λ = 0", variation_penalty=0.0))
    ]


def sparsity(preset: Preset) -> list[Case]:
    """Figure 6: a rare mode, NAM and MixNAM with K = C experts."""
    counts = [int(v) for v in preset.values("sparsity")]
    mixtures = [_mixture(f"MixNAM, C = {c}", experts=c, active_experts=c) for c in counts]
    cases = [Case("NAM", "NAM"), *mixtures]
    return [dataclasses.replace(case, dataset=f"sim_sparse_{share}") for share in (25, 5, 1) for case in cases]


def variability(preset: Preset) -> list[Case]:
    """Figure 7: 1 to 16 features that modify what x1 contributes; two laws of ours, whose noise varies."""
    cases = [Case("NAM", "NAM"), _mixture("MixNAM")]
    laws = [f"sim_variability_{int(count)}" for count in preset.values("variability")]
    ours = [dataclasses.replace(cases[1], dataset=law) for law in ("sim_noise", "sim_hidden")]
    return [dataclasses.replace(case, dataset=law) for law in laws for case in cases] + ours


def mixnam_d(preset: Preset) -> list[Case]:
    """Table 6 and Figure 8: MixNAM-D beside additive models; sampling at prediction as in the authors' code."""
    sampled = Case("MixNAM-D, sampled at prediction", "MixNAM-D", {"sample_at_prediction": True})
    return [*_SHAPED, Case("MixNAM-D", "MixNAM-D", published="MixNAM-D"), sampled]


def mixnam_e(preset: Preset) -> list[Case]:
    """Table 7: MixNAM-E with C = 32 and K = 16 over λ, beside MixNAM."""
    pairs = [(f"λ = {v:g}", {"variation_penalty": v}) for v in preset.values("mixnam_e")]
    return [Case(f"{m}, {label}", m, o) for m in ("MixNAM-E", "MixNAM") for label, o in pairs]


def expert_scaling(preset: Preset) -> list[Case]:
    """Table 8: both models over the numbers of experts C and of active experts K."""
    return [
        Case(f"{model}, C = {c}, K = {k}", model, {"experts": c, "active_experts": k})
        for model in ("MixNAM", "MixNAM-E")
        for c, k in preset.pairs("expert_scaling", model)
    ]


def complexity(preset: Preset) -> list[Case]:
    """Table 9: what the experts and the router cost beside NAM."""
    return [Case(m, m) for m in ("NAM", "MixNAM", "MixNAM-D")]


def routing(preset: Preset) -> list[Case]:
    """Appendices D and F: two experts, one set of routing weights for all features, and a single expert."""
    single = _mixture("MixNAM, C = 1", experts=1, active_experts=1, expert_dropout=0.0)
    two = _mixture("MixNAM, C = K = 2", experts=2, active_experts=2)
    shared = _mixture("MixNAM, one router for all features", router="shared")
    modes = [dataclasses.replace(case, dataset="sim_multimodal") for case in (_mixture("MixNAM"), shared)]
    return [_mixture("MixNAM"), two, shared, single, Case("NAM", "NAM"), *modes]


#: The switches of ours where the paper's text and the authors' code differ, and the penalty in the text's terms.
SWITCHES: dict[str, dict[str, Any]] = {
    "default": {},
    "one normalisation per layer and feature": {"shared_normalization": False},
    "standard initialisation": {"initialization": "standard"},
    "dropped experts not made up for": {"expert_dropout_mode": "drop"},
    "dropped experts made up by the others": {"expert_dropout_mode": "renormalize"},
    "variation penalty as printed (biased variance)": {"variation_penalty": 0.075},
    "quantile transform fitted on 10,000 rows": {"quantile_rows": 10_000},
}


def ablations(preset: Preset) -> list[Case]:
    """Our switches, one at a time, at λ = 0.1."""
    return [_mixture(label, **overrides) for label, overrides in SWITCHES.items()]


#: Baselines that our own recipe is held against, those of boosted trees first.
BOOSTED = ("XGBoost", "LightGBM", "CatBoost")
RIVALS = (*BOOSTED, "EB2M", "NB2M", "NAM")
#: Data that our own recipe is judged on: all open ones with rows enough, and those of which other splits are.
AHEAD_ON, ELSEWHERE_ON = ("housing", "bike", "income", "support2"), "housing"


def ahead(preset: Preset) -> list[Case]:
    """Our own recipe at the preset `best`, beside baselines and MixNAM's quick setting.

    Its runs are `fresh_runs`. At the paper's setting it is MixNAM alone; other presets have no row.
    """
    rows = {
        "best": [
            Case("MixNAM, our recipe", "MixNAM"),
            *(Case(model, model) for model in RIVALS),
            Case("MixNAM, quick setting", "MixNAM", preset="quick"),
        ],
        "paper": [Case("MixNAM, the paper's setting", "MixNAM")],
    }
    return rows.get(preset.name, [])


EXPERIMENTS: dict[str, Callable[[Preset], list[Case]]] = {
    f.__name__: f
    for f in (
        accuracy, lambda_sweep, explanations, simulation, sparsity, variability, mixnam_d, mixnam_e, expert_scaling,
        complexity, routing, ablations, ahead,
    )
}  # fmt: skip
#: Experiments on simulated data only: they need no data set.
SIMULATED = ("simulation", "sparsity", "variability")


def cases(experiment: str, preset: str) -> list[Case]:
    """Return an experiment's rows under a preset; ValueError lists the known experiments."""
    if experiment not in EXPERIMENTS:
        raise ValueError(f"experiment must be one of {', '.join(EXPERIMENTS)}, got {experiment!r}")
    return EXPERIMENTS[experiment](load_preset(preset))


def specs_for(
    experiment: str, dataset: str, preset: str, seeds: int | None = None, models: Sequence[str] = ()
) -> list[RunSpec]:
    """Return an experiment's specs, first seeds first, of some models alone where they are named.

    Raises ValueError for an unknown experiment, data set, preset or model, listing the known ones.
    """
    for name in models:
        settings_class(name)
    specs: dict[RunSpec, None] = {}
    for case in cases(experiment, preset) if experiment != "ahead" else ():
        found = specs_of(case.dataset or dataset, case.model, preset, case.overrides, experiment, seeds)
        specs |= dict.fromkeys(found)
    ordered = sorted(specs, key=lambda spec: (spec.seed, spec.split))
    if experiment == "ahead":
        ordered = _ahead_specs(dataset, preset)
        if ordered and seeds is not None:
            raise ValueError("`ahead` has runs of its own, seeds 10 to 19 and other splits: leave the seeds out")
    return [spec for spec in ordered if not models or spec.model in models]


def _ahead_specs(dataset: str, preset: str) -> list[RunSpec]:
    """Return the specs of `ahead`: one seed of all rows first, other splits last, and there the recipe and trees."""
    rows, specs = cases("ahead", preset), []
    for case in rows:
        specs += fresh_specs(dataset, case.model, case.preset or preset, case.overrides)
    specs.sort(key=lambda spec: spec.seed)
    for case in rows if preset == "best" and dataset == ELSEWHERE_ON else []:
        if case.model in (*BOOSTED, "MixNAM") and not case.preset:
            specs += fresh_specs(dataset, case.model, preset, case.overrides, other_splits=True)
    return specs
