"""Graphs of skeletons: the matrices that published weights were trained with, and laws every graph keeps."""

import numpy as np
import pytest

from raysign import config, graph
from raysign.errors import ConfigError
from raysign.skeleton import LAYOUTS, layout

every = pytest.mark.parametrize("skeleton", LAYOUTS.values(), ids=LAYOUTS)

# Sum and number of entries of each matrix, taken from the programs of st-gcn and pyskl.
GOLDEN = [
    ("openpose_18", "uniform", 1, [18.0], [52]),
    ("openpose_18", "distance", 1, [6.6667, 11.3333], [18, 34]),
    ("openpose_18", "spatial", 1, [6.6667, 8.5833, 2.75], [18, 25, 9]),
    ("openpose_18", "spatial", 2, [4.1083, 3.35, 3.3417, 3.5667, 3.6333], [18, 19, 15, 26, 14]),
    ("ntu_25", "uniform", 1, [25.0], [73]),
    ("ntu_25", "distance", 1, [8.95, 16.05], [25, 48]),
    ("ntu_25", "spatial", 1, [8.95, 13.3, 2.75], [25, 40, 8]),
    ("ntu_25", "spatial", 2, [5.4313, 7.3742, 2.1869, 7.598, 2.4095], [25, 36, 12, 42, 12]),
    ("ntu_edge_24", "uniform", 1, [24.0], [70]),
    ("ntu_edge_24", "distance", 1, [8.6167, 15.3833], [24, 46]),
    ("ntu_edge_24", "spatial", 1, [8.6167, 13.7667, 1.6167], [24, 41, 5]),
    ("ntu_edge_24", "spatial", 2, [5.2635, 7.6079, 1.5635, 7.6349, 1.9302], [24, 37, 9, 41, 11]),
    ("ntu_25_pyskl", "spatial", 1, [9.1167, 13.1333, 2.75], None),
    ("openpose_18", "in_out", 1, [18, 17, 12], None),
    ("ntu_25_pyskl", "in_out", 1, [25, 24, 18], None),
    ("coco_17", "in_out", 1, [17, 16, 11], None),
    ("hand_21", "in_out", 1, [21, 20, 16], None),
]


@pytest.mark.parametrize(("name", "strategy", "hop", "sums", "entries"), GOLDEN)
def test_a_graph_is_the_published_one(name, strategy, hop, sums, entries):
    found = graph.adjacency(layout(name), strategy, hop)
    assert found.sum((1, 2)) == pytest.approx(sums, abs=1e-4)
    if entries:
        assert np.count_nonzero(found, axis=(1, 2)).tolist() == entries


@every
def test_the_symmetric_graph_has_largest_eigenvalue_one(skeleton):
    found = graph.symmetric(skeleton)[0]
    assert np.array_equal(found, found.T)
    assert np.isclose(np.linalg.eigvalsh(found.astype(float)).max(), 1.0, atol=1e-5)


@every
@pytest.mark.parametrize("hop", [1, 2])
def test_distance_and_spatial_take_uniform_apart(skeleton, hop):
    whole = graph.uniform(skeleton, hop)[0]
    assert np.allclose(whole.sum(0), 1, atol=1e-6)
    for strategy in ("distance", "spatial"):
        parts = graph.adjacency(skeleton, strategy, hop)
        assert np.allclose(parts.sum(0), whole, atol=1e-6)
        assert (np.count_nonzero(parts, axis=0) <= 1).all()


# whose centre lies on the mid-line; the tree of `in_out` may hang on either side
EVEN = [s for s in LAYOUTS.values() if s.mirror and s.mirror[s.centre] == s.centre]


@pytest.mark.parametrize("skeleton", EVEN, ids=lambda s: s.name)
@pytest.mark.parametrize("strategy", sorted(set(graph.STRATEGIES) - {"in_out"}))
def test_a_mirrored_skeleton_has_the_same_graph(skeleton, strategy):
    twins = list(skeleton.mirror)
    found = graph.adjacency(skeleton, strategy)
    assert np.allclose(found[:, twins][:, :, twins], found)


@pytest.mark.parametrize("kind", ["st_gcn", "st_gcn_pp"])
def test_an_unknown_strategy_is_answered_with_the_nearest(kind):
    with pytest.raises(ConfigError, match=r"model.strategy: found 'spacial'; expected one .* did you mean 'spatial'"):
        config.load(["source.kind=synthetic", f"model.kind={kind}", "model.strategy=spacial"])
