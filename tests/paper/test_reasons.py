"""Reasons for gaps: the most particular one that fits is told."""

import pytest

from mixnam.paper import reasons
from mixnam.paper.experiments import Case


def test_reasons_are_the_most_particular_that_fit(monkeypatch):
    some = [
        reasons.Reason("NAM", "any"),
        reasons.Reason("NAM", "on Income", dataset="income"),
        reasons.Reason("NAM", "on Income at quick, worse", dataset="income", preset="quick", side="worse"),
    ]
    monkeypatch.setattr(reasons, "reasons", lambda: tuple(sorted(some, key=lambda r: -sum(map(bool, r._where)))))
    case = Case("NAM", "NAM")
    assert reasons.reason(case, "housing", "paper", "worse") == "any"
    assert reasons.reason(case, "income", "paper", "worse") == "on Income"
    assert reasons.reason(case, "income", "quick", "worse") == "on Income at quick, worse"
    assert reasons.reason(case, "income", "quick", "better") == "on Income"
    assert reasons.reason(Case("MLP", "MLP"), "income", "quick", "better") == "no reason known yet"


@pytest.mark.parametrize(
    "wrong", [{"model": "NAMM"}, {"row": "EBM"}, {"dataset": "boston"}, {"side": "lower"}, {"preset": "slow"}]
)
def test_a_reason_for_what_does_not_exist_is_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be one of"):
        reasons.Reason(**{"model": "NAM", "text": "because"} | wrong)


def test_the_known_reasons_can_all_be_read_and_are_told_apart():
    known = reasons.reasons()
    assert len(known) >= 10 and all(r.text.endswith(".") for r in known)
    assert len({(r.model, *r._where) for r in known}) == len(known)
