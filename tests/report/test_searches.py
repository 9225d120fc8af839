"""The page about searches shows a record, and refuses what is none."""

import functools

import pytest
from searched import by_rate, searched

from mixnam.models import NetworkSettings, make_settings
from mixnam.paper import published, search
from mixnam.report import layout, searches


@pytest.fixture
def planted(tmp_path):
    """Return a function that searches with planted scores: from `plant` and a plan's options to (record, store)."""
    return functools.partial(searched, tmp_path)


def test_the_page_works_without_a_record(tmp_path):
    assert searches.records(tmp_path) == []


def test_the_page_refuses_a_file_of_another_kind(tmp_path):
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other\.json: schema None, expected 1; search again"):
        searches.records(tmp_path)


def test_the_page_shows_a_record(planted, tmp_path):
    def plant(spec):
        return None if spec.settings.learning_rate > 9e-3 else by_rate(spec)

    record, _ = planted(plant, trials=40, model="MixNAM", dataset="housing", test_runs=2)
    search.write(record, tmp_path / "searches" / "x.json")
    (read,) = searches.records(tmp_path / "searches")
    table = searches.space_table(read)
    others = [f"trial {f['trial']}" for f in record["finalists"][1:]]
    assert list(table.columns) == ["setting", "space", "chosen", *others, "paper"]
    rows = table.set_index("setting")
    assert rows.loc["width", "paper"] == str(published.settings("housing", "MixNAM")["width"])
    assert rows.loc["learning_rate", "chosen"] == f"{record['chosen']['settings']['learning_rate']:g}"
    assert rows.loc["epochs", "space"] == "one of 100, 200, 300"
    text = searches.summary(read)
    assert f"Trial {record['chosen']['trial']} was chosen: validation" in text
    assert "Tested after the choice" in text
    lost = sum(t["rungs"][-1]["diverged"] for t in record["trials"])
    assert lost
    assert f"{lost} trials diverged" in text or (lost == 1 and "1 trial diverged" in text)
    assert "40 at 1/9 of the epochs, then 14 at 1/3 of the epochs, then 5 in full;" in text
    assert "The best 3 trained again" in text
    finalists = searches.finalists_table(read)
    assert list(finalists["finalist"])[1:] == others
    assert finalists["finalist"][0] == f"trial {record['chosen']['trial']}, chosen"
    assert "<table>" in layout.show(finalists).html
    rungs = searches.rungs_figure(read)
    assert [t.get_text() for t in rungs.axes[0].get_xticklabels()] == [
        "at 1/9 of the epochs", "at 1/3 of the epochs", "in full", "further runs",
    ]  # fmt: skip
    assert f"trial {record['chosen']['trial']}, chosen" in [
        t.get_text() for t in rungs.axes[0].get_legend().get_texts()
    ]
    low, high = rungs.axes[0].get_ylim()
    assert low < record["chosen"]["mean"] < high
    influences = searches.settings_figure(read)
    assert [ax.get_xlabel() for ax in influences.axes] == [
        name.replace("_", " ") for name in list(searches.influence(read))[:3]
    ]


def test_the_setting_that_decides_is_found(planted):
    record, _ = planted(lambda spec: {128: 1.0, 256: 2.0, 512: 3.0}[spec.settings.batch_size], trials=60, rungs=1)
    shares = searches.influence(record)
    assert next(iter(shares)) == "batch_size"
    assert "batch size 100 %" in searches.influence_told(record)
    assert shares["batch_size"] == pytest.approx(1.0)
    assert all(share < 0.3 for name, share in shares.items() if name != "batch_size")


def test_a_space_with_a_single_setting_is_shown(planted):
    record, _ = planted(lambda spec: abs(spec.settings.knots - 20.0), model="Spline", trials=64, repeats=0)
    assert [t.get_text() for t in searches.rungs_figure(record).axes[0].get_xticklabels()] == ["in full"]
    assert "again" not in searches.summary(record)
    assert list(searches.space_table(record).columns)[:3] == ["setting", "space", "chosen"]
    assert "published" not in searches.space_table(record)


def test_committed_records_are_of_this_schema_and_their_choice_can_be_set():
    for record in searches.records():
        settings = make_settings(record["model"], record["chosen"]["settings"])
        assert isinstance(settings, NetworkSettings) or record["rungs"][0]["share"] == 1
        assert searches.summary(record)


def test_every_search_has_a_heading_of_its_own():
    anchors = [layout.anchor(searches.title(record)) for record in searches.records()]
    assert len(set(anchors)) == len(anchors)


def test_a_search_on_a_table_that_nobody_knows_here_has_a_heading(planted):
    record, _ = planted(by_rate, trials=3)
    assert searches.title(record) == "MLP on Diabetes progression, space fast"
    away = record | {"dataset": "of_somebody", "title": "Prices in $"}
    assert searches.title(away) == "MLP on Prices in $ (not at hand), space fast"
    assert "of_somebody (not at hand)" in searches.title({k: v for k, v in away.items() if k != "title"})
    assert searches.summary(away) and len(searches.space_table(away))
