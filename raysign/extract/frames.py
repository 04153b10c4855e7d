"""Upright RGB frames of a video, one at a time, and upright images.

Memory does not grow with the video's length: two decoded frames are held at most.
"""

import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from raysign.errors import ClipError, LimitError
from raysign.sources._media import IMAGE_SUFFIXES

_LOG = logging.getLogger(__name__)
_SEEK_FROM_S = 2.0  # a cut that starts earlier is reached sooner by decoding than by seeking
_WRONG = 1.5  # times another rate than its frames have is no rate of a file
_EARLY = 1e-4  # seconds; a time written with a few decimals still names the frame it was read from


def is_image(path: str | Path) -> bool:
    """Whether a file counts as a single image, told by its suffix."""
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


@dataclass(frozen=True)
class Limits:
    """What is read at most, for files of strangers: pixels of a frame, frames and seconds of a clip; None: anything."""

    pixels: int | None = None
    frames: int | None = None
    seconds: float | None = None

    def check(self, path: str | Path, width: int, height: int, frames: int = 1, seconds: float = 0.0) -> None:
        """LimitError when there is more of something than that."""
        found = {"pixels": width * height, "frames": frames, "seconds": seconds}
        for name, value in found.items():
            most = getattr(self, name)
            if most is not None and value > most:
                told = f"{width}x{height} pixels" if name == "pixels" else f"{value:.6g} {name}"
                raise LimitError(f"{path}: found {told} or more, expected at most {most:.12g} {name}; make it smaller")


NO_LIMITS = Limits()


@dataclass
class Video:
    """The frames of a file, or of a cut from it; iterate once for (seconds since the cut's start, pixels).

    pixels: (H, W, 3) uint8 RGB, contiguous, turned upright, of the same size in all frames. start, end: seconds,
    end excluded. first, last: 1-based frame numbers, both included. fps: resample to this rate (of each k/fps the
    frame nearest in time); None keeps every frame with its own time.

    After iteration: `fps` is the rate of what was yielded (0 when unknown), `note` says what was damaged ("" if
    nothing; of a file that does not count its frames, as mkv, also when its end is torn off). Iterating raises
    ClipError when the file cannot be opened or no frame comes out of it, LimitError when more than `limits` does.
    """

    path: str
    start: float = 0.0
    end: float | None = None
    fps: float | None = None
    first: int = 1
    last: int | None = None
    note: str = ""
    limits: Limits = NO_LIMITS

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
        import av
        from av.error import FFmpegError

        try:
            # the whitelist keeps a playlist that is named like a video from opening other files or hosts
            with av.open(self.path, options={"protocol_whitelist": "file"}) as container:
                yield from self._upright(container)
        except (FFmpegError, OSError, ValueError) as error:
            raise ClipError(f"{self.path}: not readable as a video ({_reason(error)})") from None

    def _upright(self, container: Any) -> Iterator[tuple[float, np.ndarray]]:
        from av.stream import Disposition

        streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
        if not streams:
            raise ClipError(f"{self.path}: no video stream in it")
        stream = streams[0]
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1  # one CPU is all a worker may use
        rate = float(stream.average_rate or 0)
        length = 0.0 if self.end or self.last else (container.duration or 0) / 1e6 - self.start
        self.limits.check(self.path, stream.width, stream.height, seconds=length)  # as the file says, before decoding
        frames = self._cut(self._timed(container, stream))
        if self.fps:
            frames, rate = resampled(frames, self.fps, 1 / rate if rate else 1 / self.fps), self.fps
        size = matrix = None
        began = seconds = number = 0
        for number, (seconds, frame) in enumerate(frames, 1):
            self.limits.check(self.path, frame.width, frame.height, number, seconds)
            if size is None or matrix is None:
                # of the first frame only: asking a frame for side data ties it into a cycle that outlives its use
                size, matrix, began = (frame.width, frame.height), display_matrix(frame), seconds
            yield seconds, upright(frame.to_ndarray(format="rgb24", width=size[0], height=size[1]), matrix)
        self.fps = self.fps or _rate(rate, number - 1, seconds - began)
        if size is None:
            cut = (self.start, self.end, self.first, self.last) != (0.0, None, 1, None)
            raise ClipError(f"{self.path}: {self.note or 'no frames'}{' in this cut of it' if cut else ''}")

    def _timed(self, container: Any, stream: Any) -> Iterator[tuple[float, Any]]:
        """All frames from the last key frame before the cut on, with seconds since the stream's start."""
        zero = float((stream.start_time or 0) * stream.time_base)
        if self.start > _SEEK_FROM_S and stream.start_time is not None:
            container.seek(stream.start_time + int((self.start - 1) / stream.time_base), stream=stream)
        step = 1 / float(stream.average_rate or 25)
        seconds, begun = -step, False
        for frame in self._decoded(container, stream):
            seconds = seconds + step if frame.time is None else frame.time - zero
            if not begun and seconds > self.start and self.start > _SEEK_FROM_S:
                # the index led past the cut's start: read from the beginning instead
                container.seek(stream.start_time or 0, stream=stream)
                yield from ((f.time - zero, f) for f in self._decoded(container, stream) if f.time is not None)
                return
            begun = True
            yield seconds, frame

    def _decoded(self, container: Any, stream: Any) -> Iterator[Any]:
        """Every frame that can be decoded; packets that cannot be are counted in `note` and passed over."""
        from av.error import FFmpegError

        broken = kept = expected = 0
        packets = container.demux(stream)
        try:
            while True:
                try:
                    packet = next(packets)
                    # a packet cut off by the end of the file decodes to a half-grey picture
                    frames = [] if packet.is_corrupt else packet.decode()
                    broken += packet.is_corrupt
                except StopIteration:
                    break
                except FFmpegError:
                    broken += 1
                    if broken > 1000 + kept:
                        break
                    continue
                for frame in frames:
                    kept += 1
                    yield frame
            expected = 0 if self.start else stream.frames
        finally:  # a cut ends before the file does
            if broken or expected - kept > 1:
                self.note = f"damaged: {kept} of {max(expected, kept + broken)} frames could be read"
                _LOG.warning("%s: %s", self.path, self.note)

    def _cut(self, frames: Iterator[tuple[float, Any]]) -> Iterator[tuple[float, Any]]:
        """The frames of the cut, timed from its start, times strictly rising."""
        before = -1.0
        for number, (seconds, frame) in enumerate(frames, 1):
            if seconds < self.start - _EARLY or number < self.first:
                continue
            if (self.end is not None and seconds >= self.end - _EARLY) or (self.last and number > self.last):
                return
            before = max(seconds - self.start, before + 1e-6)
            yield before, frame


def _rate(told: float, steps: int, seconds: float) -> float:
    """Frames a second as the file tells, unless its frames come at quite another rate: browsers write 1000."""
    came = steps / seconds if seconds > 0 else told
    return told if came / _WRONG <= told <= came * _WRONG else came


def resampled(frames: Iterator[tuple[float, Any]], fps: float, interval: float) -> Iterator[tuple[float, Any]]:
    """Of each time first + k/fps the frame nearest to it (the earlier of two equally near), as (k/fps, frame).

    The last frame is taken to stay for as long as the one before it did; a single one for `interval` seconds.
    """
    previous, zero, count = None, 0.0, 0
    for seconds, frame in frames:
        if previous is None:
            zero = seconds
        else:
            while zero + count / fps <= (previous[0] + seconds) / 2 + 1e-9:
                yield count / fps, previous[1]
                count += 1
            interval = seconds - previous[0]
        previous = seconds, frame
    # as many as the duration holds, rounded: times in whole milliseconds must not add a frame to a clip of that rate
    while previous is not None and (count == 0 or zero + (count + 0.5) / fps <= previous[0] + interval):
        yield count / fps, previous[1]
        count += 1


# ---------------------------------------------------------------- which way is up


def display_matrix(frame: Any) -> tuple[int, int, int, int]:
    """(a, b, c, d) of the frame's display matrix, x' = a x + c y and y' = b x + d y; the identity when it has none."""
    for side in frame.side_data:
        if side.type.name == "DISPLAYMATRIX":
            cells = struct.unpack("=9i", bytes(side)[:36])
            return cells[0], cells[1], cells[3], cells[4]
    return 1, 0, 0, 1


def upright(pixels: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """(H, W, 3) pixels turned and mirrored as the matrix says, to the nearest right angle; contiguous."""
    a, b, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels = pixels.transpose(1, 0, 2)
        a, d = c, b
    pixels = pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    # decoded rows may be padded, and MediaPipe reads an array that is not contiguous as noise
    return np.ascontiguousarray(pixels)


def image(path: str | Path, limits: Limits = NO_LIMITS) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an image file, upright as its EXIF says, transparent parts on white.

    Raises ClipError when it cannot be read, LimitError (before it is decoded) when it is larger than that.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            limits.check(path, *file.size)
            picture = ImageOps.exif_transpose(file)
            if picture.mode.startswith("I;16"):  # 16-bit grey: Pillow would cut values off instead of scaling them
                picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
            if picture.has_transparency_data:
                white = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(white, picture.convert("RGBA"))
            return np.ascontiguousarray(picture.convert("RGB"))
    except Image.DecompressionBombError as error:  # Pillow's own limit
        raise LimitError(f"{path}: {error}; make it smaller") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise ClipError(f"{path}: not readable as an image ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error).splitlines()[0] if str(error) else type(error).__name__
    return str(text)[:200]
