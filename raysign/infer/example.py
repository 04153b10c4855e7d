"""Landmarks that a bundle takes, made up: what it is tried with where no recording is at hand."""

import numpy as np

from raysign.clips import form
from raysign.errors import ConfigError
from raysign.learn.bundle import Bundle
from raysign.schema import Landmarks
from raysign.skeleton import LAYOUTS, NO_POINTS, text_of
from raysign.skeleton import layout as layout_of

FRAMES = 16


def landmarks(bundle: Bundle) -> Landmarks | None:
    """A clip of 16 frames of a cloud of points that drifts, nobody's recording; None where no layout is known of which
    the bundle's recipe makes its clips.
    """
    if (name := _layout(bundle)) is None:
        return None
    rng = np.random.default_rng(0)
    values = rng.random((1, 1, layout_of(name).points, 3)) + np.linspace(0, 0.1, FRAMES)[:, None, None]
    features, kind = None, ""
    if name == NO_POINTS.name:
        features = rng.random((FRAMES, len(bundle.channels) - 1)).astype(np.float32)
        kind = getattr(bundle.config.prepare, "features", "")
    seen = np.ones(values.shape[:3], np.float32)
    return Landmarks(values.astype(np.float32), seen, name, 25.0, 640, 480, features=features, features_kind=kind)


def _layout(bundle: Bundle) -> str | None:
    """A layout of landmarks that the bundle's recipe makes the bundle's clips of."""
    for name in (NO_POINTS.name, *LAYOUTS, text_of(bundle.skeleton)):
        try:
            if form.of_layouts([name], bundle.config) == (bundle.skeleton, bundle.channels):
                return name
        except ConfigError:
            continue
    return None
