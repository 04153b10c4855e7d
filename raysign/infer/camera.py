"""A camera to answers: what is signed in front of it, told at each pause, until somebody has enough."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from raysign.errors import ConfigError, RaysignError
from raysign.infer import activity, continuous
from raysign.infer.ensemble import AnyPredictor, predictor_of
from raysign.infer.files import Wanted
from raysign.infer.reader import extraction
from raysign.learn import ensemble as ensembles

LOOK = 0.5  # seconds between two looks for a pause
MOST = 20.0  # seconds after which signing without a pause is told all the same
SYSTEMS = {"linux": ("/dev/video{}", "v4l2"), "darwin": ("{}", "avfoundation")}  # what FFmpeg calls their cameras


def device(files: Sequence[Path]) -> str | None:
    """The number of the camera, or its place below /dev, that is asked for; None for files.

    ConfigError for a camera and something else.
    """
    cameras = [str(file) for file in files if _is_camera(str(file))]
    if cameras and len(files) > 1:
        raise ConfigError(f"{cameras[0]}: found a camera and {len(files) - 1} more, expected one camera or files")
    return cameras[0] if cameras else None


def _is_camera(word: str) -> bool:
    return word.startswith("/dev/video") or (word.isdigit() and len(word) < 3 and not Path(word).exists())


def predict(bundle_dir: Path, camera: str, wanted: Wanted, seconds: float | None = None) -> Iterator[dict]:
    """Rows as of infer.files.predict, one for each time somebody signed and paused; seconds: None for without end.

    BundleError when the bundle cannot be loaded, ConfigError when there is no such camera.
    """
    if wanted.overlay:
        raise ConfigError(f"--overlay: found camera {camera}, expected files; record a video to draw on")
    predictor = predictor_of(ensembles.load(Path(bundle_dir)), "auto")
    with opened(camera) as container:
        print(f"camera {camera}: sign, and pause for an answer; Ctrl-C ends it", file=sys.stderr, flush=True)
        yield from answers(predictor, frames_of(container, seconds), camera, wanted)


def opened(camera: str) -> Any:
    """The camera as a container of PyAV; ConfigError when it cannot be had."""
    import av
    from av.error import FFmpegError

    if sys.platform not in SYSTEMS:
        raise ConfigError(f"camera {camera}: {sys.platform} is none of {', '.join(SYSTEMS)}; record a video instead")
    place, kind = SYSTEMS[sys.platform]
    place = place.format(camera) if camera.isdigit() else camera
    try:
        return av.open(place, format=kind, options={"framerate": "30"} if kind == "avfoundation" else {})
    except (FFmpegError, OSError, ValueError) as error:
        there = ", ".join(sorted(map(str, Path("/dev").glob("video*")))) or "none"
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{place}: no camera to be had ({reason}); there is {there}; give a video instead") from None


def frames_of(container: Any, seconds: float | None = None) -> Iterator[tuple[float, np.ndarray]]:
    """(seconds since the first, pixels) of the frames of a container as they come, for so many seconds."""
    first = None
    for frame in container.decode(video=0):
        first = frame.time if first is None else first
        if seconds is not None and frame.time - first >= seconds:
            return
        yield frame.time - first, np.ascontiguousarray(frame.to_ndarray(format="rgb24"))


def answers(
    predictor: AnyPredictor, frames: Iterable[tuple[float, np.ndarray]], name: str, wanted: Wanted
) -> Iterator[dict]:
    """The rows of frames (seconds, pixels), told at each pause and at their end; times count from the first frame."""
    from raysign.extract import landmarker

    held: list[tuple[float, np.ndarray]] = []  # since the last pause
    looked, size = 0.0, (0, 0)
    with landmarker.Landmarker(extraction(predictor.bundle)) as finder:
        for seconds, pixels, points in _quietly(finder.follow(frames)):
            held.append((seconds, points))
            size = pixels.shape[1], pixels.shape[0]
            if seconds - looked >= LOOK:
                looked = seconds
                stop = _pause(held, size)
                if stop:
                    yield from _row(predictor, held[:stop], size, name, wanted)
                    held = held[stop:]
    yield from _row(predictor, held, size, name, wanted)


def _quietly(frames: Iterator) -> Iterator:
    """The same without MediaPipe's remarks, and without keeping from the user what comes of them."""
    from raysign.extract import landmarker

    while True:
        with landmarker.quiet():
            frame = next(frames, None)
        if frame is None:
            return
        yield frame


def _clip(held: Sequence[tuple[float, np.ndarray]], size: tuple[int, int]):
    from raysign.extract import landmarker

    passed = held[-1][0] - held[0][0]
    return landmarker.gathered([points for _, points in held], (len(held) - 1) / passed if passed else 0.0, *size)


def _pause(held: Sequence[tuple[float, np.ndarray]], size: tuple[int, int]) -> int:
    """How many of the frames held are over: up to the pause that has come, all of them when nobody signs, or none."""
    if len(held) < 3:
        return 0
    clip, passed = _clip(held, size), held[-1][0] - held[0][0]
    found = activity.stretches(clip)
    if not found:
        return len(held) - round(len(held) * LOOK / passed) if passed > 2 * LOOK else 0
    resting = len(held) - found[-1][1] > activity.REST * clip.fps
    return found[-1][1] + 1 if resting else len(held) if passed > MOST else 0


def _row(
    predictor: AnyPredictor, held: Sequence[tuple[float, np.ndarray]], size: tuple[int, int], name: str, wanted: Wanted
) -> Iterator[dict]:
    """One row when something was signed."""
    if len(held) < 3:
        return
    row = {"file": name, "clip": f"camera {name}", "top": [], "error": None}
    try:
        found = continuous.segments(predictor, _clip(held, size), wanted.window, wanted.k)
    except RaysignError as error:
        yield {**row, "error": str(error)}
        return
    since = held[0][0]
    times = [{"start": round(one["start"] + since, 3), "end": round(one["end"] + since, 3)} for one in found]
    if found:
        yield {**row, "segments": [{**one, **time} for one, time in zip(found, times, strict=True)]}
