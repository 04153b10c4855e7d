"""An ensemble ready to answer: each member prepares the clips itself, and the weighted mean of all is the answer."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from raysign.config import Evaluate
from raysign.errors import ConfigError, RaysignError
from raysign.infer.predictor import Predictor
from raysign.learn.bundle import Bundle
from raysign.learn.ensemble import Ensemble, require_mean
from raysign.schema import Landmarks


class EnsemblePredictor:
    """An ensemble ready to answer, as a Predictor is, but for landmarks alone: each member prepares its own clips."""

    prepares = True

    def __init__(self, bundle: Ensemble, device: str = "cpu", views: Evaluate | None = None):
        self.bundle = bundle
        self.members = [Predictor(member, device, views) for member in bundle.members]
        for member in bundle.members:
            require_mean(member.config, "ensemble")

    @property
    def device(self) -> torch.device:
        """Where all members are."""
        return self.members[0].device

    @property
    def told_views(self) -> str:
        """What an answer is the mean of, in words."""
        inner = {one.told_views or "answer to a clip" for one in self.members}
        return f"weighted mean of {len(self.members)} members, of each the {' or '.join(sorted(inner))}"

    def answers(self, clips: Sequence[np.ndarray], batch: int = 64) -> tuple[np.ndarray, list[dict]]:  # noqa: ARG002
        """ConfigError: clips of one recipe are not those of every member."""
        raise ConfigError("ensemble: found clips that are prepared, expected landmarks; each member prepares its own")

    def predict(self, landmarks: Sequence[Landmarks], batch: int = 64) -> np.ndarray:
        """(N, K) float32, rows in the order given and columns in that of the labels, each row summing to 1."""
        each = [one.predict(landmarks, batch) for one in self.members]
        return np.tensordot(self.bundle.weights, each, 1).astype(np.float32)

    def each(self, found: Sequence[Landmarks | RaysignError], batch: int = 64) -> Iterator[tuple | RaysignError]:
        """As of Predictor; the error of the first member that cannot use a clip is the clip's."""
        for answers in zip(*(one.each(found, batch) for one in self.members), strict=True):
            if errors := [answer for answer in answers if isinstance(answer, RaysignError)]:
                yield errors[0]
            else:
                shares = [probabilities for probabilities, _ in answers]
                yield np.tensordot(self.bundle.weights, shares, 1).astype(np.float32), {}


AnyPredictor = Predictor | EnsemblePredictor


def predictor_of(
    bundle: Bundle | Ensemble, device: str = "cpu", views: Evaluate | None = None
) -> Predictor | EnsemblePredictor:
    """A bundle or an ensemble ready to answer."""
    return (EnsemblePredictor if isinstance(bundle, Ensemble) else Predictor)(bundle, device, views)  # pyright: ignore[reportArgumentType]
