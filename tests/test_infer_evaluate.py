"""A bundle scored on a stage of clips."""

import json
from dataclasses import replace

import pytest
from made_bundles import CHANNELS, LABELS, SKELETON, prepared

from raysign import schema, store
from raysign.errors import BundleError, StoreError
from raysign.infer.evaluate import evaluate
from raysign.learn import bundle as bundles
from raysign.learn.labels import Labels


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


def test_of_classes_without_names_the_option_is_named_that_gives_them(bundle, clips_dir, tmp_path):
    labels, card = [f"class_{i}" for i in range(len(LABELS))], {"imported": {"file": "a.pt", "sha256": "0"}}
    bundles.Bundle(bundle.config, SKELETON, Labels(labels), CHANNELS, bundle.network, card).save(tmp_path / "bundle")
    with pytest.raises(BundleError, match=r"gloss 'sign0.' is none of .*--labels FILE"):
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
