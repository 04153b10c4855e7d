"""Which recognisers an ensemble is made of."""

import pytest
from made_bundles import settings

from raysign import store
from raysign.errors import BundleError, ConfigError
from raysign.learn import members

STREAMED = "prepare.kind=centered"


def test_a_recipe_with_streams_has_a_member_for_each():
    found = members.of(settings(STREAMED))
    assert [one.config.prepare.stream for one in found] == ["joint", "bone", "joint_motion", "bone_motion"]  # pyright: ignore[reportAttributeAccessIssue]
    assert found[1].name == "prepare.stream=bone"


def test_members_differ_in_what_they_are_told_alone():
    base = settings(STREAMED, "ensemble.members=[{train.lr: 0.1}, {model.kind: bilstm, seed: 7}]")
    one, two = members.of(base)
    assert one.config.train.lr == 0.1
    assert (two.config.model.kind, two.config.seed) == ("bilstm", 7)
    same = {"train", "evaluate", "ensemble"}
    assert one.config.model_dump(exclude=same) == base.model_dump(exclude=same)


def test_a_recipe_without_streams_has_members_of_several_seeds():
    found = members.of(settings("seed=3"))
    assert [one.config.seed for one in found] == [3, 4, 5]


def test_all_members_have_the_splits_of_the_configs_seed():
    found = members.of(settings("seed=3", "ensemble.members=[{seed: 0}, {seed: 1}]"))
    assert [one.config.seed for one in found] == [0, 1]
    assert {one.recipe.seed for one in found} == {3}


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("[]", "found 0, expected 2 or more"),
        ("[{split.test: 0.5}, {}]", r"found split\.test, expected a setting of one of prepare"),
        ("[{trian.lr: 1}, {}]", "did you mean 'train'"),
        ("[{train.lrr: 1}, {}]", "did you mean 'lr'"),
        ("[{task.kind: ctc}, {}]", r"ensemble\.members: task\.kind=ctc tells more than a gloss"),
        ("[{task.kind: two_heads}, {}]", r"task\.kind=two_heads tells more than a gloss"),
        ("[{train.restart: true}, {}]", r"train\.restart: an ensemble goes on"),
    ],
)
def test_members_that_cannot_be_are_refused(told, reason):
    with pytest.raises(ConfigError, match=reason):
        members.of(settings(f"ensemble.members={told}"))


def test_members_whose_answers_would_be_the_same_are_refused_before_any_is_trained(tmp_path):
    config = settings("train.workers=0", "ensemble.members=[{seed: 1}, {train.workers: 1, seed: 1}]", f"out={tmp_path}")
    store.write_json(tmp_path / "clips" / "card.json", {"key": "k", "labels": ["a", "b"]})
    with pytest.raises(ConfigError, match="members must differ"):
        members.jobs_of(members.of(config), [tmp_path / "clips"] * 2)


def test_members_that_would_tell_other_glosses_are_refused_before_any_is_trained(tmp_path):
    found, clips = members.of(settings("ensemble.members=[{seed: 1}, {seed: 2}]")), [tmp_path / "one", tmp_path / "two"]
    for place, labels in zip(clips, (["a", "b"], ["a", "b", "c"]), strict=True):
        store.write_json(place / "card.json", {"key": "k", "labels": labels})
    with pytest.raises(BundleError, match="members of other glosses"):
        members.jobs_of(found, clips)
