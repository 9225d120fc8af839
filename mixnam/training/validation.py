"""The validation scores that pick the best epoch, of all members at once and where the predictions lie."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mixnam.training.losses import Task


def validation_scores(
    prediction: Tensor, y: Tensor, task: Task, selection: str, weights: Tensor | float = 1.0
) -> list[float]:
    """Return each member's score, lower is better: RMSE, minus AUC (+ 0.1 macro-F1), log loss; not finite if diverged.

    **Shape:** `prediction` and `y` are (M, rows): predicted and standardised targets, or logits and labels. `weights`,
    (M, rows), have a mean of 1 in each member.
    """
    if task == "regression":
        return ((prediction - y).square() * weights).mean(dim=1).sqrt().tolist()
    if selection == "log_loss":
        score = (F.binary_cross_entropy_with_logits(prediction, y, reduction="none").double() * weights).mean(dim=1)
    else:
        score = -area_under_curve(prediction, y, weights)
    if selection == "auc_plus_f1":
        score = score - 0.1 * macro_f1(prediction > 0, y > 0, weights)
    return torch.where(prediction.isfinite().all(dim=1), score, torch.nan).tolist()


def area_under_curve(scores: Tensor, labels: Tensor, weights: Tensor | float = 1.0) -> Tensor:
    """Return the area under the ROC curve, ties in the middle: (M, rows), 0/1 labels → (M,)."""
    scores = scores.contiguous()
    ordered, order = scores.sort(dim=1)
    positive, negative = labels.double() * weights, (1 - labels.double()) * weights
    below = F.pad(negative.gather(1, order).cumsum(dim=1), (1, 0))  # exact without weights
    ends = [torch.searchsorted(ordered, scores, right=right) for right in (False, True)]
    beaten = (below.gather(1, ends[0]) + below.gather(1, ends[1])) / 2  # Mann and Whitney's statistic
    return (beaten * positive).sum(dim=1) / (positive.sum(dim=1) * negative.sum(dim=1))


def macro_f1(chosen: Tensor, labels: Tensor, weights: Tensor | float = 1.0) -> Tensor:
    """Return the mean F1 of both classes, 0 for one that neither is nor is chosen: boolean (M, rows) → (M,)."""
    both = []
    for predicted, true in ((chosen, labels), (~chosen, ~labels)):
        hits = ((predicted & true).double() * weights).sum(dim=1)
        total = ((predicted.double() + true.double()) * weights).sum(dim=1)
        both.append(2 * hits / total.where(total > 0, 1.0))
    return (both[0] + both[1]) / 2
