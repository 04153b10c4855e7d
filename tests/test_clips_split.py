"""Laws of the splits, and what the leak report says."""

import random

import numpy as np
import pytest

from raysign import config
from raysign.clips import split
from raysign.errors import ConfigError
from raysign.schema import SPLITS


def settings(**changes):
    return config.Split.model_validate(changes)


def corpus(glosses=4, signers=5, each=4):
    """(ids, glosses, signers) of every signer signing every gloss `each` times."""
    clips = [
        (f"g{g}/s{s}/{n}", (f"g{g}",), f"s{s}") for g in range(glosses) for s in range(signers) for n in range(each)
    ]
    return tuple(list(column) for column in zip(*clips, strict=True))


def assign(clips, given=None, seed=0, **changes):
    ids, glosses, signers = clips
    return split.assign(ids, glosses, signers, given or [None] * len(ids), settings(**changes), seed)


def share(found, name):
    return found.names.count(name) / len(found.names)


@pytest.mark.parametrize("kind", ["auto", "signer", "stratified"])
def test_the_order_of_clips_does_not_matter_and_the_seed_does(kind):
    clips = corpus(signers=12)
    order = list(range(len(clips[0])))
    random.Random(1).shuffle(order)
    shuffled = tuple([column[i] for i in order] for column in clips)
    one, other = assign(clips, kind=kind), assign(shuffled, kind=kind)
    assert dict(zip(clips[0], one.names, strict=True)) == dict(zip(shuffled[0], other.names, strict=True))
    assert len({tuple(assign(clips, seed=seed, kind=kind).names) for seed in range(5)}) > 1


def test_known_signers_are_held_out_whole():
    clips = corpus(signers=12)
    found = assign(clips)
    assert found.kind == "signer"
    sides = {name: {s for s, n in zip(clips[2], found.names, strict=True) if n == name} for name in SPLITS}
    assert [len(sides[name]) for name in SPLITS] == [8, 2, 2]
    assert sum(len(side) for side in sides.values()) == len(set(clips[2]))


def test_of_two_signers_one_tests_and_validation_comes_from_the_other():
    clips = corpus(signers=2)
    found = assign(clips)
    assert len({s for s, n in zip(clips[2], found.names, strict=True) if n == "test"}) == 1
    assert share(found, "test") == 0.5
    assert 0 < share(found, "val") < 0.2
    assert "share its signers" in found.notes[0]


def test_named_signers_are_the_ones_held_out():
    clips = corpus()
    found = assign(clips, test_signers=("s3",), val_signers=("s0", "s1"))
    names = dict(zip(clips[2], found.names, strict=True))
    assert names == {"s0": "val", "s1": "val", "s2": "train", "s3": "test", "s4": "train"}


def test_blocks_keep_neighbours_together_and_are_drawn_by_the_seed():
    ids = [f"g{g}/{n}" for g in range(3) for n in range(100)]
    random.Random(2).shuffle(ids)
    order = sorted(range(300), key=lambda i: (ids[i][:2], int(ids[i][3:])))
    clips = ids, [(name[:2],) for name in ids], [None] * 300
    drawn = {seed: assign(clips, kind="block", val=0.1, test=0.2, seed=seed) for seed in range(3)}
    for found in drawn.values():
        blocks = np.array([found.names[i] for i in order]).reshape(30, 10)
        assert (blocks == blocks[:, :1]).all()
        assert [list(gloss).count("test") for gloss in blocks[:, 0].reshape(3, 10)] == [2, 2, 2]
        assert [list(gloss).count("val") for gloss in blocks[:, 0].reshape(3, 10)] == [1, 1, 1]
    assert len({tuple(found.names) for found in drawn.values()}) == 3


def test_stratified_shares_hold_and_every_gloss_keeps_a_training_clip():
    found = assign(corpus(glosses=30, signers=1, each=5), test=0.2, val=0.1)
    assert found.kind == "stratified"
    assert share(found, "test") == pytest.approx(0.2, abs=0.01)
    assert share(found, "val") == pytest.approx(0.1, abs=0.01)
    rare = (["a", "b", "c"], [("a",), ("b",), ("b",)], [None] * 3)
    names = assign(rare, test=0.4, val=0.4).names
    assert names[0] == "train"
    assert "train" in names[1:]


def test_small_glosses_still_give_test_clips_between_them():
    found = assign(corpus(glosses=20, signers=1, each=2))
    assert share(found, "test") == pytest.approx(0.15, abs=0.03)


def test_given_splits_are_kept_and_clips_without_one_left_out():
    clips = corpus(glosses=1, signers=1, each=6)
    found = assign(clips, given=["train", "train", "Validation", "test", None, "dev"])
    assert found.kind == "given"
    assert found.names == ["train", "train", "val", "test", None, "val"]
    assert "1 clips have no split" in found.notes[0]


def test_given_splits_without_validation_take_it_from_training():
    clips = corpus(glosses=2, signers=1, each=10)
    found = assign(clips, given=["train"] * 9 + ["test"] + ["train"] * 9 + ["test"], val=0.2)
    assert (found.names.count("val"), found.names.count("test")) == (4, 2)
    assert [n for n in assign(clips, given=["train"] * 20, val=0).names if n != "train"] == []


def test_a_signer_without_whom_a_gloss_could_not_be_trained_is_passed_over():
    clips = corpus(glosses=2, signers=3)
    clips[1][-1] = ("only mine",)  # signed by the last signer alone
    for seed in range(10):
        assert clips[2][-1] not in {
            s for s, n in zip(clips[2], assign(clips, seed=seed).names, strict=True) if n == "test"
        }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test_signers": ("s33",)}, "no clips of 's33'; signers are s0, s1, s2, s3, s4; did you mean 's3'"),
        ({"test_signers": ("s1",), "val_signers": ("s1",)}, "'s1' is in both"),
        ({"test_signers": ("s0", "s1", "s2", "s3", "s4")}, "no training clips"),
        ({"test_signers": ("s1",), "kind": "stratified"}, "need kind signer, found stratified"),
        ({"kind": "given"}, "the source names no split"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_in_one_line(changes, words):
    with pytest.raises(ConfigError, match=words) as refusal:
        assign(corpus(), **changes)
    assert "\n" not in str(refusal.value)


def test_a_gloss_that_is_only_tested_is_named():
    clips = corpus(glosses=2, signers=1, each=2)
    with pytest.raises(ConfigError, match="found 'g1' in the test split only"):
        assign(clips, given=["train", "train", "test", "test"])
    with pytest.raises(ConfigError, match="expected train, val or test"):
        assign(clips, given=["train", "train", "tests", "test"])
    with pytest.raises(ConfigError, match="1 known signers, expected 2 or more"):
        assign(clips, kind="signer")
    apart = (["a", "b"], [("a",), ("b",)], ["s0", "s1"])
    with pytest.raises(ConfigError, match=r"gloss '[ab]' is signed by one signer only"):
        assign(apart, kind="signer")


def test_leaks_are_signers_and_equal_clips_on_both_sides():
    report = split.leaks(
        ["a", "b", "c", "d"], ["train", "train", "val", "test"], ["s0", "s1", "s1", None], ["f", "f", "f", "g"],
        ["1", "2", "3", "1"],
    )  # fmt: skip
    assert report["val"] == {"signers": ["s1"], "clips": 0, "examples": [], "files": 1}
    assert report["test"] == {"signers": [], "clips": 1, "examples": [{"test": "d", "train": "a"}], "files": 0}


def test_auto_divides_by_gloss_when_no_signer_can_be_held_out():
    """Each gloss is signed by one person: held out, that person would take the gloss along."""
    ids = [f"{gloss}{i}" for gloss in "ab" for i in range(20)]
    glosses, signers = [(name[0],) for name in ids], [{"a": "anna", "b": "ben"}[name[0]] for name in ids]
    auto = split.assign(ids, glosses, signers, [None] * 40, settings(), 0)
    assert auto.kind == "stratified"
    assert set(auto.names) == {"train", "val", "test"}
    assert "signers are known" in auto.notes[0]
    with pytest.raises(ConfigError, match="signed by one signer only"):
        split.assign(ids, glosses, signers, [None] * 40, settings(kind="signer"), 0)


@pytest.mark.parametrize("kind", ["stratified", "block"])
@pytest.mark.parametrize("seed", range(5))
def test_sentences_that_occur_once_are_shared_out_and_each_of_their_glosses_trains(kind, seed):
    draw = random.Random(seed)
    glosses = [tuple(f"g{draw.randrange(12)}" for _ in range(draw.randint(1, 5))) for _ in range(80)]
    clips = [f"c{i}" for i in range(80)], glosses, [None] * 80
    found = assign(clips, seed=seed, kind=kind)
    assert [share(found, name) for name in ("val", "test")] == [pytest.approx(0.15, abs=0.03)] * 2
    trained = {word for gloss, name in zip(glosses, found.names, strict=True) if name == "train" for word in gloss}
    assert trained == {word for gloss in glosses for word in gloss}
