"""The page on speed says what a record holds, and what it does not."""

import json

import pytest

from mixnam.report import speed
from mixnam.runs.files import root
from mixnam.runs.store import Store

STAMP = {
    "created": "2026-01-02T03:04:05+00:00", "git_commit": "0123456789abcdef", "dirty": False, "seconds": 10.0,
    "versions": {"torch": "2.13.0"}, "load": 0.25, "repeats": 3, "smoke": False,
}  # fmt: skip
LABELS = {"ours": {"label": "ours", "note": ""}, "elementwise": {"label": "element-wise", "note": ""}}


def step(rows, seconds, ratio):
    return {
        "rows": rows, "seconds": seconds, "times": [seconds], "rows_per_second": rows / seconds, "gflop": 5.3,
        "matrix_share": 0.66, "peak_mb": 150.4, "ratio": ratio,
    }  # fmt: skip


def team(contestant, processes, threads, rate, ratio):
    return {
        "contestant": contestant, "cores": 2, "processes": processes, "threads": threads, "rows": 2048,
        "rates": [rate], "rows_per_second": rate, "ratio": ratio,
    }  # fmt: skip


RECORD = {
    "schema": 1,
    "processor": "Some CPU (2 cores)",
    "parts": {
        "machine": {
            "processor": "Some CPU (2 cores)", "cores": 2, "memory_mb": 24576, "platform": "x", "versions": {},
            "matrix_gflops": {"1": 110.2, "2": 218.0}, "copy_gb_per_second": {"1": 18.4}, "measured": STAMP,
        },
        "steps": {
            "threads": 1, "labels": LABELS, "measured": STAMP,
            "shapes": [
                {
                    "name": "Year", "dataset": "year", "features": 90, "blocked": False, "gathers": True,
                    "settings": {"batch_size": 2048},
                    "contestants": {"ours": step(2048, 0.5, 1.0), "elementwise": step(512, 6.0, 48.0)},
                }
            ],
        },
        "cores": {
            "labels": LABELS, "measured": STAMP | {"dirty": True},
            "teams": [team("ours", 2, 1, 40000.0, 1.0), team("elementwise", 1, 2, 400.0, 100.0)],
        },
        "curves": {
            "labels": LABELS, "measured": STAMP,
            "curves": [
                {
                    "name": name,
                    "points": [
                        {"value": v, "seconds": {"ours": v / 1e5, "elementwise": None if v > 32 else v / 1e3}}
                        for v in (8, 16, 32, 64)
                    ],
                }
                for name in ("rows", "features", "experts")
            ],
        },
        "quality": {
            "metric": "test RMSE", "unit": "dollars", "contestants": {
                "MixNAM": {
                    "kind": "network", "seconds": 18.0, "measured": STAMP, "points": [
                        {"seconds": 1.0, "rmse": 0.6, "at": 3}, {"seconds": 8.0, "rmse": 0.45, "at": 90},
                        {"seconds": 12.0, "rmse": 0.44, "at": 140},
                    ],
                },
                "EB2M": {
                    "kind": "library", "seconds": 260.0, "measured": STAMP, "points": [
                        {"seconds": 60.0, "rmse": 0.5, "at": 500}, {"seconds": 200.0, "rmse": 0.455, "at": 0},
                    ],
                },
            },
        },
    },
}  # fmt: skip


def without(*names):
    return RECORD | {"parts": {k: v for k, v in RECORD["parts"].items() if k not in names}}


def test_records_are_read_from_the_book(tmp_path):
    (tmp_path / "b.json").write_text(json.dumps(RECORD | {"processor": "B"}))
    (tmp_path / "a.json").write_text(json.dumps(RECORD | {"processor": "A"}))
    assert [record["processor"] for record in speed.records(tmp_path)] == ["A", "B"]
    assert speed.records(tmp_path / "none") == []


def test_the_committed_records_fill_every_table():
    assert len(speed.device_table(speed.records(part="device"))) == 5
    for record in speed.records(part="machine"):
        assert len(speed.step_table(record)) > 10
        assert len(speed.cores_table(record)) > 3
        assert speed.curves_figure(record) is not None
        assert speed.quality_figure(record) is not None
        assert "not measured yet" not in speed.measured(record, list(record["parts"]))
        assert "cut short" not in speed.measured(record, list(record["parts"]))


def test_limits_name_their_threads():
    (row,) = speed.machine_table([RECORD]).to_dict("records")
    assert row["machine"] == "Some CPU (2 cores)"
    assert row["memory"] == "24 GiB"
    assert row["float32 matrix products, 2 threads"] == "218 GFLOP/s"
    assert row["copying memory, 1 thread"] == "18 GB/s"


def test_a_step_says_where_fewer_rows_were_taken():
    ours, other = speed.step_table(RECORD).to_dict("records")
    assert ours["formulation"] == "ours, in general form, distinct values once"
    assert ours["rows"] == "2,048"
    assert ours["a step"] == "500.0\u00a0ms"
    assert ours["times ours, a row"] == "1"
    assert other["rows"] == "512 (more do not fit)"
    assert other["a step"] == "6.00\u00a0s"
    assert other["times ours, a row"] == "48.0"
    assert other["of the matrix rate"] == "66 %"
    assert other["memory"] == "150\u00a0MB"


def test_equal_cores_are_compared_by_rows_a_second():
    ours, other = speed.cores_table(RECORD).to_dict("records")
    assert ours["as"] == "2 processes of 1 thread"
    assert ours["ours is faster by"] == "–"
    assert other["as"] == "1 process of 2 threads"
    assert other["ours is faster by"] == "100.0"
    assert other["rows a second, all together"] == "400"


def test_curves_leave_out_what_was_too_large():
    figure = speed.curves_figure(RECORD)
    lines = [{line.get_label(): len(line.get_xdata()) for line in ax.lines} for ax in figure.axes]
    assert lines == [{"ours": 4, "element-wise": 3}] * 3
    assert [ax.get_xlabel() for ax in figure.axes] == ["rows of a batch", "features", "experts of a feature"]


def test_a_network_s_error_stays_until_its_training_ends():
    (ax,) = speed.quality_figure(RECORD).axes
    assert ax.get_ylabel() == "test RMSE, dollars"
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines["MixNAM"].get_xdata()) == [1.0, 8.0, 12.0, 18.0]
    assert list(lines["MixNAM"].get_ydata()) == [0.6, 0.45, 0.44, 0.44]
    assert list(lines["EB2M"].get_xdata()) == [60.0, 200.0]


def test_the_first_time_at_a_library_s_quality_is_found():
    mixnam, boosting = speed.reached_table(RECORD).to_dict("records")
    assert mixnam["best"] == "0.440"
    assert mixnam["as good as EB2M (0.455) after"] == "8.0 s"
    assert boosting["as good as EB2M (0.455) after"] == "3 min"


@pytest.mark.parametrize("name", ["steps", "cores", "curves", "quality"])
def test_what_was_not_measured_is_said(name):
    record = without(name)
    assert speed.measured(record, [name]) == f"{name}: not measured yet on Some CPU (2 cores)."
    assert speed.step_table(without("steps")).empty
    assert speed.cores_table(without("cores")).empty
    assert speed.reached_table(without("quality")).empty
    assert speed.curves_figure(without("curves")) is None
    assert speed.quality_figure(without("quality")) is None
    assert speed.machine_table([without("machine")]).empty


def test_commit_date_and_load_are_told():
    told = speed.measured(RECORD, ["steps", "cores"])
    assert (
        "Measured on Some CPU (2 cores), 2026-01-02, commit 012345678, 012345678+, torch 2.13.0" in told
    )  # + with local changes
    assert "load average at the start at most 0.2" in told


def test_stacks_on_a_gpu_are_shown_where_they_were_measured():
    stack = {
        "shape": "Housing", "members": 10, "rows": 2048, "launched_seconds": 0.004, "captured_seconds": 0.002,
        "captured": True, "rows_per_second": 1e7, "gflops": 3e4, "matrix_share": 0.5, "peak_mb": 2000.0,
        "estimated_mb": 3000.0,
    }  # fmt: skip
    rates = {"device": "Some GPU", "matrix_gflops": 6e4, "copy_gb_per_second": 3000.0, "measured": STAMP}
    record = RECORD | {"parts": RECORD["parts"] | {"device": rates | {"stacks": [stack, stack | {"captured": False}]}}}
    first, second = speed.device_table([RECORD, record]).to_dict("records")
    assert first["GPU"] == "Some GPU"
    assert first["a step, as a CUDA graph"] == "2.0\u00a0ms"
    assert second["a step, as a CUDA graph"] == "not captured"
    assert first["memory"] == "2,000 MB (3,000 estimated)"
    assert speed.device_table([RECORD]).empty


def test_results_of_a_gpu_are_counted_or_said_to_be_lacking(tmp_path):
    assert "not measured yet" in speed.device_text(Store(tmp_path))
    results = list(Store(root() / "tests" / "stored"))
    assert results
    assert "not measured yet" in speed.device_text(results)
    for result in results:
        result.provenance.update(device_type="cuda", device="Some GPU")
    assert f"{len(results)} results of the reference were trained on Some GPU" in speed.device_text(results)
