"""What is signed in front of a camera; of the camera itself only that there is none."""

import av
import numpy as np
import pytest
from made_bundles import settings
from made_talks import talk

from raysign.errors import ConfigError
from raysign.extract import frames
from raysign.infer import camera
from raysign.infer.files import Wanted
from raysign.infer.predictor import Predictor
from raysign.sources import synthetic


def test_a_number_is_a_camera_and_a_file_of_that_name_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from pathlib import Path

    assert camera.device([Path("0")]) == "0"
    assert camera.device([Path("/dev/video3")]) == "/dev/video3"
    assert camera.device([Path("a.mp4"), Path("b.mp4")]) is None
    with pytest.raises(ConfigError, match="one camera or files"):
        camera.device([Path("0"), Path("a.mp4")])
    Path("0").mkdir()
    assert camera.device([Path("0")]) is None


def test_a_camera_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"/dev/video97: no camera to be had"):
        camera.opened("97")


def test_a_device_is_looked_through_for_as_long_as_is_said():
    with av.open("testsrc=size=64x48:rate=10:duration=3", format="lavfi") as container:
        found = list(camera.frames_of(container, 1.5))
    assert [time for time, _ in found] == pytest.approx(np.arange(15) / 10)
    assert {pixels.shape for _, pixels in found} == {(48, 64, 3)}


def test_a_pause_comes_after_each_sign_and_not_within_one():
    source = settings().source
    signs = [synthetic.read(ref, source) for ref in synthetic.clips(source)[:4]]
    clip, truth = talk(signs, [1.0, 1.2, 1.2, 1.2, 1.5])
    wide = np.full((clip.values.shape[1], 543, 4), np.nan, np.float32)
    places = [*range(33), *range(501, 543)]  # the same body without a face
    wide[:, places, :3], wide[:, places, 3] = clip.values[0], clip.visibility[0]
    held, ends = [], []
    for i, points in enumerate(wide):
        held.append((i / clip.fps, points))
        if i % 15 == 14 and (stop := camera._pause(held, (1280, 720))):
            if camera.activity.stretches(camera._clip(held, (1280, 720))):
                ends.append(held[stop - 1][0])
            held = held[stop:]
    assert len(ends) == len(truth)
    assert all(abs(end - stop) < 0.3 for end, (_, stop) in zip(ends, truth, strict=True))


@pytest.mark.real_data
@pytest.mark.models
def test_signing_in_a_video_is_told_as_if_before_a_camera(bundle, real_data):
    video = frames.Video(str(real_data / "fsl_videos_mit" / "Basic_Greetings" / "Hello.mp4"), end=6.1)
    (row,) = camera.answers(Predictor(bundle), video, "0", Wanted(3))
    assert row["clip"] == "camera 0" and row["error"] is None
    (sign,) = row["segments"]
    assert 1.5 < sign["start"] < 2.6 and 3.0 < sign["end"] < 4.5 and len(sign["top"]) == 3
