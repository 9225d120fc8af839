"""The validation scores that pick the best epoch, of all members at once and where the predictions lie."""

from __future__ import annotations

import torch
from torch import Tensor

from mixnam.training.losses import Task


def validation_scores(prediction: Tensor, y: Tensor, task: Task, selection: str) -> list[float]:
    """Return each member's score, lower is better: RMSE, or minus AUC (+ 0.1 macro-F1); not finite if it diverged.

    **Shape:** `prediction` and `y` are (M, rows): predicted and standardised targets, or logits and labels.
    """
    if task == "regression":
        return (prediction - y).square().mean(dim=1).sqrt().tolist()
    score = area_under_curve(prediction, y)
    if selection == "auc_plus_f1":
        score = score + 0.1 * macro_f1(prediction > 0, y > 0)
    return torch.where(prediction.isfinite().all(dim=1), -score, torch.nan).tolist()


def area_under_curve(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the area under the ROC curve from ranks, ties in the middle: (M, rows), 0/1 labels → (M,)."""
    scores = scores.contiguous()
    ordered = scores.sort(dim=1).values
    ranks = torch.searchsorted(ordered, scores) + torch.searchsorted(ordered, scores, right=True)
    labels = labels.double()
    positive = labels.sum(dim=1)
    sums = ((ranks.double() + 1) / 2 * labels).sum(dim=1)  # Mann and Whitney's statistic, shifted
    return (sums - positive * (positive + 1) / 2) / (positive * (labels.shape[1] - positive))


def macro_f1(chosen: Tensor, labels: Tensor) -> Tensor:
    """Return the mean F1 of both classes, 0 for one that neither is nor is chosen: boolean (M, rows) → (M,)."""
    both = []
    for predicted, true in ((chosen, labels), (~chosen, ~labels)):
        hits, total = (predicted & true).sum(dim=1).double(), predicted.sum(dim=1) + true.sum(dim=1)
        both.append(2 * hits / total.clamp(min=1))
    return (both[0] + both[1]) / 2
