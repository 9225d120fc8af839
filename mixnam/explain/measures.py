"""What a trained model says about its features: shape functions, bounds, and the measures of Section 4.3.2.

Everything is computed while the model is at hand and stored with the result. Most measures put values of a
feature into rows that it does not come from, which makes it independent of the other features; feature-wise
responses are computed once and recombined, so that this costs little (`Network.responses`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixnam import randomness
from mixnam.data.table import Array
from mixnam.explain import additivity
from mixnam.explain.additivity import BACKGROUNDS, MOST, Additivity
from mixnam.models import Network
from mixnam.models.base import EVALUATED
from mixnam.models.fast.blocked import evaluate
from mixnam.models.layers import Tensors

#: Raised when a measure is taken differently; recorded with each result, no part of its key.
REVISION = 2
GRID = 100  # values of a feature, at equally spaced quantiles of all rows
BACKGROUND = 500  # background rows of variability, drawn from all rows
BINS, FEW_BINS = 200, 15  # groups of rows with nearly equal x_i (the conditional readings)
SAMPLE_FIRST, SAMPLE = 1000, 100  # rows whose contributions are stored: seed or fold 0, and the others
MAX_EXPERTS = 16  # expert curves are stored up to this many experts a feature
_ROUTED = 1 << 27  # routing scores of one feature that its tightness may take: fewer background rows beyond
_CELLS = 1 << 20  # numbers handled at a time: they stay in the processor's caches
_WORK = 1 << 30  # routing scores that additivity may take: fewer draws beyond
_CASES = 1 << 19  # rows that a network is asked for where there are no feature-wise responses, at most
_SLOPES = 1 << 20  # and slopes
_Responses = tuple[Tensor, Tensor]  # expert predictions (n, ..., C) and shares in routing scores (n, ..., n·C)


def quantile_grid(column: Tensor, points: int = GRID) -> Tensor:
    """Return `points` values of a column at equally spaced quantiles; each is a value of the data."""
    levels = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    return column.sort().values[(levels * len(column)).long().to(column.device)]


@torch.enable_grad()
def _moved(function: Callable[[Tensor], _Responses], x: Tensor) -> tuple[_Responses, _Responses]:
    """Return the responses at x, (B, n), and their derivatives by each feature's own value.

    Backwards twice: for forward derivatives torch loads its compiler, which takes seconds.
    """
    leaf = x.detach().requires_grad_(True)
    experts, shares = function(leaf)
    moving = [t for t in (experts, shares) if t.requires_grad]
    weights = [torch.zeros_like(t, requires_grad=True) for t in moving]
    (back,) = torch.autograd.grad(moving, leaf, weights, create_graph=True)
    slopes = torch.autograd.grad(back, weights, torch.ones_like(back))
    return (experts.detach(), shares.detach()), (slopes[0], slopes[1] if len(slopes) > 1 else torch.zeros_like(shares))


def variance_share(values: Tensor) -> float:
    """Return Var(row means) / Var(all) of a matrix (groups, rows); 1 where nothing varies."""
    values = values.double()
    total = float(values.var(correction=0))
    if total <= 1e-12 * float(values.square().mean()) or total == 0.0:
        return 1.0
    return float(values.mean(dim=1).var(correction=0)) / total


class Explainer:
    """Measures of one trained member on a whole table.

    **Shape:** `tensors` are (1, ...); `x` is (rows, n), the network inputs of all rows. `scale` turns
    network outputs into the target's units; `name`, the run's key, seeds what is drawn for additivity.
    """

    def __init__(self, network: Network, tensors: Tensors, x: Tensor, scale: float, name: str) -> None:
        self.network, self.tensors, self.x, self.scale, self.name = network, tensors, x, scale, name
        rows, self.features = x.shape
        chosen = randomness.permutation([randomness.key(0, "background")], rows, x.device)[0, :BACKGROUND]
        self.background = x[chosen]
        self.grid = torch.stack([quantile_grid(x[:, i]) for i in range(self.features)], dim=1)  # (G, n)

    def _responses(self, x: Tensor) -> tuple[Tensor, Tensor]:
        experts, shares = self.network.responses(self.tensors, x[None])
        return experts[0], shares[0]  # (n, B, C), (n, B, n·C)

    def _bounds(self, experts: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bounds (P, n) that go with responses at P points."""
        out = self.network.combine(self.tensors, experts.transpose(0, 1)[None], shares.sum(dim=0)[None])
        return out.lower[0], out.upper[0]

    @torch.no_grad()
    def rows(self) -> dict[str, Tensor]:
        """Return prediction (rows,), contributions, lower and upper (rows, n), and expert usage (n, C)."""
        parts: dict[str, list[Tensor]] = {k: [] for k in ("prediction", "contributions", "lower", "upper")}
        relevance = active = torch.zeros(())
        for out in evaluate(self.network, self.tensors, self.x[None]):
            for name, values in parts.items():
                values.append(getattr(out, name)[0])
            relevance = relevance + out.relevance[0].double().sum(dim=0) / len(self.x)
            active = active + (out.relevance[0] > 0).double().sum(dim=0) / len(self.x)
        return {k: torch.cat(v) for k, v in parts.items()} | {"relevance": relevance, "active": active}

    def derivatives(self) -> Tensor:
        """Return ∂ŷ/∂x_i at every row, on the scale of the network's inputs: (rows, n)."""
        parts = []
        for x in self.x.split(4096):
            leaf = x.clone().requires_grad_(True)
            out = self.network(self.tensors, leaf[None])
            total = (out.contributions if self.network.featurewise else out.prediction).sum()
            parts.append(torch.autograd.grad(total, leaf, allow_unused=True, materialize_grads=True)[0])
        return torch.cat(parts)

    def conditional_additivity(self) -> list[float]:
        """Return each feature's additivity over rows of the data with nearly that x_i. Equation (11)."""
        gradients = self.derivatives()
        return [variance_share(gradients[self._groups(i), i]) for i in range(self.features)]

    def conditional_tightness(self, rows: dict[str, Array], bins: int = BINS) -> list[float]:
        """Return each feature's tightness over rows of the data with nearly that x_i, at most 1 a group.

        `rows` is what `rows` gave, as arrays. Within a group x_i still varies, and so does the shape
        function: where bounds are narrower than that, the ratio exceeds 1 and is cut. Equation (12).
        """
        found = []
        for i in range(self.features):
            groups = self._groups(i, bins).cpu().numpy()
            o, width = (v[groups, i] for v in (rows["contributions"], rows["upper"] - rows["lower"]))
            gap = width.mean(axis=1)
            kept = gap > 1e-6 * (1 + np.abs(rows["contributions"]).max())
            ratio = np.ptp(o, axis=1)[kept] / gap[kept]
            found.append(float(np.minimum(ratio, 1.0).mean()) if kept.any() else float("nan"))
        return found

    def _groups(self, i: int, bins: int = BINS) -> Tensor:
        """Return rows in groups of nearly equal x_i: (groups, rows of a group), the few left over dropped."""
        count = max(1, min(bins, len(self.x) // 20))
        size = len(self.x) // count
        return self.x[:, i].argsort(stable=True)[: count * size].view(count, size)

    def additivity(self) -> Additivity:
        """Return each feature's marginal additivity: x_i is drawn on its own, the other features together."""
        if self.network.featurewise:
            most = min(MOST, _WORK // (self.cells * BACKGROUNDS))
            return additivity.estimate(self.slopes, self.x, self.name, most)
        most = min(MOST, _SLOPES // (self.features * BACKGROUNDS))
        return additivity.estimate(self.slopes_of_prediction, self.x, self.name, most)

    @cached_property
    def cells(self) -> int:
        """How many shares in routing scores a row has: n·n·C."""
        return self._responses(self.x[:1])[1].numel()

    def _by_target(self, values: Tensor) -> Tensor:
        """View (..., n·C) as (..., n, C), laid out so that sums and softmax over the C experts are fast."""
        return values.unflatten(-1, (self.features, -1)).movedim(-1, 0).contiguous().movedim(0, -1)

    @torch.no_grad()
    def slopes(self, values: Tensor, rows: Tensor) -> Tensor:
        """Return ∂ŷ/∂x_i with each feature's value, (N, n), put into rows, (N, m, n): (n, N, m)."""
        size, parts = rows.shape[1], []
        chunk = max(1, _CELLS // (self.cells * size))
        for own, others in zip(values.split(chunk), rows.split(chunk), strict=True):
            at_values, moved = _moved(self._responses, own)
            base = [t.unflatten(1, (-1, size)) for t in self._responses(others.flatten(0, 1))]
            parts.append(self._slopes(at_values, moved, (base[0], base[1])))
        return torch.cat(parts, dim=1)

    def _slopes(self, own: _Responses, moved: _Responses, base: _Responses) -> Tensor:
        """Return slopes from responses to values, (n, N, ...), their derivatives, and those to rows, (n, N, m, ...)."""
        shares, d_shares, base_shares = (self._by_target(r[1]) for r in (own, moved, base))
        others = self._by_target(base[0].movedim(0, 2).flatten(2))  # the rows' experts: (N, m, n, C)
        scores = base_shares.sum(dim=0) + self.network.score_bias(self.tensors)[0].unflatten(0, (self.features, -1))
        found = []
        for i in range(self.features):
            # a relevance that changes in jumps alone moves no other feature's contribution
            targets = slice(None) if self.network.smooth else slice(i, i + 1)
            moving = (scores - base_shares[i])[..., targets, :] + shares[i][:, None, targets]
            relevance = self.network.relevance(moving)
            at = i if self.network.smooth else 0
            slope = (relevance[..., at, :] * moved[0][i][:, None]).sum(dim=-1)
            if self.network.smooth:
                change = relevance * d_shares[i][:, None]  # of a softmax: r (s - Σ r s)
                change = change - relevance * change.sum(dim=-1, keepdim=True)
                parts = (change * others).sum(dim=-1)
                parts[..., i] = (change[..., i, :] * own[0][i][:, None]).sum(dim=-1)
                slope = slope + parts.sum(dim=-1)
            found.append(slope)
        return torch.stack(found)

    def slopes_of_prediction(self, values: Tensor, rows: Tensor) -> Tensor:
        """Return what `slopes` does, for a prediction that is no sum over features."""
        found = []
        for i in range(self.features):
            x = rows.clone()
            x[..., i] = values[:, i : i + 1]
            leaf = x.flatten(0, 1).requires_grad_(True)
            total = self.network.part(self.tensors, leaf[None], i).sum()
            found.append(torch.autograd.grad(total, leaf)[0][:, i].view(rows.shape[:2]))
        return torch.stack(found)

    @torch.no_grad()
    def interventions(self) -> list[dict[str, float]]:
        """Set each feature to each grid value in every background row, the other features unchanged.

        Returns for each feature its `variability` (Equation (19), in squared target units, averaged over the
        grid) and `outside`, the share of cases in which the prediction changes by more than the feature's own
        bounds allow.
        """
        experts, shares = self._responses(self.grid)
        lower, upper = self._bounds(experts, shares)
        base_experts, base_shares = self._responses(self.background)
        others = self._by_target(base_experts.movedim(0, 1).flatten(1))  # (B, n, C)
        shares, base_shares = self._by_target(shares), self._by_target(base_shares)
        scores = base_shares.sum(dim=0) + self.network.score_bias(self.tensors)[0].unflatten(0, (self.features, -1))
        before = (self.network.relevance(scores) * others).sum(dim=-1)
        size = before.abs().sum(dim=-1)
        found = []
        for i in range(self.features):
            whole = self._crossed(i, experts[i], shares[i], others, scores - base_shares[i])
            change = whole - before.sum(dim=-1)
            below, above = (bound[:, i][:, None] - before[:, i] for bound in (lower, upper))
            slack = 1e-5 * (1 + above - below + size)  # rounding grows with what was summed
            outside = float(((change < below - slack) | (change > above + slack)).double().mean())
            surface = whole * self.scale
            deviation = surface - surface.mean(dim=0)  # F(x | x_i = a) minus its mean over x_i
            found.append({"variability": float(deviation.var(dim=1, correction=0).mean()), "outside": outside})
        return found

    def _crossed(self, i: int, own: Tensor, shares: Tensor, others: Tensor, scores: Tensor) -> Tensor:
        """Return Σ_j o_j with each value of feature i in each row: (G, B), float64.

        **Shape:** `own` (G, C) and `shares` (G, n, C) go with the values; `others` (B, n, C) and `scores` (B, n, C),
        without x_i's share, with the rows.
        """
        least = math.log(torch.finfo(scores.dtype).tiny) / 2
        centred = [s - s.amax(dim=-1, keepdim=True) for s in (shares, scores)]
        if not self.network.dense or min(float(s.min()) for s in centred) < least:
            values = []
            for g in torch.arange(len(own), device=own.device).split(max(1, _CELLS // scores.numel())):
                relevance = self.network.relevance(scores[None] + shares[g][:, None])
                parts = (relevance * others).sum(dim=-1)  # (g, B, n)
                parts[..., i] = (relevance[..., i, :] * own[g][:, None]).sum(dim=-1)
                values.append(parts.sum(dim=-1))
            return torch.cat(values).double()
        # the exponential of a sum is a product: all pairs at once are two matrix products a feature
        at, rows = (s.exp().transpose(0, 1).contiguous() for s in centred)
        total = at @ (rows * others.transpose(0, 1)).mT  # (n, G, B)
        total[i] = (at[i] * own) @ rows[i].mT
        return (total / (at @ rows.mT)).sum(dim=0).double()

    def tightness_background(self) -> Tensor:
        """Return the rows that tightness takes: all, or for many experts as many as `_ROUTED` allows."""
        experts = self._responses(self.x[:1])[0].shape[-1]
        limit = max(BACKGROUND, _ROUTED // (len(self.grid) * experts))
        if len(self.x) <= limit:
            return self.x
        return self.x[randomness.permutation([randomness.key(0, "tightness")], len(self.x), self.x.device)[0, :limit]]

    @torch.no_grad()
    def tightness(self) -> list[dict[str, float]]:
        """Compare each feature's contributions with its bounds, over grid × all rows. Equation (12).

        Returns for each feature `range` (the mean of (max o_i − min o_i) / (u_i − l_i), NaN where every
        grid value has zero width), `spread` (the same for the 5 % to 95 % quantiles), `span` (the span of all
        contributions over that of all bounds), `left_out` (grid values of zero width) and `routed` (the share
        of the contribution's variance that x_i does not determine).
        """
        experts, shares = self._responses(self.grid)
        width = experts.shape[-1]
        bias = self.network.score_bias(self.tensors)[0]
        parts = self.tightness_background().split(1024)
        totals = torch.cat([self._responses(x)[1].sum(dim=0) for x in parts]) + bias
        own = torch.cat([self._own_shares(x) for x in parts], dim=1)  # (n, rows, C)
        found = []
        lower, upper = self._bounds(experts, shares)
        gaps = (upper - lower).double()  # (G, n)
        for i in range(self.features):
            columns = slice(i * width, (i + 1) * width)
            other = totals[:, columns] - own[i]  # (rows, C)
            low, high, spread, means, squares = [], [], [], [], []
            for rows in torch.arange(len(self.grid), device=self.x.device).split(max(1, _CELLS // other.numel())):
                relevance = self.network.relevance(other + shares[i, rows][:, None, columns])  # (g, rows, C)
                o = (relevance @ experts[i, rows][:, :, None]).squeeze(-1).double()
                low.append(o.amin(dim=1))
                high.append(o.amax(dim=1))
                ordered = o.sort(dim=1).values
                spread.append(ordered[:, int(0.95 * (len(other) - 1))] - ordered[:, int(0.05 * (len(other) - 1))])
                means.append(o.mean(dim=1))
                squares.append(o.var(dim=1, correction=0))
            gap = gaps[:, i]
            kept = gap > 1e-6 * (1 + experts[i].abs().max())
            least, most = torch.cat(low), torch.cat(high)
            reach = float(upper[:, i].max() - lower[:, i].min())
            between, within = float(torch.cat(means).var(correction=0)), float(torch.cat(squares).mean())
            found.append(
                {
                    "range": float(((most - least) / gap)[kept].mean()),
                    "span": float(most.max() - least.min()) / reach if kept.any() else float("nan"),
                    "spread": float((torch.cat(spread) / gap)[kept].mean()),
                    "left_out": int((~kept).sum()),
                    "routed": within / (between + within) if between + within > 0 else 0.0,
                }
            )
        return found

    def _own_shares(self, x: Tensor) -> Tensor:
        """Return each feature's share in its own scores: (n, rows, C)."""
        shares = self._responses(x)[1]
        by_target = shares.unflatten(2, (self.features, -1))  # (n, B, n, C)
        return torch.stack([by_target[i, :, i] for i in range(self.features)])

    @torch.no_grad()
    def curves(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return experts (n, P, C), lower, upper and mean contribution (n, P) for curve inputs (P, n).

        The mean is taken over the background rows, with x_i set to the curve's value in each.
        """
        experts, shares = self._responses(inputs)
        width = experts.shape[-1]
        lower, upper = self._bounds(experts, shares)
        totals = self._responses(self.background)[1].sum(dim=0) + self.network.score_bias(self.tensors)[0]
        own = self._own_shares(self.background)
        means = []
        for i in range(self.features):
            columns = slice(i * width, (i + 1) * width)
            scores = (totals[:, columns] - own[i])[None] + shares[i][:, None, columns]  # (P, B, C)
            means.append((self.network.relevance(scores).mean(dim=1) * experts[i]).sum(dim=-1))
        return {"experts": experts, "lower": lower.T, "upper": upper.T, "mean": torch.stack(means)}


def explain_prediction(explainer: Explainer) -> dict[str, Any]:
    """Return the measures of a network whose prediction is no sum over features: additivity and variability.

    Readings as in `summarize`; each case is a row of its own here: beyond `_CASES` the grid is thinned.
    """
    background, together = explainer.background, max(1, EVALUATED // len(explainer.background))
    grid = explainer.grid[:: -(-explainer.grid.numel() * len(background) // _CASES)]
    found = []
    for i in range(explainer.features):
        values = []
        for given in grid[:, i].split(together):
            x = background.repeat(len(given), 1, 1)  # (g, B, n)
            x[:, :, i] = given[:, None]
            with torch.no_grad():
                part = explainer.network.part(explainer.tensors, x.flatten(0, 1)[None], i)
            values.append(part.view(x.shape[:2]))
        surface = torch.cat(values).double() * explainer.scale
        deviation = surface - surface.mean(dim=0)
        found.append({"variability": float(deviation.var(dim=1, correction=0).mean())})
    return _taken(explainer) | {"grid": len(grid)} | _derivative_measures(explainer, found)


def importance(contributions: Array) -> dict[str, Any]:
    """Return each feature's mean absolute contribution, centred; `contributions` is (rows, n)."""
    return {"per_feature": np.abs(contributions - contributions.mean(axis=0)).mean(axis=0).tolist()}


def _taken(explainer: Explainer) -> dict[str, Any]:
    sizes = {"grid": explainer.grid, "background": explainer.background, "rows": explainer.x}
    return {"revision": REVISION} | {name: len(rows) for name, rows in sizes.items()}


def _derivative_measures(explainer: Explainer, found: list[dict[str, float]]) -> dict[str, Any]:
    """Return additivity under both readings, and variability, from `interventions` or the like."""
    marginal, conditional = explainer.additivity(), explainer.conditional_additivity()
    return {
        "additivity": {
            "marginal": marginal.mean,
            "standard_error": marginal.standard_error,
            "draws": marginal.draws,
            "conditional": _mean(conditional),
            "per_feature": marginal.per_feature,
            "per_feature_conditional": conditional,
            "derivative": "of the network's output by the network's input",
            "groups": max(1, min(BINS, len(explainer.x) // 20)),
        },
        "variability": _averaged(found, "variability"),
    }


def _column(found: list[dict[str, float]], name: str) -> list[float | None]:
    return [f[name] if np.isfinite(f[name]) else None for f in found]


def _averaged(found: list[dict[str, float]], name: str) -> dict[str, Any]:
    return {"mean": _mean([f[name] for f in found]), "per_feature": _column(found, name)}


def _mean(values: list[float]) -> float | None:
    """Return the mean of the finite values, or None where there is none."""
    finite = [v for v in values if np.isfinite(v)]
    return float(np.mean(finite)) if finite else None


def summarize(explainer: Explainer, rows: dict[str, Array]) -> dict[str, Any]:
    """Return every measure with how it was taken; `rows` is what `Explainer.rows` gave, as arrays.

    Widths, importance and variability are in the target's units; numbers that do not exist (the tightness
    of bounds without width) are None.
    """
    scale = explainer.scale
    tested = explainer.interventions()
    tight = explainer.tightness()
    conditional_tightness = explainer.conditional_tightness(rows)
    widths = (rows["upper"] - rows["lower"]) * scale
    contributions = rows["contributions"] * scale
    slack = 1e-5 * (1 + np.abs(rows["contributions"]).max())
    o = rows["contributions"]
    violations = int(((o < rows["lower"] - slack) | (o > rows["upper"] + slack)).sum())

    return (
        _taken(explainer)
        | _derivative_measures(explainer, tested)
        | {
            "tightness": {
                "range": _mean([f["range"] for f in tight]),
                "conditional": _mean(conditional_tightness),
                "span": _mean([f["span"] for f in tight]),
                f"conditional_{FEW_BINS}": _mean(explainer.conditional_tightness(rows, FEW_BINS)),
                "per_feature": _column(tight, "range"),
                "spread_5_95": _mean([f["spread"] for f in tight]),
                "left_out": sum(f["left_out"] for f in tight),
                "background": len(explainer.tightness_background()),
            },
            "interventions_outside_bounds": _averaged(tested, "outside"),
            "bounds": {
                "width": float(widths.mean()),
                "width_per_feature": widths.mean(axis=0).tolist(),
                "median_width_per_feature": np.median(widths, axis=0).tolist(),
                "violations": violations,
            },
            "importance": importance(contributions),
            "routing": {
                "routed_variance": _averaged(tight, "routed"),
                "never_active": float((rows["active"] == 0).mean()),
            },
        }
    )
