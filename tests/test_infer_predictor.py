"""From a bundle to probabilities: the predictor's laws."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from made_bundles import LABELS, prepared, settings

from raysign import schema, store
from raysign.clips.recipes import centered
from raysign.config import Evaluate
from raysign.errors import BundleError, ConfigError
from raysign.infer import parity
from raysign.infer import predictor as predictors
from raysign.infer.evaluate import evaluate
from raysign.infer.predictor import Predictor, top
from raysign.learn.bundle import Bundle
from raysign.learn.labels import Labels
from raysign.learn.recogniser import build
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


def test_a_clip_whose_numbers_run_away_costs_itself_alone(bundle, landmarks_dir):
    good = next(schema.landmarks_of(store.read_table(store.shards(landmarks_dir)[0])))
    values = good.values.copy()
    values[:, :, 11:14, 0] = [-3e38, -3e38, 3e38]
    with np.errstate(all="ignore"):
        strange, told = Predictor(bundle).each([replace(good, values=values), good])
    assert isinstance(strange, BundleError) and isinstance(told, tuple)
    np.testing.assert_array_equal(told[0], Predictor(bundle).predict([good])[0])


def test_the_likeliest_come_first_and_no_more_than_there_are():
    assert [name for name, _ in top(np.array([0.1, 0.6, 0.3]), ["a", "b", "c"], 2)] == ["b", "c"]
    assert len(top(np.array([0.4, 0.6]), ["a", "b"])) == 2


# ---------------------------------------------------------------- several views of a clip


def sampled_bundle(frames="uniform", mirror=True):
    """A small untrained recogniser of clips of 16 frames."""
    torch.manual_seed(0)
    tree = settings("prepare.kind=centered", f"prepare.frames={frames}", "prepare.max_frames=16")
    skeleton = centered.skeleton(tree.prepare, "holistic_75")
    skeleton = skeleton if mirror else replace(skeleton, mirror=())
    names, channels = Labels(["a", "b", "c"]), centered.CHANNELS
    return Bundle(tree, skeleton, names, channels, build(tree, skeleton, channels, names).eval())


def some_landmarks() -> list[schema.Landmarks]:
    source = settings().source
    return [synthetic.read(ref, source) for ref in synthetic.clips(source)[:4]]


def views_of(**views) -> Evaluate:
    return Evaluate(**views)


def test_one_view_is_the_answer_without_views_to_the_bit(bundle):
    clips = some_clips(bundle.skeleton.points)
    plain, one = Predictor(bundle), Predictor(bundle, views=views_of(clips=1, mirror=False))
    assert (plain.probabilities(clips) == one.probabilities(clips)).all()
    assert not one.told_views


def test_a_mirrored_answer_is_the_mean_of_both_and_that_of_the_mirror_image_too(bundle):
    clips, answers = some_clips(bundle.skeleton.points), Predictor(bundle, views=views_of(mirror=True))
    images = [answers._with_mirror(clip)[1] for clip in clips]
    wanted = (Predictor(bundle).probabilities(clips) + Predictor(bundle).probabilities(images)) / 2
    np.testing.assert_allclose(answers.probabilities(clips), wanted, atol=1e-6)
    np.testing.assert_allclose(answers.probabilities(images), wanted, atol=1e-6)
    assert all((answers._with_mirror(image)[1] == clip).all() for image, clip in zip(images, clips, strict=True))


@pytest.mark.parametrize("mirror", [False, True])
def test_samplings_are_averaged_and_each_is_of_the_clip(mirror):
    made, clips = sampled_bundle(), some_landmarks()
    answers = Predictor(made, views=views_of(clips=5, mirror=mirror))
    views = [answers.views(clip) for clip in clips]
    assert {len(some) for some in views} == {5 * (1 + mirror)}
    assert {view.shape for some in views for view in some} == {(1, 16, 75, 4)}
    assert len({view.tobytes() for view in views[0]}) == 5 * (1 + mirror)
    wanted = np.stack([Predictor(made).probabilities(some).mean(0) for some in views])
    np.testing.assert_allclose(answers.predict(clips), wanted, atol=1e-6)
    np.testing.assert_allclose([one[0] for one in answers.each(clips) if isinstance(one, tuple)], wanted, atol=1e-6)


def test_a_bundle_that_says_so_is_always_asked_by_its_views():
    made = sampled_bundle()
    config = made.config.model_copy(update={"evaluate": views_of(clips=3, mirror=True)})
    told = Predictor(made, views=views_of(clips=3, mirror=True)).predict(some_landmarks())
    assert (Predictor(replace(made, config=config)).predict(some_landmarks()) == told).all()


def test_clips_that_are_prepared_cannot_be_sampled_again():
    with pytest.raises(ConfigError, match="expected its landmarks"):
        Predictor(sampled_bundle(), views=views_of(clips=3)).probabilities([np.zeros((1, 16, 75, 4), np.float32)])


@pytest.mark.parametrize(
    ("made", "views", "reason"),
    [
        (lambda: sampled_bundle("resize"), {"clips": 3}, "needs a recipe with frames=uniform, .*frames=resize"),
        (lambda: sampled_bundle(mirror=False), {"mirror": True}, "no mirror image"),
    ],
    ids=["length", "mirror"],
)
def test_views_that_clips_do_not_have_are_refused(made, views, reason):
    with pytest.raises(ConfigError, match=reason):
        Predictor(made(), views=views_of(**views))


def test_what_is_more_than_a_gloss_has_no_mean(bundle):
    tree = bundle.config.model_copy(update={"task": settings("task.kind=ctc").task})
    network = build(tree, bundle.skeleton, bundle.channels, bundle.names).eval()
    with pytest.raises(ConfigError, match=r"task\.kind=ctc tells more than a gloss"):
        Predictor(replace(bundle, config=tree, network=network), views=views_of(mirror=True))


def test_evaluation_and_prediction_average_the_same_views(landmarks_dir, tmp_path):
    made, chosen = sampled_bundle(), ("prepare.kind=centered", "prepare.frames=uniform", "prepare.max_frames=16")
    labelled, clips = replace(made, names=Labels(LABELS)), prepared(landmarks_dir, tmp_path, *chosen)
    labelled.save(tmp_path / "bundle")
    views = views_of(clips=4, mirror=True)
    told = evaluate(tmp_path / "bundle", clips, "test", tmp_path / "out", views=views, landmarks_dir=landmarks_dir)
    assert told["views"] == "mean of those to 4 samplings of a clip and their mirror images"
    table = store.read_table(tmp_path / "out" / "predictions.parquet")
    stored = pa.concat_tables([rows for _, rows in store.tables(landmarks_dir)])
    place = {name: row for row, name in enumerate(stored["id"].to_pylist())}
    asked = list(schema.landmarks_of(stored.take([place[name] for name in table["id"].to_pylist()])))
    np.testing.assert_allclose(
        table["probabilities"].to_pylist(), Predictor(labelled, views=views).predict(asked), atol=1e-6
    )


def test_a_bundle_of_several_views_is_exported_as_the_network_it_is():
    made = sampled_bundle()
    several = replace(made, config=made.config.model_copy(update={"evaluate": views_of(clips=3, mirror=True)}))
    clips = [Predictor(made).prepared(clip) for clip in some_landmarks()]
    told = parity.compared(several, clips, lambda *inputs: [made.network(*inputs).softmax(1)])
    assert told["difference"] < 1e-5
