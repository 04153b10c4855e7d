"""Files of every kind to answers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_bundles import CHANNELS, LABELS, SKELETON, settings

from raysign import config, schema, store
from raysign.clips import form
from raysign.errors import ClipError, RaysignError
from raysign.extract import index
from raysign.infer import overlay
from raysign.infer.files import Wanted, Worker, _folder, _gathered, predict, predict_many
from raysign.infer.predictor import Predictor, top
from raysign.infer.reader import Reader, unlike
from raysign.kinds import kind_module
from raysign.learn import bundle as bundles
from raysign.learn.labels import Labels
from raysign.learn.recogniser import build
from raysign.skeleton import layout
from raysign.sources import synthetic

SMALL = ("model.kind=mlp", "model.hidden=[8]", "train.workers=0")


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


def test_clips_are_answered_in_groups_that_memory_bears():
    values = np.empty((1, 10_000, 0, 3), np.float32)
    long, bad = schema.Landmarks(values, values[..., 0], "no_points"), ClipError("bad")
    clips = [*[("long", long)] * 5, *[("bad", bad)] * 100]
    groups = list(_gathered(iter(clips)))
    assert [clip for group in groups for clip in group] == clips
    assert [len(group) for group in groups] == [2, 2, 64, 37]


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    files = [Path(name) for name in ("x/a.mp4", "y/a.mp4", "photos", "x/../z/a.mp4")]
    root = _folder(files)
    media = [files[0], files[1].absolute(), files[2] / "a.mp4", files[3]]
    assert [overlay.place(Path("out"), one, root) for one in media] == [
        Path("out") / name for name in ("x/a.mp4", "y/a.mp4", "photos/a.mp4", "z/a.mp4")
    ]
    assert _folder([files[2]]) == tmp_path / "photos"


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
    assert [record.message.count("found by MediaPipe of another version") for record in caplog.records] == [1]


@pytest.mark.parametrize(("card", "now", "made_of", "words"), [
    ({"extractor": ["a1"]}, ["a1"], None, ""),
    ({}, ["a1"], None, ""),
    ({"extractor": ["import npz b2"]}, ["import npz"], None, ""),
    ({"extractor": ["a1"]}, ["import pose_format"], None, "imported from pose_format, those of training found by Med"),
    ({"extractor": ["import npz b2"]}, ["a1"], None, "found by MediaPipe, those of training imported from npz"),
    ({"extractor": ["import npz b2"]}, ["import npz c3"], None, "imported from npz with other settings of `source`"),
    ({"extractor": ["a1"], "made_of": {"version": "0.10.1", "model": "x"}}, ["b2"], {"version": "0.10.2", "model": "y"},
     "found by MediaPipe with mediapipe 0.10.2 (training: 0.10.1), another model file"),
    ({"extractor": ["a1"], "made_of": {"fps": None, "detection": 0.5}}, ["b2"], {"fps": 25.0, "detection": 0.4},
     "extract.fps=25.0 (training: None), extract.detection_confidence=0.4 (training: 0.5)"),
])  # fmt: skip
def test_what_makes_landmarks_unlike_those_of_training_is_said_in_words(card, now, made_of, words):
    said = unlike(card, now, made_of)
    assert words in said and bool(words) == bool(said)


def test_landmarks_of_every_kind_are_recognised_as_training_read_them(tmp_path, made, caplog):
    for kind, options in made.items():
        source = kind_module("source", kind)
        refs = source.clips(options)
        landmarks = source.read(refs[0], options)
        points = layout(landmarks.layout)
        centred = {"prepare": {"kind": "centered"}} if points.points else stored_features(landmarks)
        tree = config.load([*SMALL], base={**centred, "source": options.model_dump(mode="json")})
        skeleton, channels = form.of_layouts([landmarks.layout], tree)
        network = build(tree, skeleton, channels, Labels(LABELS)).eval()
        place = tmp_path / kind
        card = {"extractor": [f"import {kind} x"]}
        bundles.Bundle(tree, skeleton, Labels(LABELS), channels, network, card).save(place)
        rows = list(predict(place, [options.path]))
        assert [row["error"] for row in rows] == [None] * len(refs), kind
    assert not caplog.records


def stored_features(landmarks):
    prepare = {"kind": "stored_features", "features": landmarks.features_kind, "size": landmarks.features.shape[1]}
    return {"prepare": prepare, "model": {"kind": "bilstm"}}


SINGLE = {"pose_format": ("hello/0.2.pose", "openpose"), "ntu_skeleton": ("S001C001P001R001A001.skeleton", "ntu_25"),
          "kinetics_json": ("a.json", "openpose_18"), "mmskeleton_json": ("a.json", "coco_17"),
          "ctrgcn_npz": ("a.npz", "ntu_25"), "stgcn_npy": ("train_data.npy", "ntu_25")}  # fmt: skip


@pytest.mark.parametrize("kind", SINGLE)
def test_one_file_of_another_format_is_told_from_its_content(bundle, made, kind):
    file = made[kind].path if made[kind].path.is_file() else made[kind].path / SINGLE[kind][0]
    found = list(Reader(bundle).clips(file))
    assert found and not any(isinstance(one, RaysignError) for _, one in found), found


def test_landmarks_of_another_format_are_found_beside_others_in_a_folder(bundle, made, a_file, tmp_path, caplog):
    folder = tmp_path / "mixed"
    shutil.copytree(made["pose_format"].path, folder / "poses")
    shutil.copy(a_file, folder / "clip.parquet")
    names = [name for name, _ in Reader(bundle).clips(folder)]
    assert names == [
        str(folder / "clip.parquet"),
        *(f"poses/hello/{version}.pose" for version in ("0.0", "0.1", "0.2")),
    ]
    assert ["imported from pose_format" in record.message for record in caplog.records] == [True]


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


def test_a_worker_answers_a_file_as_it_is_answered_here(bundle_dir, landmarks_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(landmarks_dir.parent)
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    files = [Path(landmarks_dir.name), tmp_path / "torn.parquet"]
    worker = Worker(bundle_dir, Wanted(), landmarks_dir.parent, landmarks_dir.parent)
    units = [{"file": str(file), "part": str(part)} for file in files for part in worker.answers.reader.parts(file)]
    rows = [row for unit in units for row in json.loads(worker(unit)["rows"])]
    assert rows == json.loads(json.dumps(list(predict(bundle_dir, files))))
    assert len(units) == 3 and rows[-1]["error"]


@pytest.mark.usefixtures("cluster")
def test_many_files_are_answered_on_all_cpus_as_they_are_one_by_one(bundle_dir, landmarks_dir):
    files = store.shards(landmarks_dir)
    there = {row["clip"]: row for row in predict_many(bundle_dir, files, Wanted(), parallel=True)}
    here = {row["clip"]: row for row in predict_many(bundle_dir, files, Wanted())}
    assert len(here) > 10 and there.keys() == here.keys()
    for name, row in here.items():
        assert [there[name][key] for key in ("file", "error")] == [row["file"], row["error"]]
        assert dict(there[name]["top"]) == pytest.approx(dict(row["top"]), abs=1e-5)
