"""Signers that raysign makes up: bodies of their own proportions, speed and handedness performing made-up signs.

For trying the whole line without a recording, and for tests and benchmarks that need plausible motion. A sign is a
path of the dominant hand in signing space with a handshape and a palm turn that change along it, one- or two-handed.
Seen through a camera as MediaPipe would: hands at rest go unseen, detections drop out, points jitter.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from raysign.bones import LEFT_SHOULDER, LEFT_WRIST, RIGHT_SHOULDER
from raysign.kinds import Section
from raysign.schema import ClipRef, Landmarks
from raysign.skeleton import LAYOUTS, border_visibility

FPS = 30.0
LAYOUT = "holistic_75"


class Options(Section):
    """How many signs, signers and takes to make up."""

    kind: Literal["synthetic"] = "synthetic"
    path: None = None
    glosses: int = Field(12, ge=2, description="signs in the vocabulary")
    signers: int = Field(6, ge=1, description="people; every fourth is left-handed")
    takes: int = Field(8, ge=1, description="clips of each sign by each signer")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of frames in which a raised hand goes unseen")
    seed: int = Field(0, ge=0)


def recognises(path) -> bool:  # noqa: ARG001 - nothing on disk is a made-up signer
    """Never: asked for by its kind only."""
    return False


def clips(options: Options) -> list[ClipRef]:
    """Every sign by every signer in every take; ids such as `signer2/sign07/3`."""
    return [
        ClipRef(f"signer{s}/sign{g:02d}/{take}", "synthetic", "1", (f"sign{g:02d}",), signer=f"signer{s}")
        for s in range(options.signers)
        for g in range(options.glosses)
        for take in range(options.takes)
    ]


def read(ref: ClipRef, options: Options) -> Landmarks:
    """The clip of one take, (1, T, 75, 3) with T about 30 to 90; the same every time for the same id and options."""
    signer, sign, take = ref.id.split("/")
    g, s = int(sign.removeprefix("sign")), int(signer.removeprefix("signer"))
    plan = _sign(np.random.default_rng([options.seed, 1, g]))
    body = _body(np.random.default_rng([options.seed, 2, s]), left_handed=s % 4 == 3)
    rng = np.random.default_rng([options.seed, 3, s, g, int(take)])
    values, seen = _perform(plan, body, rng, options.dropout)
    return Landmarks(values[None], seen[None], LAYOUT, FPS, 1280, 720)


# ---------------------------------------------------------------- signs and bodies


@dataclass(frozen=True)
class _Sign:
    path: np.ndarray  # (K, 2) wrist relative to the shoulders' midpoint, in shoulder widths, dominant side positive x
    curl: np.ndarray  # (K, 5) of each finger: 0 stretched, 1 closed
    turn: np.ndarray  # (K,) of the palm about the forearm, radians
    two_handed: bool
    seconds: float


@dataclass(frozen=True)
class _Body:
    shoulders: float  # their distance, image units
    centre: np.ndarray  # (2,) their midpoint in the image
    head: float  # distance nose to shoulders, shoulder widths
    hand: float  # length of a hand, shoulder widths
    tempo: float  # 1 is the sign's own speed
    habit: float  # how far this signer's paths stray from the sign's, shoulder widths
    left_handed: bool


def _sign(rng: np.random.Generator) -> _Sign:
    keys = rng.integers(3, 6)
    path = np.stack([rng.uniform(-0.3, 1.1, keys), rng.uniform(-0.9, 0.7, keys)], axis=1)
    curl = np.repeat(rng.uniform(0, 1, (2, 5)).round(), [keys - keys // 2, keys // 2], axis=0)
    return _Sign(path, curl, rng.uniform(-1.2, 1.2, keys), bool(rng.random() < 0.4), rng.uniform(0.9, 1.6))


def _body(rng: np.random.Generator, left_handed: bool) -> _Body:
    return _Body(
        shoulders=rng.uniform(0.16, 0.28), centre=np.array([0.5, 0.48]) + rng.uniform(-0.07, 0.07, 2),
        head=rng.uniform(0.6, 0.9), hand=rng.uniform(0.42, 0.6), tempo=rng.uniform(0.75, 1.35),
        habit=rng.uniform(0.03, 0.1), left_handed=left_handed,
    )  # fmt: skip


# ---------------------------------------------------------------- performance


def _perform(sign: _Sign, body: _Body, rng: np.random.Generator, dropout: float) -> tuple[np.ndarray, np.ndarray]:
    """Values (T, 75, 3) and visibility (T, 75) of one take."""
    raising = int(rng.integers(5, 10))  # frames from rest into the sign, and back
    during = max(8, int(sign.seconds * FPS / (body.tempo * rng.uniform(0.85, 1.15))))
    frames = during + 2 * raising
    strayed = sign.path + rng.normal(0, body.habit, sign.path.shape)
    rest = np.array([[0.75, 1.7]])
    stops = np.concatenate([[0], np.linspace(raising, raising + during, len(strayed)), [frames - 1]])
    path = _ease(stops, np.concatenate([rest, strayed, rest]), frames)
    curl = _ease(stops, np.pad(sign.curl, ((1, 1), (0, 0)), mode="edge"), frames)
    turn = _ease(stops, np.pad(sign.turn, 1, mode="edge")[:, None], frames)[:, 0]
    other = path * [-1, 1] if sign.two_handed else np.repeat(rest * [-1, 1], frames, axis=0)
    strong, weak = ("left", "right") if body.left_handed else ("right", "left")

    layout = LAYOUTS[LAYOUT].slices
    values = np.full((frames, 75, 3), np.nan)
    values[:, layout["pose"]] = _torso(body, frames)
    for side, wrist in ((strong, path), (weak, other)):
        # the signer's right hand is on the image's left
        flip = np.array([1.0 if (side == "left") else -1.0, 1.0])
        at = wrist * (flip if side == strong else flip * [-1, 1])
        points = _hand(at, body, curl, turn * flip[0], flip[0])
        _attach_arm(values[:, layout["pose"]], side, at, body)
        values[:, layout[f"{side}_hand"]] = points
        unseen = (wrist[:, 1] > 1.25) | _bursts(rng, frames, dropout)
        values[unseen, layout[f"{side}_hand"]] = np.nan
    values[..., :2] = values[..., :2] * body.shoulders * [1.0, 16 / 9] + body.centre  # shoulder widths to image units
    values[..., 2] *= body.shoulders
    values += rng.normal(0, 0.0015, values.shape)
    values[_bursts(rng, frames, dropout / 10)] = np.nan
    seen = border_visibility(values[..., :2].astype(np.float32))
    seen[:, layout["pose"]] = np.where(
        np.isnan(seen[:, layout["pose"]]), np.nan, np.clip(seen[:, layout["pose"]] + 0.3, 0, 1)
    )
    return values.astype(np.float32), seen.astype(np.float32)


def _ease(stops: np.ndarray, keys: np.ndarray, frames: int) -> np.ndarray:
    """Keys (K, D) at frames `stops` (K,), joined by smooth steps: (frames, D)."""
    at = np.arange(frames)
    place = np.clip(np.searchsorted(stops, at, side="right") - 1, 0, len(stops) - 2)
    share = np.clip((at - stops[place]) / np.maximum(stops[place + 1] - stops[place], 1e-9), 0, 1)
    share = (share * share * (3 - 2 * share))[:, None]
    return keys[place] * (1 - share) + keys[place + 1] * share


def _bursts(rng: np.random.Generator, frames: int, share: float) -> np.ndarray:
    """(frames,) bool, true for about `share` of the frames, in runs of some frames as detectors lose things."""
    lost = np.zeros(frames, bool)
    for start in np.flatnonzero(rng.random(frames) < share / 4):
        lost[start : start + int(rng.integers(2, 7))] = True
    return lost


def _torso(body: _Body, frames: int) -> np.ndarray:
    """(frames, 33, 3) pose in shoulder widths about the shoulders' midpoint, arms not yet placed."""
    pose = np.zeros((33, 3))
    across = np.array([0, 0.06, 0.1, 0.14, -0.06, -0.1, -0.14, 0.22, -0.22, 0.07, -0.07])  # nose, eyes, ears, mouth
    up = np.array([-1.0, -1.08, -1.08, -1.08, -1.08, -1.08, -1.08, -1.02, -1.02, -0.88, -0.88])
    pose[:11, :2], pose[:11, 2] = body.head * np.stack([across, up], axis=1), -0.6
    pose[LEFT_SHOULDER, :2], pose[RIGHT_SHOULDER, :2] = (0.5, 0.0), (-0.5, 0.0)
    for side, sign in ((0, 1.0), (1, -1.0)):  # hips, knees, ankles, heels, toes
        for joint, height in zip((23, 25, 27, 29, 31), (1.6, 2.8, 3.9, 4.0, 4.1), strict=True):
            pose[joint + side, :2] = sign * 0.32, height
    return np.repeat(pose[None], frames, axis=0)


def _attach_arm(pose: np.ndarray, side: str, wrist: np.ndarray, body: _Body) -> None:
    """Place elbow, wrist and the pose's three hand points of one arm, in place."""
    shift, sign = (0, 1.0) if side == "left" else (1, -1.0)  # a right joint follows its left twin in the pose
    shoulder = np.array([0.5 * sign, 0.0])
    middle, reach = (wrist + shoulder) / 2, wrist - shoulder
    across = np.stack([-reach[:, 1], reach[:, 0]], axis=1) * sign
    length = np.maximum(np.linalg.norm(reach, axis=1, keepdims=True), 1e-6)
    bend = np.sqrt(np.maximum(0.75**2 - (length / 2) ** 2, 0.0))  # both arm segments are 0.75 shoulder widths
    pose[:, 13 + shift, :2] = middle - across / length * bend
    pose[:, LEFT_WRIST + shift, :2] = wrist
    pose[:, LEFT_WRIST + shift, 2] = -0.4
    along = np.array([0.1 * sign, -0.8]) * body.hand
    for point, spread in ((17, -0.15), (19, 0.0), (21, 0.12)):
        pose[:, point + shift, :2] = wrist + along + [spread * sign * body.hand, 0]


def _hand(wrist: np.ndarray, body: _Body, curl: np.ndarray, turn: np.ndarray, side: float) -> np.ndarray:
    """(T, 21, 3) hand at `wrist` (T, 2), in shoulder widths: fingers fan out, bend as `curl` (T, 5) says and the
    palm turns by `turn` (T,) about the forearm. side: 1 for a left hand, -1 for a right one."""
    frames = len(wrist)
    points = np.zeros((frames, 21, 3))
    fan = np.array([0.75, 0.28, 0.05, -0.16, -0.38]) * -side  # of thumb to little finger, radians from straight up
    base, segment = np.array([0.35, 0.9, 0.95, 0.9, 0.82]), np.array([0.28, 0.3, 0.34, 0.3, 0.24])
    for finger in range(5):
        direction = np.array([np.sin(fan[finger]), -np.cos(fan[finger])])
        place = np.broadcast_to(np.append(direction * base[finger] * 0.55, 0.0), (frames, 3)).copy()
        angle = np.zeros(frames)
        for joint in range(4):
            points[:, 1 + 4 * finger + joint] = place
            angle = angle + curl[:, finger] * 1.3
            step = np.concatenate([direction * np.cos(angle)[:, None], -np.sin(angle)[:, None]], axis=1)
            place = place + step * segment[finger] * 0.6
    across, depth = points[..., 0].copy(), points[..., 2].copy()
    points[..., 0] = across * np.cos(turn)[:, None] + depth * np.sin(turn)[:, None]
    points[..., 2] = depth * np.cos(turn)[:, None] - across * np.sin(turn)[:, None]
    points *= body.hand
    points[..., :2] += wrist[:, None]
    return points
