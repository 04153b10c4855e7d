"""Files of every kind to answers."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_bundles import CHANNELS, LABELS, SKELETON, settings

from raysign import schema, store
from raysign.errors import RaysignError
from raysign.extract import index
from raysign.infer.files import Reader, predict
from raysign.infer.predictor import Predictor, top
from raysign.learn import bundle as bundles
from raysign.learn.labels import Labels
from raysign.learn.recogniser import build
from raysign.skeleton import layout
from raysign.sources import synthetic


def landmark_file(path, landmarks):
    """The landmarks of one clip as a file of one row for each landmark of each frame."""
    rows = [
        {"type": part, "landmark_index": i, "frame": t, **dict(zip("xyz", landmarks.values[0, t, place], strict=True))}
        for t in range(landmarks.values.shape[1])
        for part, where in layout(landmarks.layout).slices.items()
        for i, place in enumerate(range(where.start, where.stop))
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def a_file(tmp_path):
    source = settings().source
    return landmark_file(tmp_path / "one" / "clip.parquet", synthetic.read(synthetic.clips(source)[4], source))


def test_a_landmark_file_is_recognised(bundle_dir, a_file):
    (row,) = predict(bundle_dir, [a_file])
    assert row["error"] is None
    assert row["file"] == str(a_file)
    assert sorted(name for name, _ in row["top"]) == LABELS
    assert sum(share for _, share in row["top"]) == pytest.approx(1)
    assert json.loads(json.dumps(row))["clip"] == row["clip"]


def test_a_shard_gives_an_answer_for_each_clip_and_the_reason_of_each_bad_one(bundle, bundle_dir, landmarks_dir):
    source = settings().source
    rows = list(predict(bundle_dir, [landmarks_dir / "shard-1.parquet"]))
    refs = synthetic.clips(source)[7:]
    wanted = Predictor(bundle).predict([synthetic.read(ref, source) for ref in refs])
    assert [row["clip"] for row in rows] == [*(ref.id for ref in refs), "bad"]
    for row, answer in zip(rows[:-1], wanted, strict=True):
        assert [name for name, _ in row["top"]] == [name for name, _ in top(answer, LABELS)]
    assert "no person" in rows[-1]["error"]


def test_what_cannot_be_used_is_named_and_the_others_go_on(bundle_dir, a_file, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    (tmp_path / "arrays.npz").write_bytes(b"no zip")
    names = ("none.mp4", "empty", "torn.parquet", "arrays.npz", "long" * 99)
    files = [*(tmp_path / name for name in names), a_file]
    rows = list(predict(bundle_dir, files))
    assert [row["file"] for row in rows] == [str(file) for file in files]
    assert all(row["error"] and not row["top"] for row in rows[:-1])
    assert not rows[-1]["error"]
    for row, word in zip(rows, ("no such file", "found no video", "Parquet", "npz", "too long"), strict=False):
        assert word in row["error"]
        assert "\n" not in row["error"]


def test_a_folder_is_searched_through(bundle_dir, a_file):
    landmark_file(
        a_file.parent / "deeper" / "b.parquet", synthetic.read(synthetic.clips(settings().source)[0], settings().source)
    )
    rows = list(predict(bundle_dir, [a_file.parent]))
    assert len(rows) == 2
    assert all(row["file"] == str(a_file.parent) and not row["error"] for row in rows)
    assert len({row["clip"] for row in rows}) == 2


def test_of_a_folder_of_landmarks_only_its_clips_are_answered(bundle_dir, landmarks_dir):
    index.about(landmarks_dir)
    rows = list(predict(bundle_dir, [landmarks_dir]))
    assert len(rows) == len({row["clip"] for row in rows})
    assert not any("found a table" in (row["error"] or "") for row in rows)


def test_an_npz_is_read_as_those_of_training_were(tmp_path, bundle, caplog):
    source = settings().source
    clips = [synthetic.read(ref, source) for ref in synthetic.clips(source)[:3]]
    frames = min(clip.values.shape[1] for clip in clips)
    values = np.stack([clip.values[0, :frames].reshape(frames, -1) for clip in clips])
    np.savez(tmp_path / "new.npz", x=values)
    tree = settings("source.kind=npz", f"source.path={tmp_path}", "source.gloss=label")
    bundles.Bundle(tree, SKELETON, Labels(LABELS), CHANNELS, bundle.network).save(tmp_path / "bundle")
    rows = list(predict(tmp_path / "bundle", [tmp_path / "new.npz"]))
    assert [bool(row["error"]) for row in rows] == [False] * 3
    assert not caplog.records


def test_an_npz_that_may_be_one_clip_or_many_is_refused_without_the_labels_that_told(tmp_path, bundle):
    tree = settings("source.kind=npz", f"source.path={tmp_path}", "source.gloss=label", "source.layout=hand_21")
    bundles.Bundle(tree, SKELETON, Labels(LABELS), CHANNELS, bundle.network).save(tmp_path / "bundle")
    reader = Reader(bundles.load(tmp_path / "bundle"))
    x = np.random.default_rng(0).uniform(0.1, 0.9, (5, 63)).astype(np.float32)

    def frames(name, **arrays):
        np.savez(tmp_path / name, **arrays)
        return [
            one if isinstance(one, RaysignError) else one.values.shape[1] for _, one in reader.clips(tmp_path / name)
        ]

    assert frames("labelled.npz", x=x, label=np.array(list("abcde"))) == [1] * 5
    (error,) = frames("bare.npz", x=x)
    assert "make it (1, 5, 63) for one clip, (5, 1, 63) for 5, each of one frame" in str(error)
    assert frames("one.npz", x=x[None]) == [5]
    assert frames("five.npz", x=x[:, None]) == [1] * 5
    assert frames("single.npz", x=x[:1]) == [1]


def test_landmarks_of_another_layout_are_named_and_the_others_go_on(tmp_path):
    tree = settings("prepare.kind=centered")
    skeleton, rng = layout("ntu_25"), np.random.default_rng(0)
    network = build(tree, skeleton, CHANNELS, Labels(LABELS)).eval()
    bundles.Bundle(tree, skeleton, Labels(LABELS), CHANNELS, network).save(tmp_path)
    rows = []
    for name in ("holistic_75", "ntu_25", "openpose_25"):
        values = rng.uniform(0.1, 0.9, (1, 5, layout(name).points, 3)).astype(np.float32)
        found = schema.Landmarks(values, np.ones_like(values[..., 0]), name)
        rows.append(schema.landmarks_row(schema.ClipRef(name, "x", "1"), "made up", found))
    store.write_table(tmp_path / "shard-0.parquet", schema.to_table(rows, schema.LANDMARKS))
    good, *bad = sorted(predict(tmp_path, [tmp_path / "shard-0.parquet"]), key=lambda row: bool(row["error"]))
    assert (good["clip"], good["error"], len(good["top"])) == ("ntu_25", None, 3)
    for row, name in zip(bad, ("holistic_75", "openpose_25"), strict=True):
        assert row["clip"] == name
        assert f"found {layout(name).points} points of {name}, expected 25 points of ntu_25" in row["error"]


def test_landmarks_of_another_extractor_are_warned_of_once(bundle, landmarks_dir, tmp_path, caplog):
    bundles.Bundle(bundle.config, SKELETON, Labels(LABELS), CHANNELS, bundle.network, {"extractor": "another"}).save(
        tmp_path
    )
    shards = store.shards(landmarks_dir)
    list(predict(tmp_path, shards))
    assert [record.message.count("trained on those of another") for record in caplog.records] == [1]


def test_a_folder_that_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(RaysignError, match=r"no card\.json"):
        next(predict(tmp_path, [tmp_path]))


@pytest.mark.real_data
@pytest.mark.models
def test_a_folder_of_photos_gives_an_answer_for_each_and_passes_over_a_text_file(bundle_dir, real_data, tmp_path):
    photos = sorted((real_data / "mediapipe_gesture_images" / "call").glob("*.jpg"))[:2]
    for photo in photos:
        (tmp_path / photo.name).write_bytes(photo.read_bytes())
    (tmp_path / "zz.txt").write_text("no picture")
    rows = list(predict(bundle_dir, [tmp_path, tmp_path / "zz.txt"]))
    assert [bool(row["error"]) for row in rows] == [False, False, True]
    assert "zz.txt" in rows[-1]["error"]
