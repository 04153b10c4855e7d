"""Long clips to the signs in them: stretches of signing, and windows that slide over the longer ones.

A stretch about as long as a training clip is one sign and is answered as a clip. Over a longer one windows slide, as
short and as long as training clips are; those that divide it into signs of which the recogniser is surest, over all its
time, are what is told. A bundle that tells sequences by itself is asked for the sequence of each stretch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from raysign.errors import ClipError, RaysignError
from raysign.infer.activity import rate, stretches
from raysign.infer.ensemble import AnyPredictor
from raysign.infer.predictor import Predictor, top
from raysign.learn.ensemble import AnyBundle
from raysign.report import words
from raysign.schema import Landmarks

LONG = 3.0  # so many times longer than the longest training clip is a clip that holds more than one
LEAST = 5  # frames; a bundle of images or of moments of movement is not asked for signs in time unless it is wanted
WHOLE = 1.25  # so many times the usual length is a stretch that is one sign
SHORT = 0.4  # shorter than this share of a short training clip is no sign
STEPS = 6  # places of a window within its own length
SECONDS = 2.0  # of a window where the bundle does not tell how long its training clips were
BETWEEN = 0.3  # what a frame outside of signs counts as: the probability of a gloss that is hardly told
TOGETHER = 64


@dataclass(frozen=True)
class Lengths:
    """Frames, at a clip's own rate, of the training clips: of short ones, the middle one, long ones and the longest."""

    short: float
    middle: float
    long: float
    longest: float


def lengths(bundle: AnyBundle, landmarks: Landmarks, window: float | None = None) -> Lengths | None:
    """How long signs are in these landmarks; None when neither `window` (seconds) nor the bundle's card tells."""
    fps, told = rate(landmarks), bundle.card.get("landmark_lengths") or {}
    if window:
        return Lengths(window * fps / 2, window * fps, window * fps, window * fps)
    timed = told.get("seconds") if landmarks.fps else None
    if marks := timed or told.get("frames"):
        scale = fps if timed else 1.0
        return Lengths(*(marks[name] * scale for name in ("p5", "median", "p95", "max")))
    return None


def is_long(bundle: AnyBundle, landmarks: Landmarks) -> bool:
    """Whether a clip is much longer than any that the bundle was trained on. False where that is not told."""
    known = lengths(bundle, landmarks)
    return known is not None and known.longest > LEAST and landmarks.values.shape[1] > LONG * known.longest


def answers(
    predictor: AnyPredictor, found: Sequence[Landmarks | RaysignError], long: Sequence[bool],
    window: float | None = None, k: int = 5, batch: int = TOGETHER,
) -> Iterator[tuple[np.ndarray | None, dict] | RaysignError]:  # fmt: skip
    """As Predictor.each, but of the clips that are `long` no probabilities, and the signs in them as `segments`."""
    whole = predictor.each([one for one, is_long in zip(found, long, strict=True) if not is_long], batch)
    for one, is_long in zip(found, long, strict=True):
        yield _signs(predictor, one, window, k) if is_long else next(whole)


def _signs(predictor: AnyPredictor, one: Landmarks | RaysignError, window: float | None, k: int):
    try:
        return one if isinstance(one, RaysignError) else (None, {"segments": segments(predictor, one, window, k)})
    except RaysignError as error:
        return error


def segments(predictor: AnyPredictor, landmarks: Landmarks, window: float | None = None, k: int = 5) -> list[dict]:
    """The signs of a clip in their order: start and end in seconds, gloss, confidence, and the k likeliest as top.

    window: seconds; None: as long as the training clips. A bundle that tells sequences gives one segment for each
    stretch, with its glosses as `decoded`, and no confidence of more than one. Raises what the recipe raises for
    landmarks that it cannot use at all.
    """
    size = lengths(predictor.bundle, landmarks, window) or lengths(predictor.bundle, landmarks, SECONDS)
    assert size is not None
    fps, found, failed = rate(landmarks), [], None
    for start, stop in stretches(landmarks, SHORT * size.short / fps):
        try:
            pieces = _of_stretch(predictor, landmarks, start, stop, size)
        except ClipError as error:
            failed = error
            continue
        for a, b, shares, told in pieces:
            row = {"top": top(shares, predictor.bundle.labels, k), **told}
            gloss, confidence = words.told(row)
            if gloss:
                times = {"start": round(a / fps, 3), "end": round(b / fps, 3)}
                found.append({**times, "gloss": gloss, "confidence": confidence, **row})
    if failed and not found:
        raise failed
    return found


Piece = tuple[int, int, np.ndarray, dict]  # first frame, frame after the last, probabilities (K,), what else is told


def _of_stretch(predictor: AnyPredictor, landmarks: Landmarks, start: int, stop: int, size: Lengths) -> list[Piece]:
    """One sign, or the division into signs of which the recogniser is surest."""
    if stop - start <= max(WHOLE * size.long, 2 * size.short) or _tells_sequences(predictor):
        return list(_asked(predictor, landmarks, [(start, stop)]))
    step = max(1, round(size.middle / STEPS))
    marks = [*range(start, stop - step // 2, step), stop]
    least, most = (max(1, round(frames / step)) for frames in (size.short, size.long))
    windows = [pair for length in range(least, most + 1) for pair in zip(marks, marks[length:], strict=False)]
    # of each window one number is kept, and the few that are told are asked again: there may be many times more
    scores = {(a, b): float(np.log(shares.max())) for a, b, shares, _ in _asked(predictor, landmarks, windows)}
    return list(_asked(predictor, landmarks, surest(marks, scores)))


def surest(marks: Sequence[int], scores: dict[tuple[int, int], float]) -> list[tuple[int, int]]:
    """Of windows (first, last mark) those that lie one after the other and have the largest score a frame.

    scores: log-probability of each window's gloss. Each frame counts as much as its window says, and one that is in
    none as `BETWEEN`: dynamic programming over the marks, as in a semi-Markov model (Sarawagi and Cohen, 2004).
    """
    best: dict[int, tuple[float, tuple[int, int] | None]] = {marks[0]: (0.0, None)}
    ending: dict[int, list[tuple[int, int]]] = {}
    for window in scores:
        ending.setdefault(window[1], []).append(window)
    for before, mark in pairwise(marks):
        rest = best[before][0] + (mark - before) * float(np.log(BETWEEN)), None
        taken = ((best[one[0]][0] + (mark - one[0]) * scores[one], one) for one in ending.get(mark, ()))
        best[mark] = max([rest, *taken], key=lambda row: row[0])
    path, place = [], len(marks) - 1
    while place > 0:
        window = best[marks[place]][1]
        place = place - 1 if window is None else marks.index(window[0])
        path += [window] if window else []
    return path[::-1]


def _tells_sequences(predictor: AnyPredictor) -> bool:
    if not isinstance(predictor, Predictor):
        return False
    return "wer" in predictor.network.task.METRICS  # what is scored by wrong words tells them by itself


def _asked(predictor: AnyPredictor, landmarks: Landmarks, cuts: Sequence[tuple[int, int]]) -> Iterator[Piece]:
    """The answers for parts of a clip; those of which the recipe can make no clip are left out.

    ClipError, at the end, when it can of none of them.
    """
    found, failed = False, None
    for first in range(0, len(cuts), TOGETHER):
        some = cuts[first : first + TOGETHER]
        for (start, stop), answer in zip(some, predictor.each([cut(landmarks, *one) for one in some]), strict=True):
            if isinstance(answer, ClipError):
                failed = answer
            elif isinstance(answer, RaysignError):
                raise answer  # no fault of this part: all others fail too
            else:
                found = True
                yield start, stop, *answer
    if failed and not found:
        raise failed


def cut(landmarks: Landmarks, start: int, stop: int) -> Landmarks:
    """The frames [start, stop) of landmarks, without a copy."""
    features = None if landmarks.features is None else landmarks.features[start:stop]
    values, visibility = landmarks.values[:, start:stop], landmarks.visibility[:, start:stop]
    return replace(landmarks, values=values, visibility=visibility, features=features)
