"""Answers drawn on what they are about: the skeleton and the likeliest glosses over a video or an image."""

import io
import os
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from raysign import store
from raysign.errors import ConfigError
from raysign.extract import frames
from raysign.infer.activity import rate
from raysign.report import words
from raysign.report.plots import font_file
from raysign.schema import Landmarks
from raysign.skeleton import layout

# Lighter twins of the colours of report.drawing, after Okabe and Ito: they stand on any picture
COLOURS = {"left": (86, 180, 233), "right": (240, 140, 40), "": (225, 228, 232)}
DARK, LIGHT, BAR = (17, 24, 39), (249, 250, 251), (43, 108, 176)
SUFFIXES = (".mp4", ".png", ".jpg", ".jpeg")
MOST = 5  # glosses that are drawn
SURE = 0.3  # visibility from which a point of the pose is drawn: others are guesses
CLOCK = 90_000  # of a film: parts of a second in which it tells when a frame is shown


def checked(overlay: Path, files: Sequence[Path]) -> None:
    """ConfigError for what cannot be written: one file for the pictures of several, a name of another kind."""
    several = len(files) > 1 or any(file.is_dir() for file in files)
    if overlay.suffix.lower() in SUFFIXES and not overlay.is_dir() and several:
        raise ConfigError(f"--overlay: found {overlay}, expected a folder for the pictures of several files")
    if overlay.suffix and overlay.suffix.lower() not in SUFFIXES and not overlay.is_dir():
        raise ConfigError(f"--overlay: found {overlay}, expected a folder or a name that ends in {', '.join(SUFFIXES)}")


def place(overlay: Path, media: Path, root: Path) -> Path:
    """Where the picture of a file goes: the path itself, or below it where the file lies below `root` (absolute)."""
    if overlay.suffix.lower() in SUFFIXES and not overlay.is_dir():
        return overlay
    inside = overlay / Path(os.path.abspath(media)).relative_to(root)  # noqa: PTH100 - pathlib keeps what .. takes back
    wanted = (".png", ".jpg", ".jpeg") if frames.is_image(media) else (".mp4",)
    return inside if inside.suffix.lower() in wanted else inside.with_name(inside.name + wanted[0])


def write(media: Path, landmarks: Landmarks, row: dict, out: Path, fps: float | None = None) -> None:
    """Draw a row of infer.files on its video, at the video's own rate and size, or on its image.

    fps: the rate to which the landmarks were resampled, None for those of each frame. A side of an odd number of pixels
    loses its last one. ClipError when the file cannot be read again, ConfigError for a place of the other kind.
    """
    still = frames.is_image(media)
    if still == (out.suffix.lower() == ".mp4"):
        raise ConfigError(f"--overlay: {media} is {'an image' if still else 'a video'}, and {out} is none")
    if out.exists() and out.samefile(media):
        raise ConfigError(f"--overlay: {out} is the file it would be drawn on; give another name")
    out.parent.mkdir(parents=True, exist_ok=True)
    painter = Painter(landmarks, row)
    if still:
        picture, data = frames.image(media).copy(), io.BytesIO()  # a copy: Pillow's own memory is not to be written to
        painter.paint(picture, 0)
        Image.fromarray(picture).save(data, "PNG" if out.suffix.lower() == ".png" else "JPEG", quality=92)
        store.write_bytes(out, data.getvalue())
        return
    part = out.with_name(f".{out.stem}.part.mp4")
    try:
        _film(media, painter, part, fps)
        part.replace(out)
    finally:
        store.unlink(part)


def _film(media: Path, painter: "Painter", out: Path, fps: float | None) -> None:
    import av

    video, last = frames.Video(str(media)), painter.landmarks.values.shape[1] - 1
    with av.open(str(out), "w") as container:
        about = {"rate": Fraction(painter.fps).limit_denominator(1001), "options": {"crf": "20", "preset": "veryfast"}}
        stream = container.add_stream("libx264", **about)
        stream.codec_context.time_base = Fraction(1, CLOCK)
        for number, (seconds, pixels) in enumerate(video):
            if number == 0:
                first = seconds
                stream.height, stream.width = (side // 2 * 2 for side in pixels.shape[:2])
                stream.pix_fmt = "yuv420p"
            elapsed = seconds - first  # pyright: ignore[reportPossiblyUnboundVariable] - set at the first frame
            painter.paint(pixels, min(round(elapsed * fps) if fps else number, last))
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(pixels[: stream.height, : stream.width]), format="rgb24"
            )
            frame.pts, frame.time_base = round(elapsed * CLOCK), Fraction(1, CLOCK)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


class Painter:
    """Draws the frames of one clip. landmarks: places in image units. row: of infer.files."""

    def __init__(self, landmarks: Landmarks, row: dict):
        self.landmarks, self.row, self.fps = landmarks, row, rate(landmarks)
        skeleton = layout(landmarks.layout)
        sides, face = skeleton.sides, skeleton.slices.get("face", slice(0, 0))
        self.strokes: dict[tuple[str, bool], list[tuple[int, int]]] = {}  # (side, whether fine) -> bones
        guessed = range(11) if face.stop and "pose" in skeleton.slices else range(0)  # of the head: the mesh shows it
        for a, b in (bone for bone in skeleton.bones if not set(bone) & set(guessed)):
            side = "" if sides[a] and sides[b] and sides[a] != sides[b] else sides[a] or sides[b]
            fine = all(face.start <= point < face.stop for point in (a, b))
            self.strokes.setdefault((side, fine), []).append((a, b))
        self.least = np.zeros(skeleton.points)
        for part in ("pose", "body"):
            self.least[skeleton.slices.get(part, slice(0, 0))] = SURE

    def paint(self, pixels: np.ndarray, index: int) -> None:
        """Draw on an RGB picture (H, W, 3) uint8 in place: the landmarks of frame `index`, and what is told there."""
        seconds = round(index / self.fps, 3)  # as segments count them, also where the video's own rate changes
        for person in range(len(self.landmarks.values)):
            self._bones(pixels, person, index)
        segments = self.row.get("segments")
        now = next((one for one in segments or () if one["start"] <= seconds < one["end"]), None)
        told = self.row if segments is None else now
        said, share = words.told(told) if told else ("", None)
        top = told["top"] if told and share is not None else []
        caption = said if now or share is None else ""
        height, width = pixels.shape[:2]
        size = max(11, round(min(height, width * 0.75) / 22))
        if top:
            panel = _panel(tuple(map(tuple, top[:MOST])), min(size * 11, width * 3 // 5), size)
            _put(pixels, panel, size // 2, size // 2)
        if caption:
            text = _caption(caption, width - size, round(size * 1.7))
            _put(pixels, text, (width - text.shape[1]) // 2, height - text.shape[0] - size)
        if segments:
            self._timeline(pixels, segments, seconds, max(4, size // 3))

    def _bones(self, pixels: np.ndarray, person: int, index: int) -> None:
        height, width = pixels.shape[:2]
        xy = self.landmarks.values[person, index, :, :2].astype(float) * [width, height]
        sure = np.nan_to_num(self.landmarks.visibility[person, index]) >= self.least
        shown = np.isfinite(xy).all(-1) & sure & (np.abs(np.nan_to_num(xy)) < 10 * (width + height)).all(-1)
        thick = max(1, round(min(height, width) / 200))
        whole = np.round(np.nan_to_num(xy) * 16).astype(np.int32)  # sixteenths of a pixel
        for dark in (True, False):  # an outline first, so that lines stand on any ground
            for (side, fine), bones in self.strokes.items():
                lines = [whole[[a, b]] for a, b in bones if shown[a] and shown[b]]
                if lines and not (dark and fine):
                    colour, width_of = (DARK, thick + 2) if dark else (COLOURS[side], 1 if fine else thick)
                    cv2.polylines(pixels, lines, False, colour, width_of, cv2.LINE_AA, 4)
        for side, fine in self.strokes:
            for point in {point for bone in self.strokes[side, fine] for point in bone if shown[point] and not fine}:
                cv2.circle(pixels, tuple(whole[point]), thick * 20, COLOURS[side], -1, cv2.LINE_AA, 4)

    def _timeline(self, pixels: np.ndarray, segments: list[dict], seconds: float, tall: int) -> None:
        """Along the lower edge: where the signs are, and where in the film this is."""
        height, width = pixels.shape[:2]
        scale = width * self.fps / self.landmarks.values.shape[1]
        cv2.rectangle(pixels, (0, height - tall), (width, height), DARK, -1)
        for one in segments:
            ends = (round(one["start"] * scale), height - tall), (round(one["end"] * scale) - 2, height)
            cv2.rectangle(pixels, *ends, COLOURS["left"], -1)
        here = round(seconds * scale)
        cv2.rectangle(pixels, (here - 1, height - 2 * tall), (here + 1, height), LIGHT, -1)


@lru_cache(maxsize=8)  # shown for many frames, one after the other
def _panel(top: tuple[tuple[str, float], ...], width: int, size: int) -> np.ndarray:
    """(h, w, 4) of the likeliest glosses, each on a bar as long as its probability."""
    tall, pad = round(size * 1.6), size // 3
    panel = Image.new("RGBA", (width, tall * len(top) + pad), (*DARK, 170))
    draw = ImageDraw.Draw(panel)
    for i, (gloss, share) in enumerate(top):
        y = pad + i * tall
        draw.rectangle((pad, y, pad + round((width - 2 * pad) * share), y + tall - pad), fill=(*BAR, 235))
        number = f"{share:.0%}"
        font = _font(number, size)
        draw.text((width - 2 * pad, y + (tall - pad) / 2), number, LIGHT, font, "rm")
        room = width - 5 * pad - font.getlength(number)
        name, font = _fitted(gloss, size, room)
        draw.text((2 * pad, y + (tall - pad) / 2), name, LIGHT, font, "lm")
    return np.asarray(panel)


@lru_cache(maxsize=8)
def _caption(caption: str, width: int, size: int) -> np.ndarray:
    """(h, w, 4) of a line of text."""
    text, font = _fitted(caption, size, width - size)
    panel = Image.new("RGBA", (round(font.getlength(text)) + size, round(size * 1.5)), (*DARK, 190))
    ImageDraw.Draw(panel).text((panel.width / 2, panel.height / 2), text, LIGHT, font, "mm")
    return np.asarray(panel)


def _put(pixels: np.ndarray, panel: np.ndarray, x: int, y: int) -> None:
    """Lay a picture with transparency (h, w, 4) over another, as far as it has room."""
    x, y = max(x, 0), max(y, 0)
    under = pixels[y : y + panel.shape[0], x : x + panel.shape[1]]
    over = panel[: under.shape[0], : under.shape[1]].astype(np.uint16)
    alpha = over[..., 3:]
    under[:] = (under * (255 - alpha) + over[..., :3] * alpha) // 255


def _font(text: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_file(text), size)


def _fitted(text: str, size: int, room: float) -> tuple[str, ImageFont.FreeTypeFont]:
    """The text, smaller or cut where it needs more than `room` pixels, and its font."""
    font = _font(text, size)
    if font.getlength(text) > room:
        font = _font(text, max(9, size * 2 // 3))
    while font.getlength(text) > room and len(text) > 2:
        text = text[:-2] + "…"
    return text, font
