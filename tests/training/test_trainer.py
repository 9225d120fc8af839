"""Training follows the paper's protocol, and a stack or a resumed run gives what a single run gives."""

import copy
import dataclasses
import math

import naive
import numpy as np
import pytest
import torch
from every import every
from stacks_by_hand import (
    CPU,
    EARLY,
    LATE,
    MEMBERS,
    MIDDLE,
    NAM_MEMBERS,
    NOISY,
    SETTLED,
    SMALL,
    Killed,
    assert_identical,
    assert_same,
    data,
    kill,
    part,
    script,
    settings_list,
    trainer,
)

from mixnam import randomness
from mixnam.models import MixNAMSettings, NAMSettings, make_network
from mixnam.models.fast.blocked import evaluate
from mixnam.models.layers import Draws
from mixnam.training import trainer as training
from mixnam.training.optimizers import AdamW
from mixnam.training.trainer import predict
from mixnam.training.validation import validation_scores


def plain_training(settings, seed, fold, epochs, task="regression"):
    """One member trained with torch's own optimiser and schedule."""
    network = make_network(settings, fold.x.shape[2])
    parameters, buffers = ({k: t.double() for k, t in part.items()} for part in network.initialize([seed], CPU))
    leaves = [p.requires_grad_(True) for p in parameters.values()]
    optimizer = torch.optim.AdamW(leaves, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=settings.epochs, eta_min=0.0)
    values = {k: torch.tensor([v], dtype=torch.float64) for k, v in vars(settings).items() if isinstance(v, float)}
    rates = {k: values[k] for k in ("dropout", "expert_dropout") if k in values and values[k] > 0}
    rows, step = fold.x.shape[1], 0
    for epoch in range(epochs):
        order = randomness.permutation([randomness.key(seed, "order", epoch)], rows)[0]
        for start in range(0, rows, settings.batch_size):
            chosen = order[start : start + settings.batch_size]
            outputs = network(parameters | buffers, fold.x[:, chosen], Draws([seed], step, rates))
            optimizer.zero_grad()
            training.loss(outputs, fold.y[:, chosen], task, values).sum().backward()
            optimizer.step()
            step += 1
        schedule.step()
    return {k: t.detach() for k, t in (parameters | buffers).items()}


def test_adamw_equals_torch_with_a_rate_and_a_decay_a_member():
    source = torch.Generator().manual_seed(0)
    start = torch.randn(3, 11, generator=source, dtype=torch.float64)
    rates, decays = [1e-3, 0.1, 0.02], [0.0, 0.3, 1e-2]
    flat, ours = start.clone(), AdamW(start)
    rows = [start[i].clone().requires_grad_(True) for i in range(3)]
    theirs = [torch.optim.AdamW([rows[i]], lr=rates[i], weight_decay=decays[i]) for i in range(3)]
    columns = [torch.tensor(v, dtype=torch.float64)[:, None] for v in (rates, decays)]
    for step in range(30):
        gradient = torch.randn(3, 11, generator=source, dtype=torch.float64) * 10.0 ** (step % 5 - 3)
        ours.step(flat, gradient, *columns)
        for i in range(3):
            rows[i].grad = gradient[i]
            theirs[i].step()
    torch.testing.assert_close(flat, torch.stack(rows).detach(), rtol=1e-12, atol=1e-14)


@every("task", ["regression", "classification"])
@every(
    "settings",
    [MixNAMSettings(**SMALL | MEMBERS[0]), NAMSettings(hidden=(5, 4), batch_size=8, epochs=8, **NAM_MEMBERS[2])],
)
def test_training_equals_a_plain_loop_with_torch_optimizer_and_schedule(settings, task):
    fold = data(task=task)
    ours = trainer(settings, fold, [5], task)
    for _ in range(5):
        ours.epoch()
    assert ours.state.optimizer.steps == 20
    expected = plain_training(settings, 5, fold, 5, task)
    assert_same(ours.tensors(ours.state.flat, ours.state.buffers), expected)


@every(
    "settings",
    [
        settings_list(MixNAMSettings, **SMALL),
        settings_list(MixNAMSettings, **SMALL, normalization="batch_norm", expert_dropout_mode="renormalize"),
        settings_list(NAMSettings, NAM_MEMBERS, hidden=(5, 4), batch_size=8, epochs=8),
    ],
)
def test_a_stack_equals_its_members_trained_singly(settings):
    fold, seeds = data(3), [4, 0, 9]
    stack = trainer(settings, fold, seeds)
    singles = [trainer(settings[m], part(fold, m), [seeds[m]]) for m in range(3)]
    for one in (stack, *singles):
        for _ in range(5):
            one.epoch()
        assert one.state.optimizer.steps == 20
    together = stack.tensors(stack.state.flat, stack.state.buffers)
    for m, single in enumerate(singles):
        alone = single.tensors(single.state.flat, single.state.buffers)
        assert_same({k: t[m : m + 1] for k, t in together.items()}, alone)


def test_stacked_runs_return_what_single_runs_return():
    settings, fold = settings_list(MixNAMSettings, **SMALL), data(3)
    for m, found in enumerate(trainer(settings, fold, [4, 0, 9]).run()):
        (alone,) = trainer(settings[m], part(fold, m), [[4, 0, 9][m]]).run()
        assert_same(found.tensors, alone.tensors)
        assert found.best_epoch == alone.best_epoch
        assert found.best_score == pytest.approx(alone.best_score, rel=1e-9)


def test_the_learning_rate_follows_a_cosine_down_to_0(monkeypatch):
    one = trainer(MixNAMSettings(**SMALL), data())
    rates = []
    monkeypatch.setattr(one, "step", lambda chosen, rate: rates.append(rate))
    for _ in range(8):
        one.epoch()
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8, eta_min=0.0)
    for rate in rates[::4]:
        assert rate == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        schedule.step()
    assert schedule.get_last_lr()[0] == pytest.approx(0, abs=1e-12)
    assert rates == np.repeat(rates[::4], 4).tolist()  # the same throughout an epoch


def test_every_row_is_used_once_an_epoch_and_the_short_last_batch_counts_as_a_step(monkeypatch):
    fold = data(2)
    one = trainer(settings_list(MixNAMSettings, MEMBERS[:2], **SMALL), fold, [0, 1])
    original, batches = one.step, []

    def step(chosen, rate):
        batches.append(chosen.clone())
        return original(chosen, rate)

    monkeypatch.setattr(one, "step", step)
    orders = []
    for epoch in range(1, 3):
        batches.clear()
        one.epoch()
        assert [chosen.shape[1] for chosen in batches] == [8, 8, 8, 3]
        assert one.state.optimizer.steps == 4 * epoch
        order = torch.cat(batches, dim=1)
        assert torch.equal(order.sort(dim=1).values, torch.arange(27).repeat(2, 1))
        orders.append(order)
    assert not torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0][0], orders[0][1])


@every("task", ["regression", "classification"])
@every(
    "settings",
    [MixNAMSettings(**NOISY | {"epochs": 30}), NAMSettings(hidden=(5, 4), batch_size=8, epochs=30, learning_rate=0.05)],
)
def test_the_weights_of_the_best_epoch_are_returned(settings, task):
    fold = data(task=task)
    one = trainer(settings, fold, task=task)
    (found,) = one.run()
    assert found.best_epoch < found.epochs  # or the last weights would pass for the best
    prediction = predict(one.network, found.tensors, fold.x_validation)
    assert validation_scores(prediction, fold.y_validation, task, settings.selection) == pytest.approx(
        [found.best_score], rel=1e-12
    )
    assert found.best_score <= min(score for _, score in found.scores)
    again = trainer(settings, fold, task=task)
    for _ in range(found.best_epoch):
        again.epoch()
    assert_same(found.tensors, again.tensors(again.state.flat, again.state.buffers), 0)


@every(
    "scores, best, epochs",
    [
        ([3, 1, 2, 2, 2, 2, 2, 2], 2, 5),  # a quarter of 8 is 2: stops when 3 epochs brought nothing better
        ([3, 1, 2, 2, 0, 2, 2, 2], 5, 8),  # just in time
        ([3, 1, 2, 2, 1, 0, 0, 0], 2, 5),  # an equal score is no better one
        ([1, 2, 3, 0, 4, 4, 3, 4], 4, 7),
        ([1, 2, 2, 2, 0, 0, 0, 0], 1, 4),  # the first epoch is eligible
        ([8, 7, 6, 5, 4, 3, 2, 1], 8, 8),  # and the last
        ([math.nan, 2, math.nan, 1, math.nan, 3, math.nan, 0], 4, 7),
    ],
)
def test_training_stops_when_more_than_a_quarter_of_the_epochs_brought_nothing_better(
    monkeypatch, scores, best, epochs
):
    settings, fold = MixNAMSettings(**NOISY), data()
    script(monkeypatch, {0: scores})
    (found,) = trainer(settings, fold).run()
    assert (found.best_epoch, found.best_score, found.epochs) == (best, scores[best - 1], epochs)
    assert found.stopped_early == (epochs < 8)
    assert [epoch for epoch, _ in found.scores] == list(range(1, epochs + 1))
    assert found.steps == 4 * epochs
    again = trainer(settings, fold)
    for _ in range(best):
        again.epoch()
    assert_same(found.tensors, again.tensors(again.state.flat, again.state.buffers), 0)


@every(
    "patience, epochs",
    [(1, 4), (2, 5), (3, 8), (7, 8), (100, 8), (0, 8)],  # of 8 epochs, the quarter (0) waits for more than 2
)
def test_training_ends_after_as_many_epochs_without_a_better_score_as_patience_says(monkeypatch, patience, epochs):
    script(monkeypatch, {0: [3, 2, 1, 4, 4, 0, 5, 5]})
    (found,) = trainer(MixNAMSettings(**NOISY, patience=patience), data()).run()
    assert found.epochs == epochs
    assert found.best_epoch == (3 if epochs < 6 else 6)
    assert found.stopped_early == (epochs < 8)


@every("epochs", range(1, 13))
def test_no_patience_given_is_more_than_a_quarter_of_the_epochs(monkeypatch, epochs):
    script(monkeypatch, {0: [1.0] * epochs})
    (found,) = trainer(MixNAMSettings(**NOISY | {"epochs": epochs}), data()).run()
    assert found.epochs == next(n for n in range(1, epochs + 1) if n == epochs or n - 1 > epochs / 4)


@every("task, selection", [("regression", "auc"), ("classification", "auc"), ("classification", "log_loss")])
def test_validation_rows_are_scored_by_their_weights_on_any_scale(task, selection):
    settings = settings_list(MixNAMSettings, **SMALL, selection=selection)
    fold = data(3, task=task)
    given = torch.arange(15.0)[None] % 5 * torch.tensor([[1.0], [1e-3], [0.0]])  # the third member's rows weigh nothing
    stack = trainer(settings, dataclasses.replace(fold, weights_validation=given), range(3), task)
    plain = trainer(settings, fold, range(3), task)
    found = stack.scores(stack.state.flat, stack.state.buffers)
    prediction = predict(stack.network, stack.tensors(stack.state.flat, stack.state.buffers), fold.x_validation)
    times = torch.arange(15) % 5
    repeated = [column.repeat_interleave(times, dim=1) for column in (prediction, fold.y_validation)]
    assert found[:2] == pytest.approx(validation_scores(*repeated, task, selection)[:2], rel=1e-6)
    assert found[2] == plain.scores(plain.state.flat, plain.state.buffers)[2]
    singles = [trainer(settings[m], part(stack.fold, m), [m], task) for m in range(3)]  # in blocks, and alone
    assert [one.scores(one.state.flat, one.state.buffers)[0] for one in singles] == pytest.approx(found, rel=1e-9)


def test_weights_of_one_on_validation_rows_change_no_bit():
    fold = data()
    ones = dataclasses.replace(fold, weights_validation=torch.full((1, 15), 3.0))
    first, second = (trainer(MixNAMSettings(**NOISY), f, [3], dtype=torch.float32).run()[0] for f in (fold, ones))
    assert_identical(first, second)


def test_weights_of_validation_rows_pick_the_epoch():
    settings, fold, picked = MixNAMSettings(**NOISY | {"epochs": 30}), data(), set()
    for row in range(15):
        weights = torch.eye(15)[row : row + 1]
        one = trainer(settings, dataclasses.replace(fold, weights_validation=weights))
        (found,) = one.run()
        error = (predict(one.network, found.tensors, fold.x_validation) - fold.y_validation)[0, row]
        assert found.best_score == pytest.approx(float(error.abs()), rel=1e-9)
        picked.add(found.best_epoch)
    assert len(picked) > 3


def test_each_epoch_of_each_member_is_told_and_those_left_out_when_a_member_stops(monkeypatch):
    settings, told = settings_list(MixNAMSettings, **SMALL), []
    script(monkeypatch, dict(enumerate([EARLY, LATE, SETTLED])))
    stack = trainer(settings, data(3), range(3))
    found = stack.run(advance=told.append)
    assert [one.epochs for one in found] == [4, 8, 6]
    # 3 members at first; at epoch 4 one leaves out 4 epochs, at epoch 6 another one 2
    assert told == [3, 3, 3, 3 + 4, 2, 2 + 2, 1, 1]
    assert sum(told) == 3 * stack.last_epoch()


def test_a_resumed_training_tells_the_epochs_that_were_done_before(monkeypatch, tmp_path):
    settings, fold, path = settings_list(MixNAMSettings, MEMBERS[:2], **SMALL), data(2), tmp_path / "run.pt"
    script(monkeypatch, {0: EARLY, 1: LATE})
    one = trainer(settings, fold, range(2))
    kill(monkeypatch, one, 3, 1)
    with pytest.raises(Killed):
        one.run(checkpoint=path, checkpoint_seconds=0)
    for expected in ([6, 2 + 4, 1, 1, 1, 1], [16]):  # after three epochs; and where all is done
        told = []
        trainer(settings, fold, range(2)).run(checkpoint=path, checkpoint_seconds=0, advance=told.append)
        assert told == expected


def test_training_that_never_gives_a_finite_score_ends_and_says_so(monkeypatch):
    script(monkeypatch, {0: [math.nan] * 8})
    (found,) = trainer(MixNAMSettings(**SMALL), data()).run()
    assert math.isinf(found.best_score)
    assert found.epochs == 3


def stacked_and_single(monkeypatch, tables):
    """Return the members of a stack with scripted scores, and each trained alone."""
    count = len(tables)
    members = [MEMBERS[m % 3] for m in range(count)]
    settings = settings_list(MixNAMSettings, members, **SMALL, normalization="batch_norm")
    fold = data(count)
    script(monkeypatch, dict(enumerate(tables)))
    stack = trainer(settings, fold, range(count)).run()
    return [(stack[m], trainer(settings[m], part(fold, m), [m]).run()[0]) for m in range(count)]


@every(
    "tables",
    [
        [EARLY, LATE, MIDDLE],  # one stops and waits in the stack
        [LATE, EARLY, MIDDLE, EARLY],  # two stop, the other two go on
        [EARLY, LATE, EARLY, SETTLED],
        [EARLY, MIDDLE, EARLY, LATE, EARLY],
    ],
)
def test_a_member_that_has_stopped_is_frozen_while_others_go_on(monkeypatch, tables):
    for stacked, single in stacked_and_single(monkeypatch, tables):
        assert_same(stacked.tensors, single.tensors)
        assert (stacked.best_epoch, stacked.best_score) == (single.best_epoch, single.best_score)


@pytest.mark.parametrize("tables", [[EARLY, LATE], [LATE, EARLY, EARLY]])
def test_a_stack_may_shrink_to_one_member(monkeypatch, tables):
    for stacked, single in stacked_and_single(monkeypatch, tables):
        assert_same(stacked.tensors, single.tensors)


def test_the_history_of_a_stacked_member_ends_where_it_stopped(monkeypatch):
    for stacked, single in stacked_and_single(monkeypatch, [EARLY, LATE, MIDDLE]):
        for name in ("epochs", "stopped_early", "scores", "steps"):
            assert getattr(stacked, name) == getattr(single, name), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_spec_gives_the_same_bits(dtype):
    first, second = (trainer(MixNAMSettings(**NOISY), data(), [3], dtype=dtype).run()[0] for _ in range(2))
    assert_identical(first, second)
    assert first.tensors["router.weight"].dtype == dtype


@every("batch", [0, 2])
@every(
    "settings, task",
    [
        (MixNAMSettings(**NOISY), "regression"),
        (MixNAMSettings(**NOISY, normalization="batch_norm"), "classification"),
        (NAMSettings(hidden=(5, 4), batch_size=8, epochs=8, learning_rate=0.02), "regression"),
    ],
)
def test_a_resumed_run_gives_the_bits_of_an_uninterrupted_one(monkeypatch, tmp_path, settings, task, batch):
    fold, path = data(task=task), tmp_path / "folder" / "run.pt"

    def fresh():
        return trainer(settings, fold, [2], task, torch.float32)

    (expected,) = fresh().run()
    assert expected.epochs > 3
    for epoch in (0, 2, 3):  # dies before there is anything to take up, and twice more
        one = fresh()
        kill(monkeypatch, one, epoch, batch)
        with pytest.raises(Killed):
            one.run(checkpoint=path, checkpoint_seconds=0)
        assert path.exists() == (epoch > 0)
    last = fresh()
    epochs = []
    original = last.epoch
    monkeypatch.setattr(last, "epoch", lambda: (epochs.append(last.state.epoch), original()))
    (found,) = last.run(checkpoint=path, checkpoint_seconds=0)
    assert epochs[0] == 3  # went on, did not start over
    assert_identical(found, expected)


def test_a_kill_while_saving_leaves_the_checkpoint_before(monkeypatch, tmp_path):
    settings, fold, path = MixNAMSettings(**NOISY), data(), tmp_path / "run.pt"
    (expected,) = trainer(settings, fold).run()
    original, saves = torch.save, []

    def save(content, target):
        saves.append(target)
        if len(saves) == 3:
            target.write_bytes(b"half a file")
            raise Killed
        original(content, target)

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(Killed):
        trainer(settings, fold).run(checkpoint=path, checkpoint_seconds=0)
    monkeypatch.undo()
    (found,) = trainer(settings, fold).run(checkpoint=path, checkpoint_seconds=0)
    assert_identical(found, expected)


def test_a_stack_resumes_after_some_members_have_left_it(monkeypatch, tmp_path):
    tables = [EARLY, LATE, EARLY, MIDDLE]
    settings, fold = settings_list(MixNAMSettings, [*MEMBERS, MEMBERS[0]], **SMALL), data(4)
    script(monkeypatch, dict(enumerate(tables)))
    expected = trainer(settings, fold, range(4)).run()
    one = trainer(settings, fold, range(4))
    kill(monkeypatch, one, 6, 1)  # two members have left at epoch 4
    with pytest.raises(Killed):
        one.run(checkpoint=tmp_path / "run.pt", checkpoint_seconds=0)
    found = trainer(settings, fold, range(4)).run(checkpoint=tmp_path / "run.pt", checkpoint_seconds=0)
    for first, second in zip(found, expected, strict=True):
        assert_identical(first, second)


@every(
    "name, value",
    [("width", 7), ("layers", 1), ("experts", 4), ("active_experts", 3), ("batch_size", 9), ("epochs", 9),
     ("normalization", "batch_norm"), ("selection", "auc")],
)  # fmt: skip
def test_members_that_differ_in_what_they_must_share_are_refused(name, value):
    settings = [MixNAMSettings(**SMALL), MixNAMSettings(**SMALL | {name: value})]
    with pytest.raises(ValueError, match=rf"must agree in {name}$"):
        trainer(settings, data(2), [0, 1])


def test_regression_is_scored_by_the_root_mean_squared_error():
    prediction, y = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.0, 5.0], [3.0, 4.0]])
    assert validation_scores(prediction, y, "regression", "auc") == pytest.approx([math.sqrt(4.5), math.sqrt(12.5)])


def test_classification_is_scored_by_auc_with_or_without_a_tenth_of_macro_f1():
    positives, negatives = (-0.1, 0.3, 1.2), (-2.0, 0.5, 0.3, -0.7, -0.9)
    logits = torch.tensor([[*positives, *negatives]])
    labels = torch.tensor([[1.0] * 3 + [0.0] * 5])
    pairs = [(p, n) for p in positives for n in negatives]
    auc = sum(1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs) / len(pairs)
    # predicted 1 where the logit is positive: 2 of 3 positives and 3 of 5 negatives are right
    positive, negative = 2 * 2 / (2 * 2 + 2 + 1), 2 * 3 / (2 * 3 + 1 + 2)
    assert validation_scores(logits, labels, "classification", "auc") == pytest.approx([-auc])
    expected = [-(auc + 0.1 * (positive + negative) / 2)]
    assert validation_scores(logits, labels, "classification", "auc_plus_f1") == pytest.approx(expected)


def test_a_prediction_that_is_not_finite_has_no_score():
    scores = validation_scores(torch.tensor([[math.nan, 1.0]]), torch.tensor([[0.0, 1.0]]), "classification", "auc")
    assert math.isnan(scores[0])
    assert math.isnan(validation_scores(torch.tensor([[math.nan]]), torch.zeros(1, 1), "regression", "auc")[0])


def test_running_statistics_equal_torch_batch_norm_over_a_training(monkeypatch):
    settings = NAMSettings(hidden=(5, 4), batch_size=8, epochs=8, learning_rate=0.02, dropout=0.0)
    one = trainer(settings, data())
    original, steps = one.step, []

    def step(chosen, rate):
        steps.append((copy.deepcopy(one.tensors(one.state.flat, one.state.buffers)), one.fold.x[:, chosen[0]]))
        return original(chosen, rate)

    monkeypatch.setattr(one, "step", step)
    for _ in range(3):
        one.epoch()
    for i in range(3):
        running = [(torch.zeros(w).double(), torch.ones(w).double()) for w in (5, 4)]
        for tensors, x in steps:
            net = naive.torch_nam(tensors, 0, 3)[i].train()
            norms = [net[1], net[4]]
            for norm, (mean, variance) in zip(norms, running, strict=True):
                norm.running_mean.copy_(mean)
                norm.running_var.copy_(variance)
            net(x[0, :, i : i + 1])
            running = [(norm.running_mean, norm.running_var) for norm in norms]
        for layer, (mean, variance) in enumerate(running):
            torch.testing.assert_close(one.state.buffers[f"norm.{layer}.mean"][0, i], mean)
            torch.testing.assert_close(one.state.buffers[f"norm.{layer}.variance"][0, i], variance)


@pytest.mark.parametrize("seeds", [(0, 1), (0,)], ids=["stack", "alone"])
def test_predictions_in_parts_equal_predictions_at_once(build, seeds):
    network, tensors = build(MixNAMSettings(**SMALL), 3, seeds)
    x = data(len(seeds), rows=50).x
    whole = predict(network, tensors, x)
    parts = [outputs.prediction for outputs in evaluate(network, tensors, x, rows=7)]
    assert [part.shape[1] for part in parts] == [7] * 7 + [1]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)


def with_parts(**changes):
    """Change parts of a checkpoint's content, each by a function of it."""
    return lambda content: content | {name: change(content[name]) for name, change in changes.items()}


#: Checkpoints of three members, of whom one has left the stack, that are none or do not fit, and what is said of them.
BAD_CHECKPOINTS = {
    "a list": (lambda content: [content], "other parts than a state"),
    "a tensor": (lambda content: content["flat"], "other parts than a state"),
    "a missing part": (lambda content: {k: v for k, v in content.items() if k != "epoch"}, "other parts"),
    "a method's name": (lambda content: content | {"keep": 1}, "other parts"),
    "a float for an epoch": (with_parts(epoch=float), "its epoch are of other types"),
    "text for seconds": (with_parts(seconds=str), "its seconds are"),
    "members in a tensor": (with_parts(members=torch.tensor), ""),
    "a member too many": (with_parts(members=lambda members: [*members, 7]), "members"),
    "a member that is done": (with_parts(members=lambda members: [0]), "its done are"),
    "weights of fewer members": (with_parts(flat=lambda flat: flat[:0]), "its flat are of other types or shapes"),
    "weights of fewer columns": (with_parts(best=lambda best: best[:, 1:]), "its best are"),
    "weights in single precision": (with_parts(flat=torch.Tensor.float), "its flat are"),
    "other moments": (with_parts(adam=lambda adam: adam | {"first": adam["first"][:, 1:]}), "its adam are"),
    "steps that are text": (with_parts(adam=lambda adam: adam | {"steps": "3"}), "its adam are"),
    "averages that nobody asked for": (with_parts(averaged=lambda _: torch.ones(2, 4)), "its averaged are"),
    "scores that are no pairs": (with_parts(scores=lambda scores: [[1.0]] * len(scores)), "'float' object is not"),
    "scores of text": (with_parts(scores=lambda scores: [[("1", "2")]] * len(scores)), "its scores are"),
    "whole numbers for the best": (with_parts(best_score=lambda best: [0 for _ in best]), "its best_score are"),
    "shares of fewer": (with_parts(shares=lambda shares: shares[:1]), "its shares are"),
    "nobody done": (with_parts(done=lambda done: {}), "its done are"),
    "done without tensors": (with_parts(done=lambda done: {i: {} for i in done}), "its done are"),
}


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory):
    """A stack that was killed after one of its members had left, its checkpoint, and what it would have given."""
    settings, fold, path = settings_list(MixNAMSettings, **SMALL), data(3), tmp_path_factory.mktemp("stack") / "run.pt"
    with pytest.MonkeyPatch.context() as patch:
        script(patch, dict(enumerate([EARLY, EARLY, LATE])))
        one = named(settings, fold)
        kill(patch, one, 6, 1)
        with pytest.raises(Killed):
            one.run(checkpoint=path, checkpoint_seconds=0)
    return settings, fold, torch.load(path, weights_only=True), trainer(settings, fold, range(3)).run()


def named(settings, fold):
    one = trainer(settings, fold, range(3))
    one.state.names = ["a", "b", "c"]
    return one


@every("how, case", {"cut off": (None, ""), **BAD_CHECKPOINTS}.items())
def test_a_checkpoint_that_cannot_be_used_is_reported_and_training_starts_afresh(how, case, unfinished, tmp_path):
    (spoil, why), (settings, fold, content, expected) = case, unfinished
    if spoil is None:
        (tmp_path / "run.pt").write_bytes(b"PK cut off")
    else:
        torch.save(spoil(dict(content)), tmp_path / "run.pt")
    with pytest.warns(UserWarning, match=rf"run\.pt cannot be read, training starts afresh: .*{why}"):
        found = named(settings, fold).run(checkpoint=tmp_path / "run.pt")
    for first, second in zip(found, expected, strict=True):
        assert_identical(first, second)


def test_the_checkpoint_that_those_are_made_from_is_used(unfinished, tmp_path):
    settings, fold, content, _ = unfinished
    torch.save(content, tmp_path / "run.pt")
    one = named(settings, fold)
    one.state.load(tmp_path / "run.pt", vars(one._trained(0)))
    assert one.state.epoch == content["epoch"] and len(one.state.members) == 1


def test_averages_follow_the_weights_and_running_statistics():
    settings = [
        NAMSettings(hidden=(4,), batch_size=16, averaging=rate, learning_rate=0.01) for rate in (0.0, 0.5, 0.95)
    ]
    one = trainer(settings, data(3), seeds=(0, 0, 0))
    flat, buffers = one.state.flat.clone(), {k: b.clone() for k, b in one.state.buffers.items()}
    for step, chosen in enumerate(torch.arange(24).expand(3, -1).split(4, dim=1)):
        one.step(chosen, 1.0)
        for m, rate in enumerate((0.0, 0.5, 0.95)):
            kept = min(rate, (1 + step) / (10 + step))  # young averages forget the start
            flat[m] = kept * flat[m] + (1 - kept) * one.state.flat[m]
            for name, buffer in buffers.items():
                buffer[m] = kept * buffer[m] + (1 - kept) * one.state.buffers[name][m]
    torch.testing.assert_close(one.state.averaged, flat, rtol=1e-12, atol=1e-12)
    assert torch.equal(one.state.averaged[0], one.state.flat[0])
    assert not torch.equal(one.state.averaged[1], one.state.averaged[2])
    for name, buffer in buffers.items():
        torch.testing.assert_close(one.state.averaged_buffers[name], buffer, rtol=1e-12, atol=1e-12)


@every("better", ["weights", "averages"])
def test_the_better_of_weights_and_averages_is_kept(monkeypatch, better):
    settings = NAMSettings(hidden=(4,), batch_size=16, epochs=3, averaging=0.9, learning_rate=0.01)
    one = trainer(settings, data())

    seen = {}

    def scores(self, weights, buffers):
        averaged = weights is self.state.averaged
        assert averaged == (buffers is self.state.averaged_buffers)
        seen["averages" if averaged else "weights"] = weights.clone()
        return [1.0 - 0.1 * self.state.epoch - (averaged == (better == "averages"))]

    monkeypatch.setattr(training.Trainer, "scores", scores)
    (trained,) = one.run()
    found = {name: one.tensors(flat, {})["layer.0.weight"] for name, flat in seen.items()}
    assert trained.best_epoch == 3
    assert not torch.equal(found["weights"], found["averages"])
    assert torch.equal(trained.tensors["layer.0.weight"], found[better])


def test_without_averaging_no_average_is_held():
    one = trainer(NAMSettings(hidden=(4,), batch_size=16), data())
    assert len(one.state.averaged) == 0
    assert len(one.candidates()) == 1
