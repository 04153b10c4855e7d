"""A bundle scored on a stage of clips."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_bundles import CHANNELS, LABELS, SKELETON, prepared, untrained

from raysign import schema, store
from raysign.errors import BundleError, StoreError
from raysign.infer import about
from raysign.infer.evaluate import card_with, evaluate
from raysign.learn import bundle as bundles
from raysign.learn.labels import Labels
from raysign.report import mistakes, results
from raysign.sources import _plain_pickle


@pytest.fixture(scope="module")
def evaluation(bundle_dir, clips_dir, tmp_path_factory) -> Path:
    """What an evaluation leaves."""
    place = tmp_path_factory.mktemp("evaluation")
    evaluate(bundle_dir, clips_dir, "test", place)
    return place


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


@pytest.mark.parametrize(
    ("names", "told"), [(("ann", "bo"), "2"), (("ann", "unknown"), "1 and unknown"), (("unknown",), "unknown")]
)
def test_signers_who_are_not_known_are_not_counted_as_one(clips_dir, names, told):
    card = store.read_json(clips_dir / "card.json")
    counts = {**card["counts"], "split": {"test": 5}, "signer": {name: {"test": 1} for name in names}}
    (row,) = about.data({**card, "counts": counts})["splits"]
    assert row["signers"] == told


def test_evaluation_leaves_text_pictures_and_scores_that_say_what_the_predictions_say(evaluation):
    found = store.read_json(evaluation / "metrics.json")
    table = store.read_table(evaluation / "predictions.parquet")
    text = (evaluation / "results.txt").read_text(encoding="utf-8")
    assert all(f"{found[name]:.4f}" in text for name in ("top1", "top1_per_class", "macro_f1"))
    assert "recall  f1-score   support" in text
    for name in results.PICTURES:
        assert (evaluation / name).read_bytes().startswith(b"\x89PNG")
    scores = _plain_pickle.load(evaluation / "test_result.pkl")
    assert list(scores) == table["id"].to_pylist()
    for row, told in zip(table["probabilities"].to_pylist(), scores.values(), strict=True):
        assert told.dtype == np.float32 and np.exp(told) == pytest.approx(row, abs=1e-6)


def test_the_worst_mistakes_are_drawn_beside_a_training_clip_of_what_they_were_taken_for(evaluation, clips_dir):
    table = store.read_table(evaluation / "predictions.parquet")
    rows = mistakes.drawn(table, clips_dir)
    about = {row["id"]: row for row in store.read_columns(clips_dir, "id", "gloss", "split").to_pylist()}
    assert 0 < len(rows) <= mistakes.MOST
    for row in rows:
        like = about[row["like"]]
        assert like["gloss"] == [row["answer"]] != about[row["id"]]["gloss"] and like["split"] == "train"
        assert row["picture"].startswith(b"\x89PNG")


def test_the_page_tells_of_the_data_and_of_who_signs(evaluation, clips_dir):
    page = (evaluation / "report.html").read_text(encoding="utf-8")
    for words in ("In quarantine", "signers, train", "Worst mistakes", "Can its confidence be believed?"):
        assert words.lower() in page.lower()
    counts = card_with(clips_dir, "test")["counts"]
    for split, clips in counts["split"].items():
        assert f'<td>{split}</td><td class="n">{clips}</td>' in page


def test_an_evaluation_of_sequences_tells_word_errors_and_blanks_with_intervals(clips_dir, tmp_path):
    untrained("task.kind=ctc", "model.kind=bilstm").save(tmp_path / "bundle")
    found = evaluate(tmp_path / "bundle", clips_dir, "test", tmp_path / "out")
    blanks = store.read_table(tmp_path / "out" / "predictions.parquet")["blank"].to_numpy()
    assert found["blank"] == pytest.approx(blanks.mean()) and ((blanks >= 0) & (blanks <= 1)).all()
    for name in ("wer", "sequence_accuracy", "blank"):
        low, high = found["intervals"]["clips"][name]
        assert low <= found[name] <= high
    assert "word error rate" in (tmp_path / "out" / "results.txt").read_text(encoding="utf-8")


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
