"""Each rule on known truth: of a thousand draws no more are judged falsely than may be, but for chance.

The truth lies where a false verdict is most likely: a difference at the margin; one rival level and the others far
behind, for a false win; all rivals level, for a false loss. There a claim may be won falsely in 2.5 of 100 cases, and
lost falsely in 2.5. Thresholds count runs and ranks order means: they say what was seen and rest on no interval, so
that they have no such rate.
"""

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy import special, stats
from stated import TWO, claim

from mixnam.data.splits import FOLDS, HOLDOUTS, REPEATS
from mixnam.paper import derived, evidence, intervals, verdicts
from mixnam.paper.experiments import specs_of
from mixnam.paper.intervals import Sample

pytestmark = pytest.mark.slow

DRAWS = 1000
NOMINAL = 0.025  # of false verdicts to either side
RUNS = verdicts.LEAST_RUNS  # the fewest that verdicts need: there an interval is least exact


def allowed(level=NOMINAL, draws=DRAWS):
    """Return how many draws of so many a rule at its level exceeds in one of a thousand simulations.

    Some fifty rates are held against it: with a smaller allowance sound rules would fail for the seed alone.
    """
    return int(stats.binom.ppf(0.999, draws, level))


def judged(planted, draw, draws=DRAWS, rows=None):
    """Count the verdicts on so many draws: `draw` gives a sample a subject and, of a value, the printed one."""
    generator, count = np.random.default_rng(0), len(planted.subjects)
    found = Counter()
    for _ in range(draws):
        samples = draw(generator)
        found[verdicts.judge(planted, samples[:count], samples[count:], rows).verdict] += 1
    return found


def seeds(generator, mean, sd=0.01, n=RUNS):
    return Sample.of(generator.normal(mean, sd, n))


def several(number):
    return tuple({"model": f"rival {k}"} for k in range(number))


WON, LOST = "reproduced", "not reproduced"
NEVER = 5  # fewer false verdicts than this would say that the truth was not put where the rule is tried


def sound(found, *names):
    """Say whether each verdict, false as it is, comes as rarely as it may, and not so rarely that nothing is tried."""
    return all(NEVER <= found[name] <= allowed() for name in names)


@pytest.mark.parametrize("spread", [(0.01, 0.01), (0.005, 0.02)], ids=["alike", "unlike"])
def test_a_value_at_the_margin(spread):
    ours, theirs = spread
    planted = claim("value", margin=0.01, better=-1)

    def at(difference):
        def draw(generator):
            printed = seeds(generator, 0.45, theirs, 10)
            return [seeds(generator, 0.45 + difference, ours), dataclasses.replace(printed, values=None)]

        return draw

    above, below = judged(planted, at(0.01)), judged(planted, at(-0.01))
    assert sound(above, LOST) and above[WON] <= allowed() and not above["better"]
    assert sound(below, "better") and below[WON] <= allowed() and not below[LOST]


@pytest.mark.parametrize(
    ("measure", "back"), [("metrics.test.rmse", float), ("measures.tightness.range", special.expit)]
)
def test_one_model_in_print_is_outside_of_its_interval_in_five_of_a_hundred_cases(measure, back):
    """Both sides are one verdict, so that the rate is twice 2.5 %; a win says only that print is not outside."""
    planted = claim("value", measure=measure, one_model=True)

    def draw(generator):
        values = [float(back(z)) for z in generator.normal(2.0, 0.3, RUNS + 1)]
        return [Sample.of(values[1:]), Sample(values[0], 0.003, 10)]

    assert 2 * NEVER <= judged(planted, draw)[LOST] <= allowed(2 * NOMINAL)


@pytest.mark.parametrize(("spread", "margin"), [(0.01, 0.0), (0.03, 0.05)])
def test_an_order_over_one_rival_that_is_level_or_at_the_margin(spread, margin):
    planted = claim("order", TWO, better=1, margin=margin)
    found = judged(planted, lambda generator: [seeds(generator, 0.5 + margin), seeds(generator, 0.5, spread)])
    assert sound(found, WON, LOST)


def test_an_order_over_several_rivals():
    planted = claim("order", several(5), better=1)
    best = judged(planted, lambda generator: [seeds(generator, m) for m in (0.5, 0.5, 0.1, 0.1, 0.1)])
    assert sound(best, WON)
    level = judged(planted, lambda generator: [seeds(generator, 0.5) for _ in range(5)])
    assert sound(level, LOST) and level[WON] <= allowed()


def test_an_order_of_several_leaders():
    planted = claim("order", several(4), better=1, leaders=2)
    one = judged(planted, lambda generator: [seeds(generator, m) for m in (0.5, 0.9, 0.5, 0.1)])
    assert sound(one, WON)
    level = judged(planted, lambda generator: [seeds(generator, 0.5) for _ in range(4)])
    assert sound(level, LOST) and level[WON] <= allowed()


def test_a_tie_with_a_better_side_at_the_margin():
    planted = claim("tie", several(4), better=-1, margin=0.01)
    best = judged(planted, lambda generator: [seeds(generator, m) for m in (0.51, 0.5, 0.9, 0.9)])
    assert sound(best, WON)
    level = judged(planted, lambda generator: [seeds(generator, m) for m in (0.51, 0.5, 0.5, 0.5)])
    assert sound(level, LOST) and level[WON] <= allowed()


def test_a_tie_at_either_margin():
    for better_rivals, worse_rivals in ((1, 0), (1, 2)):
        rivals = [0.49] * better_rivals + [0.51] * worse_rivals
        planted = claim("tie", several(1 + len(rivals)), margin=0.01)
        found = judged(planted, lambda generator, to=rivals: [seeds(generator, m, 0.004) for m in (0.5, *to)])
        assert sound(found, LOST) and found[WON] <= allowed()


@pytest.mark.parametrize("ties", [0, 1])
def test_a_trend_with_steps_that_are_level(ties):
    planted = claim("trend", several(4), better=1, ties=ties)
    one = judged(planted, lambda generator: [seeds(generator, m) for m in (0.1, 0.1 + 0.1 * (1 - ties), 0.5, 0.5)])
    assert sound(one, WON)
    level = judged(planted, lambda generator: [seeds(generator, 0.5) for _ in range(4)])
    assert sound(level, LOST) and level[WON] <= allowed()


SCALES = {
    "linear": (1, "metrics.test.rmse", float, 0.5, 0.01),
    "share": (-1, "measures.tightness.range", special.expit, 2.2, 0.6),
    "correlation": (1, "derived.majority", math.tanh, 0.8, 0.4),
    "explained": (-1, "derived.explained_share", lambda z: 1 - math.exp(-z), 2.3, 0.8),
}


@pytest.mark.parametrize("scale", SCALES)
def test_a_mean_at_its_limit_on_each_scale(scale):
    better, measure, back, centre, spread = SCALES[scale]
    planted = claim("mean", measure=measure, limit=float(back(centre)), better=better)

    def draw(generator):
        return [Sample.of([float(back(z)) for z in generator.normal(centre, spread, RUNS)])]

    assert sound(judged(planted, draw), WON, LOST)


def test_a_mean_of_several_subjects_at_its_limit():
    planted = claim("mean", several(3), limit=0.5, better=1, measure="metrics.test.rmse")
    assert sound(judged(planted, lambda generator: [seeds(generator, m) for m in (0.5, 0.9, 0.9)]), WON)
    level = judged(planted, lambda generator: [seeds(generator, 0.5) for _ in range(3)])
    assert sound(level, LOST) and level[WON] <= allowed()


def test_what_a_share_is_tested_for_is_its_mean_on_the_logits_not_their_plain_mean():
    """Shares from a beta distribution with mean 0.95 and standard deviation 0.03, whose logits are skewed.

    Where their plain mean lies at the limit, "at least 0.95" is won in 4.7 % of cases with five runs and in 8.9 % with
    ten (a plain t would: 6.6 and 5.8 %), for the mean on the logits is that of a share of 0.9585; lost in 1 %. With
    that number as the limit it is won in 1.5 % and lost in 4 %, by the skew of the logits alone.
    """
    a, b = 0.95 * (0.95 * 0.05 / 0.03**2 - 1), 0.05 * (0.95 * 0.05 / 0.03**2 - 1)
    own = float(special.expit(special.digamma(a) - special.digamma(b)))
    for limit, runs, most_won, most_lost in [(0.95, 5, 0.08, 0.03), (0.95, 10, 0.12, 0.03), (own, 5, 0.03, 0.06)]:
        planted = claim("mean", measure="measures.tightness.range", limit=limit, better=1)
        found = judged(planted, lambda generator, n=runs: [Sample.of(generator.beta(a, b, n))])
        assert NEVER <= found[WON] <= most_won * DRAWS and found[LOST] <= most_lost * DRAWS


def test_rank_correlations_of_four_without_any_relation():
    """They take eleven values, of which ±1 lie at the ends of Fisher's scale; even so the rule holds."""
    orders = stats.rankdata(np.random.default_rng(1).random((200, 4)), axis=1)
    known = np.unique([stats.spearmanr(range(4), order).statistic for order in orders])
    assert len(known) == 11
    planted = claim("mean", measure="joint.rare_over_experts", limit=0.0, better=-1)

    def draw(generator):
        orders = generator.permuted(np.tile(np.arange(4.0), (RUNS, 1)), axis=1)
        return [Sample.of(1 - ((orders - np.arange(4)) ** 2).sum(axis=1) / 10)]

    assert sound(judged(planted, draw), WON, LOST)


@dataclass
class Run:
    """What rules read of a result."""

    key: str
    spec: object
    arrays: dict = field(default_factory=dict)
    targets: np.ndarray | None = None
    metrics: dict = field(default_factory=dict)
    history: dict = field(default_factory=dict)

    @property
    def keys(self):
        return (self.key,)


MODELS = ("MixNAM", "NAM")
OF_SEEDS = {model: specs_of("housing", model, "paper", seeds=RUNS) for model in MODELS}
OF_FOLDS = {
    model: [dataclasses.replace(specs_of("income", model, "paper")[0], split=split) for split in (*FOLDS, *REPEATS)]
    for model in MODELS
}


def runs(specs, values, predictions=None, targets=None):
    """A sample of made-up runs: a value, test predictions and targets each."""
    arrays = [{} if predictions is None else {"test_prediction": p.astype(np.float32)} for p in predictions or values]
    targets = [None] * len(values) if targets is None else targets
    facts = zip(specs, arrays, targets, strict=False)
    return Sample.of(values, tuple(Run(str(spec), spec, a, y) for spec, a, y in facts))


def score(y, prediction, metric):
    if metric == "auc":
        ranks, ones = stats.rankdata(prediction), y.sum()
        return (ranks[y == 1].sum() - ones * (ones + 1) / 2) / (ones * (len(y) - ones))
    mean = np.mean((prediction - y) ** 2)
    return math.sqrt(mean) if metric == "rmse" else mean


def without_rows(a, b, metric):
    return 0.0, math.inf


@pytest.mark.parametrize("metric", ["rmse", "mse", "auc"])
def test_over_new_seeds_and_new_test_rows_two_models_are_level(metric):
    """Each draw has test rows and seeds of its own; both models err alike over all rows that there may be.

    On a row both err in part together, and each in a way of its own that all its seeds share: the spread over seeds
    does not show it, and alone it decides falsely in nearly half of the draws.
    """
    planted = claim("order", TWO, better=1 if metric == "auc" else -1, measure=f"metrics.test.{metric}")

    def draw(generator, rows=200):
        y = generator.random(rows) < 0.3 if metric == "auc" else generator.normal(size=rows)
        y, common, found = y.astype(float), generator.normal(size=rows), []
        for model in MODELS:
            own, alone = 0.5 * generator.normal(size=rows), 0.3 * generator.normal(size=(RUNS, rows))
            size = 1 + 0.02 * generator.normal(size=(RUNS, 1))
            predictions = [*(y + size * (0.7 * common + own + alone))]
            found.append(runs(OF_SEEDS[model], [score(y, p, metric) for p in predictions], predictions, [y] * RUNS))
        return found

    assert sound(judged(planted, draw), WON, LOST)
    over_seeds = judged(planted, draw, 100, without_rows)
    assert min(over_seeds[WON], over_seeds[LOST]) > allowed(draws=100)


FOLDED = {"better": 1, "dataset": "income", "measure": "metrics.test.auc"}


def test_over_folds_whose_differences_hang_together_as_nadeau_and_bengio_assume():
    """Each two of five folds are correlated by the share of rows that is tested: a plain t has 7.9 % on either side."""
    planted, tested = claim("order", TWO, **FOLDED), intervals.share_tested("income")
    together = tested / (1 + tested)
    plain = Counter()

    def draw(generator):
        level = generator.normal(0.9, 0.01, 5)  # folds are hard or easy for both
        parts = math.sqrt(together) * generator.normal() + math.sqrt(1 - together) * generator.normal(size=5)
        ahead = stats.ttest_1samp(parts, 0)
        plain[(ahead.pvalue <= 2 * NOMINAL) * np.sign(ahead.statistic)] += 1
        return [runs(OF_FOLDS[model], v) for model, v in zip(MODELS, (level + 0.003 * parts, level), strict=True)]

    assert sound(judged(planted, draw), WON, LOST)
    assert min(plain[1], plain[-1]) > 1.2 * allowed()


@pytest.mark.parametrize("dataset, splits", [("income", REPEATS), ("housing", HOLDOUTS)])
def test_over_two_other_partitions_and_over_other_holdouts_two_models_are_level(dataset, splits):
    """Each two of the folds or splits are correlated by the share of rows that is tested, as above."""
    planted = claim("order", TWO, **FOLDED | {"dataset": dataset})
    tested, count = intervals.share_tested(dataset), len(splits)
    together = tested / (1 + tested)
    specs = {
        model: [dataclasses.replace(specs_of(dataset, model, "paper")[0], split=split) for split in splits]
        for model in MODELS
    }

    def draw(generator):
        level = generator.normal(0.9, 0.01, count)
        parts = math.sqrt(together) * generator.normal() + math.sqrt(1 - together) * generator.normal(size=count)
        found = zip(MODELS, (level + 0.003 * parts, level), strict=True)
        return [runs(specs[model], values, targets=[np.arange(3.0)] * count) for model, values in found]

    assert sound(judged(planted, draw), WON, LOST)


def folded(generator, rows):
    """Return five numbers of rows each, one a fold of a new partition."""
    return np.array_split(generator.permutation(rows), 5)


def test_over_three_partitions_of_new_rows_two_models_are_level():
    """Each draw has rows of its own, parted three times; every fold's model errs in a way of its own as well.

    What either model makes of a row lasts through all partitions. Their means' spread does not show it, and alone it
    decides falsely in three of ten draws.
    """
    planted = claim("order", TWO, **FOLDED)

    def draw(generator, rows=300):
        y, common = (generator.random(rows) < 0.35).astype(float), generator.normal(size=rows)
        own = {model: y + 0.5 * common + generator.normal(size=rows) for model in MODELS}
        tested = [fold for _ in range(3) for fold in folded(generator, rows)]
        found = []
        for model in MODELS:
            predictions = [own[model][fold] + 0.4 * generator.normal(size=len(fold)) for fold in tested]
            values = [score(y[fold], p, "auc") for fold, p in zip(tested, predictions, strict=True)]
            found.append(runs(OF_FOLDS[model], values, predictions, [y[fold] for fold in tested]))
        return found

    assert sound(judged(planted, draw), WON, LOST)
    over_means = judged(planted, draw, 100, without_rows)
    assert min(over_means[WON], over_means[LOST]) > allowed(draws=100)


def test_learners_that_are_trained_on_new_rows_are_level():
    """Two linear models see one half of twenty features each, all of one weight: neither is better over new data.

    With 300 rows five folds decide falsely in about 1.5 % of draws on either side, below 2.5 %. Three partitions do in
    about 4 %: the row variance takes the trained models as they are, and on so few rows other training rows would have
    made others. With 1,000 rows and six features each they do in 2.2 %; the claims' data sets have 24,000 or more.
    """
    planted, features = claim("order", TWO, **FOLDED), 20

    def draw(generator, partitions, rows=300):
        x = generator.normal(size=(rows, 2 * features))
        y = (generator.random(rows) < special.expit(0.35 * x.sum(axis=1))).astype(float)
        tested = [fold for _ in range(partitions) for fold in folded(generator, rows)]
        trained = [
            generator.choice(np.setdiff1d(np.arange(rows), fold), rows * 64 // 100, replace=False) for fold in tested
        ]
        found = []
        for model, seen in zip(MODELS, (x[:, :features], x[:, features:]), strict=True):
            seen = np.column_stack([np.ones(rows), seen])
            weights = [np.linalg.lstsq(seen[rest], y[rest], rcond=None)[0] for rest in trained]
            predictions = [seen[fold] @ w for fold, w in zip(tested, weights, strict=True)]
            values = [score(y[fold], p, "auc") for fold, p in zip(tested, predictions, strict=True)]
            found.append(runs(OF_FOLDS[model], values, predictions, [y[fold] for fold in tested]))
        return found

    one = judged(planted, lambda generator: draw(generator, 1), 500)
    assert max(one[WON], one[LOST]) <= allowed(draws=500)
    three = judged(planted, lambda generator: draw(generator, 3), 250)
    assert max(three[WON], three[LOST]) <= allowed(0.045, 250)


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_value_over_folds_at_the_margin(partitions):
    """Print is five folds of one more partition of the same rows, of which it gives mean and standard deviation."""
    planted = claim("value", **FOLDED | {"better": 0}, margin=0.01)

    def draw(generator):
        rows = generator.normal(0.9, 0.3, 2000)
        parts = [
            [rows[fold].mean() + generator.normal(0, 0.005) for fold in folded(generator, len(rows))]
            for _ in range(partitions + 1)
        ]
        printed = Sample.of(parts[0])
        ours = runs(OF_FOLDS["MixNAM"], [0.01 + value for part in parts[1:] for value in part])
        return [ours, Sample(printed.mean, printed.sd, 5)]

    found = judged(planted, draw)
    assert found[LOST] <= allowed() and found[WON] <= allowed()


def test_a_number_of_means_over_resampled_seeds_at_its_limit(monkeypatch):
    """The plainest number there is, one model's mean, of five seeds: 4 % are won and 4 % lost (ten seeds: 2.7 %).

    Without the wider quantiles it would be 8 % (5 %). Of rank correlations the rate hangs on the truth. Eight level
    models are won and lost against a limit of 0 in 1 to 2 %. Where two pairs of five models are next to level, in the
    wrong order, the rank correlation is 0.8, and "at least 0.9" is won in 8 % of cases (ten seeds: 10 %), for no
    interval of a number that jumps is exact.
    """
    monkeypatch.setitem(derived.OF_NUMBERS, "level", lambda models: models[0].value("metrics.test.rmse"))
    planted = claim("mean", measure="pooled.level", limit=0.5, better=1)

    class Scored(Run):
        def value(self, path):
            return self.metrics[path]

    def draw(generator):
        spec, scores = OF_SEEDS["MixNAM"][0], generator.normal(0.5, 0.01, RUNS)
        found = [Scored(str(spec), spec, targets=np.arange(2.0), metrics={"metrics.test.rmse": s}) for s in scores]
        return [evidence._pooled("level", [[one] for one in found])]

    found = judged(planted, draw, 150)
    assert max(found[WON], found[LOST]) <= allowed(draws=150)


def test_a_difference_twice_as_large_as_what_can_be_told_is_found():
    """What can be told is told with a power of 80 %; twice as much nearly always, for and against a claim."""
    typical = Sample(0.5, 0.01, RUNS)
    told = 2 * intervals.difference(typical, typical, "housing").detectable(0.0)
    of_mean = 2 * intervals.mean_of(Sample.of(0.5 + 0.01 * np.array([-1.2, -0.6, 0, 0.6, 1.2]) / 0.95)).detectable(0.5)
    for planted, for_it, against in [
        (claim("order", TWO, better=1), (0.5 + told, 0.5), (0.5 - told, 0.5)),
        (claim("tie", TWO, margin=0.03, better=1), (0.47 + told, 0.5), (0.47 - told, 0.5)),
        (claim("tie", TWO, margin=told), (0.5, 0.5), (0.5, 0.5 + 2 * told)),
        (claim("trend", TWO, better=1), (0.5, 0.5 + told), (0.5, 0.5 - told)),
        (claim("mean", measure="metrics.test.rmse", limit=0.5, better=1), (0.5 + of_mean,), (0.5 - of_mean,)),
    ]:
        for means, expected in ((for_it, WON), (against, LOST)):
            found = judged(planted, lambda generator, at=means: [seeds(generator, m) for m in at], 200)
            assert found[expected] > 0.95 * 200, planted


# What follows was found by these simulations. Each states what should hold and does not, and what would mend it.


@pytest.mark.xfail(
    strict=True, reason="a step that may tie has no margin: any fall that is not decided counts as a tie"
)
def test_a_step_that_may_tie_and_falls():
    """By one standard error of the difference the first step falls, and 92 of 100 draws are won (by two, 74).

    A margin for steps that may tie would mend it, such as a claim's `margin`, held against as in a tie with a better
    side.
    """
    planted = claim("trend", several(3), better=1, ties=1)
    fall = 0.01 * math.sqrt(2 / RUNS)
    found = judged(planted, lambda generator: [seeds(generator, m) for m in (0.1 + fall, 0.1, 0.5)])
    assert found[WON] <= allowed()


@pytest.mark.xfail(
    strict=True, reason="a slope over cells varies over test rows too, and its interval over seeds alone"
)
def test_a_slope_of_test_scores_over_cells():
    """Of fifteen cells on the same test rows none is better; spreads are as those of MixNAM-E on Housing at quick.

    By chance of the test rows each cell's error is off by 0.0018 in all seeds, beside 0.004 from seed to seed (there
    are cells with 0.017). With ten seeds 11 % of draws are won and 11 % lost, with five 6 %. The slope's variance over
    rows, of each row's influences on the cells' errors weighed as the slope weighs the cells, would mend it.
    """
    cells = [(c, k) for k in (2, 4, 8, 16) for c in (16, 32, 64, 128) if (c, k) != (16, 16)]
    design = np.column_stack([np.ones(len(cells)), np.log2(cells)])
    slope = np.linalg.pinv(design)[1]
    planted = claim("mean", measure="joint.slope_over_experts", limit=0.0, better=-1)

    def draw(generator):
        errors = 0.5 + generator.normal(0, 0.0018, len(cells)) + generator.normal(0, 0.004, (10, len(cells)))
        return [Sample.of(errors @ slope)]

    found = judged(planted, draw)
    assert found[WON] <= allowed() and found[LOST] <= allowed()


@pytest.mark.xfail(strict=True, reason="each seed stands in two ratios, and ratios of few distances are skewed")
def test_how_far_models_move_beside_how_far_seeds_do():
    """Seeds differ in the sizes of eight features' contributions; the limit is the mean of the ratios over many seeds.

    With five seeds 8 % of draws are won and 1.4 % lost. With the ratio of the mean distances as the truth 4 % are won
    and 3 % lost (ten seeds: 2.8 and 4.6 %). Logarithms of ratios would have 3.4 to 3.6 % on either side.
    """

    def ratios(generator, count=RUNS):
        sizes, moved = generator.normal(size=(2, count, 8)) * [[[1.0]], [[2.0]]]
        return np.abs(moved).mean(axis=1) / np.abs(sizes - np.roll(sizes, 1, axis=0)).mean(axis=1)

    limit = float(ratios(np.random.default_rng(1), 200_000).mean())
    planted = claim("mean", measure="crossed.drift_over_seeds", limit=limit, better=-1)
    assert judged(planted, lambda generator: [Sample.of(ratios(generator))])[WON] <= allowed()
