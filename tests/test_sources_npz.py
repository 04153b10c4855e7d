"""Arrays of npz files and trees of npy files: what is read as declared, what is refused and in which words."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from made_sources import write_npy_tree, write_npz

from raysign import config
from raysign.clips.recipes import centered
from raysign.errors import ClipError, ConfigError, SourceError
from raysign.skeleton import layout
from raysign.sources import detect, npy_tree, npz

PARTS = [{"part": "pose", "channels": ["x", "y", "z", "visibility"]}, {"part": "left_hand"}, {"part": "right_hand"}]


def words(clips=3, frames=5, seed=0):
    return np.random.default_rng(seed).uniform(0.1, 0.9, (clips, frames, 258)).astype(np.float32)


def unpacked(path, **options):
    settings = npz.Options.model_validate({"path": path, "parts": PARTS, **options})
    refs = npz.clips(settings)
    return refs, [npz.read(ref, settings) for ref in refs]


def test_flat_values_unpack_as_declared(tmp_path):
    x = words()
    refs, found = unpacked(
        write_npz(tmp_path / "w.npz", x=x, y=["a", "b", "a"], who=[1, 2, 2]), gloss="y", signer="who"
    )
    assert [(r.id, r.gloss, r.signer) for r in refs] == [
        ("w/000000", ("a",), "1"), ("w/000001", ("b",), "2"), ("w/000002", ("a",), "2"),
    ]  # fmt: skip
    for clip, landmarks in zip(x, found, strict=True):
        pose = clip[:, :132].reshape(5, 33, 4)
        np.testing.assert_array_equal(landmarks.values[0][:, :33], pose[..., :3])
        np.testing.assert_array_equal(landmarks.visibility[0][:, :33], pose[..., 3])
        np.testing.assert_array_equal(landmarks.values[0][:, 54:], clip[:, 195:].reshape(5, 21, 3))


def test_points_and_channels_may_have_axes_of_their_own_and_a_file_may_hold_one_clip(tmp_path):
    x = np.random.default_rng(0).uniform(size=(4, 42, 3)).astype(np.float32)
    options = {"layout": "hands_42", "parts": []}
    for name, values in (("single", x), ("flat", x.reshape(4, -1)), ("many", x[None])):
        refs, found = unpacked(write_npz(tmp_path / f"{name}.npz", x=values), **options)
        assert [ref.id for ref in refs] == [name + ("/000000" if name == "many" else "")]
        np.testing.assert_array_equal(found[0].values, x[None])


def test_labelled_rows_of_a_flat_array_are_clips_of_one_frame(tmp_path):
    x = np.random.default_rng(0).uniform(size=(6, 63)).astype(np.float32)
    options = {"layout": "hands_42", "parts": [{"part": "right_hand"}], "gloss": "y"}
    refs, found = unpacked(write_npz(tmp_path / "w.npz", x=x, y=list("aabbcc")), **options)
    assert len(refs) == 6
    np.testing.assert_array_equal(found[4].values[0, 0, 21:], x[4].reshape(21, 3))
    assert np.isnan(found[4].values[0, 0, :21]).all()


def test_a_part_that_is_all_the_missing_value_is_not_seen_but_a_single_zero_is(tmp_path):
    x = words(1)
    x[0, 2, 132:195] = 0
    x[0, 3, 132] = 0
    _, (found,) = unpacked(write_npz(tmp_path / "w.npz", x=x), missing=0)
    assert np.isnan(found.values[0, 2, 33:54]).all()
    assert np.isnan(found.visibility[0, 2, 33:54]).all()
    assert found.values[0, 3, 33, 0] == 0
    assert np.isnan(found.values).sum() == 63


def test_lengths_cut_clips_and_numbers_become_names(tmp_path):
    path = write_npz(tmp_path / "w.npz", x=words(), y=[1, 0, 1], n=[2, 5, 1], names=["no", "yes"])
    refs, found = unpacked(path, gloss="y", lengths="n", label_names="names")
    assert [r.gloss for r in refs] == [("yes",), ("no",), ("yes",)]
    assert [f.values.shape[1] for f in found] == [2, 5, 1]
    assert unpacked(path, gloss="y", label_names=["n", "y"])[0][0].gloss == ("y",)


def test_labels_may_be_whole_numbers_with_a_point(tmp_path):
    path = write_npz(tmp_path / "w.npz", x=words(), y=[1.0, 0.0, 1.0])
    assert [ref.gloss for ref in unpacked(path, gloss="y", label_names=["n", "y"])[0]] == [("y",), ("n",), ("y",)]


def test_of_a_file_of_many_clips_only_the_one_that_is_read_is_in_memory(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).random((200, 40, 126), np.float32))
    options = npz.Options.model_validate({"path": tmp_path / "a.npz", "layout": "hands_42"})
    ref = npz.clips(options)[150]
    tracemalloc.start()
    assert npz.read(ref, options).values.shape == (1, 40, 42, 3)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1e6  # of 4e6


def test_a_subset_of_points_goes_to_its_places(tmp_path):
    x = np.random.default_rng(0).uniform(size=(2, 3, 4)).astype(np.float32)
    options = {"layout": "pose_33", "parts": [{"part": "pose", "points": [11, 12], "channels": ["x", "y"]}]}
    _, found = unpacked(write_npz(tmp_path / "w.npz", x=x), **options)
    np.testing.assert_array_equal(found[1].values[0, :, [11, 12], :2].transpose(1, 0, 2), x[1].reshape(3, 2, 2))
    assert (found[1].values[0, :, 11, 2] == 0).all()
    assert np.isfinite(found[1].visibility).sum() == 6


@pytest.mark.parametrize(
    ("arrays", "options", "words_"),
    [
        ({"X": 1}, {}, "no key 'x', found X"),
        ({"x": words()}, {"gloss": "label"}, "no key 'label', found x"),
        ({"x": np.zeros((3, 5, 257))}, {}, r"shape \(3, 5, 257\), expected .* pose 33x4 \+ left_hand 21x3"),
        ({"x": words(), "y": [1, 2]}, {"gloss": "y"}, "`y` has 2 entries, expected one for each of 3 clips"),
        ({"x": words(), "y": [1, 2, 3]}, {"gloss": "y", "label_names": ["a"]}, "no number from 0 to 0"),
        ({"x": words(), "y": [1, -1, 0]}, {"gloss": "y", "label_names": ["a", "b"]}, "no number from 0 to 1"),
        ({"x": words(), "y": [1, 0.5, 0]}, {"gloss": "y", "label_names": ["a", "b"]}, "no number from 0 to 1"),
        ({"x": words(), "y": [1, np.inf, 0]}, {"gloss": "y", "label_names": ["a", "b"]}, "no number from 0 to 1"),
        ({"x": words(), "i": ["a", "a", "b"]}, {"id": "i"}, "found more than once: w/a"),
        ({"x": np.array([{}, 1], dtype=object)}, {}, "`x` holds Python objects"),
        ({"x": words(), "y": np.array(["a", 1, None], dtype=object)}, {"gloss": "y"}, "`y` holds Python objects"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_one_line(tmp_path, arrays, options, words_):
    with pytest.raises(SourceError, match=words_):
        unpacked(write_npz(tmp_path / "w.npz", **arrays), **options)


def test_a_layout_that_does_not_fit_is_a_config_error(tmp_path):
    path = write_npz(tmp_path / "w.npz", x=words())
    for parts, words_ in (
        ([{"part": "leg"}], "'leg' is no part"),
        ([{"part": "pose", "points": 34}], "its 33"),
        ([{"part": "pose", "channels": ["y"]}], "lack x or y"),
        ([{"part": "pose"}, {"part": "pose"}], "declared twice"),
    ):
        with pytest.raises(ConfigError, match=words_):
            unpacked(path, parts=parts)
    with pytest.raises(ConfigError, match="did you mean 'holistic_75'"):
        config.load(["source.kind=npz", f"source.path={path}", "source.layout=holistic75"])


def test_what_is_not_npz_is_refused_and_an_empty_clip_goes_to_quarantine(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"no zip")
    with pytest.raises(SourceError, match="not readable as npz"):
        unpacked(tmp_path / "bad.npz")
    with pytest.raises(SourceError, match="found nothing"):
        unpacked(tmp_path / "none.npz")
    with pytest.raises(ClipError, match="no point is seen"):
        unpacked(write_npz(tmp_path / "w.npz", x=words() * 0), missing=0)


# ---------------------------------------------------------------- trees of one file a frame


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "1.npy").write_bytes(b"no array"), "not readable as npy"),
        (lambda folder: np.save(folder / "1.npy", np.ones(9)), "9 numbers, expected 1662 as in the first frame"),
        (lambda folder: [np.save(folder / f"{i}.npy", np.ones(7)) for i in range(3)], "declare source.parts"),
        (lambda folder: [np.save(folder / f"{i}.npy", np.zeros(1662)) for i in range(3)], "no point is seen"),
        (lambda folder: np.save(folder / "1.npy", np.array([{}], dtype=object)), "not readable as npy"),
    ],
)
def test_a_tree_of_frames_that_do_not_fit_goes_to_quarantine(tmp_path, spoil, said):
    folder = tmp_path / "hello" / "0"
    write_npy_tree(folder)
    assert detect(tmp_path) == "npy_tree"
    options = npy_tree.Options.model_validate({"path": tmp_path})
    (ref,) = npy_tree.clips(options)
    assert (ref.id, ref.gloss, npy_tree.read(ref, options).layout) == ("hello/0", ("hello",), "holistic_543")
    spoil(folder)
    with pytest.raises(ClipError, match=said):
        npy_tree.read(ref, options)


@pytest.mark.real_data
def test_a_real_tree_of_frames_is_read_in_the_order_of_their_numbers(real_data):
    options = npy_tree.Options.model_validate({"path": real_data / "traduttore_words/npy_tree"})
    assert detect(options.path) == "npy_tree"
    refs = npy_tree.clips(options)
    assert len(refs) == 12
    for ref in refs[::4]:
        found = npy_tree.read(ref, options)
        assert found.values.shape == (1, 20, 75, 3)
        frame = np.load(f"{ref.path}/11.npy").astype(np.float32)
        np.testing.assert_array_equal(found.values[0, 11, :33], frame[:132].reshape(33, 4)[:, :3])
        if frame[195:].any():
            np.testing.assert_array_equal(found.values[0, 11, 54:], frame[195:].reshape(21, 3))
        else:
            assert np.isnan(found.values[0, 11, 54:]).all()


# ---------------------------------------------------------------- a skeleton of one's own


@pytest.mark.real_data
def test_a_skeleton_declared_in_a_config_is_read_prepared_and_known_to_the_clips(real_data, tmp_path):
    shipped = Path(__file__).parent.parent / "configs" / "msr_action3d.yaml"
    chosen = config.load([str(shipped), f"out={tmp_path}", "ray.cpus=1"])
    refs = npz.clips(chosen.source)
    assert len(refs) == 290
    assert {ref.signer for ref in refs} == {"1", "3", "5", "7", "9"}
    with np.load(real_data / "msr_action3d_odd_subjects" / "msr_action3d_odd.npz") as stored:
        x, lengths = stored["x"], stored["length"]
    for ref in refs[::40]:
        found = npz.read(ref, chosen.source)
        seen = np.isfinite(found.values[0])
        assert np.array_equal(found.values[0][seen], x[ref.index, : lengths[ref.index]][seen])
        skeleton = layout(found.layout)
        assert (skeleton.name, skeleton.points, skeleton.centre) == ("msr_20", 20, 6)
        # bones are where they belong: hardly longer in one frame than in another
        for child, parent in enumerate(skeleton.parents()):
            length = np.linalg.norm(found.values[0, :, child] - found.values[0, :, parent], axis=-1)
            assert child == parent or np.nanstd(length) < 0.2 * np.nanmean(length)
        assert centered.apply(found, chosen.prepare).shape[2:] == (20, 4)


@pytest.mark.real_data
def test_real_npz_words_are_read(real_data):
    path = real_data / "traduttore_words/words_shared.npz"
    refs, found = unpacked(path, gloss="label", signer="recorder", missing=0)
    assert len(refs) == 336
    assert {ref.signer for ref in refs} == {"danial", "cam"}
    assert len({ref.gloss for ref in refs}) == 12
    assert 0 < np.mean([np.isnan(clip.values).mean() for clip in found]) < 0.5
