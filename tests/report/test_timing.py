"""What training costs comes from one version's runs, and says which."""

import dataclasses

from planted import result

from mixnam.models import make_settings
from mixnam.paper.experiments import Case
from mixnam.report import speed, timing
from mixnam.runs.frame import frame_of


def run(seed, version, seconds, **options):
    found = result(seed=seed, **options)
    versions = found.provenance["versions"] | {"mixnam": version}
    cost = found.cost | {"fit_seconds": seconds}
    return dataclasses.replace(found, cost=cost, provenance=found.provenance | {"versions": versions})


def test_only_the_newest_version_of_each_model_counts():
    runs = [run(0, "0.9.0", 60.0), run(1, "0.10.0", 20.0), run(2, "0.10.0", 22.0), run(3, "0.11.0", None)]
    runs += [run(0, "0.1.0", 5.0, model="NAM"), run(0, "0.9.0", 70.0, variation_penalty=1.0)]
    found = timing.newest(frame_of(runs))
    assert sorted(found["cost.fit_seconds"]) == [5.0, 20.0, 22.0, 70.0]
    told = timing.note(frame_of(runs))
    assert "2 runs of version 0.10.0" in told and "1 run of version 0.1.0" in told


def test_sources_have_a_newest_version_each():
    runs = frame_of([run(0, "0.1.0", 9.0), run(1, "0.2.0", 5.0)]).assign(source=["reference", "this rerun"])
    assert list(timing.newest(runs)["cost.fit_seconds"]) == [9.0, 5.0]


def test_nothing_run_costs_nothing(project):
    parameters = project.parameters()
    assert "none yet" in timing.note(parameters.runs([Case("MixNAM", "MixNAM")]))
    table = timing.table(parameters, [Case("MixNAM", "MixNAM")])
    assert set(table["seconds of training"]) == {"not run"}


def test_costs_stand_beside_the_benchmarks_of_the_same_settings(project):
    for seed, version, seconds in ((0, "0.1.0", 90.0), (1, "0.2.0", 60.0), (2, "0.2.0", 62.0)):
        project.store.put(run(seed, version, seconds, preset="quick"))
    rows = [Case("MixNAM", "MixNAM"), Case("λ = 1", "MixNAM", {"variation_penalty": 1.0})]
    project.store.put(run(0, "0.2.0", 61.0, preset="quick", variation_penalty=1.0))
    paper, quick, _, other = timing.table(project.parameters(), rows).to_dict("records")
    assert (quick["seconds of training"], quick["n"], quick["version"]) == ("61 ± 1", 2, "0.2.0")
    contestants = speed.records()[0]["parts"]["quality"]["contestants"]
    assert make_settings("MixNAM", contestants["MixNAM, quick"]["settings"]).variation_penalty == 0.1
    assert quick["training alone (benchmark)"] == f"{contestants['MixNAM, quick']['seconds']:.0f} s"
    assert (paper["training alone (benchmark)"], other["training alone (benchmark)"]) == ("–", "–")
