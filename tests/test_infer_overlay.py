"""Answers drawn on videos and images."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from raysign.errors import ConfigError
from raysign.extract import frames
from raysign.infer import overlay
from raysign.schema import Landmarks

TOP = [("hello", 0.75), ("thanks", 0.2), ("ñandú, 手話", 0.05)]
GREY = 120


def film(path: Path, size=(321, 241), count=20, fps=25, times=None) -> Path:
    """A grey video; an odd size is kept, as some cameras do."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4" if size[0] % 2 == 0 else "ffv1", rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p" if size[0] % 2 == 0 else "bgr0"
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), GREY, np.uint8), format="rgb24")
            if times:
                frame.pts = times[i]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def seen(count=20, layout="holistic_75") -> Landmarks:
    """Somebody in the middle of the picture."""
    values = np.random.default_rng(0).uniform(0.4, 0.8, (1, count, 75, 3)).astype(np.float32)
    return Landmarks(values, np.ones_like(values[..., 0]), layout, 25.0, 320, 240)


def pictures(path: Path) -> list[tuple[float, np.ndarray]]:
    return list(frames.Video(str(path)))


def row(**more) -> dict:
    return {"file": "a", "clip": "a", "top": TOP, "error": None, **more}


@pytest.mark.parametrize("size", [(320, 240), (321, 241)])
def test_a_film_has_the_videos_rate_and_frames_and_even_sides(tmp_path, size):
    video = film(tmp_path / "a.mkv", size)
    overlay.write(video, seen(), row(), tmp_path / "out" / "b.mp4")
    before, after = pictures(video), pictures(tmp_path / "out" / "b.mp4")
    assert [time for time, _ in after] == pytest.approx([time for time, _ in before], abs=1e-3)
    assert after[0][1].shape == (240, 320, 3)
    middle = slice(100, 190)
    assert all((np.abs(pixels[middle, middle].astype(int) - GREY) > 40).mean() > 0.02 for _, pixels in after)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b.mp4"]


def test_what_is_not_seen_is_not_drawn_and_an_answer_is():
    picture = np.full((240, 320, 3), GREY, np.uint8)
    values = np.full((1, 1, 75, 4), np.nan, np.float32)
    nobody = Landmarks(values[..., :3], values[..., 3], "holistic_75")
    overlay.Painter(nobody, row(top=[])).paint(picture, 0)
    assert (picture == GREY).all()
    overlay.Painter(nobody, row()).paint(picture, 0)
    changed = (picture != GREY).any(-1)
    assert changed[:80].any() and not changed[150:].any()


def test_a_bar_is_as_long_as_its_probability():
    def blue(share):
        picture = np.full((480, 640, 3), GREY, np.uint8)
        overlay.Painter(seen(1), row(top=[("", share)])).paint(picture, 0)
        line = picture[18].astype(int)  # above the number
        return int((line[:, 2] - line[:, 0] > 80).sum())

    lengths = [blue(share) for share in (0.2, 0.4, 0.8)]
    assert lengths[1] == pytest.approx(2 * lengths[0], abs=3) and lengths[2] == pytest.approx(4 * lengths[0], abs=5)


def test_of_several_signs_each_is_told_in_its_time(tmp_path):
    signs = [{"start": 0.0, "end": 0.3, "gloss": "hello", "confidence": 0.9, "top": TOP},
             {"start": 0.6, "end": 0.8, "gloss": "thanks", "confidence": 0.9, "top": TOP}]  # fmt: skip
    video = film(tmp_path / "a.mp4", (320, 240))
    overlay.write(video, seen(), row(top=[], segments=signs), tmp_path / "b.mp4")
    corners = [pixels[10:40, 10:90].astype(int) for _, pixels in pictures(tmp_path / "b.mp4")]
    panel = [(np.abs(corner - GREY) > 40).mean() for corner in corners]
    assert min(panel[1:7]) > 0.5 and min(panel[16:]) > 0.5
    assert max(panel[8:14]) < 0.2


def test_signs_are_told_over_their_own_frames_where_the_rate_changes(tmp_path):
    times = [*range(10), *range(12, 32, 2)]  # the second half at half the rate; segments count frames
    video = film(tmp_path / "a.mkv", (320, 240), times=times)
    row_of = row(top=[], segments=[{"start": 0.6, "end": 0.68, "gloss": "hello", "confidence": 0.9, "top": TOP}])
    overlay.write(video, seen(), row_of, tmp_path / "b.mp4")
    corners = [pixels[10:40, 10:90].astype(int) for _, pixels in pictures(tmp_path / "b.mp4")]
    shown = [(np.abs(corner - GREY) > 40).mean() > 0.5 for corner in corners]
    assert [i for i, panel in enumerate(shown) if panel] == [15, 16]


def test_landmarks_of_another_rate_follow_the_videos_time(tmp_path):
    video, slow = film(tmp_path / "a.mp4", (320, 240), count=20), seen(4)  # four of 5 a second in 0.8 s
    slow.values[0, :2] = np.nan
    overlay.write(video, slow, row(top=[]), tmp_path / "b.mp4", fps=5.0)
    drawn = [bool((np.abs(pixels.astype(int) - GREY) > 60).any()) for _, pixels in pictures(tmp_path / "b.mp4")]
    assert drawn == [round(i / 25 * 5) >= 2 for i in range(20)]


def test_an_image_is_drawn_on_and_stays_what_it_was(tmp_path):
    Image.fromarray(np.full((240, 320, 3), GREY, np.uint8)).save(tmp_path / "a.png")
    overlay.write(tmp_path / "a.png", seen(1), row(), tmp_path / "b.jpg")
    before, after = (frames.image(tmp_path / name) for name in ("a.png", "b.jpg"))
    assert (before == GREY).all() and after.shape == before.shape
    assert (np.abs(after.astype(int) - GREY) > 40).mean() > 0.05


def test_what_cannot_be_drawn_is_refused(tmp_path):
    video = film(tmp_path / "a.mp4", (320, 240), count=3)
    with pytest.raises(ConfigError, match="the file it would be drawn on"):
        overlay.write(video, seen(), row(), video)
    with pytest.raises(ConfigError, match="is a video"):
        overlay.write(video, seen(), row(), tmp_path / "a.png")
    with pytest.raises(ConfigError, match="a folder"):
        overlay.checked(tmp_path / "b.mp4", [video, video])
    with pytest.raises(ConfigError, match=r"\.mp4"):
        overlay.checked(tmp_path / "b.avi", [video])


def test_pictures_of_several_files_lie_in_a_folder_each_by_its_name():
    root = Path("videos")
    places = [
        overlay.place(Path("out"), root / name, root.absolute()) for name in ("x/a.mp4", "x/a.mov", "a.jpg", "b.bmp")
    ]
    assert places == [Path("out") / name for name in ("x/a.mp4", "x/a.mov.mp4", "a.jpg", "b.bmp.png")]
