"""The picture of how much each expert is used."""

import numpy as np
from curves import WAVE, legend, planted, texts, without

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
