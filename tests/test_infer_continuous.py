"""Long clips to the signs in them."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from made_bundles import CHANNELS, LABELS, SKELETON, settings, trained
from made_services import as_json, asked
from made_talks import matched, talk

from raysign import store
from raysign.errors import ClipError
from raysign.infer import activity, continuous
from raysign.infer.files import Wanted, predict
from raysign.infer.predictor import Predictor
from raysign.learn import bundle as bundles
from raysign.learn.labels import Labels
from raysign.learn.recogniser import build
from raysign.schema import LANDMARKS, ClipRef, landmarks_row, to_table
from raysign.sources import synthetic

SOURCE = settings().source
LENGTHS = {"frames": {"min": 30, "p5": 35, "median": 50, "p95": 70, "max": 75}}
LENGTHS["seconds"] = {name: frames / 30 for name, frames in LENGTHS["frames"].items()}  # pyright: ignore


def signed(signer: int, count: int = 6, rest: float = 0.8, seed: int = 0):
    """A talk of a signer's clips, what is signed when, and the clips' glosses."""
    refs = [ref for ref in synthetic.clips(SOURCE) if ref.signer == f"signer{signer}"]
    refs = [refs[i] for i in np.random.default_rng(seed).integers(len(refs), size=count)]
    clip, truth = talk([synthetic.read(ref, SOURCE) for ref in refs], [1.0, *[rest] * (count - 1), 1.0])
    return clip, truth, [ref.gloss[0] for ref in refs]


# ---------------------------------------------------------------- where somebody signs


@pytest.mark.parametrize("signer", [0, 1, 2])
def test_each_sign_between_rests_is_a_stretch_of_its_own(signer):
    clip, truth, glosses = signed(signer)
    found = [{"start": a / clip.fps, "end": b / clip.fps, "gloss": None} for a, b in activity.stretches(clip, 0.4)]
    assert len(found) == len(glosses)
    assert min(share for share, _ in matched(found, truth)) > 0.75


def test_nobody_who_moves_is_nobody_who_signs():
    clip, _, _ = signed(0, count=1)
    still = np.repeat(clip.values[:, :1], 200, axis=1)
    still = still + np.random.default_rng(0).normal(0, 0.0015, still.shape)
    sure = np.repeat(clip.visibility[:, :1], 200, axis=1)
    assert activity.stretches(replace(clip, values=still.astype(np.float32), visibility=sure)) == []
    unseen = replace(clip, values=np.full_like(clip.values, np.nan), visibility=np.full_like(clip.visibility, np.nan))
    assert activity.stretches(unseen) == []


def test_a_stretch_is_told_the_same_at_another_size_and_place_and_rate():
    clip, _, _ = signed(1)
    before = activity.stretches(clip)
    near = replace(clip, values=clip.values * 0.5 + np.float32(0.2))
    assert activity.stretches(near) == before
    half = replace(clip, values=clip.values[:, ::2], visibility=clip.visibility[:, ::2], fps=clip.fps / 2)
    found = activity.stretches(half)
    assert len(found) == len(before)
    assert np.abs(np.array(found) * 2 - np.array(before)).max() <= 6


# ---------------------------------------------------------------- dividing


def divided(marks, scores):
    """Every division of the marks into windows that lie one after the other."""
    if len(marks) < 2:
        return [[]]
    rest = divided(marks[1:], scores)
    for stop in marks[1:]:
        if (marks[0], stop) in scores:
            rest = rest + [[(marks[0], stop), *more] for more in divided(marks[marks.index(stop) :], scores)]
    return rest


@pytest.mark.parametrize("seed", range(5))
def test_no_division_into_windows_is_surer_than_the_one_that_is_told(seed):
    rng = np.random.default_rng(seed)
    marks = np.cumsum([0, *rng.integers(2, 5, 7)]).tolist()
    pairs = itertools.combinations(marks, 2)
    scores = {pair: float(np.log(rng.uniform(0.05, 1))) for pair in pairs if rng.random() < 0.7}

    def total(windows):
        inside = sum(b - a for a, b in windows)
        return sum((b - a) * scores[a, b] for a, b in windows) + (marks[-1] - inside) * np.log(continuous.BETWEEN)

    found = continuous.surest(marks, scores)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(found))
    assert total(found) == pytest.approx(max(map(total, divided(marks, scores))))


# ---------------------------------------------------------------- answers


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory) -> Predictor:
    return Predictor(bundles.load(trained(tmp_path_factory.mktemp("trained"))))


@pytest.mark.parametrize("signer", [0, 1])
def test_signs_with_rest_between_are_told_with_their_times(recogniser, signer):
    clip, truth, glosses = signed(signer, count=8)
    found = continuous.segments(recogniser, clip)
    told = matched(found, truth)
    assert np.mean([share for share, _ in told]) > 0.8
    assert sum(name == gloss for (_, name), gloss in zip(told, glosses, strict=True)) >= 7
    assert all(0 < one["confidence"] <= 1 and one["top"][0] == (one["gloss"], one["confidence"]) for one in found)


def test_signs_without_rest_between_are_divided(recogniser):
    clip, truth, glosses = signed(1, count=6, rest=0.0)
    assert len(activity.stretches(clip)) < 6
    told = matched(continuous.segments(recogniser, clip), truth)
    assert sum(name == gloss and share > 0.5 for (share, name), gloss in zip(told, glosses, strict=True)) >= 5


def test_a_service_tells_the_same_signs_of_a_long_clip(recogniser, tmp_path):
    clip, _, _ = signed(1, count=4)
    recogniser.bundle.save(tmp_path / "bundle")
    with asked(tmp_path / "bundle", "media=false") as (client, run):
        told = run(client.post(as_json(clip), "/api/v1/recognitions?top=2")).json
    wanted = continuous.segments(recogniser, clip, k=2)
    assert told["top"] == [] and len(told["segments"]) == len(wanted) == 4
    for one, other in zip(told["segments"], wanted, strict=True):
        assert [one[name] for name in ("start", "end", "gloss")] == [other[name] for name in ("start", "end", "gloss")]
        assert [share["probability"] for share in one["top"]] == pytest.approx([p for _, p in other["top"]], abs=1e-4)


def test_a_clip_is_answered_as_one_unless_it_is_much_longer_than_those_of_training(recogniser, tmp_path):
    assert set(recogniser.bundle.card["landmark_lengths"]["seconds"]) == set(LENGTHS["seconds"])
    clip, _, _ = signed(1, count=8)
    short = synthetic.read(synthetic.clips(SOURCE)[0], SOURCE)
    for i, one in enumerate((clip, short)):  # by themselves: clips that are asked together share their padding
        row = landmarks_row(ClipRef(f"{i}", "x", "1"), "made up", one)
        store.write_table(tmp_path / f"shard-{i}.parquet", to_table([row], LANDMARKS))
    recogniser.bundle.save(tmp_path / "bundle")
    old = {name: cell for name, cell in recogniser.bundle.card.items() if name != "landmark_lengths"}
    replace(recogniser.bundle, card=old).save(tmp_path / "old")

    def answers(bundle, **wanted):
        return list(predict(tmp_path / bundle, store.shards(tmp_path), wanted=Wanted(**wanted)))

    new, before = answers("bundle"), answers("old")
    assert new[1] == before[1] and "segments" not in new[1]  # to the last bit
    assert len(new[0]["segments"]) == 8 and new[0]["top"] == [] and "segments" not in before[0]
    assert answers("bundle", continuous=False) == answers("bundle", continuous=False, window=1.5) == before
    assert all("segments" in row for row in answers("old", continuous=True))
    assert all("segments" in row for row in answers("old", window=1.5))


def test_a_bundle_of_sequences_tells_the_sequence_of_each_stretch():
    tree = settings("task.kind=ctc", "model.kind=bilstm", "model.hidden=8")
    network = build(tree, SKELETON, CHANNELS, Labels(LABELS)).eval()
    bundle = bundles.Bundle(tree, SKELETON, Labels(LABELS), CHANNELS, network, {"landmark_lengths": LENGTHS})
    predictor, (clip, _, _) = Predictor(bundle), signed(0, count=4)
    found = continuous.segments(predictor, clip)
    wanted = []
    for start, stop in activity.stretches(clip, 0.4):
        _, (told,) = predictor.answers([predictor.prepared(continuous.cut(clip, start, stop))])
        wanted += [told["decoded"]] if told["decoded"] else []
    assert wanted and [one["decoded"] for one in found] == wanted
    assert all(one["gloss"] == " ".join(one["decoded"]) for one in found)


@pytest.mark.parametrize("fps", [np.nan, np.inf, -1.0])
def test_a_rate_that_is_none_is_as_if_not_told(recogniser, fps):
    clip, _, _ = signed(1, count=2)
    strange, untold = (continuous.segments(recogniser, replace(clip, fps=rate), 1.5) for rate in (fps, 0.0))
    assert strange == untold != []


def test_a_clip_without_frames_says_so(recogniser):
    clip, _, _ = signed(1, count=1)
    with pytest.raises(ClipError):
        continuous.segments(recogniser, continuous.cut(clip, 0, 0))


def test_a_clip_of_which_no_part_can_be_used_says_why():
    tree = settings("prepare.min_frames=500")
    network = build(tree, SKELETON, CHANNELS, Labels(LABELS)).eval()
    bundle = bundles.Bundle(tree, SKELETON, Labels(LABELS), CHANNELS, network, {"landmark_lengths": LENGTHS})
    with pytest.raises(ClipError, match="at least 500"):
        continuous.segments(Predictor(bundle), signed(0, count=2)[0])
