"""From a bundle to answers: the predictor's laws, evaluation of a stage of clips, files of every kind."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from raysign import config, schema, store
from raysign.clips import prepare
from raysign.clips.recipes import shoulder_centered
from raysign.errors import BundleError, RaysignError, StoreError
from raysign.infer import predictor as predictors
from raysign.infer.evaluate import evaluate
from raysign.infer.files import Reader, predict
from raysign.infer.predictor import Predictor, top
from raysign.learn import bundle as bundles
from raysign.learn.labels import Labels
from raysign.learn.recogniser import build
from raysign.skeleton import layout
from raysign.sources import synthetic

LABELS = ["sign00", "sign01", "sign02"]
CHANNELS = ("x", "y", "z", "visibility")
SKELETON = shoulder_centered.skeleton(shoulder_centered.Options(), "holistic_75")  # pyright: ignore[reportCallIssue]


def settings(*arguments: str) -> config.Config:
    tree = {"source": {"kind": "synthetic", "glosses": 3, "signers": 3, "takes": 2}, "name": "tiny"}
    small = ("split.kind=signer", "model.channels=8", "model.num_blocks=1")
    return config.load([*small, *arguments], base=tree)


@pytest.fixture(scope="module")
def bundle() -> bundles.Bundle:
    """A small untrained recogniser."""
    torch.manual_seed(0)
    tree = settings()
    network = build(tree, SKELETON, CHANNELS, Labels(LABELS)).eval()
    return bundles.Bundle(tree, SKELETON, Labels(LABELS), CHANNELS, network, {"extractor": "made up"})


@pytest.fixture(scope="module")
def bundle_dir(bundle, tmp_path_factory):
    directory = tmp_path_factory.mktemp("bundle")
    bundle.save(directory)
    return directory


@pytest.fixture(scope="module")
def landmarks_dir(tmp_path_factory):
    """Two shards of made-up signers' landmarks, and a row in quarantine."""
    directory, source = tmp_path_factory.mktemp("landmarks"), settings().source
    refs = synthetic.clips(source)
    rows = [schema.landmarks_row(ref, "made up", synthetic.read(ref, source)) for ref in refs]
    rows.append(schema.landmarks_row(schema.ClipRef("bad", "bad.mp4", "1", ("sign00",)), "made up", "no person"))
    for i, part in enumerate((rows[:7], rows[7:])):
        store.write_table(directory / f"shard-{i}.parquet", schema.to_table(part, schema.LANDMARKS))
    return directory


def prepared(landmarks_dir, root, *arguments):
    """The clips of the landmarks, without a cluster."""
    tree = settings(*arguments)
    plan = prepare.plan(landmarks_dir, root, tree)
    for unit in plan.units:
        prepare.Worker(landmarks_dir, plan.directory, tree.prepare)(unit)
    prepare.finish(landmarks_dir, plan, tree, 0.0)
    return plan.directory


@pytest.fixture(scope="module")
def clips_dir(landmarks_dir, tmp_path_factory):
    return prepared(landmarks_dir, tmp_path_factory.mktemp("clips"))


def some_clips(points: int, lengths=(5, 40, 1, 17, 23, 40, 9)) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.normal(size=(1 + i % 2, t, points, 4)).astype(np.float32) for i, t in enumerate(lengths)]


# ---------------------------------------------------------------- predictor


def test_probabilities_are_float32_and_sum_to_one(bundle):
    found = Predictor(bundle).probabilities(some_clips(bundle.skeleton.points))
    assert found.dtype == np.float32
    assert found.shape == (7, 3)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_company_in_a_batch_changes_no_answer(bundle, batch):
    clips, answers = some_clips(bundle.skeleton.points), Predictor(bundle)
    alone = np.concatenate([answers.probabilities([clip]) for clip in clips])
    np.testing.assert_allclose(answers.probabilities(clips, batch), alone, atol=1e-5)


def test_answers_follow_the_order_of_the_clips(bundle):
    clips, answers = some_clips(bundle.skeleton.points), Predictor(bundle)
    straight, turned = answers.probabilities(clips), answers.probabilities(clips[::-1])
    np.testing.assert_allclose(turned, straight[::-1], atol=1e-6)
    assert len(np.unique(straight.round(6), axis=0)) == len(clips)


def test_the_same_question_has_the_same_answer_to_the_bit(bundle):
    clips, answers = some_clips(bundle.skeleton.points), Predictor(bundle)
    assert (answers.probabilities(clips) == answers.probabilities(clips)).all()


def test_long_clips_make_smaller_batches(bundle, monkeypatch):
    clips = some_clips(bundle.skeleton.points)
    whole = Predictor(bundle).probabilities(clips)
    monkeypatch.setattr(predictors, "MOST_FRAMES", 41)
    parts = list(predictors._batches(clips, 64))
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(clips)))
    assert all(len(p) == 1 or len(p) * max(np.prod(clips[i].shape[:2]) for i in p) <= 41 for p in parts)
    np.testing.assert_allclose(Predictor(bundle).probabilities(clips), whole, atol=1e-5)


def test_no_clips_have_no_answers(bundle):
    assert Predictor(bundle).probabilities([]).shape == (0, 3)


@pytest.mark.parametrize("shape", [(1, 5, 3, 4), (1, 5, 59, 3), (1, 0, 59, 4), (5, 59, 4)])
def test_a_clip_of_another_shape_is_refused(bundle, shape):
    with pytest.raises(BundleError, match="found shape"):
        Predictor(bundle).probabilities([np.zeros(shape, np.float32)])


def test_a_clip_that_is_not_finite_is_refused(bundle):
    with pytest.raises(BundleError, match="not finite"):
        Predictor(bundle).probabilities([np.full((1, 5, bundle.skeleton.points, 4), np.nan, np.float32)])


def test_landmarks_are_prepared_as_training_did(bundle, clips_dir):
    table = pa.concat_tables([table for _, table in store.tables(clips_dir)])
    source = settings().source
    by_id = {ref.id: ref for ref in synthetic.clips(source)}
    landmarks = [synthetic.read(by_id[name], source) for name in table["id"].to_pylist()]
    clips = list(schema.arrays(table, "x", "persons", "frames", "points", "channels"))
    answers = Predictor(bundle)
    np.testing.assert_allclose(answers.predict(landmarks), answers.probabilities(clips), atol=1e-6)


def test_the_likeliest_come_first_and_no_more_than_there_are():
    assert [name for name, _ in top(np.array([0.1, 0.6, 0.3]), ["a", "b", "c"], 2)] == ["b", "c"]
    assert len(top(np.array([0.4, 0.6]), ["a", "b"])) == 2


# ---------------------------------------------------------------- evaluate


def test_evaluation_scores_each_clip_of_the_split_once(bundle_dir, clips_dir, tmp_path):
    found = evaluate(bundle_dir, clips_dir, "test", tmp_path)
    predictions = store.read_table(tmp_path / "predictions.parquet")
    clips = store.read_columns(clips_dir, "id", "split").to_pylist()
    assert sorted(predictions["id"].to_pylist()) == sorted(row["id"] for row in clips if row["split"] == "test")
    assert predictions.schema.equals(schema.PREDICTIONS)
    assert found["count"] == len(predictions)
    assert json.loads((tmp_path / "metrics.json").read_text()) == found
    assert "tiny on test clips" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not list(tmp_path.glob(".*"))


def test_evaluation_by_small_and_large_batches_agrees(bundle_dir, clips_dir, tmp_path):
    one = evaluate(bundle_dir, clips_dir, "train", tmp_path / "1", batch=1)
    many = evaluate(bundle_dir, clips_dir, "train", tmp_path / "64", batch=64)
    assert one == many


def test_clips_of_another_recipe_are_refused(bundle_dir, landmarks_dir, tmp_path):
    other = prepared(landmarks_dir, tmp_path, "prepare.parts=[pose]")
    with pytest.raises(BundleError, match=r"prepare\.parts.*config\.yaml"):
        evaluate(bundle_dir, other, "test", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_clips_of_another_skeleton_of_the_same_parts_are_refused(bundle, clips_dir, tmp_path):
    other = replace(SKELETON, bones=SKELETON.bones[1:])
    bundles.Bundle(bundle.config, other, Labels(LABELS), CHANNELS, bundle.network).save(tmp_path / "bundle")
    with pytest.raises(BundleError, match=r"of shoulder_centered with other parts or bones; prepare the clips with"):
        evaluate(tmp_path / "bundle", clips_dir, "test", tmp_path / "out")


def test_a_gloss_the_bundle_does_not_know_is_named(bundle, clips_dir, tmp_path):
    labels = ["sign00", "sign01", "sign99"]
    bundles.Bundle(bundle.config, SKELETON, Labels(labels), CHANNELS, bundle.network).save(tmp_path / "bundle")
    with pytest.raises(BundleError, match="gloss 'sign02' is none of the bundle's 3"):
        evaluate(tmp_path / "bundle", clips_dir, "test", tmp_path / "out")


def test_an_empty_split_names_those_there_are(bundle_dir, landmarks_dir, tmp_path):
    clips = prepared(landmarks_dir, tmp_path, "split.kind=stratified", "split.val=0", "split.test=0.3")
    with pytest.raises(StoreError, match=r"no clip in 'val'.*train \(\d+\)"):
        evaluate(bundle_dir, clips, "val", tmp_path / "out")


def test_unfinished_clips_are_refused(bundle_dir, tmp_path):
    with pytest.raises(StoreError, match="raysign prepare"):
        evaluate(bundle_dir, tmp_path, "test", tmp_path / "out")


def test_signers_on_both_sides_are_told_in_the_report(bundle_dir, landmarks_dir, tmp_path):
    clips = prepared(landmarks_dir, tmp_path, "split.kind=stratified", "split.test=0.4")
    evaluate(bundle_dir, clips, "test", tmp_path / "out")
    assert "Signers seen in training" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


# ---------------------------------------------------------------- files


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
    files = [tmp_path / "none.mp4", tmp_path / "empty", tmp_path / "torn.parquet", tmp_path / "arrays.npz", a_file]
    rows = list(predict(bundle_dir, files))
    assert [row["file"] for row in rows] == [str(file) for file in files]
    assert all(row["error"] and not row["top"] for row in rows[:-1])
    assert not rows[-1]["error"]
    for row, word in zip(rows, ("no such file", "found no video", "Parquet", "npz"), strict=False):
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
