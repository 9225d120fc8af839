"""The scores that pick an epoch are scikit-learn's, for all members at once."""

import math

import numpy as np
import pytest
import torch
from every import every
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, log_loss, roc_auc_score, root_mean_squared_error

from mixnam.training.validation import area_under_curve, macro_f1, validation_scores


def sample(members, rows, levels, seed=0):
    """Logits on `levels` steps around 0 that say something of the labels; both classes occur."""
    source = np.random.default_rng(seed)
    labels = source.integers(0, 2, (members, rows))
    labels[:, 0], labels[:, 1] = 0, 1
    logits = np.round((source.normal(size=(members, rows)) + labels - 0.5) * levels) / levels
    return torch.tensor(logits), torch.tensor(labels).double()


def expected_f1(chosen, labels, weights=None):
    return f1_score(labels, chosen, labels=[0, 1], average="macro", zero_division=0, sample_weight=weights)


def expected_scores(logits, labels, weights):
    """scikit-learn's scores of one member with weights, by task and selection."""
    auc = roc_auc_score(labels, logits, sample_weight=weights)
    return {
        ("regression", "auc"): root_mean_squared_error(labels, logits, sample_weight=weights),
        ("classification", "auc"): -auc,
        ("classification", "auc_plus_f1"): -(auc + 0.1 * expected_f1(logits > 0, labels, weights)),
        ("classification", "log_loss"): log_loss(labels, torch.sigmoid(logits), labels=[0, 1], sample_weight=weights),
    }


def of_mean_1(weights):
    return weights / weights.mean(dim=1, keepdim=True)


@every("dtype", [torch.float32, torch.float64])
@every("levels", [1, 4, 1e6])
@every("members", [1, 5])
def test_auc_and_f1_of_each_member_are_those_of_scikit_learn(members, levels, dtype):
    logits, labels = sample(members, 300, levels)
    logits, labels = logits.to(dtype), labels.to(dtype)
    aucs, f1s = area_under_curve(logits, labels), macro_f1(logits > 0, labels > 0)
    assert aucs.shape == f1s.shape == (members,)
    for m in range(members):
        assert float(aucs[m]) == pytest.approx(roc_auc_score(labels[m], logits[m]), abs=1e-14)
        assert float(f1s[m]) == pytest.approx(expected_f1(logits[m] > 0, labels[m]), abs=1e-14)
    if levels == 1:
        assert logits.unique().numel() < 12  # ties by the dozen, many of them at the threshold
        assert (logits == 0).any()


@given(
    st.lists(st.tuples(st.sampled_from([-2.0, -0.5, -0.0, 0.0, 0.5, 3.0]), st.integers(0, 1)), min_size=1, max_size=20)
)
def test_scores_of_any_rows_are_those_of_scikit_learn(rows):
    logits, labels = (torch.tensor([column], dtype=torch.float64) for column in zip(*rows, strict=True))
    assert float(macro_f1(logits > 0, labels > 0)) == pytest.approx(expected_f1(logits[0] > 0, labels[0]), abs=1e-14)
    if labels.unique().numel() == 2:
        auc = roc_auc_score(labels[0], logits[0])
        assert float(area_under_curve(logits, labels)) == pytest.approx(auc, abs=1e-14)
        assert validation_scores(logits, labels, "classification", "auc") == pytest.approx([-auc], abs=1e-14)
        both = -(auc + 0.1 * expected_f1(logits[0] > 0, labels[0]))
        assert validation_scores(logits, labels, "classification", "auc_plus_f1") == pytest.approx([both], abs=1e-14)


@every("levels", [1, 4, 1e6])
@every("members", [1, 4])
def test_weighted_scores_of_each_member_are_those_of_scikit_learn(members, levels):
    logits, labels = sample(members, 200, levels)
    weights = np.random.default_rng(1).gamma(0.5, size=(members, 200)) * (np.arange(200) % 7 > 0)  # some weigh nothing
    weights = of_mean_1(torch.tensor(weights))
    expected = [expected_scores(*member) for member in zip(logits, labels, weights, strict=True)]
    for task, selection in expected[0]:
        found = validation_scores(logits, labels, task, selection, weights)
        assert found == pytest.approx([one[task, selection] for one in expected], abs=1e-12), (task, selection)
        assert found != pytest.approx(validation_scores(logits, labels, task, selection), abs=1e-4)


@given(
    st.lists(
        st.tuples(st.sampled_from([-2.0, -0.5, -0.0, 0.0, 3.0]), st.integers(0, 1), st.integers(0, 3)),
        min_size=1, max_size=12,
    )
)  # fmt: skip
def test_a_row_of_weight_two_counts_as_two_rows_and_one_of_weight_zero_as_none(rows):
    logits, labels, counts = (torch.tensor([column], dtype=torch.float64) for column in zip(*rows, strict=True))
    repeated = [column[0].repeat_interleave(counts[0].long())[None] for column in (logits, labels)]
    if not counts.any():
        return
    for task, selection in (("regression", "auc"), *(("classification", s) for s in ("auc_plus_f1", "log_loss"))):
        found = validation_scores(logits, labels, task, selection, of_mean_1(counts))
        assert found == pytest.approx(validation_scores(*repeated, task, selection), abs=1e-12, nan_ok=True)


def unweighted(logits, labels, selection):
    """The scores as they were computed before there were weights: by ranks and counts."""
    ordered = logits.sort(dim=1).values
    ranks = torch.searchsorted(ordered, logits) + torch.searchsorted(ordered, logits, right=True)
    positive = labels.double().sum(dim=1)
    sums = ((ranks.double() + 1) / 2 * labels.double()).sum(dim=1)
    score = (sums - positive * (positive + 1) / 2) / (positive * (labels.shape[1] - positive))
    if selection == "auc_plus_f1":
        both = []
        for predicted, true in ((logits > 0, labels > 0), (logits <= 0, labels <= 0)):
            hits, total = (predicted & true).sum(dim=1).double(), predicted.sum(dim=1) + true.sum(dim=1)
            both.append(2 * hits / total.clamp(min=1))
        score = score + 0.1 * (both[0] + both[1]) / 2
    return (-score).tolist()


@every("dtype", [torch.float32, torch.float64])
@every("rows, levels", [(10, 1), (999, 1e6), (50_000, 3)])
def test_without_weights_scores_have_the_bits_of_counted_ranks(rows, levels, dtype):
    logits, labels = (part.to(dtype) for part in sample(3, rows, levels))
    for selection in ("auc", "auc_plus_f1"):
        expected = unweighted(logits, labels, selection)
        assert validation_scores(logits, labels, "classification", selection) == expected
        assert validation_scores(logits, labels, "classification", selection, torch.ones_like(labels)) == expected
    error = (logits - labels).square().mean(dim=1).sqrt().tolist()
    assert validation_scores(logits, labels, "regression", "auc") == error


def test_rows_in_any_order_score_the_same():
    logits, labels = sample(3, 50, 2)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    weights = of_mean_1(1.0 + torch.arange(50)[None] % 4).expand(3, -1)
    for task, selection in (("classification", "auc_plus_f1"), ("classification", "log_loss"), ("regression", "auc")):
        for weighing in ([1.0, 1.0], [weights, weights[:, order]]):
            expected = validation_scores(logits, labels, task, selection, weighing[0])
            assert len(expected) == 3
            found = validation_scores(logits[:, order], labels[:, order], task, selection, weighing[1])
            assert found == pytest.approx(expected)


def test_ranking_all_right_all_wrong_and_not_at_all():
    labels = torch.tensor([[0.0, 0.0, 1.0]] * 3)
    logits = torch.tensor([[-1.0, 0.0, 2.0], [3.0, 1.0, 0.0], [5.0, 5.0, 5.0]])
    assert area_under_curve(logits, labels).tolist() == [1.0, 0.0, 0.5]


def test_many_rows_are_counted_exactly():
    rows = 200_000  # sums of ranks pass what float32 can hold
    logits = torch.arange(rows, dtype=torch.float32)[None].remainder(1000)
    labels = (torch.arange(rows)[None] % 3 == 0).float()
    expected = roc_auc_score(labels[0], logits[0])
    assert float(area_under_curve(logits, labels)) == pytest.approx(expected, abs=1e-13)


@every("bad", [math.nan, math.inf, -math.inf])
@every("selection", ["auc", "auc_plus_f1", "log_loss"])
def test_a_member_that_diverged_has_no_score_and_takes_none_from_the_others(bad, selection):
    logits, labels = sample(4, 40, 4)
    expected = validation_scores(logits, labels, "classification", selection)
    logits[1, 7], logits[3] = bad, bad
    found = validation_scores(logits, labels, "classification", selection)
    assert [math.isnan(score) for score in found] == [False, True, False, True]
    assert found[::2] == expected[::2]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_error_that_is_not_finite_is_better_than_no_other(bad):
    prediction, y = torch.zeros(3, 5), torch.ones(3, 5)
    prediction[1, 2] = bad
    found = validation_scores(prediction, y, "regression", "auc")
    assert found[::2] == [1.0, 1.0]
    assert not found[1] < math.inf


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_labels_of_one_class_have_no_auc_and_so_no_score(label):
    logits = torch.tensor([[-1.0, 0.5, 2.0]])
    labels = torch.full((1, 3), label)
    assert math.isnan(float(area_under_curve(logits, labels)))
    for selection in ("auc", "auc_plus_f1"):
        assert math.isnan(validation_scores(logits, labels, "classification", selection)[0])
    loss = log_loss(labels[0], torch.sigmoid(logits[0]).double(), labels=[0, 1])
    assert validation_scores(logits, labels, "classification", "log_loss") == pytest.approx([loss], rel=1e-6)


def test_a_class_whose_rows_weigh_nothing_leaves_no_auc():
    logits, labels = sample(1, 20, 4)
    weights = of_mean_1((labels == 1).double())
    assert math.isnan(validation_scores(logits, labels, "classification", "auc", weights)[0])
    assert math.isfinite(validation_scores(logits, labels, "classification", "log_loss", weights)[0])


def test_f1_of_a_class_that_neither_is_nor_is_chosen_is_0():
    yes, no = torch.ones(1, 4, dtype=torch.bool), torch.zeros(1, 4, dtype=torch.bool)
    assert macro_f1(yes, yes).tolist() == [0.5]  # scikit-learn, asked for both classes, says so too
    assert macro_f1(no, no).tolist() == [0.5]
    assert macro_f1(yes, no).tolist() == [0.0]


def test_a_logit_of_0_is_no_prediction_of_the_second_class():
    logits, labels = torch.tensor([[0.0, -1.0, 0.0, 1.0]]), torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    auc, f1 = 3.5 / 4, (2 * 2 / 5 + 2 * 1 / 3) / 2
    assert validation_scores(logits, labels, "classification", "auc_plus_f1") == pytest.approx([-(auc + 0.1 * f1)])
