"""Graphs of a skeleton as models want them: stacks of (V, V) matrices, one for each kind of neighbour.

Sources: Yan, Xiong and Lin (AAAI 2018) with st-gcn's program, whose published weights hold these matrices; pyskl
(Duan et al., 2022) for `in_out`; Kipf and Welling (ICLR 2017) for `symmetric`.
"""

from collections.abc import Callable
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from raysign.errors import ConfigError, nearest
from raysign.skeleton import Skeleton


def hops(skeleton: Skeleton, most: int) -> np.ndarray:
    """(V, V) float64: bones on the shortest way between two points, infinite beyond `most`."""
    near = np.eye(skeleton.points, dtype=bool)
    for a, b in skeleton.bones:
        near[a, b] = near[b, a] = True
    found, reached = np.full(near.shape, np.inf), np.eye(skeleton.points, dtype=bool)
    for hop in range(most + 1):
        found[reached & np.isinf(found)] = hop
        reached = reached @ near
    return found


def symmetric(skeleton: Skeleton) -> np.ndarray:
    """(1, V, V) float32: D^-1/2 (A + I) D^-1/2."""
    graph = np.isfinite(hops(skeleton, 1)).astype(np.float64)
    scale = 1.0 / np.sqrt(graph.sum(0))
    return (graph * scale[:, None] * scale)[None].astype(np.float32)


def uniform(skeleton: Skeleton, max_hop: int = 1) -> np.ndarray:
    """(1, V, V) float32: all points within `max_hop` bones alike, columns summing to 1."""
    return _columns(np.isfinite(hops(skeleton, max_hop)))[None].astype(np.float32)


def distance(skeleton: Skeleton, max_hop: int = 1) -> np.ndarray:
    """(max_hop + 1, V, V) float32: `uniform` taken apart by the number of bones between."""
    hop = hops(skeleton, max_hop)
    return np.stack([_columns(np.isfinite(hop)) * (hop == h) for h in range(max_hop + 1)]).astype(np.float32)


def spatial(skeleton: Skeleton, max_hop: int = 1) -> np.ndarray:
    """(2 max_hop + 1, V, V) float32: `distance`, each hop taken apart by which end is nearer to the centre.

    Distances to the centre count up to `max_hop` only, as in the published program: two points beyond are equally far.
    """
    hop = hops(skeleton, max_hop)
    away = hop[:, skeleton.centre]
    further = away[:, None] < away  # entry (j, i): the neighbour j lies nearer to the centre than the point i
    parts = []
    for part in distance(skeleton, max_hop):
        parts += [part * ~further, part * further] if parts else [part]
    return np.stack(parts).astype(np.float32)


def in_out(skeleton: Skeleton) -> np.ndarray:
    """(3, V, V) float32: each point itself, towards the centre, away from it; columns sum to 1 or are 0."""
    inward = np.zeros((skeleton.points, skeleton.points))
    for point, parent in enumerate(skeleton.parents()):
        inward[parent, point] = parent != point
    return np.stack([np.eye(skeleton.points), _columns(inward), _columns(inward.T)]).astype(np.float32)


STRATEGIES: dict[str, Callable[..., np.ndarray]] = {
    graph.__name__: graph for graph in (symmetric, uniform, distance, spatial, in_out)
}


def _is_known(name: str) -> str:
    if name not in STRATEGIES:
        raise ValueError(f"expected one of {', '.join(STRATEGIES)}{nearest(name, STRATEGIES)}")
    return name


Strategy = Annotated[
    str,
    AfterValidator(_is_known),
    Field(
        description="what makes a kind of neighbour; uniform, symmetric: all are of one, distance: the bones between, "
        "spatial: and which of the two is nearer to the centre, in_out: itself, towards the centre, away from it"
    ),
]


def adjacency(skeleton: Skeleton, strategy: str, max_hop: int = 1) -> np.ndarray:
    """(K, V, V) float32 of a strategy by its name. ConfigError for hops it does not count."""
    if strategy in ("symmetric", "in_out"):
        if max_hop != 1:
            raise ConfigError(f"max_hop: found {max_hop}, expected 1: {strategy} knows neighbours only")
        return STRATEGIES[strategy](skeleton)
    return STRATEGIES[strategy](skeleton, max_hop)


def _columns(graph: np.ndarray) -> np.ndarray:
    """Each column divided by its sum; empty ones stay."""
    return graph / np.maximum(graph.sum(0), 1)
