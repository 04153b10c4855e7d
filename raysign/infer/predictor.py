"""The one way from clips to probabilities: evaluation and prediction both come through here."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from raysign.errors import BundleError, RaysignError, in_line
from raysign.kinds import kind_module
from raysign.learn.bundle import Bundle
from raysign.schema import Landmarks
from raysign.skeleton import Skeleton, layout

MOST_FRAMES = 16384  # of a batch, padding counted: bounds the memory of long clips whatever `batch` is


class Predictor:
    """A bundle ready to answer. The bundle's network is moved to the device.

    device: cpu, cuda, or auto for a GPU when there is one. Answers do not depend on which clips are asked together.
    """

    def __init__(self, bundle: Bundle, device: str = "cpu"):
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.bundle, self.device = bundle, torch.device(device)
        self.network = bundle.network.to(self.device).eval()
        self.points = bundle.skeleton.points

    def probabilities(self, clips: Sequence[np.ndarray], batch: int = 64) -> np.ndarray:
        """(N, K) float32, rows in the order given and columns in that of the bundle's labels, each row summing to 1.

        clips: (M, T, V, C) float32 arrays without NaN, made by the bundle's recipe. BundleError when they are not.
        """
        return self.answers(clips, batch)[0]

    def answers(self, clips: Sequence[np.ndarray], batch: int = 64) -> tuple[np.ndarray, list[dict]]:
        """As `probabilities`, and for each clip what else its task tells: further columns of PREDICTIONS, or none."""
        for clip in clips:
            self._check(clip)
        found, more = np.zeros((len(clips), len(self.bundle.labels)), np.float32), [{} for _ in clips]
        with torch.inference_mode():
            for rows in _batches(clips, batch):
                found[rows], told = self._run([clips[row] for row in rows])
                for row, columns in zip(rows, told, strict=True):
                    more[row] = columns
        return found, more

    def predict(self, landmarks: Sequence[Landmarks], batch: int = 64) -> np.ndarray:
        """As `probabilities`, of landmarks through the bundle's own recipe. Raises what `prepared` does."""
        return self.probabilities([self.prepared(one) for one in landmarks], batch)

    def prepared(self, landmarks: Landmarks) -> np.ndarray:
        """The clip that the bundle's own recipe makes, (M, T, V, C).

        ClipError when the landmarks hold nothing to use, ConfigError or BundleError when they are of a layout that the
        recipe makes no clips of, or other ones than those of training.
        """
        settings = self.bundle.config.prepare
        recipe = kind_module("prepare", settings.kind)
        form = (recipe.skeleton(settings, landmarks.layout), recipe.channels(settings, landmarks.layout))
        if unlike := difference(self.bundle, *form):
            raise BundleError(
                f"landmarks of {layout(landmarks.layout).name}: {unlike}; give it those it was trained on"
            )
        return recipe.apply(landmarks, settings)

    def each(self, found: Sequence[Landmarks | RaysignError], batch: int = 64) -> Iterator[tuple | RaysignError]:
        """For each of the landmarks its probabilities (K,) and what else is told, or why there are none, in order.

        What could not be read is given as its error and comes out again.
        """
        prepared: list = []
        for landmarks in found:
            try:
                prepared.append(landmarks if isinstance(landmarks, RaysignError) else self.prepared(landmarks))
            except RaysignError as error:
                prepared.append(error)
        clips = [clip for clip in prepared if not isinstance(clip, RaysignError)]
        answers = zip(*self.answers(clips, batch), strict=True)
        for clip in prepared:
            yield clip if isinstance(clip, RaysignError) else next(answers)

    def _check(self, clip: np.ndarray) -> None:
        wanted = (self.points, len(self.bundle.channels))
        if clip.ndim != 4 or clip.shape[2:] != wanted or 0 in clip.shape:
            expected = f"(persons, frames, {wanted[0]}, {wanted[1]})"
            raise BundleError(
                f"clip: found shape {clip.shape}, expected {expected}; prepare it with the bundle's config"
            )
        if not np.isfinite(clip).all():
            raise BundleError("clip: found values that are not finite; prepare it with the bundle's recipe")

    def _run(self, clips: list[np.ndarray]) -> tuple[np.ndarray, list[dict]]:
        """One batch, padded with zeros to its longest clip and most persons."""
        shapes = np.array([clip.shape for clip in clips])
        most, longest = shapes[:, :2].max(axis=0)
        x = np.zeros((len(clips), most, longest, *clips[0].shape[2:]), np.float32)
        for row, clip in zip(x, clips, strict=True):
            row[: clip.shape[0], : clip.shape[1]] = clip
        sent = (torch.from_numpy(array).to(self.device) for array in (x, shapes[:, 1].copy(), shapes[:, 0].copy()))
        task, logits = self.network.task, self.network(*sent)
        told = task.told(logits) if hasattr(task, "told") else [{} for _ in clips]
        return task.probabilities(logits).float().cpu().numpy(), told


def _batches(clips: Sequence[np.ndarray], batch: int) -> Iterator[np.ndarray]:
    """Indices of clips of about one length, so that little is padded."""
    sizes = np.array([clip.shape[:2] for clip in clips]).reshape(-1, 2)
    order = np.lexsort((sizes[:, 1], sizes[:, 0]))
    start = 0
    for place in range(1, len(order) + 1):
        rows = order[start : place + 1]
        if place == len(order) or len(rows) > batch or len(rows) * sizes[rows].max(axis=0).prod() > MOST_FRAMES:
            yield order[start:place]
            start = place


def difference(bundle: Bundle, skeleton: Skeleton, channels: Sequence[str]) -> str:
    """What of clips with these points and channels is not as the bundle's clips are; empty when all is."""
    if tuple(channels) != bundle.channels:
        return f"found channels {in_line(channels)}, expected {in_line(bundle.channels)}"
    if skeleton == bundle.skeleton:
        return ""
    found, wanted = (f"{one.points} points of {one.name}" for one in (skeleton, bundle.skeleton))
    return f"found {found}, expected {wanted}" + (" with other parts or bones" if found == wanted else "")


def top(probabilities: np.ndarray, labels: list[str], k: int = 5) -> list[tuple[str, float]]:
    """The k likeliest (label, probability) of one row, likeliest first; fewer when there are fewer labels."""
    order = np.argsort(-probabilities, kind="stable")[:k]
    return [(labels[i], float(probabilities[i])) for i in order]
