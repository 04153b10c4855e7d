"""MediaPipe Holistic over videos and images: the only file that runs mediapipe.

Each video and each image gets a landmarker of its own. Making one costs about 0.15 CPU-seconds (three frames' worth),
and it is the only clean start: a used one carries its track into the next clip, a blank frame in between still leaves
differences of 0.02, and even in image mode it smooths over the images before (and fails when the size changes).
"""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from raysign import config
from raysign.errors import ClipError, ModelFileError
from raysign.extract import frames, models
from raysign.schema import ClipRef, Landmarks
from raysign.skeleton import LAYOUTS, border_visibility
from raysign.store import fingerprint as hashed

LAYOUT = "holistic_543"
REVISION = 1  # to be raised by whoever changes what the same frames give

# Images in which Holistic sees no hand (it looks for hands at the arms of a body) are searched for palms, enlarged to
# this many pixels on the long side and padded by this share of it: a palm that fills the image is not found.
# On 93 hand photos of 100x100 without a body: 79 found as they are, 89 with the first step, 92 with both.
RETRIES = ((256, 0.25), (256, 0.5))

_PARTS = LAYOUTS[LAYOUT].slices
_HANDS = slice(_PARTS["left_hand"].start, None)
_CHATTER = re.compile(rb"^([IW]\d{4} |WARNING: All log messages|INFO: Created TensorFlow Lite)")


def fingerprint(options: config.Extract, bundles: tuple[Path, Path] | None = None) -> str:
    """Changes when the same file would give other landmarks: mediapipe, its models, our options, our code.

    bundles: `models.pair` of the options, when it is known already.
    """
    return hashed(made_of(options, bundles))


def made_of(options: config.Extract, bundles: tuple[Path, Path] | None = None) -> dict[str, Any]:
    """All that the landmarks of a file follow from, by name."""
    holistic, hand = bundles or models.pair(options.model)
    features = {"features": _inception().fingerprint(options)} if options.features else {}
    return {
        "name": "mediapipe holistic", "version": version("mediapipe"), "revision": REVISION,
        "model": models.sha256(holistic), "hand": models.sha256(hand),
        "fps": options.fps, "detection": options.detection_confidence, "tracking": options.tracking_confidence,
        "retries": RETRIES, **features,
    }  # fmt: skip


def reader(options: config.Extract, extractor: str) -> Callable[[ClipRef], Landmarks]:
    """What an extraction worker reads clips with: a Landmarker kept on one CPU.

    extractor: the driver's fingerprint. ModelFileError when this machine's model files would give another one.
    """
    bundles = models.pair(options.model)
    here = fingerprint(options, bundles)
    if here != extractor:
        raise ModelFileError(
            f"{' and '.join(map(str, bundles))}: extractor {here}, expected the driver's {extractor}; "
            "give all machines the same mediapipe and model files"
        )
    return Landmarker(options, bundles, cpu=free_cpu()).read


class Landmarker:
    """Reads the landmarks of one clip after another, in layout holistic_543 (M = 1 person), and features if asked to.

    bundles: `models.pair` of the options, when it is known already. cpu: keep MediaPipe on this CPU. It would otherwise
    keep about 1.4 busy, and workers would slow each other down. limits: of what is read.
    Close it, or use it in a `with`: MediaPipe's own clean-up fails, loudly, when it is left to the interpreter's end.
    """

    def __init__(self, options: config.Extract, bundles: tuple[Path, Path] | None = None, cpu: int | None = None,
                 limits: frames.Limits = frames.NO_LIMITS):  # fmt: skip
        self.options, self.cpu, self.limits = options, cpu, limits
        self.bundles = bundles or models.pair(options.model)
        self._palms: Any = None
        self._features: Callable[[Iterator[np.ndarray]], np.ndarray] | None = None

    def read(self, ref: ClipRef) -> Landmarks:
        """The landmarks of a video, a cut of one, or an image. NaN where a part is not seen.

        Visibility is MediaPipe's for the pose, and how far inside the image a point is for face and hands.
        ClipError when the file cannot be read, or when neither a pose nor a hand is seen in any frame.
        """
        if not Path(ref.path).is_file():
            raise ClipError(f"{ref.path}: no such file; correct its path or take it out of the source")
        if self.cpu is not None:
            os.sched_setaffinity(0, {self.cpu})
        with quiet():
            result = self._image(ref) if frames.is_image(ref.path) else self._video(ref)
        shown = np.isfinite(result.values[0, :, :, 0])
        if not (shown[:, _PARTS["pose"]].any() or shown[:, _HANDS].any()):
            raise ClipError(f"{ref.path}: no person or hand found in {len(shown)} frames")
        return self._with_features(ref, result) if self.options.features else result

    def close(self) -> None:
        """Let go of what is kept between images."""
        if self._palms is not None:
            self._palms.close()
            self._palms = None

    def __enter__(self) -> "Landmarker":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _video(self, ref: ClipRef) -> Landmarks:
        video = self._opened(ref)
        seen, width, height = [], 0, 0
        for _, pixels, points in self.follow(video):
            height, width = pixels.shape[:2]
            seen.append(points)
        return gathered(seen, video.fps or 0.0, width, height, video.note)

    def follow(self, video: Iterable[tuple[float, np.ndarray]]) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
        """The frames of one video as they come, (seconds, pixels) as of frames.Video, each with its points (543, 4):
        x, y, z, visibility (0 but for the pose); NaN where not seen.
        """
        clock = -1
        with self._holistic("VIDEO") as holistic:
            for seconds, pixels in video:
                clock = max(clock + 1, round(seconds * 1000))  # MediaPipe wants whole, rising milliseconds
                yield seconds, pixels, _points(holistic.detect_for_video(_picture(pixels), clock))

    def _opened(self, ref: ClipRef) -> frames.Video:
        cut = (ref.start, ref.end, self.options.fps, ref.first_frame, ref.last_frame)
        return frames.Video(ref.path, *cut, limits=self.limits)

    def _with_features(self, ref: ClipRef, result: Landmarks) -> Landmarks:
        """The landmarks with features of the same frames, decoded again: that costs little, and clips without a person
        cost nothing."""
        if self._features is None:
            self._features = _inception().reader(self.options, threads=None if self.cpu is None else 1)
        image = frames.is_image(ref.path)
        pixels = iter([frames.image(ref.path, self.limits)]) if image else (pixels for _, pixels in self._opened(ref))
        return replace(result, features=self._features(pixels), features_kind=self.options.features)

    def _image(self, ref: ClipRef) -> Landmarks:
        pixels = frames.image(ref.path, self.limits)
        with self._holistic("IMAGE") as holistic:
            points = _points(holistic.detect(_picture(pixels)))
        if np.isnan(points[_HANDS, 0]).all():
            self._find_palms(pixels, points)
        return gathered([points], 0.0, pixels.shape[1], pixels.shape[0])

    def _find_palms(self, pixels: np.ndarray, points: np.ndarray) -> None:
        """Fill the hands of `points` from the first enlarged and padded copy of the image in which one is found."""
        self._palms = self._palms or _palm_finder(self.options, self.bundles[1])
        for side, share in RETRIES:
            canvas, back = padded(pixels, side, share)
            result = self._palms.detect(_picture(canvas))
            for named, hand in zip(result.handedness, result.hand_landmarks, strict=True):
                part = _PARTS[f"{named[0].category_name.lower()}_hand"]
                points[part, :3] = back(np.array([(p.x, p.y, p.z) for p in hand], np.float32))
            if result.hand_landmarks:
                return

    def _holistic(self, mode: str):
        """A new Holistic task in one of MediaPipe's running modes."""
        from mediapipe.tasks.python import BaseOptions, vision

        detect, track = self.options.detection_confidence, self.options.tracking_confidence
        return vision.HolisticLandmarker.create_from_options(
            vision.HolisticLandmarkerOptions(
                base_options=BaseOptions(model_asset_path=str(self.bundles[0])),
                running_mode=vision.RunningMode[mode],
                min_pose_detection_confidence=detect,
                min_face_detection_confidence=detect,
                min_pose_landmarks_confidence=track,
                min_face_landmarks_confidence=track,
                min_hand_landmarks_confidence=track,
            )
        )


def _inception():
    from raysign.extract import inception  # late: it imports torch, which landmarks alone do not need

    return inception


def _palm_finder(options: config.Extract, bundle: Path):
    """The hand task in image mode, which keeps nothing from one image to the next. Its sides are the signer's."""
    from mediapipe.tasks.python import BaseOptions, vision

    return vision.HandLandmarker.create_from_options(
        vision.HandLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(bundle)),
            num_hands=2,
            min_hand_detection_confidence=options.detection_confidence,
            min_hand_presence_confidence=options.tracking_confidence,
        )
    )


# ---------------------------------------------------------------- arrays in and out


def _picture(pixels: np.ndarray):
    import mediapipe

    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)


def _points(result: Any) -> np.ndarray:
    """(543, 4) float32 x, y, z and visibility (0 but for the pose) of one frame's result; NaN where not seen."""
    points = np.full((543, 4), np.nan, np.float32)
    pose = result.pose_landmarks
    if pose:
        points[_PARTS["pose"]] = [(p.x, p.y, p.z, p.visibility or 0.0) for p in pose]
    if result.face_landmarks:  # some bundles give ten iris points more
        points[_PARTS["face"], :3] = [(p.x, p.y, p.z) for p in result.face_landmarks[:468]]
    for side, hand in (("left", result.left_hand_landmarks), ("right", result.right_hand_landmarks)):
        if hand:
            points[_PARTS[f"{side}_hand"], :3] = [(p.x, p.y, p.z) for p in hand]
    return points


def gathered(seen: Sequence[np.ndarray], fps: float, width: int, height: int, note: str = "") -> Landmarks:
    """The points of frames, as of `Landmarker.follow`, as one clip."""
    points = np.stack(seen)[None]
    visibility = border_visibility(points[..., :2])
    visibility[:, :, _PARTS["pose"]] = points[:, :, _PARTS["pose"], 3]
    return Landmarks(points[..., :3].copy(), visibility, LAYOUT, fps, width, height, note)


def padded(pixels: np.ndarray, side: int, share: float) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """The image enlarged to `side` pixels on its long side (never reduced), with a black border of `share` of that.

    Returns it with the function that maps (N, 3) points of the bordered image back to image units of the original.
    """
    from PIL import Image

    height, width = pixels.shape[:2]
    scale = max(1.0, side / max(height, width))
    large = np.asarray(
        Image.fromarray(pixels).resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
    )
    border = round(max(large.shape[:2]) * share)
    canvas = np.pad(large, ((border, border), (border, border), (0, 0)))
    size = np.array([canvas.shape[1], canvas.shape[0], canvas.shape[1]], np.float32)
    inner = np.array([large.shape[1], large.shape[0], large.shape[1]], np.float32)
    return canvas, partial(_back, size=size, inner=inner, border=np.array([border, border, 0], np.float32))


def _back(points: np.ndarray, size: np.ndarray, inner: np.ndarray, border: np.ndarray) -> np.ndarray:
    return (points * size - border) / inner


# ---------------------------------------------------------------- a good neighbour in its process and machine


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep MediaPipe's native remarks (some twenty lines per landmarker, from C++) off stderr; errors stay."""
    sys.stderr.flush()
    true = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(true, 2)
            held.seek(0)
            for line in held:
                if not _CHATTER.match(line):
                    os.write(true, line)
            os.close(true)


_LOCKS: list = []  # open as long as the process lives


def free_cpu() -> int | None:
    """A CPU that no other extraction worker on this machine has taken; None when all are taken or cannot be chosen.

    The claim is a lock on a file, which the kernel lets go when the process ends, however it ends.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    import fcntl

    for cpu in sorted(os.sched_getaffinity(0)):
        path = Path(tempfile.gettempdir()) / f"raysign-{os.getuid()}-cpu-{cpu}.lock"
        with contextlib.suppress(OSError):
            file = path.open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                continue
            _LOCKS.append(file)
            return cpu
    return None
