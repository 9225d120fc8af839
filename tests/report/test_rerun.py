"""A rerun says whether it confirms the reference: planted results, and what `make report` ends with."""

import dataclasses

import pytest
from planted import result

from mixnam.explain.measures import REVISION
from mixnam.report import book, rerun
from mixnam.runs.compare import DIFFERENT, SAME, WITHIN

COUNTS = "{} bit for bit the same, {} within rounding, {} different"


def with_torch(found, version):
    return dataclasses.replace(found, provenance=found.provenance | {"versions": {"torch": version}})


def measured(score, revision=REVISION, marginal=0.5):
    found = result(score=score, preset="smoke", measures={"additivity.marginal": marginal})
    return dataclasses.replace(found, measures=found.measures | {"revision": revision})


def planted(project, *pairs):
    """Store pairs of results, the reference's and the rerun's; return the parameters of the rerun's pages."""
    for stored, again in pairs:
        project.store.put(stored)
        project.other.put(again)
    return project.parameters(rerun=True)


def seeds(score, preset="smoke"):
    return (result(seed=seed, score=score, preset=preset) for seed in range(3))


def test_results_of_the_same_runs_are_counted_by_verdict(project):
    same, near, far = seeds(0.45)
    _, close, apart = seeds(0.46)
    parameters = planted(project, (same, same), (near, with_torch(close, "1")), (far, apart))
    assert rerun.comparisons(parameters)["verdict"].tolist() == [
        {0: SAME, 1: WITHIN, 2: DIFFERENT}[r.spec.seed] for r in project.other
    ]
    text = rerun.summary(parameters)
    assert text.startswith("This rerun does not confirm the reference. 3 of the reference's results were trained again")
    assert COUNTS.format(1, 1, 1) in text
    assert "other torch: 0 against 1 (1)" in text and "same device and versions (1)" in text
    (row,) = rerun.table(parameters).to_dict("records")
    assert (row["data set"], row["model"], row["run"], row["key"]) == ("housing", "MixNAM", "seed 2", far.key[:12])
    assert row["what differs"] == "metric test.rmse 0.45 before, 0.46 now"
    assert row["cause"] == "same device and versions"


def test_a_rerun_with_the_same_bits_confirms_the_reference(project):
    text = rerun.summary(planted(project, *((found, found) for found in seeds(0.45))))
    assert text.startswith("This rerun confirms the reference. 3 of ")
    assert text.endswith(COUNTS.format(3, 0, 0) + ".")


def test_the_reference_itself_says_nothing(project):
    planted(project, *((found, found) for found in seeds(0.45)))
    assert rerun.summary(project.parameters()) == ""
    assert rerun.table(project.parameters()).empty


def test_a_rerun_that_shares_no_result_says_so(project):
    project.store.put(result(score=0.45, preset="paper"))
    assert rerun.summary(project.parameters(rerun=True)) == "No result of the reference was trained again here."
    project.other.put(result(score=0.45, preset="smoke"))
    assert rerun.summary(project.parameters(rerun=True)) == "No result of the reference was trained again here."
    assert rerun.table(project.parameters(rerun=True)).empty


@pytest.mark.parametrize(("score", "verdict"), [(0.45, (1, 0, 0)), (0.9, (0, 0, 1))])
def test_measures_of_another_revision_are_named_apart_and_left_out(project, score, verdict):
    old, again = measured(0.45, REVISION - 1, marginal=0.1), measured(score)
    parameters = planted(project, (old, again))
    text = rerun.summary(parameters)
    assert f"0 of the reference's results were trained again here: {COUNTS.format(0, 0, 0)}." in text
    assert f"measures, which are of another revision: 1 ({COUNTS.format(*verdict)})." in text
    assert len(rerun.table(parameters)) == verdict[2]


def test_other_data_are_named_apart_and_not_compared(project):
    found = result(score=0.45, preset="smoke")
    other = "1" * 64
    elsewhere = dataclasses.replace(
        found, provenance=found.provenance | {"data_sha256": other}, key=found.spec.key_for(other)
    )
    text = rerun.summary(planted(project, (found, elsewhere)))
    assert text == ("No result of the reference was trained again here. Not compared, because the data are others: 1.")


def test_a_report_ends_with_the_outcome_and_the_place(tmp_path):
    lines = book.closing(tmp_path, "smoke").splitlines()
    place = tmp_path / "book" / "_build" / "html" / "index.html"
    assert lines == ["No result of the reference was trained again here.", f"report: {place}"]
