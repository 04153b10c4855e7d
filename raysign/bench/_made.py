"""Clips for benchmarks: smooth movement with noise, hands that hang on their wrists and vanish for a while."""

import numpy as np

from raysign.bones import LEFT_WRIST, RIGHT_WRIST
from raysign.schema import Landmarks
from raysign.skeleton import LAYOUTS


def landmarks(seed: int, layout: str, mean: int, persons: int = 1) -> Landmarks:
    """A clip of two thirds to four thirds of `mean` frames, in image units; hands, if the layout has any, have gaps."""
    rng, known = np.random.default_rng(seed), LAYOUTS[layout]
    frames = int(rng.integers(max(1, 2 * mean // 3), 4 * mean // 3 + 1))
    time = np.linspace(0, 2 * np.pi, frames)[:, None, None]
    places = (persons, 1, known.points)
    waves = np.sin(time * rng.uniform(0.5, 2, (*places, 1)) + rng.uniform(0, 6, (*places, 3)))
    noise = rng.normal(0, 0.002, (persons, frames, known.points, 3))
    values = rng.uniform(0.2, 0.8, (*places, 3)) + 0.1 * waves + noise
    visibility = np.ones(values.shape[:3])
    if "pose" in known.slices:
        pose = known.slices["pose"]
        visibility[:, :, pose] = rng.uniform(0.9, 1, visibility[:, :, pose].shape)
    for part, wrist in (("left_hand", LEFT_WRIST), ("right_hand", RIGHT_WRIST)):
        if part in known.slices:
            hand = known.slices[part]
            values[:, :, hand.start] = values[:, :, wrist] + rng.normal(0, 0.01, (persons, frames, 3))
            start, length = rng.integers(0, max(1, frames // 2), 2)
            values[:, start : start + length, hand] = visibility[:, start : start + length, hand] = np.nan
    return Landmarks(values.astype(np.float32), visibility.astype(np.float32), layout, 30.0, 640, 480)
