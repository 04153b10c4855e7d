"""What can befall a clip before a recogniser sees it: one function for each way, on LANDMARKS, where it happens.

A level says how much, in the stressor's unit; at the level `nothing` a clip stays as it is, to the bit. All that is
random follows from the seed and the clip's id, not from the level: what is lost at one level is lost at a higher one
too. Nothing that was not seen is ever seen after it.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from raysign import skeleton as skeletons
from raysign.bones import LEFT_WRIST, NOSE, RIGHT_WRIST
from raysign.clips import geometry, points, timing
from raysign.errors import ConfigError
from raysign.schema import Landmarks
from raysign.skeleton import Skeleton

STRETCH = 8  # frames in a row for which something goes unseen
_HANDS = ("left_hand", "right_hand")
_HANGING = {"left_hand": LEFT_WRIST, "right_hand": RIGHT_WRIST, "face": NOSE}  # their depth is counted from the pose's


@dataclass(frozen=True)
class Stressor:
    """A way of making clips worse: `stressor(clip, level, seed, id)` is the clip made so.

    name; about: in words; unit: of the levels; nothing: the level that changes nothing; lacking: why landmarks of a
    skeleton cannot be changed so, or an empty string.
    """

    name: str
    about: str
    unit: str
    levels: tuple[float, ...]
    nothing: float
    lacking: Callable[[Skeleton], str]
    change: Callable[[Landmarks, float, np.random.Generator], Landmarks]

    def __call__(self, clip: Landmarks, level: float, seed: int, name: str) -> Landmarks:
        seen = np.isfinite(clip.values).all(-1) & np.isfinite(clip.visibility)  # a point with any NaN is not
        if level == self.nothing or not seen.any():
            return clip
        draw = np.random.default_rng([seed, zlib.crc32(self.name.encode()), zlib.crc32(name.encode())])
        with np.errstate(over="ignore", invalid="ignore"):  # numbers that run away: who is asked about them says so
            return self.change(clip, level, draw)


def stressor(unit: str, *levels: float, nothing: float = 0.0, lacking: Callable[[Skeleton], str] = lambda _: ""):
    """Make a Stressor of a function, whose name and first line it takes."""

    def made(change: Callable[[Landmarks, float, np.random.Generator], Landmarks]) -> Stressor:
        about = (change.__doc__ or "").splitlines()[0].rstrip(".")
        return Stressor(change.__name__, about, unit, levels, nothing, lacking, change)

    return made


def _hands(known: Skeleton) -> str:
    sizes = dict(known.parts)
    whole = sizes.get("left_hand", 0) == sizes.get("right_hand", -1)
    return "" if whole else f"{known.name} has no left and right hand"


# ---------------------------------------------------------------- out of sight


@stressor("share of frames", 0.1, 0.25, 0.5, 0.75, lacking=_hands)
def hand_loss(clip: Landmarks, level: float, draw: np.random.Generator) -> Landmarks:
    """Each hand vanishes for stretches of frames."""
    for hand in _HANDS:
        clip = _unseen(clip, _stretches(clip, level, draw), _slices(clip)[hand])
    return clip


@stressor("share of frames", 0.5, 1.0, lacking=_hands)
def left_hand_loss(clip: Landmarks, level: float, draw: np.random.Generator) -> Landmarks:
    """The left hand vanishes for stretches of frames, or wholly."""
    return _unseen(clip, _stretches(clip, level, draw), _slices(clip)["left_hand"])


@stressor("share of frames", 0.5, 1.0, lacking=_hands)
def right_hand_loss(clip: Landmarks, level: float, draw: np.random.Generator) -> Landmarks:
    """The right hand vanishes for stretches of frames, or wholly."""
    return _unseen(clip, _stretches(clip, level, draw), _slices(clip)["right_hand"])


@stressor("share of frames", 0.25, 0.5, 1.0, lacking=_hands)
def swapped_hands(clip: Landmarks, level: float, draw: np.random.Generator) -> Landmarks:
    """Left and right hand are taken for each other, for stretches of frames."""
    left, right = (_slices(clip)[hand] for hand in _HANDS)
    order = np.arange(clip.values.shape[2])
    order[left], order[right] = np.arange(right.start, right.stop), np.arange(left.start, left.stop)
    frames = _stretches(clip, level, draw)[None, :, None]
    return replace(
        clip, values=np.where(frames[..., None], clip.values[:, :, order], clip.values),
        visibility=np.where(frames, clip.visibility[:, :, order], clip.visibility),
    )  # fmt: skip


@stressor("share of frames", 0.1, 0.25, 0.5, 0.75)
def frame_loss(clip: Landmarks, level: float, draw: np.random.Generator) -> Landmarks:
    """Nothing is seen for stretches of frames."""
    return _unseen(clip, _stretches(clip, level, draw), slice(None))


def _stretches(clip: Landmarks, share: float, draw: np.random.Generator) -> np.ndarray:
    """(T,) bool: a share of the frames, in stretches at random; those of a smaller share are among them."""
    frames = clip.values.shape[1]
    block = (np.arange(frames) + draw.integers(STRETCH)) // STRETCH
    turn = draw.permutation(block[-1] + 1)[block]  # when each frame's stretch is taken
    found = np.zeros(frames, bool)
    found[np.argsort(turn, kind="stable")[: round(share * frames)]] = True
    return found


def _unseen(clip: Landmarks, frames: np.ndarray, part: slice) -> Landmarks:
    values, visibility = clip.values.copy(), clip.visibility.copy()
    values[:, frames, part] = np.nan
    visibility[:, frames, part] = np.nan
    return replace(clip, values=values, visibility=visibility)


def _slices(clip: Landmarks) -> dict[str, slice]:
    return skeletons.layout(clip.layout).slices


# ---------------------------------------------------------------- in time


@stressor("times the frames a second", 0.25, 0.5, 2.0, nothing=1.0)
def frame_rate(clip: Landmarks, level: float, draw: np.random.Generator) -> Landmarks:  # noqa: ARG001 - as all
    """A camera of another frame rate; frames between those there are lie on straight lines."""
    return replace(_resampled(clip, level), fps=clip.fps * level)


@stressor("times as fast", 0.5, 0.75, 1.5, 2.0, nothing=1.0)
def signing_speed(clip: Landmarks, level: float, draw: np.random.Generator) -> Landmarks:  # noqa: ARG001 - as all
    """Somebody signs slower or faster."""
    return _resampled(clip, 1 / level)


def _resampled(clip: Landmarks, times: float) -> Landmarks:
    """So many times the frames; the first stays the first. Features are left out, as there are none between frames."""
    x = timing.to_fps(points.joined(clip.values, clip.visibility), 1.0, times)
    return replace(clip, values=x[..., :3], visibility=x[..., 3], features=None, features_kind="")


# ---------------------------------------------------------------- in space


@stressor("shoulder widths", 0.02, 0.05, 0.1, 0.2)
def jitter(clip: Landmarks, level: float, draw: np.random.Generator) -> Landmarks:
    """Each point trembles from frame to frame: normal noise of this standard deviation."""
    x = _square(clip)
    noise = draw.normal(0, level * _shoulders(clip, x), x.shape)
    if not np.nan_to_num(x[..., 2]).any():  # landmarks without depth
        noise[..., 2] = 0
    return _as_stored(clip, x + noise)


@stressor("degrees", 5, 10, 20, 30)
def tilt(clip: Landmarks, level: float, draw: np.random.Generator) -> Landmarks:
    """The camera is tilted, to the left or to the right."""
    x = _square(clip)
    return _as_stored(clip, _turned(x, _centre(x), 0, 1, _either_way(level, draw)))


@stressor("degrees", 10, 20, 30, 45)
def turn(clip: Landmarks, level: float, draw: np.random.Generator) -> Landmarks:
    """The signer is turned about the upright axis, to the left or to the right, as far as the depth tells."""
    x = _square(clip)
    x[..., 2] += _hung(clip, x)
    x = _turned(x, _centre(x), 0, 2, _either_way(level, draw))
    x[..., 2] -= _hung(clip, x)
    return _as_stored(clip, x)


@stressor("times as large", 0.5, 0.75, 1.5, 2.0, nothing=1.0)
def size(clip: Landmarks, level: float, draw: np.random.Generator) -> Landmarks:  # noqa: ARG001 - as all
    """The signer is further from the camera or nearer to it."""
    x = _square(clip)
    centre = _centre(x)
    return _as_stored(clip, centre + level * (x - centre))


@stressor("shoulder widths", 0.25, 0.5, 1.0)
def shift(clip: Landmarks, level: float, draw: np.random.Generator) -> Landmarks:
    """The signer is elsewhere in the picture, in a direction at random."""
    x = _square(clip)
    angle, away = draw.uniform(0, 2 * np.pi), level * _shoulders(clip, x)
    return _as_stored(clip, x + np.array([away * np.cos(angle), away * np.sin(angle), 0]))


def _mirror(known: Skeleton) -> str:
    try:
        _twins(known)
    except ConfigError:
        return f"of {known.name} no mirror image is known"
    return ""


@stressor("wholly", 1, lacking=_mirror)
def other_handed(clip: Landmarks, level: float, draw: np.random.Generator) -> Landmarks:  # noqa: ARG001 - as all
    """A signer of the other handedness: the mirror image. A face whose twin points are not known goes unseen."""
    twins, lost = _twins(skeletons.layout(clip.layout))
    values, visibility = clip.values[:, :, twins].copy(), clip.visibility[:, :, twins].copy()
    values[:, :, lost], visibility[:, :, lost] = np.nan, np.nan
    values[..., 0] = 2 * np.nanmedian(clip.values[..., 0]) - values[..., 0]
    return replace(clip, values=values, visibility=visibility)


def _twins(known: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """(V,) the point that takes each one's place in a mirror image, and (V,) bool those of which none is known."""
    twins, lost = np.arange(known.points), np.zeros(known.points, bool)
    if known.mirror:
        return np.array(known.mirror), lost
    body = np.array(points.subset(known.name, "holistic_75"))
    twins[body] = body[list(skeletons.layout("holistic_75").mirror)]
    lost[:] = True
    lost[body] = False
    return twins, lost


# ---------------------------------------------------------------- places


def _square(clip: Landmarks) -> np.ndarray:
    """The places (M, T, V, 3) float64, y in the unit of x where the picture's size is known."""
    return geometry.in_width(clip.values.astype(np.float64), clip.width, clip.height)


def _as_stored(clip: Landmarks, x: np.ndarray) -> Landmarks:
    """The inverse of `_square`."""
    return replace(clip, values=geometry.in_width(x, clip.height, clip.width).astype(np.float32))


def _centre(x: np.ndarray) -> np.ndarray:
    """(3,): the median place of what is seen."""
    return np.nanmedian(x, axis=(0, 1, 2))


def _shoulders(clip: Landmarks, x: np.ndarray) -> float:
    """How far the shoulders are apart in the picture, the median of the frames that show them; where none does, a
    quarter of the longer side of the box about all that is seen.
    """
    names = dict(skeletons.layout(clip.layout).names)
    if {"left_shoulder", "right_shoulder"} <= set(names):
        across = x[:, :, names["left_shoulder"], :2] - x[:, :, names["right_shoulder"], :2]
        apart = np.sqrt((across**2).sum(-1))
        if np.isfinite(apart).any():
            return float(np.nanmedian(apart))
    return float((np.nanmax(x[..., :2], axis=(0, 1, 2)) - np.nanmin(x[..., :2], axis=(0, 1, 2))).max() / 4)


def _hung(clip: Landmarks, x: np.ndarray) -> np.ndarray:
    """(M, T, V): depth that each point's own is counted from: MediaPipe counts that of hands and face from the wrist
    and the head, whose own are in the pose. 0 where that is not seen and in other layouts.
    """
    known, found = skeletons.layout(clip.layout), np.zeros(x.shape[:3])
    place = points.mediapipe(known.name)
    for part, point in _HANGING.items():
        if part in known.slices and ("pose", point) in place:
            found[:, :, known.slices[part]] = np.nan_to_num(x[:, :, place["pose", point], 2])[:, :, None]
    return found


def _turned(x: np.ndarray, centre: np.ndarray, a: int, b: int, degrees: float) -> np.ndarray:
    """Turned about the centre from axis a towards axis b."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    p, q = x[..., a] - centre[a], x[..., b] - centre[b]
    x = x.copy()
    x[..., a], x[..., b] = centre[a] + cosine * p - sine * q, centre[b] + sine * p + cosine * q
    return x


def _either_way(level: float, draw: np.random.Generator) -> float:
    return level if draw.random() < 0.5 else -level


STRESSORS = {found.name: found for found in list(globals().values()) if isinstance(found, Stressor)}
