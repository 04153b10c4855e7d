"""The landmarker on made pictures and, where there are any, on real recordings."""

import csv
import os

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from test_extract_frames import write

from raysign import config
from raysign.errors import ClipError, ModelFileError
from raysign.extract import landmarker, models
from raysign.schema import ClipRef
from raysign.skeleton import LAYOUTS

PARTS = LAYOUTS["holistic_543"].slices
OPTIONS = config.Extract()  # pyright: ignore[reportCallIssue]


@pytest.fixture(scope="module")
def reader():
    try:
        with landmarker.Landmarker(OPTIONS) as opened:
            yield opened
    except ModelFileError as error:
        pytest.skip(f"no model files: {error}")


def ref(path, **cut) -> ClipRef:
    return ClipRef(str(path), str(path), "", **cut)


def shares(found) -> dict[str, float]:
    return {
        part: float(np.isfinite(found.values[0, :, points, 0]).all(axis=1).mean()) for part, points in PARTS.items()
    }


@pytest.mark.parametrize("shape", [(100, 100), (30, 80), (400, 300)])
def test_points_found_on_an_enlarged_and_padded_image_map_back(shape):
    pixels = np.zeros((*shape, 3), np.uint8)
    canvas, back = landmarker.padded(pixels, 256, 0.25)
    assert max(canvas.shape) >= 256
    scale = max(1.0, 256 / max(shape))
    border = (canvas.shape[1] - round(shape[1] * scale)) / 2
    x = (border + 0.25 * round(shape[1] * scale)) / canvas.shape[1]
    middle = back(np.array([[0.5, 0.5, 0.0], [x, 0.5, 1.0]], np.float32))
    assert middle[0] == pytest.approx([0.5, 0.5, 0.0], abs=1e-5)
    assert middle[1, :2] == pytest.approx([0.25, 0.5], abs=1e-5)
    assert middle[1, 2] == pytest.approx(canvas.shape[1] / round(shape[1] * scale))  # z is in units of the width


@pytest.mark.models
def test_a_video_without_a_person_is_a_clip_error_and_quiet(reader, tmp_path, capfd):
    with pytest.raises(ClipError, match="no person or hand found in 4 frames"):
        reader.read(ref(write(tmp_path / "a.mp4", 4)))
    assert capfd.readouterr().err == ""


@pytest.mark.models
def test_an_image_without_a_hand_is_a_clip_error(reader, tmp_path):
    Image.new("RGB", (100, 100), "gray").save(tmp_path / "a.png")
    with pytest.raises(ClipError, match="no person or hand found in 1 frames"):
        reader.read(ref(tmp_path / "a.png"))


def test_a_file_that_is_not_there_is_a_clip_error(tmp_path):
    with pytest.raises(ClipError, match="no such file"):
        landmarker.Landmarker(OPTIONS, (tmp_path / "any",) * 2).read(ref(tmp_path / "none.mp4"))


@pytest.mark.models
def test_the_fingerprint_changes_with_what_changes_the_landmarks(reader):
    same = landmarker.fingerprint(OPTIONS)
    assert landmarker.fingerprint(config.Extract(workers=7), reader.bundles) == same  # pyright: ignore[reportCallIssue]
    for other in ({"fps": 10}, {"detection_confidence": 0.3}, {"tracking_confidence": 0.3}):
        assert landmarker.fingerprint(OPTIONS.model_copy(update=other)) != same


def test_the_fingerprint_changes_with_either_bundle(tmp_path):
    bundles = tmp_path / "a.task", tmp_path / "b.task"
    for bundle in bundles:
        bundle.write_bytes(b"model")
    known = {landmarker.fingerprint(OPTIONS, bundles)}
    for bundle in bundles:
        bundle.write_bytes(b"another")
        known.add(landmarker.fingerprint(OPTIONS, bundles))
    assert len(known) == 3


@pytest.mark.models
@pytest.mark.usefixtures("reader")
def test_a_machine_with_another_model_than_the_drivers_is_refused():
    with pytest.raises(ModelFileError, match="expected the driver's 123"):
        landmarker.reader(OPTIONS, "123")


def test_workers_of_one_machine_take_a_cpu_each():
    taken = [landmarker.free_cpu() for _ in range((os.cpu_count() or 1) + 1)]
    free = [cpu for cpu in taken if cpu is not None]
    assert len(set(free)) == len(free)
    assert taken[-1] is None
    while landmarker._LOCKS:
        landmarker._LOCKS.pop().close()


# ---------------------------------------------------------------- real recordings


@pytest.mark.models
@pytest.mark.real_data
def test_no_track_leaks_from_one_clip_into_the_next(reader, real_data):
    video = real_data / "fsl_videos_mit" / "Basic_Greetings" / "Hello.mp4"
    clip = ref(video, first_frame=1, last_frame=12)
    alone = reader.read(clip)
    reader.read(ref(video, first_frame=100, last_frame=110))
    again = reader.read(clip)
    np.testing.assert_array_equal(alone.values, again.values)
    assert shares(alone)["pose"] == shares(alone)["face"] == 1
    assert (alone.width, alone.height, alone.fps) == (720, 480, 30)


@pytest.mark.models
@pytest.mark.real_data
def test_a_width_that_the_decoder_pads_is_seen_as_well_as_any(reader, real_data):
    found = shares(reader.read(ref(real_data / "pose_format" / "test_video.mp4", first_frame=1, last_frame=30)))
    assert found["pose"] == found["face"] == 1
    assert found["right_hand"] > 0.3


@pytest.mark.models
@pytest.mark.real_data
def test_small_hand_photos_are_seen_after_enlarging(reader, real_data):
    photos = sorted((real_data / "digits_images").rglob("*.JPG"))[::12]
    seen = 0
    for photo in photos:
        hands = reader.read(ref(photo)).values[0, 0, PARTS["left_hand"].start :, :2]
        points = hands[np.isfinite(hands[:, 0])]
        assert not len(points) or (np.abs(points - 0.5) < 0.9).all()
        seen += len(points) > 0
    assert seen >= 0.9 * len(photos)


@pytest.mark.models
@pytest.mark.real_data
def test_an_images_landmarks_do_not_depend_on_the_images_before(reader, real_data):
    first, second = sorted((real_data / "silfa_images").rglob("*.jpg"))[:2]
    alone = reader.read(ref(second)).values
    reader.read(ref(first))
    np.testing.assert_array_equal(reader.read(ref(second)).values, alone)


@pytest.mark.models
@pytest.mark.real_data
def test_points_agree_with_those_that_others_published_for_the_same_photos(reader, real_data):
    published = _published(real_data / "silfa_gislr_letters")
    distances = {part: [] for part in PARTS}
    for photo in sorted((real_data / "silfa_images").rglob("*.jpg")):
        others = published.get(photo.parent.name)
        if others is None:
            continue
        points = reader.read(ref(photo)).values[0, 0]
        apart = np.abs(others[:, :, :2] - points[None, :, :2])
        nearest = int(np.nanmean(apart[:, PARTS["pose"]], axis=(1, 2)).argmin())  # the set holds frames around it too
        for part, where in PARTS.items():
            distances[part].append(apart[nearest, where].mean())
    middle = {part: float(np.nanmedian(found)) for part, found in distances.items()}
    assert max(middle.values()) < 0.005, middle  # image units; measured: 0.0005 to 0.003


def _published(folder) -> dict[str, np.ndarray]:
    """Letter -> (clips, 543, 3) of a set of one-frame clips in the asl-signs layout."""
    found: dict[str, list] = {}
    for row in csv.DictReader((folder / "train.csv").read_text().splitlines()):
        table = pq.read_table(folder / row["path"]).to_pydict()
        points = {}
        for kind, index, *xyz in zip(*(table[c] for c in ("type", "landmark_index", "x", "y", "z")), strict=True):
            points[kind, index] = [np.nan if value is None else value for value in xyz]
        order = [(part, index) for part, where in PARTS.items() for index in range(where.stop - where.start)]
        found.setdefault(row["sign"].upper(), []).append([points[key] for key in order])
    return {sign: np.array(clips, np.float32) for sign, clips in found.items()}


def test_models_are_looked_up_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIGN_CACHE", str(tmp_path))
    assert models.directory() == tmp_path / "models"
