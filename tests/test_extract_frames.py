"""Decoding: upright, timed as recorded, cut and resampled as asked, and never more than what could be read."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from raysign.errors import ClipError, LimitError
from raysign.extract.frames import Limits, Video, image, resampled

BLUE, RATE = 2, 30


def write(
    path: Path, frames: int = 30, size=(64, 48), codec="libx264", pixels="yuv420p", turn=None, times=None, told=RATE
) -> Path:
    """A video whose upper left quarter is blue and whose frame k has a lower half of grey 2 k."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=told)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = *size, pixels, 10
        if codec == "libx264":
            stream.options = {"qp": "4"}
        stream.codec_context.time_base = Fraction(1, 1000)
        if turn:
            stream.set_display_rotation(turn)
        for number in range(frames):
            picture = np.zeros((size[1], size[0], 3), np.uint8)
            picture[: size[1] // 2, : size[0] // 2, BLUE] = 255
            picture[size[1] // 2 :] = min(2 * number, 255)
            frame: Any = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base = Fraction(1, 1000)
            frame.pts = times[number] if times else round(number * 1000 / RATE)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def numbers(video: Video) -> list[int]:
    """Which frames came out, read from their grey."""
    return [round((float(pixels[-8:].mean()) + 0.5) / 2) for _, pixels in video]


def corner(pixels: np.ndarray) -> tuple[str, str]:
    """Where the blue quarter is."""
    height, width = pixels.shape[:2]
    blue = pixels[..., BLUE].astype(int) - pixels[..., 0]
    rows, columns = np.nonzero(blue > 128)
    return ("top" if rows.mean() < height / 2 else "bottom"), ("left" if columns.mean() < width / 2 else "right")


@pytest.mark.parametrize(
    ("turn", "place", "shape"),
    [
        (None, ("top", "left"), (48, 64, 3)),
        (90, ("bottom", "left"), (64, 48, 3)),
        (180, ("bottom", "right"), (48, 64, 3)),
        (-90, ("top", "right"), (64, 48, 3)),
    ],
)
def test_frames_are_turned_upright(tmp_path, turn, place, shape):
    _, pixels = next(iter(Video(str(write(tmp_path / "a.mp4", 3, turn=turn)))))
    assert pixels.shape == shape
    assert corner(pixels) == place


def test_rows_padded_by_the_decoder_come_out_contiguous(tmp_path):
    for width in (54, 64, 90):
        _, pixels = next(iter(Video(str(write(tmp_path / f"{width}.mp4", 2, size=(width, 48))))))
        assert pixels.flags.c_contiguous
        assert pixels.shape == (48, width, 3)


def test_a_variable_frame_rate_keeps_its_true_times(tmp_path):
    times = [0, 40, 50, 200, 210, 500]
    video = Video(str(write(tmp_path / "a.mp4", len(times), times=times)))
    assert [round(seconds * 1000) for seconds, _ in video] == times


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "avi"])
@pytest.mark.parametrize(
    ("start", "end", "first", "last"), [(0, 0.5, 0, 15), (0.5, 1.0, 15, 30), (2.5, 2.9, 75, 87), (2.9, None, 87, 90)]
)
def test_a_cut_in_seconds_holds_its_frames_and_no_other(tmp_path, suffix, start, end, first, last):
    path = write(tmp_path / f"a.{suffix}", 90, codec="mpeg4" if suffix == "avi" else "libx264")
    video = Video(str(path), start, end)
    assert numbers(video) == pytest.approx(list(range(first, last)), abs=3 if suffix == "avi" else 0)
    assert video.note == ""


def test_a_cut_in_frames_counts_from_one_and_holds_both_ends(tmp_path):
    path = str(write(tmp_path / "a.mp4", 30))
    assert numbers(Video(path, first=1, last=3)) == [0, 1, 2]
    assert numbers(Video(path, first=29)) == [28, 29]


@pytest.mark.parametrize(("told", "frames", "fps"), [(1000, 40, RATE), (RATE, 40, RATE), (1000, 1, 1000)])
def test_a_file_that_tells_another_rate_than_its_frames_have_is_not_believed(tmp_path, told, frames, fps):
    video = Video(str(write(tmp_path / "browser.webm", frames, codec="libvpx", told=told)))
    assert len(list(video)) == frames
    assert video.fps == pytest.approx(fps, rel=0.01)


@pytest.mark.parametrize("fps", [7, 15, 29.97, 30, 60])
def test_resampling_gives_as_many_frames_as_the_time_holds_and_each_the_nearest(tmp_path, fps):
    path = str(write(tmp_path / "a.mp4", 30))
    found = list(Video(path, fps=fps))
    assert len(found) == round(fps)
    assert [seconds for seconds, _ in found] == pytest.approx([k / fps for k in range(len(found))])
    nearest = [min(range(30), key=lambda n, k=k: abs(n / RATE - k / fps)) for k in range(len(found))]
    assert np.abs(np.array(numbers(Video(path, fps=fps))) - nearest).max() <= (1 if fps == 60 else 0)


def test_resampling_to_the_own_rate_changes_nothing():
    frames = [(k / 25, k) for k in range(40)]
    assert list(resampled(iter(frames), 25, 0.04)) == frames


def test_one_frame_resampled_is_one_frame():
    assert list(resampled(iter([(3.0, "x")]), 30, 1 / 30)) == [(0.0, "x")]


def test_a_torn_file_gives_the_frames_before_the_tear(tmp_path):
    whole = write(tmp_path / "a.mkv", 90, size=(320, 240))
    torn = tmp_path / "torn.mkv"
    torn.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    video = Video(str(torn))
    kept = numbers(video)
    assert 20 < len(kept) < 90
    assert kept == numbers(Video(str(whole)))[: len(kept)]


def test_a_torn_mp4_with_its_index_in_front_notes_how_much_is_missing(tmp_path):
    path = tmp_path / "a.mp4"
    write(path, 90, size=(320, 240))
    front = tmp_path / "front.mp4"
    with av.open(str(path)) as source, av.open(str(front), "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    front.write_bytes(front.read_bytes()[: front.stat().st_size * 2 // 3])
    video = Video(str(front))
    kept = len(list(video))
    assert 20 < kept < 90
    assert video.note == f"damaged: {kept} of 90 frames could be read"


@pytest.mark.parametrize("cut", [{}, {"end": 2.5}, {"last": 75}, {"fps": 15, "end": 2.5}])
def test_broken_bytes_in_the_middle_cost_frames_but_not_the_clip_which_says_so(tmp_path, cut):
    path = write(tmp_path / "a.mp4", 90, size=(320, 240))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    path.write_bytes(data)
    video = Video(str(path), **cut)
    assert len(list(video)) > 30
    assert video.note.startswith("damaged: ")


@pytest.mark.parametrize(
    ("codec", "pixels"),
    [("libx265", "yuv420p10le"), ("libx264", "gray"), ("libvpx-vp9", "yuva420p"), ("mpeg4", "yuv420p")],
)
def test_ten_bits_grey_and_alpha_come_out_as_plain_rgb(tmp_path, codec, pixels):
    name = "名前 ö.webm" if codec == "libvpx-vp9" else "名前 ö.mp4"
    frames = [frame for _, frame in Video(str(write(tmp_path / name, 5, codec=codec, pixels=pixels)))]
    assert len(frames) == 5
    assert {frame.shape for frame in frames} == {(48, 64, 3)}
    assert {frame.dtype for frame in frames} == {np.dtype(np.uint8)}


@pytest.mark.parametrize("content", [b"", b"this is no video", bytes(5000)])
def test_what_is_no_video_is_a_clip_error_naming_the_file(tmp_path, content):
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(ClipError, match=r"a\.mp4: .*"):
        list(Video(str(path)))


def test_a_playlist_named_like_a_video_opens_no_other_file(tmp_path):
    other = write(tmp_path / "other.ts", 30)
    playlist = tmp_path / "a.mp4"
    playlist.write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/{other.name}\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(ClipError):
        list(Video(str(playlist)))


def test_a_cut_beyond_the_end_is_a_clip_error(tmp_path):
    with pytest.raises(ClipError, match="no frames in this cut"):
        list(Video(str(write(tmp_path / "a.mp4", 30)), start=10.0, end=11.0))


def test_memory_does_not_grow_with_the_length_of_a_video(tmp_path):
    code = (
        "import resource, sys; from raysign.extract.frames import Video\n"
        "n = sum(1 for _ in Video(sys.argv[1])); print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for frames in (40, 400):
        path = write(tmp_path / f"{frames}.mp4", frames, size=(640, 360))
        told = subprocess.run(
            [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
        ).stdout.split()
        assert int(told[0]) == frames
        peaks.append(int(told[1]))
    assert peaks[1] < peaks[0] + 10_000  # KiB; 360 frames more would be 250 MB


# ---------------------------------------------------------------- images


def test_an_image_is_turned_as_its_exif_says(tmp_path):
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:24, :32, BLUE] = 255
    exif = Image.Exif()
    exif[274] = 6  # turn a quarter clockwise
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert image(tmp_path / "a.jpg").shape == (64, 48, 3)
    assert corner(image(tmp_path / "a.jpg")) == ("top", "right")


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK", "I;16"])
def test_images_of_every_mode_come_out_as_rgb(tmp_path, mode):
    grey = np.full((20, 30), 200, np.uint8)
    made = Image.fromarray(grey.astype(np.uint16) << 8) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    made.save(path)
    pixels = image(path)
    assert pixels.shape == (20, 30, 3)
    assert mode == "1" or abs(int(pixels[5, 5, 0]) - 200) < 4


def test_a_transparent_image_lies_on_white(tmp_path):
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert (image(tmp_path / "a.png") == 255).all()


def test_what_is_no_image_is_a_clip_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"nothing of the sort")
    with pytest.raises(ClipError, match="not readable as an image"):
        image(tmp_path / "a.png")


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(pixels=3000), "found 64x48 pixels or more, expected at most 3000 pixels"),
        (Limits(seconds=0.5), r"found 1\S* seconds or more, expected at most 0.5 seconds"),
        (Limits(frames=10), "found 11 frames or more, expected at most 10 frames"),
    ],
)
def test_a_video_beyond_a_limit_is_refused(tmp_path, limits, said):
    with pytest.raises(LimitError, match=said):
        list(Video(str(write(tmp_path / "a.mp4")), limits=limits))
    assert len(list(Video(str(tmp_path / "a.mp4"), limits=Limits(64 * 48, 30, 1.1)))) == 30


def test_a_cut_within_a_limit_may_be_of_a_longer_video(tmp_path):
    video = Video(str(write(tmp_path / "a.mp4")), start=0.2, end=0.6, limits=Limits(seconds=0.5))
    assert len(list(video)) == 12


def test_an_image_beyond_a_limit_is_refused_before_it_is_decoded(tmp_path):
    Image.new("RGB", (640, 480)).save(tmp_path / "a.png")
    torn = tmp_path / "torn.png"
    torn.write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(LimitError, match="640x480"):
        image(torn, Limits(pixels=1000))
    assert image(tmp_path / "a.png", Limits(pixels=640 * 480)).shape == (480, 640, 3)
