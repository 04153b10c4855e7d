"""The one way from clips to probabilities: evaluation and prediction both come through here."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from raysign.clips.augment.geometry import mirrored
from raysign.clips.recipes._frames import Sampling
from raysign.clips.timing import uniform_clips
from raysign.config import Evaluate
from raysign.errors import BundleError, ConfigError, RaysignError, in_line
from raysign.kinds import kind_module
from raysign.learn.bundle import Bundle
from raysign.learn.ensemble import require_mean
from raysign.schema import Landmarks
from raysign.skeleton import Skeleton, layout

ONE_VIEW = Evaluate(clips=1, mirror=False)  # pyright: ignore[reportCallIssue]
MOST_FRAMES = 16384  # of a batch, padding counted: bounds the memory of long clips whatever `batch` is


class Predictor:
    """A bundle ready to answer. The bundle's network is moved to the device.

    device: cpu, cuda, or auto for a GPU when there is one. Answers do not depend on which clips are asked together.
    views: how many samplings of a clip (`clips`), and whether their mirror images too (`mirror`), are asked, the mean
    of whose probabilities is the answer; what it leaves open the bundle's own config says. ConfigError when its clips
    have no such views.
    """

    def __init__(self, bundle: Bundle, device: str = "cpu", views: Evaluate | None = None):
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.bundle, self.device = bundle, torch.device(device)
        self.network = bundle.network.to(self.device).eval()
        self.points = bundle.skeleton.points
        told = [some for some in (views, bundle.config.evaluate) if some]
        self.samplings = next((some.clips for some in told if some.clips is not None), 1)
        self.mirror = next((some.mirror for some in told if some.mirror is not None), False)
        _require_views(bundle, self.samplings, self.mirror)

    @property
    def prepares(self) -> bool:
        """Whether it must be asked with landmarks, of which it makes clips that no stage holds."""
        return self.samplings > 1

    @property
    def told_views(self) -> str:
        """What an answer is the mean of, in words; empty where it is of the clip alone."""
        several = f"{self.samplings} samplings of a clip" if self.samplings > 1 else "a clip"
        mirror = f"{several} and {'their mirror images' if self.samplings > 1 else 'its mirror image'}"
        return f"mean of those to {mirror if self.mirror else several}" if self.prepares or self.mirror else ""

    def probabilities(self, clips: Sequence[np.ndarray], batch: int = 64) -> np.ndarray:
        """(N, K) float32, rows in the order given and columns in that of the bundle's labels, each row summing to 1.

        clips: (M, T, V, C) float32 arrays without NaN, made by the bundle's recipe. BundleError when they are not.
        """
        return self.answers(clips, batch)[0]

    def answers(self, clips: Sequence[np.ndarray], batch: int = 64) -> tuple[np.ndarray, list[dict]]:
        """As `probabilities`, and for each clip what else its task tells: further columns of PREDICTIONS, or none.

        ConfigError when samplings are to be averaged, of which a clip that is prepared is one: see `each`.
        """
        if self.prepares:
            raise ConfigError("evaluate.clips: found a clip that is prepared, expected its landmarks to sample from")
        return self._averaged([self._with_mirror(clip) for clip in clips], batch)

    def _averaged(self, views: list[list[np.ndarray]], batch: int) -> tuple[np.ndarray, list[dict]]:
        """The answers to clips, each told by its views."""
        found, more = self._answers([view for some in views for view in some], batch)
        if len(found) == len(views):
            return found, more
        each = len(found) // len(views)  # every clip has as many
        return found.reshape(len(views), each, -1).mean(axis=1, dtype=np.float64).astype(np.float32), more[::each]

    def _answers(self, clips: Sequence[np.ndarray], batch: int) -> tuple[np.ndarray, list[dict]]:
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
        return self._averaged([self.views(one) for one in landmarks], batch)[0]

    def views(self, landmarks: Landmarks) -> list[np.ndarray]:
        """The clips whose answers are averaged: what `prepared` gives, or samplings of it, and their mirror images.

        Raises what `prepared` does.
        """
        if self.samplings == 1:
            return self._with_mirror(self.prepared(landmarks))
        recipe, settings, count = recipe_of(self.bundle, landmarks.layout), self.bundle.config.prepare, self.samplings

        def frames_of(number: int) -> Sampling:
            return lambda frames: uniform_clips(frames, settings.max_frames, count, seed=0)[number]  # pyright: ignore[reportAttributeAccessIssue]

        sampled = [recipe.apply(landmarks, settings, frames_of(number)) for number in range(count)]
        return [view for clip in sampled for view in self._with_mirror(clip)]

    def _with_mirror(self, clip: np.ndarray) -> list[np.ndarray]:
        if not self.mirror:
            return [clip]
        twins, x = torch.tensor(self.bundle.skeleton.mirror), self.bundle.channels.index("x")
        return [clip, mirrored(torch.tensor(clip), twins, x).numpy()]

    def prepared(self, landmarks: Landmarks) -> np.ndarray:
        """The clip that the bundle's own recipe makes, (M, T, V, C).

        ClipError when the landmarks hold nothing to use, ConfigError or BundleError when they are of a layout that the
        recipe makes no clips of, or other ones than those of training.
        """
        return recipe_of(self.bundle, landmarks.layout).apply(landmarks, self.bundle.config.prepare)

    def each(self, found: Sequence[Landmarks | RaysignError], batch: int = 64) -> Iterator[tuple | RaysignError]:
        """For each of the landmarks its probabilities (K,) and what else is told, or why there are none, in order.

        What could not be read is given as its error and comes out again.
        """
        prepared = [one if isinstance(one, RaysignError) else self._usable(one) for one in found]
        good = [views for views in prepared if not isinstance(views, RaysignError)]
        answers = zip(*self._averaged(good, batch), strict=True)
        for views in prepared:
            yield views if isinstance(views, RaysignError) else next(answers)

    def _usable(self, landmarks: Landmarks) -> list[np.ndarray] | RaysignError:
        """What `views` gives, or why that cannot be asked about: the error of one clip and of no other."""
        try:
            found = self.views(landmarks)
            for clip in found:
                self._check(clip)
        except RaysignError as error:
            return error
        return found

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


def _require_views(bundle: Bundle, clips: int, mirror: bool) -> None:
    """ConfigError when the bundle's clips have no such views, or its answers no mean."""
    if clips > 1 or mirror:
        require_mean(bundle.config, "evaluate.clips" if clips > 1 else "evaluate.mirror")
    recipe = bundle.config.prepare
    if clips > 1 and (length := getattr(recipe, "frames", "none")) != "uniform":
        found = f"prepare.kind={recipe.kind} with frames={length}"  # pyright: ignore[reportAttributeAccessIssue]
        raise ConfigError(f"evaluate.clips: needs a recipe with frames=uniform, found {found}; leave it out")
    if mirror and not (bundle.skeleton.mirror and {"x", "y"} <= set(bundle.channels)):
        raise ConfigError(f"evaluate.mirror: clips of {recipe.kind} have no mirror image; leave it out")


def recipe_of(bundle: Bundle, given: str) -> Any:
    """The module of the bundle's recipe. BundleError when of landmarks of the layout `given` it makes other clips than
    the bundle's, ConfigError when it makes none.
    """
    settings = bundle.config.prepare
    recipe = kind_module("prepare", settings.kind)
    if unlike := difference(bundle, recipe.skeleton(settings, given), recipe.channels(settings, given)):
        raise BundleError(f"landmarks of {layout(given).name}: {unlike}; give it those it was trained on")
    return recipe


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
