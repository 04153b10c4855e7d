"""Model bundles: found, fetched and assembled, and never used when a byte is not as pinned."""

import hashlib
import io
import zipfile

import pytest

from raysign.errors import ModelFileError
from raysign.extract import assemble, models


def test_every_pinned_file_has_a_whole_sha256():
    known = models.pinned()
    digests = [known["wheel"]["sha256"], *known["models"].values()]
    digests += [bundle[way]["sha256"] for bundle in known["bundles"].values() for way in ("store", "assembled")]
    assert all(len(bytes.fromhex(digest)) == 32 for digest in digests)
    sources = {source for bundle in known["bundles"].values() for source in bundle["members"].values() if source}
    assert sources == set(known["models"])


def test_a_bundle_is_the_same_bytes_each_time_and_uncompressed():
    members = {"b.tflite": b"two", "a.tflite": bytes(1000)}
    first = assemble.bundle(members)
    assert first == assemble.bundle(members)
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.namelist() == ["b.tflite", "a.tflite"]
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())


def test_the_stub_is_a_model_that_takes_metadata():
    stub = assemble.blendshapes_stub()
    assert stub[4:8] == b"TFL3"
    assert hashlib.sha256(stub).hexdigest() == "394e2cb42a9fb59d6b6539d6f63b43fd26ac0f46abb2d0dc6c5103d8e31c7a4b"
    assert b"TFLITE_METADATA" in assemble.with_unit_scaling(stub)


def test_a_wheel_with_other_models_is_not_used():
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for source in models.pinned()["models"]:
            archive.writestr(f"mediapipe/modules/{source}", b"another model")
    with zipfile.ZipFile(memory) as archive, pytest.raises(ModelFileError, match="not used"):
        models.assembled("hand", archive)


def test_a_foreign_file_in_the_cache_is_told_and_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIGN_CACHE", str(tmp_path))
    place = tmp_path / "models" / "hand_landmarker.task"
    place.parent.mkdir()
    place.write_bytes(b"something else")
    rows = {row["name"]: row for row in models.table()}
    assert rows["hand"]["state"] == "not trusted"
    assert rows["pose"]["state"] == "not fetched"
    assert str(place) in models.render(models.table())
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # neither the store nor any index can be reached
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(
        ModelFileError, match=r"model bundle hand: the model store cannot be reached .* or beside extract\.model"
    ):
        models.fetch("hand")


def test_an_explicit_file_must_be_a_bundle_and_the_one_that_was_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "my.task"
    with pytest.raises(ModelFileError, match="give an existing file"):
        models.find(path)
    path.write_bytes(b"no zip")
    with pytest.raises(ModelFileError, match="not a whole MediaPipe bundle"):
        models.find(path)
    path.write_bytes(assemble.bundle({"a.tflite": b""}))
    with pytest.raises(ModelFileError, match="in it; give a holistic_landmarker"):
        models.find(path)
    path.write_bytes(assemble.bundle(dict.fromkeys(models.pinned()["bundles"]["holistic"]["members"], b"")))
    assert models.find(path) == path
    monkeypatch.setenv("RAYSIGN_MODEL_SHA256", "0" * 64)
    with pytest.raises(ModelFileError, match="expected 0000"):
        models.find(path)


def made_bundle(path, name):
    path.write_bytes(assemble.bundle(dict.fromkeys(models.pinned()["bundles"][name]["members"], b"model")))
    return path


def test_a_bundle_with_a_damaged_member_is_refused(tmp_path):
    path = made_bundle(tmp_path / "my.task", "holistic")
    path.write_bytes(path.read_bytes().replace(b"model", b"mudel", 1))
    with pytest.raises(ModelFileError, match=r"not a whole MediaPipe bundle .*CRC"):
        models.find(path)


def test_the_hand_bundle_beside_a_named_one_is_used_and_must_be_one(tmp_path, monkeypatch):
    holistic = made_bundle(tmp_path / "my.task", "holistic")
    hand = made_bundle(tmp_path / "hand_landmarker.task", "hand")
    monkeypatch.setenv("RAYSIGN_MODEL_SHA256", models.sha256(holistic))
    assert models.pair(holistic) == (holistic, hand)
    hand.write_bytes(holistic.read_bytes())
    with pytest.raises(ModelFileError, match="in it; give a hand_landmarker"):
        models.pair(holistic)


@pytest.mark.models
def test_the_face_model_of_468_points_is_mended_wherever_it_comes_from(tmp_path, monkeypatch):
    try:
        wheel = models._download_wheel(tmp_path)
    except ModelFileError as error:
        pytest.skip(f"no model files: {error}")
    members = dict.fromkeys(models.pinned()["bundles"]["holistic"]["members"], b"")
    with zipfile.ZipFile(wheel) as archive:
        members["face_landmarks_detector.tflite"] = archive.read("mediapipe/modules/face_landmark/face_landmark.tflite")
    path = tmp_path / "my.task"
    path.write_bytes(assemble.bundle(members))
    monkeypatch.setenv("RAYSIGN_CACHE", str(tmp_path))
    mended = models.find(path)
    assert mended != path
    with zipfile.ZipFile(mended) as archive:
        assert b"points_478" in archive.read("face_landmarks_detector.tflite")


def test_an_unknown_bundle_is_answered_with_the_nearest():
    with pytest.raises(ModelFileError, match="did you mean 'holistic'"):
        models.fetch("holstic")


@pytest.mark.models
def test_fetched_bundles_are_as_pinned():
    for name in models.pinned()["bundles"]:
        try:
            path = models.fetch(name)
        except ModelFileError as error:
            pytest.skip(f"no model files: {error}")
        assert {row["name"]: row["state"] for row in models.table()}[name] in ("from the store", "assembled")
        assert models.find(path, name) == path
