"""The picture of how much each expert is used."""

import dataclasses

import numpy as np
from curves import WAVE, legend, planted, texts, without

from mixnam.data.table import Table
from mixnam.plots.routing import usage


def test_usage_orders_experts_and_marks_idle_ones():
    result = planted("sim_multimodal", WAVE, -WAVE)
    figure = usage(result)
    ax = figure.axes[0]
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.75, 0.25, 0.0]] * 2)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["x1", "x2"]
    assert sorted(map(tuple, ax.collections[0].get_offsets().tolist())) == [(2, 0), (2, 1)]
    assert legend(figure) == ["active in no row"]
    assert texts(usage(without(result, "relevance", "active")).axes[0]) == ["no routing"]


def test_long_names_leave_room_for_the_map():
    features = tuple(f"a name that goes on and on {'and on ' * 20}{i}" for i in range(2))
    data = Table("sim_multimodal", "t", "regression", "rmse", np.eye(2), np.arange(2.0), features, "y")
    result = planted("sim_multimodal", WAVE, -WAVE)
    ax = usage(dataclasses.replace(result, table=data, provenance={"data_sha256": data.checksum})).axes[0]
    ax.figure.draw_without_rendering()
    labels = [t.get_text() for t in ax.get_yticklabels()]
    assert len(set(labels)) == 2 and max(map(len, labels)) <= 44
    assert ax.get_position().width > 0.2
