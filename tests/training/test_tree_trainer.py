"""Trees are trained as their authors train them, and a stack or a resumed run gives what a single run gives."""

import math

import numpy as np
import pytest
import torch
from every import every
from stacks_by_hand import MEMBERS, Killed, assert_identical, data, part, script, settings_list

from mixnam import randomness
from mixnam.models import NAMSettings, NODEGAMSettings, NODESettings, make_network, make_settings
from mixnam.models.layers import Draws
from mixnam.paper import costs
from mixnam.runs.fitting import fit
from mixnam.runs.spec import RunSpec
from mixnam.training.optimizers import QHAdam
from mixnam.training.trainer import Trainer, loss, predict
from mixnam.training.tree_trainer import TreeTrainer, trainer_class

SMALL = {"layers": 2, "trees": 5, "depth": 3, "batch_size": 8, "evaluation_steps": 2, "averaged_checkpoints": 2}
ANNEALED = SMALL | {"anneal_steps": 8, "min_temperature": 0.05, "warmup_steps": 3, "decay_steps": 0}
MODELS = ["NODE", "NODE-GAM", "NODE-GA2M"]
#: members that differ in all that members may differ in; the second drops nothing
TREE_MEMBERS = [
    {k: v for k, v in m.items() if k not in ("expert_dropout", "variation_penalty")}
    | {"last_dropout": rate, "last_linear": True}
    for m, rate in zip(MEMBERS, (0.3, 0.0, 0.1), strict=True)
]


def settings_of(model, **values):
    return make_settings(model, (SMALL if model == "NODE" else ANNEALED) | values)


def trainer(settings, fold, seeds=(0,), task="regression", dtype=torch.float64, names=()):
    settings = settings if isinstance(settings, list) else [settings]
    network = make_network(settings[0], fold.x.shape[2])
    return TreeTrainer(network, settings, list(seeds), fold, task, dtype, names=names)


def weights(one):
    return one.tensors(one.state.flat, one.state.buffers)


class PlainQHAdam:
    """The update as published, value by value; a value without a gradient stays and its moments too."""

    def __init__(self, rate, decay):
        self.rate, self.decay, self.moments, self.step_count = rate, decay, {}, 0

    def step(self, values, gradients, factor=1.0):
        self.step_count += 1
        t, result = self.step_count, {}
        for name, value in values.items():
            g = gradients[name]
            if g is None:
                result[name] = value
                continue
            m, v = self.moments.get(name, (np.zeros_like(value), np.zeros_like(value)))
            m, v = 0.95 * m + 0.05 * g, 0.998 * v + 0.002 * g**2
            self.moments[name] = m, v
            mean, square = m / (1 - 0.95**t), v / (1 - 0.998**t)
            rate = self.rate * factor
            result[name] = value - rate * self.decay * value
            result[name] = result[name] - rate * (0.7 * mean + 0.3 * g) / (np.sqrt(1.0 * square) + 1e-8)
        return result


@pytest.mark.parametrize("fixed", [0, 4])
def test_qhadam_equals_the_published_update(fixed):
    source = torch.Generator().manual_seed(0)
    start = torch.randn(3, 11, generator=source, dtype=torch.float64)
    rates, decays = [1e-3, 0.1, 0.02], [0.0, 0.3, 1e-2]
    flat, ours = start.clone(), QHAdam(start)
    rows = [{"fixed": row[:fixed].numpy(), "rest": row[fixed:].numpy()} for row in start]
    theirs = [PlainQHAdam(rate, decay) for rate, decay in zip(rates, decays, strict=True)]
    columns = [torch.tensor(v, dtype=torch.float64)[:, None] for v in (rates, decays)]
    for step in range(30):
        gradient = torch.randn(3, 11, generator=source, dtype=torch.float64) * 10.0 ** (step % 5 - 3)
        before = gradient.clone()
        ours.step(flat, gradient, *columns, fixed=fixed)
        assert torch.equal(gradient, before)
        for i in range(3):
            rows[i] = theirs[i].step(rows[i], {"fixed": None, "rest": gradient[i, fixed:].numpy()})
    expected = torch.stack([torch.tensor(np.concatenate([row["fixed"], row["rest"]])) for row in rows])
    torch.testing.assert_close(flat, expected, rtol=1e-12, atol=1e-14)
    assert torch.equal(flat[:, :fixed], start[:, :fixed])


def test_qhadam_with_corrections_given_is_the_same():
    start = torch.randn(2, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rate, decay = (torch.tensor([[a], [b]], dtype=torch.float64) for a, b in ((0.1, 0.01), (0.2, 0.0)))
    first, second = start.clone(), start.clone()
    ours, other = QHAdam(first), QHAdam(second)
    for step in range(5):
        ours.step(first, start.roll(step, 1), rate, decay)
        other.update(second, start.roll(step, 1), rate, decay, *other.corrections(step + 1))
    assert torch.equal(first, second)


def plain_training(settings, seed, fold, steps, task):
    """One member, gradient by gradient; choices that are hard have none."""
    network = make_network(settings, fold.x.shape[2])
    parameters, buffers = ({k: t.double() for k, t in part.items()} for part in network.initialize([seed], "cpu"))
    named = {k: torch.tensor([v], dtype=torch.float64) for k, v in vars(settings).items() if isinstance(v, float)}
    rates = {k: named[k] for k in ("dropout", "last_dropout") if named[k] > 0}
    network.settle(parameters | buffers, fold.x[:, : 2 * settings.batch_size], [seed], rates)
    if task == "classification":
        share = float(fold.y.mean())
        parameters["bias"].fill_(math.log(share / (1 - share)))
    optimizer = PlainQHAdam(settings.learning_rate, settings.weight_decay)
    values = {name: p.numpy() for name, p in parameters.items()}
    rows = fold.x.shape[1]
    starts = range(0, rows, settings.batch_size)
    for step in range(steps):
        run, batch = divmod(step, len(starts))
        order = randomness.permutation([randomness.key(seed, "order", run)], rows)[0]
        chosen = order[starts[batch] : starts[batch] + settings.batch_size]
        leaves = {name: torch.tensor(v).requires_grad_(True) for name, v in values.items()}
        outputs = network(leaves | buffers, fold.x[:, chosen], Draws([seed], step, rates))
        total = loss(outputs, fold.y[:, chosen], task, named).sum()
        gradients = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        found = dict(zip(leaves, (None if g is None else g.numpy() for g in gradients), strict=True))
        rise = min(1.0, (step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0
        values = optimizer.step(values, found, rise)
    return values


@every("task", ["regression", "classification"])
@every("model", MODELS)
def test_training_equals_a_plain_loop(model, task):
    settings, fold = settings_of(model, **TREE_MEMBERS[0]), data(task=task)
    one = trainer(settings, fold, [5], task)
    for _ in range(8):
        one.epoch()
    assert one.state.optimizer.steps == 16  # half of them with hard choices
    expected = plain_training(settings, 5, fold, 16, task)
    for name, found in weights(one).items():
        if name in expected:
            np.testing.assert_allclose(found.numpy(), expected[name], rtol=1e-8, atol=1e-9, err_msg=name)


@every("attention", [0, 2])
@every("model", MODELS)
def test_a_stack_equals_its_members_trained_singly(model, attention):
    shared = {} if model == "NODE" else {"attention": attention}
    settings = [settings_of(model, **(shared | m)) for m in TREE_MEMBERS]
    fold, seeds = data(3), [4, 0, 9]
    stack = trainer(settings, fold, seeds)
    singles = [trainer(settings[m], part(fold, m), [seeds[m]]) for m in range(3)]
    for one in (stack, *singles):
        for _ in range(10):
            one.epoch()
        assert one.state.optimizer.steps == 20
    for m, single in enumerate(singles):
        alone = weights(single)
        for name, together in weights(stack).items():
            torch.testing.assert_close(together[m : m + 1], alone[name], rtol=1e-8, atol=1e-9)


def test_choices_stay_as_they_are_once_they_are_hard():
    one = trainer(settings_of("NODE-GAM", attention=2, weight_decay=0.1), data())
    for _ in range(3):
        one.epoch()
    assert one.state.optimizer.steps == 6
    soft = {name: t.clone() for name, t in weights(one).items()}
    one.epoch()
    hard = {name: t.clone() for name, t in weights(one).items()}
    assert one.state.optimizer.steps == 8  # steps 0 to 7 are soft
    one.epoch()
    logits = [name for name in soft if name.startswith("logits")]
    assert len(logits) == 2
    for name in logits:
        assert not torch.equal(soft[name], hard[name])
        assert torch.equal(hard[name], weights(one)[name])
    for name in ("threshold.1", "response.0", "key.1", "query.1"):
        assert not torch.equal(hard[name], weights(one)[name])


def test_the_bias_starts_at_the_log_odds_of_the_training_labels():
    fold = data(2, task="classification")
    fold.y[1, :20] = 1.0
    one = trainer([settings_of("NODE")] * 2, fold, [0, 1], "classification")
    share = fold.y.mean(dim=1)
    assert share[0] != share[1]
    torch.testing.assert_close(weights(one)["bias"], torch.log(share / (1 - share)))
    assert weights(trainer(settings_of("NODE"), data()))["bias"].item() == 0


def test_thresholds_are_taken_from_two_batches():
    fold = data(rows=60)
    first = weights(trainer(settings_of("NODE"), fold))["threshold.0"].clone()
    fold.x[:, 16:] += 5
    assert torch.equal(weights(trainer(settings_of("NODE"), fold))["threshold.0"], first)
    fold.x[:, 15] += 5
    assert not torch.equal(weights(trainer(settings_of("NODE"), fold))["threshold.0"], first)


def test_passes_take_every_row_once_in_a_new_order_and_cross_evaluations(monkeypatch):
    one = trainer([settings_of("NODE", evaluation_steps=3)] * 2, data(2), [0, 1])
    original, batches = one.step, []

    def step(chosen, rate):
        batches.append(chosen.clone())
        return original(chosen, rate)

    monkeypatch.setattr(one, "step", step)
    for _ in range(4):
        one.epoch()
    assert [chosen.shape[1] for chosen in batches] == [8, 8, 8, 3] * 3
    orders = [torch.cat(batches[i : i + 4], dim=1) for i in (0, 4, 8)]
    for order in orders:
        assert torch.equal(order.sort(dim=1).values, torch.arange(27).repeat(2, 1))
        assert not torch.equal(order[0], order[1])
    assert not torch.equal(orders[0], orders[1])


def test_the_last_evaluation_comes_after_the_last_pass():
    (found,) = trainer(settings_of("NODE", epochs=2, evaluation_steps=3, patience_steps=8), data()).run()
    assert (found.steps, found.epochs, found.stopped_early) == (8, 3, False)  # after 3, 6 and 8 steps
    assert [epoch for epoch, _ in found.scores] == [1, 2, 3]


def test_few_rows_do_not_end_training_before_annealing_and_patience():
    settings = settings_of("NODE-GAM", epochs=1, evaluation_steps=5, patience_steps=12, anneal_steps=10)
    (found,) = trainer(settings, data()).run()
    assert found.steps == 20  # where a pass takes 4: at 25 patience would be over


def test_what_is_validated_and_returned_is_the_mean_of_the_last_checkpoints(monkeypatch):
    settings, fold = settings_of("NODE", learning_rate=0.1, averaged_checkpoints=3, patience_steps=10), data()
    script(monkeypatch, {0: [5, 4, 3, 2, 1, 9, 9, 9, 9, 9, 9, 9]})
    (found,) = trainer(settings, fold).run()
    assert found.best_epoch == 5
    again, kept, means = trainer(settings, fold), [], []
    for _ in range(5):
        again.epoch()
        kept.append(again.state.flat.clone())
        means.append(again.candidates()[0][0])
    torch.testing.assert_close(means[0], kept[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(means[1], (kept[0] + kept[1]) / 2, rtol=1e-12, atol=1e-15)
    expected = again.tensors((kept[2] + kept[3] + kept[4]) / 3, {})
    for name, t in expected.items():
        torch.testing.assert_close(found.tensors[name], t, rtol=1e-12, atol=1e-14)
    assert not torch.allclose(kept[4], means[4], rtol=1e-3)


def test_the_score_is_that_of_the_mean():
    fold = data()
    (found,) = trainer(settings_of("NODE-GAM", patience_steps=20, learning_rate=0.05), fold).run()
    prediction = predict(make_network(settings_of("NODE-GAM"), 3), found.tensors, fold.x_validation)
    error = (prediction - fold.y_validation).square().mean().sqrt().item()
    assert found.best_score == pytest.approx(error, rel=1e-12)


def authors_loop(scores, evaluation, patience, decay, anneal):
    """Follow their main loop; return the step it breaks at, its evaluations, and the steps at which the rate falls."""
    best, best_step, fallen, falls, seen, step = math.inf, 0, -1, [], 0, 0
    while True:
        step += 1
        if step % evaluation == 0:
            err = scores[seen]
            seen += 1
            if err < best:
                best, best_step = err, step
        if step > max(best_step, anneal) + patience:
            return step, seen, falls
        if decay > 0 and step > best_step + decay and step > fallen + decay:
            falls.append(step)
            fallen = step


@every("evaluation", [1, 2, 3])
@every("patience, decay, anneal", [(6, 3, 0), (6, 2, 9), (7, 0, 4), (4, 9, 4), (5, 2, 20)])
def test_training_stops_and_rates_fall_when_the_authors_loop_does(monkeypatch, evaluation, patience, decay, anneal):
    scores = [9, 8, 8, 7, 9, 9, 6, *[9] * 60]
    values = {"anneal_steps": anneal, "decay_steps": decay, "patience_steps": patience, "warmup_steps": 0}
    settings = settings_of("NODE-GAM", **values, evaluation_steps=evaluation, learning_rate=0.01)
    script(monkeypatch, {0: scores})
    one = trainer(settings, data())
    original, rates = one.learning_rates, []

    def learning_rates(step):
        found = original(step)
        rates.append(float(found))
        return found

    monkeypatch.setattr(one, "learning_rates", learning_rates)
    (found,) = one.run()
    stop, seen, falls = authors_loop(scores, evaluation, patience, decay, anneal)
    assert found.epochs == seen
    assert stop - evaluation <= found.steps <= stop
    expected = [0.01 * 0.2 ** sum(fall <= step for fall in falls) for step in range(found.steps)]
    assert rates == pytest.approx([max(rate, 1e-6) for rate in expected], rel=1e-12)


def test_the_learning_rate_rises_to_its_height_and_falls_no_lower_than_a_millionth():
    values = {"warmup_steps": 4, "decay_steps": 1, "learning_rate": 1e-3}
    one = trainer(
        [settings_of("NODE", **values), settings_of("NODE", **values | {"learning_rate": 1e-7})], data(2), [0, 1]
    )

    def rates(step):
        return one.learning_rates(step).flatten().tolist()

    assert rates(0) == pytest.approx([0.25e-3, 0.25e-7])
    assert rates(1) == pytest.approx([0.5e-3, 0.5e-7])
    assert rates(2) == pytest.approx([0.75 * 0.2e-3, 0.75e-7])  # 1e-7 lies below the least already
    for step in range(4, 28, 2):
        one.learning_rates(step)
    assert rates(28) == pytest.approx([1e-6, 1e-7])


def test_training_that_never_gives_a_finite_score_ends_and_says_so(monkeypatch):
    script(monkeypatch, {0: [math.nan] * 50})
    (found,) = trainer(settings_of("NODE", patience_steps=8), data()).run()
    assert math.isinf(found.best_score)
    assert found.steps == 8


EARLY = [1, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0]
LATE = [14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 5, 5, 5, 5, 5, 5, 5, 5]
FALLING = [5, 4, 3, 9, 9, 9, 2, *[9] * 11]  # its rate falls just after EARLY has left, and before its best score
MIDDLE = [5, 4, 3, 9, 9, 2, 9, 9, 9, 9, 9, 9, 9, 9]


@every("tables", [[EARLY, LATE, MIDDLE], [LATE, EARLY, MIDDLE, EARLY], [EARLY, FALLING], [EARLY, MIDDLE, EARLY]])
def test_members_that_leave_a_stack_change_nothing_for_the_others(monkeypatch, tables):
    count = len(tables)
    members = [TREE_MEMBERS[m % 3] for m in range(count)]
    settings = [settings_of("NODE-GAM", decay_steps=2, patience_steps=8, anneal_steps=3, **m) for m in members]
    script(monkeypatch, dict(enumerate(tables)))
    fold = data(count)
    stack = trainer(settings, fold, range(count)).run()
    lengths = set()
    for m, together in enumerate(stack):
        (alone,) = trainer(settings[m], part(fold, m), [m]).run()
        for name, t in alone.tensors.items():
            torch.testing.assert_close(together.tensors[name], t, rtol=1e-8, atol=1e-9)
        for name in ("best_score", "best_epoch", "epochs", "stopped_early", "scores", "steps"):
            assert getattr(together, name) == getattr(alone, name), name
        lengths.add(alone.epochs)
    assert len(lengths) > 1


@pytest.mark.slow
@every("members, killed_in", [(1, 1), (1, 13), (3, 7), (3, 22)])
def test_a_killed_run_goes_on_to_the_same_bits(monkeypatch, tmp_path, killed_in, members):
    settings = [settings_of("NODE-GAM", decay_steps=4, patience_steps=14, **m) for m in TREE_MEMBERS[:members]]
    fold, seeds = data(members), list(range(members))
    names = [f"n{m}" for m in seeds]
    whole = trainer(settings, fold, seeds).run()
    path = tmp_path / "state"
    one = trainer(settings, fold, seeds, names=names)
    original = one.step

    def step(chosen, rate):
        if one.state.optimizer.steps == killed_in:
            raise Killed
        return original(chosen, rate)

    monkeypatch.setattr(one, "step", step)
    with pytest.raises(Killed):
        one.run(checkpoint=path, checkpoint_seconds=0.0)
    assert path.exists() == (killed_in > 2)
    resumed = trainer(settings, fold, seeds, names=names).run(checkpoint=path, checkpoint_seconds=0.0)
    assert max(found.steps for found in whole) > killed_in
    for first, second in zip(whole, resumed, strict=True):
        assert_identical(first, second)


def test_a_penalty_that_nobody_pays_is_not_computed():
    assert "output_penalty" not in trainer(settings_of("NODE"), data()).values
    paid = [settings_of("NODE", output_penalty=p) for p in (0.0, 0.1)]
    assert trainer(paid, data(2), [0, 1]).values["output_penalty"].tolist() == [0.0, 0.1]


def test_trees_get_their_own_trainer_and_others_do_not():
    assert trainer_class(NODESettings()) is trainer_class(NODEGAMSettings()) is TreeTrainer
    assert trainer_class(NAMSettings()) is Trainer
    assert not TreeTrainer.captures  # temperatures would be frozen in a CUDA graph
    assert Trainer.captures


def test_members_must_agree_in_what_shapes_training():
    with pytest.raises(ValueError, match="evaluation_steps"):
        trainer([settings_of("NODE"), settings_of("NODE", evaluation_steps=3)], data(2), [0, 1])
    assert len(settings_list(NODESettings, TREE_MEMBERS, **SMALL)) == 3


@pytest.mark.parametrize("model", MODELS)
def test_fit_trains_trees_and_measures_them(model):
    values = {
        "layers": 1,
        "trees": 8,
        "depth": 2,
        "epochs": 1,
        "evaluation_steps": 5,
        "learning_rate": 0.05,
        "patience_steps": 20,
    }
    values |= {} if model == "NODE" else {"anneal_steps": 20}
    (found,) = fit(
        [RunSpec("sim_variability_2", settings_of(model, **values | {"batch_size": 256}), "holdout", 0)], "cpu"
    )
    assert math.isfinite(found.metrics["test"]["rmse"])
    assert found.history["epochs"] > 1
    additivity = found.measures["additivity"]["marginal"]
    assert additivity > 1 - 1e-6 if model == "NODE-GAM" else 0 < additivity <= 1


def test_the_work_of_trees_is_that_of_the_steps_they_take_at_least():
    def work(**values):
        return costs.training_work(RunSpec("sim_variability_2", settings_of("NODE-GAM", **values), "holdout", 0))

    assert work(patience_steps=92) == pytest.approx(work(patience_steps=192) / 2)  # with 8 steps of annealing
    assert work(epochs=1) < work(epochs=2)
