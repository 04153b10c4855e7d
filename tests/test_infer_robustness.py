"""A bundle asked about damaged landmarks, by units that any number of workers may do."""

import numpy as np
import pytest
from made_bundles import settings

from raysign import store
from raysign.errors import BundleError, ConfigError
from raysign.infer import robustness
from raysign.infer.evaluate import evaluate
from raysign.learn.labels import Labels

SOME = ("hand_loss", "signing_speed", "other_handed")


@pytest.fixture(scope="module")
def plan(bundle_dir, landmarks_dir, clips_dir, tmp_path_factory):
    return planned(bundle_dir, landmarks_dir, clips_dir, tmp_path_factory.mktemp("robustness"))


def planned(bundle_dir, landmarks_dir, clips_dir, root, names=SOME, *arguments):
    config = settings("evaluate.split=train", *arguments)
    return robustness.plan(bundle_dir, landmarks_dir, clips_dir, config, root, robustness.chosen(names))


def carried_out(made, bundle_dir, landmarks_dir, units=None):
    names = [one.name for one in made.stressors]
    worker = robustness.Worker(bundle_dir, landmarks_dir, made.directory, names, settings("evaluate.split=train"))
    for unit in made.units if units is None else units:
        worker(unit)
    return made


@pytest.fixture(scope="module")
def done(plan, bundle_dir, landmarks_dir):
    return carried_out(plan, bundle_dir, landmarks_dir)


def test_undamaged_clips_are_told_as_by_evaluation(done, bundle_dir, clips_dir, tmp_path):
    found = robustness.figures(done)
    assert found["undamaged"]["accuracy"] == round(evaluate(bundle_dir, clips_dir, "train", tmp_path)["top1"], 4)


def test_every_level_is_asked_of_every_clip_and_lies_in_its_interval(done):
    found = robustness.figures(done)
    assert list(found["stressors"]) == [one.name for one in done.stressors]
    for one in done.stressors:
        levels = found["stressors"][one.name]["levels"]
        assert [row["level"] for row in levels] == list(one.levels)
        for row in levels:
            assert row["low"] <= row["accuracy"] <= row["high"]
            assert row["difference_low"] <= row["difference"] <= row["difference_high"]
            assert row["accuracy"] - found["undamaged"]["accuracy"] == pytest.approx(row["difference"], abs=1e-3)


def test_a_finished_robustness_has_nothing_left_to_do_and_a_torn_one_what_is_missing(
    done, bundle_dir, landmarks_dir, clips_dir
):
    before, again = robustness.figures(done), (bundle_dir, landmarks_dir, clips_dir, done.directory.parent)
    assert not planned(*again).units
    name = store.shards(done.directory)[0]
    name.unlink()
    left = planned(*again)
    assert [unit["into"] for unit in left.units] == [name.name]
    carried_out(left, bundle_dir, landmarks_dir)
    assert robustness.figures(done) == before


def test_units_in_any_order_and_of_any_size_give_the_same_figures(
    done, bundle_dir, landmarks_dir, clips_dir, tmp_path, monkeypatch
):
    monkeypatch.setattr(robustness, "PER_UNIT", 1)
    other = planned(bundle_dir, landmarks_dir, clips_dir, tmp_path)
    assert len(other.units) == other.todo > len(done.units)
    carried_out(other, bundle_dir, landmarks_dir, other.units[::-1])
    assert robustness.figures(other) == robustness.figures(done)


@pytest.mark.parametrize("change", [("seed=1",), ("evaluate.mirror=true",)])
def test_what_answers_follow_from_is_in_the_name_of_their_folder(done, bundle_dir, landmarks_dir, clips_dir, change):
    other = planned(bundle_dir, landmarks_dir, clips_dir, done.directory.parent, SOME, *change)
    assert other.directory != done.directory


def test_the_same_weights_with_other_names_are_another_bundle(
    done, bundle, bundle_dir, landmarks_dir, clips_dir, tmp_path
):
    names = Labels(bundle.labels[::-1])
    type(bundle)(bundle.config, bundle.skeleton, names, bundle.channels, bundle.network).save(tmp_path)
    again = (landmarks_dir, clips_dir, done.directory.parent)
    assert planned(tmp_path, *again).directory != planned(bundle_dir, *again).directory == done.directory


def test_clips_of_which_nothing_can_be_made_are_wrong_and_counted(bundle, landmarks_dir, clips_dir, tmp_path):
    prepare = bundle.config.prepare.model_copy(update={"min_frames": 30})
    strict = bundle.config.model_copy(update={"prepare": prepare})
    type(bundle)(strict, bundle.skeleton, bundle.names, bundle.channels, bundle.network).save(tmp_path / "bundle")
    made = planned(tmp_path / "bundle", landmarks_dir, clips_dir, tmp_path / "out", ("frame_rate",))
    rows = robustness.figures(carried_out(made, tmp_path / "bundle", landmarks_dir))["stressors"]["frame_rate"][
        "levels"
    ]
    assert rows[0]["unanswered"] > 0 == rows[-1]["unanswered"]


def test_the_page_names_the_worst_and_holds_no_script(done, bundle_dir, clips_dir):
    found, page = robustness.report(done, bundle_dir, clips_dir, settings("evaluate.split=train"))
    lows = {name: min(row["difference"] for row in one["levels"]) for name, one in found["stressors"].items()}
    worst = [(name, row["difference"]) for name, row in robustness.worst(found)]
    assert dict(worst) == {name: low for name, low in lows.items() if low < 0}
    assert worst == sorted(worst, key=lambda row: row[1])
    assert all(name in page for name in SOME)
    assert "<script" not in page
    assert np.isfinite(list(robustness.flat(found).values())).all()


def test_a_stressor_of_another_name_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'hand_loss'"):
        robustness.chosen(("hand_los",))


def test_landmarks_that_the_bundle_makes_no_clips_of_are_told_and_not_counted_as_wrong(
    bundle, landmarks_dir, clips_dir, tmp_path
):
    hands = bundle.config.prepare.model_copy(update={"parts": ("left_hand", "right_hand")})
    tree = bundle.config.model_copy(update={"prepare": hands})
    type(bundle)(tree, bundle.skeleton, bundle.names, bundle.channels, bundle.network).save(tmp_path / "bundle")
    with pytest.raises(BundleError, match="landmarks of holistic_75: found 42 points"):
        planned(tmp_path / "bundle", landmarks_dir, clips_dir, tmp_path / "out")


def test_a_gloss_that_the_bundle_does_not_know_is_told_and_not_counted_as_wrong(
    bundle, landmarks_dir, clips_dir, tmp_path
):
    names = Labels(["sign00", "sign01", "sign99"])
    type(bundle)(bundle.config, bundle.skeleton, names, bundle.channels, bundle.network).save(tmp_path / "bundle")
    with pytest.raises(BundleError, match="gloss 'sign02' is none of the bundle's 3"):
        planned(tmp_path / "bundle", landmarks_dir, clips_dir, tmp_path / "out")
