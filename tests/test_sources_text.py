"""Text files of joints and csv files without a header, read as they are declared."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from made_sources import TRIANGLE, write_csv, write_joints

from raysign import config
from raysign.errors import ClipError, ConfigError, SourceError
from raysign.skeleton import layout
from raysign.sources import joint_text, landmark_csv, npz

CONFIGS = Path(__file__).parent.parent / "configs"
XYZ_ = [{"part": "body", "channels": ["x", "y", "z", "skip"]}]
XY = [{"part": "hand", "channels": ["x", "y"]}]


def joints(path, **changes):
    return joint_text.Options.model_validate({"path": path, "skeleton": TRIANGLE, "parts": XYZ_, **changes})


def test_a_joint_a_line_is_read_frame_by_frame(tmp_path):
    x = write_joints(tmp_path / "a07_s03_e01.txt")
    options = joints(tmp_path, pattern=r"a(?P<gloss>\d+)_s(?P<signer>\d+)_")
    (ref,) = joint_text.clips(options)
    assert (ref.gloss, ref.signer) == (("07",), "03")
    found = joint_text.read(ref, options)
    assert layout(found.layout).name == "triangle"
    np.testing.assert_array_equal(found.values[0], x[..., :3].astype(np.float32))
    scored = joints(tmp_path, parts=[{"part": "body", "channels": ["x", "y", "z", "visibility"]}])
    expected = x[..., 3].clip(0, 1).astype(np.float32)
    np.testing.assert_array_equal(joint_text.read(ref, scored).visibility[0], expected)


def test_files_are_chosen_by_their_ending_and_named_by_their_folder(tmp_path):
    for name in ("wave/1_screen.txt", "wave/1_World.txt", "clap/2_World.txt"):
        write_joints(tmp_path / name)
    refs = joint_text.clips(joints(tmp_path, suffix="_World.txt"))
    assert [(ref.id, ref.gloss) for ref in refs] == [("clap/2_World.txt", ("clap",)), ("wave/1_World.txt", ("wave",))]


def test_frames_of_zeros_are_not_seen_and_blank_lines_are_no_joints(tmp_path):
    (tmp_path / "a.txt").write_text("1 2 3 0\n4 5 6 0\n7 8 9 0\n\n" + "0 0 0 0\n" * 3)
    (ref,) = joint_text.clips(joints(tmp_path))
    found = joint_text.read(ref, joints(tmp_path))
    np.testing.assert_array_equal(found.values[0, 0], [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    assert np.isnan(found.values[0, 1]).all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 lines, expected 3 for each frame"), ("1 2 3 4\n" * 4, "4 lines, expected 3 for each frame"),
        ("1 2 3 4\n" * 2 + "1 2 3\n", "3 numbers in line 3, expected 4"),
        ("1 2 3 4\n" * 2 + "1 two 3 4\n", "could not convert string to float: 'two'"),
        ("0 0 0 0\n" * 3, "no point is seen in any of 1 frames"), ("ä", "not readable as text"),
    ],
)  # fmt: skip
def test_a_text_that_does_not_fit_goes_to_quarantine(tmp_path, text, said):
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    (ref,) = joint_text.clips(joints(tmp_path))
    with pytest.raises(ClipError, match=said):
        joint_text.read(ref, joints(tmp_path))


@pytest.mark.real_data
def test_real_text_files_hold_what_the_npz_made_of_them_holds(real_data):
    folder = real_data / "msr_action3d_odd_subjects"
    same = config.load([str(CONFIGS / "msr_action3d.yaml")]).source
    stored = {(ref.gloss[0], ref.signer): ref for ref in reversed(npz.clips(same))}  # the first take of each
    options = joints(
        folder / "raw_txt", skeleton=same.skeleton, suffix="_e01_skeleton3D.txt",
        pattern=r"a0*(?P<gloss>\d+)_s0*(?P<signer>\d+)_",
    )  # fmt: skip
    refs = joint_text.clips(options)
    assert len(refs) == 3
    for ref in refs:
        found, expected = joint_text.read(ref, options), npz.read(stored[ref.gloss[0], ref.signer], same)
        assert found.layout == expected.layout
        np.testing.assert_allclose(found.values, expected.values, atol=1e-6)
        np.testing.assert_array_equal(found.visibility, expected.visibility)


# ---------------------------------------------------------------- csv without a header


def table(path, **changes):
    return landmark_csv.Options.model_validate({"path": path, "layout": "hand_21", "parts": XY, **changes})


def test_each_row_is_a_clip_with_its_label(tmp_path):
    x = write_csv(tmp_path / "k.csv", ("2", "0", "1"))
    (tmp_path / "names.csv").write_bytes("\ufeffOpen\r\nClose\r\nPointer\r\n".encode())
    options = table(tmp_path / "k.csv", label_names=tmp_path / "names.csv")
    refs = landmark_csv.clips(options)
    assert [(ref.id, ref.gloss) for ref in refs] == [
        ("k/000001", ("Pointer",)), ("k/000002", ("Open",)), ("k/000003", ("Close",)),
    ]  # fmt: skip
    for ref, row in zip(refs, x, strict=True):
        found = landmark_csv.read(ref, options)
        np.testing.assert_array_equal(found.values[0, ..., :2], row.astype(np.float32))
        assert (found.visibility == 1).all()
    assert [ref.gloss[0] for ref in landmark_csv.clips(table(tmp_path / "k.csv"))] == ["2", "0", "1"]


def test_a_first_line_of_a_mark_alone_is_no_row(tmp_path):
    write_csv(tmp_path / "k.csv")
    (tmp_path / "k.csv").write_bytes(b"\xef\xbb\xbf\r\n" + (tmp_path / "k.csv").read_bytes())
    assert [ref.gloss for ref in landmark_csv.clips(table(tmp_path / "k.csv"))] == [("0",), ("1",), ("2",)]


def test_a_row_of_several_frames_is_a_clip_of_them(tmp_path):
    x = write_csv(tmp_path / "h.csv", ("a b", '"c, d"'), frames=16, points=1)
    tip = {"skeleton": {"name": "tip", "points": ["tip"]}, "parts": [{"part": "body", "channels": ["x", "y"]}]}
    options = table(tmp_path / "h.csv", frames=16, **tip)
    refs = landmark_csv.clips(options)
    assert [ref.gloss for ref in refs] == [("a b",), ("c, d",)]
    for ref, row in zip(refs, x, strict=True):
        np.testing.assert_array_equal(landmark_csv.read(ref, options).values[0, ..., :2], row.astype(np.float32))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (b"1,2,3", r"2 numbers, expected 42 for 1 frames of 42; set source.parts and source.frames"),
        (b"label,x0,y0", "could not convert string to float: 'x0'"), (b"1", "0 numbers, expected 42"),
        (b'1,"2', "not readable as csv"), (b"\xff,1", "not readable as csv"), (b"1" + b",nan" * 42, "no point is seen"),
    ],
)  # fmt: skip
def test_a_row_that_does_not_fit_costs_itself_alone(tmp_path, row, said):
    write_csv(tmp_path / "k.csv")
    (tmp_path / "k.csv").write_bytes(row + b"\n\n" + (tmp_path / "k.csv").read_bytes())
    options = table(tmp_path / "k.csv")
    first, *others = landmark_csv.clips(options)
    with pytest.raises(ClipError, match=f"k/000001: .*{said}"):
        landmark_csv.read(first, options)
    assert [ref.id for ref in others] == ["k/000003", "k/000004", "k/000005"]
    assert all(landmark_csv.read(ref, options).values.shape == (1, 1, 21, 3) for ref in others)


@pytest.mark.parametrize("label", ["3", "-1", "name", "1e99"])
def test_a_label_without_a_name_is_refused(tmp_path, label):
    write_csv(tmp_path / "k.csv", ("0", label))
    (tmp_path / "names.csv").write_text("Open\nClose\nPointer\n")
    with pytest.raises(SourceError, match=f"row 2 begins with '{label}', expected a number from 0 to 2"):
        landmark_csv.clips(table(tmp_path / "k.csv", label_names=tmp_path / "names.csv"))


def test_a_csv_that_is_missing_or_empty_and_parts_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(SourceError, match="give an existing csv file"):
        landmark_csv.clips(table(tmp_path / "k.csv"))
    (tmp_path / "k.csv").write_text("\n")
    with pytest.raises(SourceError, match="found no row"):
        landmark_csv.clips(table(tmp_path / "k.csv"))
    with pytest.raises(ConfigError, match="'pose' is no part of hand_21"):
        landmark_csv.clips(table(tmp_path / "k.csv", parts=[{"part": "pose"}]))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "more", "clips", "glosses"),
    [
        ("keypoint", {}, 4450, {"Open": 1522, "Close": 1572, "Pointer": 1356}),
        (
            "point_history",
            {"frames": 16, "skeleton": {"name": "tip", "points": ["tip"]},
             "parts": [{"part": "body", "channels": ["x", "y"]}]},
            5296, {"Stop", "Clockwise", "Counter Clockwise", "Move"},
        ),
    ],
)  # fmt: skip
def test_real_csv_files_are_read_row_by_row(real_data, name, more, clips, glosses):
    folder = real_data / "kazuhito00"
    options = table(folder / f"{name}.csv", label_names=folder / f"{name}_classifier_label.csv", **more)
    refs = landmark_csv.clips(options)
    assert len(refs) == clips
    counts = Counter(ref.gloss[0] for ref in refs)
    assert (counts if isinstance(glosses, dict) else set(counts)) == glosses
    every = np.loadtxt(folder / f"{name}.csv", delimiter=",")
    for i in range(0, clips, 499):
        found = landmark_csv.read(refs[i], options)
        np.testing.assert_array_equal(found.values[0, ..., :2].ravel(), every[i, 1:].astype(np.float32))
