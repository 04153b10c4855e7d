"""Bundles that answer together: the laws of their mean, of its weights, and of the folder they lie in."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_bundles import CHANNELS, LABELS, SKELETON, prepared, settings, untrained
from made_services import as_json, asked

from raysign import schema, store
from raysign.errors import BundleError, ClipError, ConfigError
from raysign.infer import about, files, fusion
from raysign.infer.ensemble import EnsemblePredictor, predictor_of
from raysign.infer.evaluate import evaluate
from raysign.infer.predictor import Predictor
from raysign.infer.robustness import Worker, chosen, figures, plan
from raysign.learn import bundle as bundles
from raysign.learn import ensemble as ensembles
from raysign.learn.job import Job
from raysign.learn.labels import Labels
from raysign.learn.recogniser import build
from raysign.report import mistakes

WEIGHTS = (0.25, 0.75)


def other():
    """A recogniser of the same glosses by another recipe."""
    from raysign.clips.recipes import spoter_boxes

    torch.manual_seed(1)
    tree = settings("prepare.kind=spoter_boxes")
    skeleton, channels = spoter_boxes.SKELETON, spoter_boxes.channels(spoter_boxes.Options(), "holistic_75")  # pyright: ignore[reportCallIssue]
    network = build(tree, skeleton, channels, Labels(LABELS)).eval()
    return bundles.Bundle(tree, skeleton, Labels(LABELS), channels, network, {"extractor": "made up"})


@pytest.fixture(scope="module")
def places(bundle_dir, tmp_path_factory):
    second = tmp_path_factory.mktemp("second")
    other().save(second)
    return [bundle_dir, second]


@pytest.fixture(scope="module")
def ensemble_dir(places, tmp_path_factory):
    directory = tmp_path_factory.mktemp("ensemble")
    ensembles.save(directory, places, ["one", "two"], WEIGHTS, {"extractor": ["made up"]})
    return directory


@pytest.fixture(scope="module")
def landmarks(landmarks_dir):
    table = store.read_table(store.shards(landmarks_dir)[0])
    return list(schema.landmarks_of(table))


def test_an_ensemble_answers_the_weighted_mean_of_its_members_each_by_its_own_recipe(ensemble_dir, places, landmarks):
    told = predictor_of(ensembles.load(ensemble_dir)).predict(landmarks)
    alone = [Predictor(bundles.load(place)).predict(landmarks) for place in places]
    np.testing.assert_allclose(told, WEIGHTS[0] * alone[0] + WEIGHTS[1] * alone[1], atol=1e-6)
    assert told.dtype == np.float32


def test_a_service_answers_as_the_ensemble_does(ensemble_dir, landmarks):
    found = ensembles.load(ensemble_dir)
    (wanted,) = predictor_of(found).predict(landmarks[:1])
    with asked(ensemble_dir, "media=false") as (client, run):
        told = run(client.post(as_json(landmarks[0]))).json
        (listed,) = run(client.get("/api/v1/bundles")).json["bundles"]
    shares = {one["gloss"]: one["probability"] for one in told["top"]}
    np.testing.assert_allclose([shares[label] for label in found.labels], wanted, atol=1e-4)
    assert "spoter_boxes" in listed["recipe"]


def test_an_ensemble_of_one_bundle_twice_is_that_bundle(bundle, landmarks):
    twice = EnsemblePredictor(ensembles.Ensemble((bundle, bundle), (0.5, 0.5), ("one", "two")))
    np.testing.assert_allclose(twice.predict(landmarks), Predictor(bundle).predict(landmarks), atol=1e-7)


def test_clips_one_by_one_and_those_that_failed_come_out_in_order(ensemble_dir, landmarks):
    answers = predictor_of(ensembles.load(ensemble_dir))
    empty = replace(landmarks[0], values=np.full_like(landmarks[0].values, np.nan))
    found = list(answers.each([landmarks[0], ClipError("not read"), empty, landmarks[1]]))
    assert [isinstance(one, tuple) for one in found] == [True, False, False, True]
    assert str(found[1]) == "not read"
    np.testing.assert_allclose(
        [one[0] for one in found if isinstance(one, tuple)], answers.predict(landmarks[:2]), atol=1e-6
    )


def test_evaluation_prediction_and_robustness_take_an_ensemble_for_a_bundle(
    ensemble_dir, clips_dir, landmarks_dir, tmp_path
):
    told = evaluate(ensemble_dir, clips_dir, "train", tmp_path / "out", landmarks_dir=landmarks_dir)
    assert "weighted mean of 2 members" in told["views"]
    table = store.read_table(tmp_path / "out" / "predictions.parquet")
    rows = {row["clip"]: row for row in files.predict(ensemble_dir, [landmarks_dir], k=3) if not row["error"]}
    for clip, shares in zip(table["id"].to_pylist(), table["probabilities"].to_pylist(), strict=True):
        np.testing.assert_allclose([dict(rows[clip]["top"])[label] for label in LABELS], shares, atol=1e-5)
    made = plan(ensemble_dir, landmarks_dir, clips_dir, settings("evaluate.split=train"), tmp_path, chosen(("tilt",)))
    worker = Worker(ensemble_dir, landmarks_dir, made.directory, ["tilt"], settings("evaluate.split=train"))
    assert [worker(unit) for unit in made.units]
    assert figures(made)["undamaged"]["accuracy"] == round(told["top1"], 4)


def test_a_clip_that_a_member_can_make_nothing_of_is_left_out_of_the_figures_and_told(
    bundle, places, clips_dir, landmarks_dir, tmp_path
):
    lengths = store.read_columns(clips_dir, "split", "frames").to_pylist()
    of_train = sorted(row["frames"] for row in lengths if row["split"] == "train")
    longest = bundle.config.prepare.model_copy(update={"min_frames": of_train[-1]})
    strict = replace(bundle, config=bundle.config.model_copy(update={"prepare": longest}))
    strict.save(tmp_path / "strict")
    ensembles.save(tmp_path / "e", [places[1], tmp_path / "strict"], ["one", "two"], WEIGHTS, {})
    told = evaluate(tmp_path / "e", clips_dir, "train", tmp_path / "out", landmarks_dir=landmarks_dir)
    assert 0 < told["count"] == of_train.count(of_train[-1]) < len(of_train)
    assert any(f"{len(of_train) - told['count']} train clip(s) have no answer" in line for line in told["warnings"])


def test_members_of_an_ensemble_that_was_there_do_not_stay(places, tmp_path):
    ensembles.save(tmp_path, [*places, places[0]], ["one", "two", "three"], (0.2, 0.3, 0.5), {})
    ensembles.save(tmp_path, places, ["one", "two"], WEIGHTS, {})
    assert sorted(path.name for path in (tmp_path / "members").iterdir()) == ["0", "1"]


def test_an_ensemble_in_another_place_answers_the_same(ensemble_dir, landmarks, tmp_path):
    ensemble_dir.rename(tmp_path / "moved")
    moved = predictor_of(ensembles.load(tmp_path / "moved")).predict(landmarks[:2])
    (tmp_path / "moved").rename(ensemble_dir)
    np.testing.assert_array_equal(moved, predictor_of(ensembles.load(ensemble_dir)).predict(landmarks[:2]))


def test_an_ensemble_is_no_bundle_and_says_where_one_is(ensemble_dir):
    with pytest.raises(BundleError, match=r"found an ensemble, expected a bundle.*members/0"):
        bundles.load(ensemble_dir)
    assert bundles.load(ensemble_dir / "members" / "0").labels == LABELS


def test_a_member_that_was_changed_or_lost_is_told(places, tmp_path):
    ensembles.save(tmp_path / "a", places, ["one", "two"], WEIGHTS, {})
    (tmp_path / "a" / "members" / "1" / "card.json").write_text("{}")
    with pytest.raises(BundleError, match="found other members"):
        ensembles.load(tmp_path / "a")
    (tmp_path / "a" / "members" / "1" / "card.json").unlink()
    with pytest.raises(BundleError, match="not a whole ensemble"):
        ensembles.load(tmp_path / "a")


@pytest.mark.parametrize("members", [[], [{}], 3, [{"sha256": 1, "weight": "x"}], [{"sha256": "1", "weight": 1}]])
def test_a_card_that_says_nonsense_is_told(tmp_path, members):
    (tmp_path / "card.json").write_text(json.dumps({"members": members}))
    with pytest.raises(BundleError):
        ensembles.load(tmp_path)


def test_members_of_other_glosses_are_refused(bundle, places, tmp_path):
    named = bundles.Bundle(bundle.config, SKELETON, Labels(LABELS[::-1]), CHANNELS, bundle.network)
    named.save(tmp_path / "b")
    ensembles.save(tmp_path / "e", [places[0], tmp_path / "b"], ["one", "two"], WEIGHTS, {})
    with pytest.raises(BundleError, match="members of other glosses"):
        ensembles.load(tmp_path / "e")


def test_sequences_have_no_mean(bundle):
    tree = bundle.config.model_copy(update={"task": settings("task.kind=ctc").task})
    told = replace(bundle, config=tree, network=build(tree, SKELETON, CHANNELS, bundle.names).eval())
    with pytest.raises(ConfigError, match=r"task\.kind=ctc tells more than a gloss"):
        EnsemblePredictor(ensembles.Ensemble((told, told), (0.5, 0.5), ("one", "two")))


# ---------------------------------------------------------------- weights


def made_up(sure: tuple[float, ...], clips: int = 200, classes: int = 4) -> fusion.Scored:
    """Members that are right as often as they are `sure`, independently of each other, and say so."""
    rng = np.random.default_rng(0)
    truth = rng.integers(classes, size=clips)
    told = [np.where(rng.random(clips) < share, truth, rng.integers(classes, size=clips)) for share in sure]
    shares = np.stack([np.eye(classes)[one] * 0.8 + 0.2 / classes for one in told])
    return fusion.Scored(shares, truth)


def likelihood(found: fusion.Scored, weights: np.ndarray) -> float:
    return float(np.log(found.mean(weights)[np.arange(len(found.truth)), found.truth]).mean())


def test_fitted_weights_are_the_likeliest_of_the_simplex():
    found = made_up((0.9, 0.6, 0.3))
    weights = fusion.fitted(found)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    others = np.random.default_rng(1).dirichlet(np.ones(3), 300)
    assert (
        likelihood(found, weights)
        >= max(likelihood(found, one) for one in [*others, *np.eye(3), np.ones(3) / 3]) - 1e-6
    )
    assert list(np.argsort(-weights)) == [0, 1, 2]


def test_the_order_of_the_members_does_not_matter():
    found = made_up((0.9, 0.6, 0.3))
    turned = fusion.Scored(found.probabilities[::-1], found.truth)
    np.testing.assert_allclose(fusion.fitted(turned)[::-1], fusion.fitted(found), atol=1e-9)


def test_members_that_are_alike_share_their_weight():
    found = made_up((0.7,))
    twice = fusion.Scored(np.repeat(found.probabilities, 2, axis=0), found.truth)
    np.testing.assert_allclose(fusion.fitted(twice), 0.5, atol=1e-9)


@pytest.fixture(scope="module")
def jobs(landmarks_dir, tmp_path_factory):
    """Two members as trainings leave them, with clips of their own recipes."""
    root, found = tmp_path_factory.mktemp("jobs"), []
    for i, made in enumerate((untrained(), other())):
        kind = f"prepare.kind={made.config.prepare.kind}"
        clips = prepared(landmarks_dir, root / "clips", kind, "split.kind=signer", "split.val_signers=[signer1]",
                         "split.test_signers=[signer2]")  # fmt: skip
        splits = (store.read_card(clips) or {})["splits"]
        replace(made, card={**made.card, "splits": splits}).save(root / f"training{i}" / "bundle")
        found.append(Job(i, made.config, clips, root / f"training{i}"))
    return found


@pytest.fixture(scope="module")
def made(jobs, tmp_path_factory):
    """The figures of the ensemble of both, and its folder."""
    directory = tmp_path_factory.mktemp("made")
    return fusion.made(settings(), ["one", "two"], jobs, directory), directory


def test_weights_are_fitted_on_validation_clips_and_figures_are_those_of_the_bundle(
    made, jobs, landmarks_dir, tmp_path
):
    told, directory = made
    assert told["val_count"] > 0
    assert sum(row["weight"] for row in told["members"]) == pytest.approx(1, abs=1e-5)
    scored = evaluate(directory, jobs[0].clips, "test", tmp_path / "out", landmarks_dir=landmarks_dir)
    assert round(scored["top1"], 4) == told["fitted"]["accuracy"]
    assert scored["count"] == told["count"]
    drawn = mistakes.drawn(store.read_table(tmp_path / "out" / "predictions.parquet"), jobs[0].clips)
    assert 0 < len(drawn) <= scored["count"]
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8").count('class="mistake"') == len(drawn)
    for row, job in zip(told["members"], jobs, strict=True):
        alone = store.read_json(job.directory / "evaluation" / "metrics.json")
        assert round(alone["top1"], 4) == row["test"]["accuracy"]


def test_clips_that_are_divided_otherwise_than_the_members_were_are_told(made, jobs, landmarks_dir, tmp_path):
    others = prepared(landmarks_dir, tmp_path, "split.val_signers=[signer1]", "split.test_signers=[signer0]")
    for clips, told in ((jobs[0].clips, False), (jobs[1].clips, False), (others, True)):
        said = about.warnings(ensembles.load(made[1]), store.read_card(clips) or {}, "test")
        assert any("trained on other clips" in line for line in said) == told


def test_test_clips_have_no_say_in_the_weights(made, jobs, tmp_path):
    on_val = fusion.made(settings("evaluate.split=val"), ["one", "two"], jobs, tmp_path)
    assert [row["weight"] for row in made[0]["members"]] == [row["weight"] for row in on_val["members"]]


def test_the_same_is_made_twice_to_the_byte(made, jobs, tmp_path):
    fusion.made(settings(), ["one", "two"], jobs, tmp_path)
    names = [path.relative_to(tmp_path) for path in sorted(tmp_path.rglob("*.*"))]
    assert len(names) == 9
    assert all((tmp_path / name).read_bytes() == (made[1] / name).read_bytes() for name in names)


def test_equal_weights_are_kept_where_they_are_asked_for(jobs, tmp_path):
    told = fusion.made(settings("ensemble.weights=equal"), ["one", "two"], jobs, tmp_path / "bundle")
    loaded = ensembles.load(tmp_path / "bundle")
    assert isinstance(loaded, ensembles.Ensemble)
    assert (loaded.weights, told["weights"]) == ((0.5, 0.5), "equal")
