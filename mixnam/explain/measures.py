"""What a trained model says about its features: shape functions, bounds, and the measures of Section 4.3.2.

Everything is computed while the model is at hand and stored with the result. Most measures put values of a feature
into rows that it does not come from, which makes it independent of the other features; feature-wise responses are
computed once and recombined, so that this costs little (`Featurewise.responses`).
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
from mixnam.models import Featurewise, Network
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
_Responses = tuple[Tensor, Tensor]  # expert predictions (n, ..., C) and shares in routing scores (n, ..., n·C)


def quantile_grid(column: Tensor, points: int = GRID) -> Tensor:
    """Return `points` values of a column at equally spaced quantiles, missing ones last; each is one of the data."""
    levels = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    return column.sort().values[(levels * len(column)).long().to(column.device)]


def variance_share(values: Tensor) -> float:
    """Return Var(row means) / Var(all) of a matrix (groups, rows); 1 where nothing varies."""
    values = values.double()
    total = float(values.var(correction=0))
    if total <= 1e-12 * float(values.square().mean()) or total == 0.0:
        return 1.0
    return float(values.mean(dim=1).var(correction=0)) / total


def importance(contributions: Array) -> dict[str, Any]:
    """Return each feature's mean absolute contribution, centred; `contributions` is (rows, n)."""
    return {"per_feature": np.abs(contributions - contributions.mean(axis=0)).mean(axis=0).tolist()}


class Explainer:
    """Measures of one trained member of any network on a whole table: additivity and variability.

    **Shape:** `tensors` are (1, ...); `x` is (rows, n), the network inputs of all rows, NaN for a missing value: one
    more value, at which derivatives are 0. `scale` turns network outputs into the target's units; `name`, the run's
    key, seeds what is drawn for additivity.
    """

    cases, slopes_taken = 1 << 19, 1 << 20  # rows and slopes that the whole network is asked for, at most

    def __init__(self, network: Network, tensors: Tensors, x: Tensor, scale: float, name: str) -> None:
        self.network, self.tensors, self.x, self.scale, self.name = network, tensors, x, scale, name
        self.features = x.shape[1]
        self.background = self._drawn("background", BACKGROUND)
        self.grid = torch.stack([quantile_grid(column) for column in x.T], dim=1)  # (G, n)

    def _drawn(self, stream: str, count: int) -> Tensor:
        return self.x[randomness.permutation([randomness.key(0, stream)], len(self.x), self.x.device)[0, :count]]

    @torch.no_grad()
    def rows(self) -> dict[str, Tensor]:
        """Return prediction (rows,), contributions, lower and upper (rows, n), relevance and active experts (n, C)."""
        parts: dict[str, list[Tensor]] = {k: [] for k in ("prediction", "contributions", "lower", "upper")}
        relevance = active = torch.zeros(())
        for out in evaluate(self.network, self.tensors, self.x[None]):
            for name, values in parts.items():
                values.append(getattr(out, name)[0])
            relevance = relevance + out.relevance[0].double().sum(dim=0) / len(self.x)
            active = active + (out.relevance[0] > 0).double().sum(dim=0) / len(self.x)
        return {k: torch.cat(v) for k, v in parts.items()} | {"relevance": relevance, "active": active}

    def measures(self, rows: dict[str, Array]) -> dict[str, Any]:
        """Return every measure with how it was taken; `rows` is what `rows` gave, as arrays.

        Widths, importance and variability are in the target's units; numbers that do not exist (the tightness of bounds
        without width) are None.
        """
        return self._common(*self.variability())

    def _common(self, grid: Tensor, variability: list[float]) -> dict[str, Any]:
        sizes = {"grid": len(grid), "background": len(self.background), "rows": len(self.x)}
        marginal, conditional = self.additivity(), self.conditional_additivity()
        taken = {
            "marginal": marginal.mean,
            "standard_error": marginal.standard_error,
            "draws": marginal.draws,
            "conditional": _mean(conditional),
            "per_feature": marginal.per_feature,
            "per_feature_conditional": conditional,
            "derivative": "of the network's output by the network's input",
            "groups": self._groups(0).shape[0],
        }
        return {"revision": REVISION} | sizes | {"additivity": taken, "variability": _averaged(variability)}

    def variability(self) -> tuple[Tensor, list[float]]:
        """Return the grid that was used, and each feature's variability (Equation (19)) in squared target units.

        Each case is a row for the network: beyond `cases` the grid is thinned.
        """
        background, together = self.background, max(1, EVALUATED // len(self.background))
        grid = self.grid[:: -(-self.grid.numel() * len(background) // self.cases)]
        found = []
        for i in range(self.features):
            values = []
            for given in grid[:, i].split(together):
                x = background.repeat(len(given), 1, 1)  # (g, B, n)
                x[:, :, i] = given[:, None]
                with torch.no_grad():
                    part = self.network.part(self.tensors, x.flatten(0, 1)[None], i)
                values.append(part.view(x.shape[:2]))
            found.append(self._variability(torch.cat(values).double()))
        return grid, found

    def _variability(self, surface: Tensor) -> float:
        surface = surface * self.scale
        deviation = surface - surface.mean(dim=0)  # F(x | x_i = a) minus its mean over x_i
        return float(deviation.var(dim=1, correction=0).mean())

    def additivity(self) -> Additivity:
        """Return each feature's marginal additivity: x_i is drawn on its own, the other features together."""
        most = min(MOST, self.slopes_taken // (self.features * BACKGROUNDS))
        return additivity.estimate(self.slopes, self.x, self.name, most)

    def slopes(self, values: Tensor, rows: Tensor) -> Tensor:
        """Return ∂ŷ/∂x_i with each feature's value, (N, n), put into rows, (N, m, n): (n, N, m)."""
        found = []
        for i in range(self.features):
            x = rows.clone()
            x[..., i] = values[:, i : i + 1]
            leaf = x.flatten(0, 1).requires_grad_(True)
            total = self.network.part(self.tensors, leaf[None], i).sum()
            found.append(torch.autograd.grad(total, leaf)[0][:, i].view(rows.shape[:2]))
        return torch.stack(found)

    def derivatives(self) -> Tensor:
        """Return ∂ŷ/∂x_i at every row, on the scale of the network's inputs: (rows, n)."""
        parts = []
        for x in self.x.split(4096):
            leaf = x.clone().requires_grad_(True)
            total = self._total(leaf[None])
            parts.append(torch.autograd.grad(total, leaf, allow_unused=True, materialize_grads=True)[0])
        return torch.cat(parts)

    def _total(self, x: Tensor) -> Tensor:
        return self.network(self.tensors, x).prediction.sum()

    def conditional_additivity(self) -> list[float]:
        """Return each feature's additivity over rows of the data with nearly that x_i. Equation (11)."""
        gradients = self.derivatives()
        return [variance_share(gradients[self._groups(i), i]) for i in range(self.features)]

    def _groups(self, i: int, bins: int = BINS) -> Tensor:
        """Return rows in groups of nearly equal x_i: (groups, rows of a group), the few left over dropped.

        Rows in which it is missing are groups of their own.
        """
        count, missing = max(1, min(bins, len(self.x) // 20)), int(self.x[:, i].isnan().sum())
        parts = self.x[:, i].argsort(stable=True).split([len(self.x) - missing, missing])
        size = min(len(self.x) // count, max(map(len, parts)))
        return torch.cat([part[: len(part) // size * size].view(-1, size)[:count] for part in parts])


class FeaturewiseExplainer(Explainer):
    """Measures of a sum over features: those of bounds and routing too, and curves."""

    network: Featurewise
    #: scores of one feature that tightness may take: fewer rows beyond; scores for additivity: fewer draws beyond
    routed, work = 1 << 27, 1 << 30
    held = 1 << 27  # shares in routing scores held at a time
    together = 1 << 20  # numbers handled at a time: they stay in the processor's caches

    def _responses(self, x: Tensor) -> _Responses:
        experts, shares = self.network.responses(self.tensors, x[None])
        return experts[0], shares[0]  # (n, B, C), (n, B, n·C)

    def _bounds(self, experts: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bounds (P, n) that go with responses at P points."""
        out = self.network.combine(self.tensors, experts.transpose(0, 1)[None], shares.sum(dim=0)[None])
        return out.lower[0], out.upper[0]

    def _by_target(self, values: Tensor) -> Tensor:
        """View (..., n·C) as (..., n, C), laid out so that sums and softmax over the C experts are fast."""
        return values.unflatten(-1, (self.features, -1)).movedim(-1, 0).contiguous().movedim(0, -1)

    @property
    def _bias(self) -> Tensor:
        return self.network.score_bias(self.tensors)[0]

    def _others(self, x: Tensor) -> Tensor:
        """Return each feature's routing scores without its own share: (n, rows, C)."""
        parts = []
        for part in x.split(max(1, min(1024, self.held // self.cells))):
            shares = self._responses(part)[1]  # (n, B, n·C)
            whole = (shares.sum(dim=0) + self._bias).unflatten(1, (self.features, -1))
            own = shares.unflatten(2, (self.features, -1))
            parts.append(torch.stack([whole[:, i] - own[i, :, i] for i in range(self.features)]))
        return torch.cat(parts, dim=1)

    def measures(self, rows: dict[str, Array]) -> dict[str, Any]:
        """Return every measure with how it was taken; `rows` is what `rows` gave, as arrays."""
        tested, tight = self.interventions(), self.tightness()
        o, lower, upper = (rows[k] for k in ("contributions", "lower", "upper"))
        widths = (upper - lower) * self.scale
        slack = 1e-5 * (1 + np.abs(o).max())
        return self._common(self.grid, tested["variability"]) | {
            "tightness": {
                "range": _mean(tight["range"]),
                "conditional": _mean(self.conditional_tightness(rows)),
                "span": _mean(tight["span"]),
                f"conditional_{FEW_BINS}": _mean(self.conditional_tightness(rows, FEW_BINS)),
                "per_feature": _finite(tight["range"]),
                "spread_5_95": _mean(tight["spread"]),
                "left_out": sum(tight["left_out"]),
                "background": len(self.tightness_background()),
            },
            "interventions_outside_bounds": _averaged(tested["outside"]),
            "bounds": {
                "width": float(widths.mean()),
                "width_per_feature": widths.mean(axis=0).tolist(),
                "median_width_per_feature": np.median(widths, axis=0).tolist(),
                "violations": int(((o < lower - slack) | (o > upper + slack)).sum()),
            },
            "importance": importance(o * self.scale),
            "routing": {
                "routed_variance": _averaged(tight["routed"]),
                "never_active": float((rows["active"] == 0).mean()),
            },
        }

    def _total(self, x: Tensor) -> Tensor:
        return self.network(self.tensors, x).contributions.sum()

    @torch.no_grad()
    def interventions(self) -> dict[str, list[float]]:
        """Return what setting each feature to each grid value in every background row does, the others unchanged.

        For each feature `variability` (Equation (19), in squared target units, averaged over the grid) and `outside`,
        the share of cases in which the prediction changes by more than the feature's own bounds allow.
        """
        experts, shares = self._responses(self.grid)
        lower, upper = self._bounds(experts, shares)
        base_experts, base_shares = self._responses(self.background)
        others = self._by_target(base_experts.movedim(0, 1).flatten(1))  # (B, n, C)
        shares, base_shares = self._by_target(shares), self._by_target(base_shares)
        scores = base_shares.sum(dim=0) + self._bias.unflatten(0, (self.features, -1))
        before = (self.network.relevance(scores) * others).sum(dim=-1)
        size = before.abs().sum(dim=-1)
        found: dict[str, list[float]] = {"variability": [], "outside": []}
        for i in range(self.features):
            whole = self._crossed(i, experts[i], shares[i], others, scores - base_shares[i])
            change = whole - before.sum(dim=-1)
            below, above = (bound[:, i][:, None] - before[:, i] for bound in (lower, upper))
            slack = 1e-5 * (1 + above - below + size)  # rounding grows with what was summed
            found["variability"].append(self._variability(whole))
            found["outside"].append(float(((change < below - slack) | (change > above + slack)).double().mean()))
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
            for g in torch.arange(len(own), device=own.device).split(max(1, self.together // scores.numel())):
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

    def additivity(self) -> Additivity:
        """Return each feature's marginal additivity: x_i is drawn on its own, the other features together."""
        return additivity.estimate(self.slopes, self.x, self.name, min(MOST, self.work // (self.cells * BACKGROUNDS)))

    @cached_property
    def cells(self) -> int:
        """How many shares in routing scores a row has: n·n·C."""
        return self._responses(self.x[:1])[1].numel()

    @torch.no_grad()
    def slopes(self, values: Tensor, rows: Tensor) -> Tensor:
        """Return ∂ŷ/∂x_i with each feature's value, (N, n), put into rows, (N, m, n): (n, N, m)."""
        size, parts = rows.shape[1], []
        chunk = max(1, self.together // (self.cells * size))
        for own, others in zip(values.split(chunk), rows.split(chunk), strict=True):
            at_values, moved = _moved(self._responses, own)
            base = [t.unflatten(1, (-1, size)) for t in self._responses(others.flatten(0, 1))]
            parts.append(self._slopes(at_values, moved, (base[0], base[1])))
        return torch.cat(parts, dim=1)

    def _slopes(self, own: _Responses, moved: _Responses, base: _Responses) -> Tensor:
        """Return slopes from responses to values, (n, N, ...), their derivatives, and those to rows, (n, N, m, ...)."""
        shares, d_shares, base_shares = (self._by_target(r[1]) for r in (own, moved, base))
        others = self._by_target(base[0].movedim(0, 2).flatten(2))  # the rows' experts: (N, m, n, C)
        scores = base_shares.sum(dim=0) + self._bias.unflatten(0, (self.features, -1))
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

    def conditional_tightness(self, rows: dict[str, Array], bins: int = BINS) -> list[float]:
        """Return each feature's tightness over rows of the data with nearly that x_i, at most 1 a group. Equation (12).

        `rows` is what `rows` gave, as arrays. Within a group x_i still varies, and so does the shape function: where
        bounds are narrower than that, the ratio exceeds 1 and is cut.
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

    def tightness_background(self) -> Tensor:
        """Return the rows that tightness takes: all, or for many experts as many as `routed` allows."""
        experts = self._responses(self.x[:1])[0].shape[-1]
        limit = max(BACKGROUND, self.routed // (len(self.grid) * experts))
        return self.x if len(self.x) <= limit else self._drawn("tightness", limit)

    @torch.no_grad()
    def tightness(self) -> dict[str, list[float]]:
        """Return how each feature's contributions compare with its bounds, over grid × all rows. Equation (12).

        For each feature `range` (the mean of (max o_i − min o_i) / (u_i − l_i), NaN where every grid value has zero
        width), `spread` (the same for the 5 % to 95 % quantiles), `span` (the span of all contributions over that of
        all bounds), `left_out` (grid values of zero width) and `routed` (the share of the contribution's variance that
        x_i does not determine).
        """
        experts, shares = self._responses(self.grid)
        lower, upper = self._bounds(experts, shares)
        gaps = (upper - lower).double()  # (G, n)
        found = []
        for i, other in enumerate(self._others(self.tightness_background())):
            own = shares[i].unflatten(1, (self.features, -1))[:, None, i]  # (G, 1, C)
            first, last = int(0.05 * (len(other) - 1)), int(0.95 * (len(other) - 1))
            parts, together = [], max(1, self.together // other.numel())
            for rows in torch.arange(len(self.grid), device=self.x.device).split(together):
                relevance = self.network.relevance(other + own[rows])  # (g, rows, C)
                o = (relevance @ experts[i, rows][:, :, None]).squeeze(-1).double()
                ordered = o.sort(dim=1).values
                spread = ordered[:, last] - ordered[:, first]
                parts.append((ordered[:, 0], ordered[:, -1], spread, o.mean(dim=1), o.var(dim=1, correction=0)))
            least, most, spread, means, squares = (torch.cat(part) for part in zip(*parts, strict=True))
            gap = gaps[:, i]
            kept = gap > 1e-6 * (1 + experts[i].abs().max())
            reach = float(upper[:, i].max() - lower[:, i].min())
            between, within = float(means.var(correction=0)), float(squares.mean())
            span = float(most.max() - least.min()) / reach if kept.any() else float("nan")
            routed = within / (between + within) if between + within > 0 else 0.0
            ratios = (float((width / gap)[kept].mean()) for width in (most - least, spread))
            found.append((*ratios, span, int((~kept).sum()), routed))
        names = ("range", "spread", "span", "left_out", "routed")
        return dict(zip(names, map(list, zip(*found, strict=True)), strict=True))

    @torch.no_grad()
    def curves(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return experts (n, P, C), lower, upper and mean contribution (n, P) for curve inputs (P, n).

        The mean is taken over the background rows, with x_i set to the curve's value in each.
        """
        experts, shares = self._responses(inputs)
        lower, upper = self._bounds(experts, shares)
        means = []
        for i, other in enumerate(self._others(self.background)):
            own = shares[i].unflatten(1, (self.features, -1))[:, None, i]  # (P, 1, C)
            means.append((self.network.relevance(other[None] + own).mean(dim=1) * experts[i]).sum(dim=-1))
        return {"experts": experts, "lower": lower.T, "upper": upper.T, "mean": torch.stack(means)}


def explainer(network: Network, tensors: Tensors, x: Tensor, scale: float, name: str) -> Explainer:
    """Return who measures a network: a sum over features has more to say."""
    kind = FeaturewiseExplainer if isinstance(network, Featurewise) else Explainer
    return kind(network, tensors, x, scale, name)


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


def _finite(values: list[float]) -> list[float | None]:
    return [v if math.isfinite(v) else None for v in values]


def _mean(values: list[float]) -> float | None:
    """Return the mean of the finite values, or None where there is none."""
    finite = [v for v in values if math.isfinite(v)]
    return float(np.mean(finite)) if finite else None


def _averaged(values: list[float]) -> dict[str, Any]:
    return {"mean": _mean(values), "per_feature": _finite(values)}
