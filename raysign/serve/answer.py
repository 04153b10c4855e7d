"""Answers as they are sent: the likeliest glosses, and points to draw."""

from dataclasses import replace
from typing import Any

import numpy as np

from raysign import skeleton
from raysign.errors import ClipError, RaysignError
from raysign.infer.predictor import top
from raysign.schema import Landmarks
from raysign.serve.batches import Found

NOTICED = 0.5  # visibility from which on a point is drawn: MediaPipe guesses at legs below the picture


def answer(found: Found, landmarks: Landmarks, labels: list[str], k: int) -> dict:
    """What is said of a clip, or why nothing can be said."""
    if isinstance(found, RaysignError):
        return {"error": str(found)}
    frames = landmarks.values.shape[1]
    probabilities, more = found
    told: dict[str, Any] = {
        "top": [] if probabilities is None else likeliest(probabilities, labels, k), **signs(more, k), "frames": frames,
        "seconds": round(frames / landmarks.fps, 3) if landmarks.fps else None,
    }  # fmt: skip
    return {**told, "note": landmarks.note} if landmarks.note else told


def signs(told: dict, k: int) -> dict:
    """What is told beside the probabilities, of each segment the k likeliest glosses as of a clip."""
    if "segments" not in told:
        return told
    rows = [{**one, "top": [_share(*pair) for pair in one["top"][:k]]} for one in told["segments"]]
    return {**told, "segments": rows}


def likeliest(probabilities: np.ndarray, labels: list[str], k: int) -> list[dict]:
    """The k likeliest glosses, likeliest first."""
    return [_share(gloss, share) for gloss, share in top(probabilities, labels, k)]


def _share(gloss: str, share: float) -> dict:
    return {"gloss": gloss, "probability": round(share, 6)}


def bones_of(layout: str) -> tuple[list[int], list[dict]]:
    """The points that are drawn, and the bones between them: each part's as pairs of places among these points."""
    known = skeleton.layout(layout)
    drawn = sorted({point for bone in known.bones for point in bone})
    place = {point: i for i, point in enumerate(drawn)}
    parts = []
    for name, points in known.slices.items():
        inside = [(a, b) for a, b in known.bones if points.start <= min(a, b) and max(a, b) < points.stop]
        parts.append({"part": name, "bones": [[place[a], place[b]] for a, b in inside]})
    return drawn, parts


def points_of(landmarks: Landmarks, drawn: list[int]) -> list[list[list[float | None]]]:
    """Of each person and frame x and y of each drawn point, one after the other, null where not seen."""
    xy = landmarks.values[:, :, drawn, :2].astype(float)
    hidden = ~(landmarks.visibility[:, :, drawn] >= NOTICED)
    if "pose" in (slices := skeleton.layout(landmarks.layout).slices):
        inside = np.array([slices["pose"].start <= point < slices["pose"].stop for point in drawn])
        xy[hidden & inside] = np.nan  # others have no score of their own
    persons, frames = xy.shape[:2]
    flat = np.round(xy, 4).reshape(persons, frames, -1)
    return np.where(np.isnan(flat), np.array(None), flat).tolist()


def drawing_of(landmarks: Landmarks) -> dict:
    """What a browser needs to draw the landmarks over the clip: bones of each part, points of each person and frame."""
    drawn, parts = bones_of(landmarks.layout)
    return {"parts": parts, "fps": landmarks.fps, "width": landmarks.width, "height": landmarks.height,
            "points": points_of(landmarks, drawn)}  # fmt: skip


def hand_of(photo: Landmarks, most: int) -> tuple[Landmarks, str]:
    """The photo with no more hands than that, and which one a letter is told by: right or left, as the signer has it.

    Of two the larger one counts when only one may; of two that may, the right one. ClipError when there is none.
    """
    slices = skeleton.layout(photo.layout).slices
    sizes = {}
    for side in ("right", "left"):
        hand = photo.values[0, 0, slices[f"{side}_hand"], :2]
        if np.isfinite(hand).all():
            sizes[side] = float(np.ptp(hand * [photo.width, photo.height], axis=0).max())
    if not sizes:
        raise ClipError("file: found no hand in it, expected a photo that shows a whole hand")
    if len(sizes) == 1 or most > 1:
        return photo, next(iter(sizes))
    side = max(sizes, key=sizes.__getitem__)
    values = photo.values.copy()
    values[:, :, slices["left_hand" if side == "right" else "right_hand"]] = np.nan
    return replace(photo, values=values), side
