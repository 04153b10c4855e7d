"""From a bundle to probabilities: the predictor's laws."""

import numpy as np
import pyarrow as pa
import pytest
from made_bundles import settings

from raysign import schema, store
from raysign.errors import BundleError
from raysign.infer import predictor as predictors
from raysign.infer.predictor import Predictor, top
from raysign.sources import synthetic


def some_clips(points: int, lengths=(5, 40, 1, 17, 23, 40, 9)) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.normal(size=(1 + i % 2, t, points, 4)).astype(np.float32) for i, t in enumerate(lengths)]


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
