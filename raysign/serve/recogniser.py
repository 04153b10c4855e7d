"""A bundle or an ensemble as a service asks it: each clip gets an answer or an error, however strange others are."""

from pathlib import Path

from raysign.errors import ClipError
from raysign.infer import continuous
from raysign.infer.ensemble import predictor_of
from raysign.learn import ensemble as ensembles
from raysign.schema import Landmarks
from raysign.serve.batches import Found

STEP = {"cpu": 4, "cuda": 64}  # clips a step: more are no faster on a CPU, and their many shapes take memory for good


class Recogniser:
    """The predictor of a bundle in a folder."""

    def __init__(self, place: Path, device: str = "cpu"):
        self.predictor = predictor_of(ensembles.load(place), device)
        self.step = STEP[self.predictor.device.type]

    def answers(self, clips: list[Landmarks]) -> list[Found]:
        """Of each clip its probabilities (K,) and what else is told, or why there are none. Of a clip much longer than
        those of training no probabilities, but the signs in it as `segments`, see infer.continuous.
        """
        try:
            return self._answers(clips)
        except Exception:  # one clip must not cost the others their answers
            return [self._alone(clip) for clip in clips]

    def _answers(self, clips: list[Landmarks]) -> list[Found]:
        bundle = self.predictor.bundle
        long = [continuous.is_long(bundle, clip) for clip in clips]
        return list(continuous.answers(self.predictor, clips, long, k=len(bundle.labels), batch=self.step))

    def _alone(self, clip: Landmarks) -> Found:
        try:
            return self._answers([clip])[0]
        except Exception as error:
            return ClipError(f"clip: {type(error).__name__} while it was prepared, expected landmarks of a person")
