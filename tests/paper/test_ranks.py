"""Ranks are shared within a margin, and margins are those of the claims."""

import pytest

from mixnam.paper.ranks import margin, ranks


def test_ranks_are_shared_within_the_margin_and_not_beyond_it():
    scores = {"a": 0.450, "b": 0.460, "c": 0.4601, "d": 0.470, "e": 0.480}
    assert ranks(scores, -1, 0.010) == {"a": 1, "b": 1, "c": 2, "d": 2, "e": 4}
    assert ranks(scores, 1, 0.010) == {"a": 4, "b": 2, "c": 2, "d": 1, "e": 1}
    assert ranks({"a": 0.927, "b": 0.922, "c": 0.9219}, 1, 0.005) == {"a": 1, "b": 1, "c": 2}  # rounding
    assert ranks(scores, -1, 0.0) == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [("housing", 0.010), ("income", 0.005), ("credit", 0.010), ("year", 0.8), ("breast_cancer", 0.010)],
)
def test_margins_are_those_of_the_claims(dataset, expected):
    assert margin(dataset, [0.5]) == expected
