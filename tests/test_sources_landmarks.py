"""Landmark files: what is read, what is tolerated, what is refused and in which words."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raysign.errors import ClipError, SourceError
from raysign.schema import ClipRef
from raysign.skeleton import LAYOUTS, border_visibility
from raysign.sources import detect, landmark_parquet

SIZES = {"pose": 33, "face": 468, "left_hand": 21, "right_hand": 21}


def parquet(path, **options):
    return landmark_parquet.Options.model_validate({"path": path, **options})


def dense(frames=4, parts=("pose", "left_hand", "right_hand"), seed=0):
    """part -> (T, P, 4) of x, y, z, visibility, float32."""
    rng = np.random.default_rng(seed)
    return {part: rng.uniform(0.1, 0.9, (frames, SIZES[part], 4)).astype(np.float32) for part in parts}


def rows(clip, numbers=None):
    """The clip as a table of one row for each landmark and frame."""
    frames = len(next(iter(clip.values())))
    numbers = range(frames) if numbers is None else numbers
    cells = [
        (part, index, number, *values[t, index])
        for t, number in enumerate(numbers)
        for part, values in clip.items()
        for index in range(values.shape[1])
    ]
    names = ("type", "landmark_index", "frame", "x", "y", "z", "visibility")
    return pa.table({name: list(column) for name, column in zip(names, zip(*cells, strict=True), strict=True)})


def read(path, table, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    settings = parquet(path, **options)
    return landmark_parquet.read(landmark_parquet.clips(settings)[0], settings)


def same(found, clip, visibility=True):
    for part, values in clip.items():
        place = LAYOUTS[found.layout].slices[part]
        np.testing.assert_array_equal(found.values[0][:, place], values[..., :3])
        if visibility:
            np.testing.assert_array_equal(found.visibility[0][:, place], values[..., 3])


# ---------------------------------------------------------------- files of landmarks


@pytest.mark.parametrize("parts", [("pose", "left_hand", "right_hand"), ("face", "left_hand", "pose", "right_hand")])
def test_a_file_gives_back_what_was_written_whatever_the_order_of_its_parts(tmp_path, parts):
    clip = dense(parts=parts)
    found = read(tmp_path / "a.parquet", rows(clip))
    assert found.layout == ("holistic_543" if "face" in parts else "holistic_75")
    same(found, clip)


def test_shuffled_rows_and_columns_change_nothing(tmp_path):
    clip = dense()
    table = rows(clip)
    shuffled = table.take(np.random.default_rng(1).permutation(len(table)))
    found = read(
        tmp_path / "a.parquet", shuffled.select(["z", "frame", "visibility", "x", "type", "y", "landmark_index"])
    )
    same(found, clip)


def test_frames_may_start_anywhere_and_a_gap_is_not_made_up_for(tmp_path):
    clip = dense(3)
    found = read(tmp_path / "a.parquet", rows(clip, numbers=(21, 22, 40)))
    assert found.values.shape == (1, 3, 75, 3)
    same(found, clip)


def test_rows_left_out_for_a_part_not_detected_read_as_nan(tmp_path):
    clip, table = dense(), rows(dense())
    kept = [
        not (t == "left_hand" and f in (1, 2))
        for t, f in zip(*table.select(["type", "frame"]).to_pydict().values(), strict=True)
    ]
    clip["left_hand"][1:3] = np.nan
    same(read(tmp_path / "a.parquet", table.filter(pa.array(kept))), clip)


def test_a_missing_part_is_nan_and_a_face_part_alone_decides_on_the_layout(tmp_path):
    found = read(tmp_path / "a.parquet", rows(dense(parts=("pose",))))
    assert found.layout == "holistic_75"
    assert np.isnan(found.values[:, :, 33:]).all()


def test_nulls_are_nan_and_take_their_whole_point_with_them(tmp_path):
    table = rows(dense())
    x = table["x"].to_pylist()
    x[5] = None
    found = read(tmp_path / "a.parquet", table.set_column(3, "x", pa.array(x)))
    assert np.isnan(found.values[0, 0, 5]).all()
    assert np.isnan(found.visibility[0, 0, 5])
    assert np.isfinite(found.values).sum() == found.values.size - 3


def test_a_clip_of_one_frame_is_a_clip(tmp_path):
    clip = dense(1)
    same(read(tmp_path / "a.parquet", rows(clip)), clip)


@pytest.mark.parametrize("whole", [pa.int8(), pa.uint16(), pa.int64(), pa.float32(), pa.float64()])
@pytest.mark.parametrize("real", [pa.float16(), pa.float32(), pa.float64()])
def test_any_width_of_numbers_is_read(tmp_path, whole, real):
    clip, table = dense(), rows(dense())
    for name in ("landmark_index", "frame"):
        table = table.set_column(table.column_names.index(name), name, table[name].cast(whole))
    for name in ("x", "y", "z", "visibility"):
        table = table.set_column(table.column_names.index(name), name, table[name].cast(real))
    found = read(tmp_path / "a.parquet", table)
    expected = clip["pose"].astype(np.float16 if real == pa.float16() else np.float32)
    np.testing.assert_array_equal(found.values[0][:, :33], expected[..., :3].astype(np.float32))


@pytest.mark.parametrize("text", [pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_any_kind_of_strings_is_read(tmp_path, text):
    clip, table = dense(), rows(dense())
    same(read(tmp_path / "a.parquet", table.set_column(0, "type", table["type"].cast(text))), clip)


@pytest.mark.parametrize("unused", ["face", "iris"])
def test_a_part_that_is_listed_and_of_no_row_counts_as_none(tmp_path, unused):
    clip, table = dense(), rows(dense())
    for names in ([unused, *SIZES], ["pose", unused, "left_hand", "right_hand"]):
        cells = pa.array([names.index(name) for name in table["type"].to_pylist()], pa.int8())
        found = read(
            tmp_path / "a.parquet", table.set_column(0, "type", pa.DictionaryArray.from_arrays(cells, pa.array(names)))
        )
        assert found.layout == "holistic_75"
        same(found, clip)


def test_several_row_groups_are_one_clip(tmp_path):
    clip = dense()
    pq.write_table(rows(clip), tmp_path / "a.parquet", row_group_size=50)
    settings = parquet(tmp_path / "a.parquet")
    same(landmark_parquet.read(landmark_parquet.clips(settings)[0], settings), clip)


def test_without_visibility_hands_have_that_of_the_border_and_a_seen_pose_has_one(tmp_path):
    clip = dense()
    clip["pose"][1] = np.nan
    found = read(tmp_path / "a.parquet", rows(clip).drop_columns(["visibility"]))
    same(found, clip, visibility=False)
    assert (found.visibility[0, 0, :33] == 1).all()
    assert np.isnan(found.visibility[0, 1, :33]).all()
    np.testing.assert_array_equal(found.visibility[0][:, 33:54], border_visibility(clip["left_hand"][..., :2]))


def test_the_irises_of_a_refined_face_are_left_out(tmp_path):
    clip = dense(2, parts=("pose", "face"))
    table = rows({**clip, "face": np.concatenate([clip["face"], np.full((2, 10, 4), 0.5, np.float32)], axis=1)})
    same(read(tmp_path / "a.parquet", table), clip)


@pytest.mark.parametrize("with_part", [True, False])
def test_the_older_schema_reads_like_the_newer_one(tmp_path, with_part):
    clip, table = dense(), rows(dense())
    keys = list(zip(*(table[name].to_pylist() for name in ("frame", "type", "landmark_index")), strict=True))
    old = {
        "video_name": ["v"] * len(keys), "gloss": ["g"] * len(keys), "frame_id": [frame for frame, _, _ in keys],
        "landmark_id": [f"{frame}-{part}-{index}" for frame, part, index in keys],
        **({"body_part": [part for _, part, _ in keys]} if with_part else {}),
        **{name: table[name] for name in ("x", "y", "z", "visibility")},
    }  # fmt: skip
    same(read(tmp_path / "a.parquet", pa.table(old)), clip)


def spoil(**columns):
    table = rows(dense())
    for name, cells in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(cells(table[name].to_pylist())))
    return table


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (lambda: spoil(landmark_index=lambda c: [33, *c[1:]]), "landmark_index 33 of pose, expected 0 to 32"),
        (lambda: spoil(landmark_index=lambda c: [-1, *c[1:]]), "landmark_index -1 of pose"),
        (lambda: spoil(landmark_index=lambda c: [1, *c[1:]]), "a landmark of frame 0 occurs twice"),
        (lambda: spoil(landmark_index=lambda c: [0 if i == 1 else i for i in c]), "occurs twice"),
        (lambda: spoil(type=lambda c: ["poze", *c[1:]]), "landmark type 'poze', .*did you mean 'pose'"),
        (lambda: spoil(type=lambda c: [None, *c[1:]]), "1 rows have no landmark type"),
        (lambda: spoil(frame=lambda c: [None, *c[1:]]), "1 rows have no frame"),
        (lambda: spoil(frame=lambda c: [0.5, *c[1:]]), "frame: expected whole numbers"),
        (lambda: spoil(x=lambda c: ["a"] * len(c)), "column 'x' holds string, expected numbers"),
        (lambda: spoil(type=lambda c: [1] * len(c)), "column 'type' holds int64, expected text"),
        (lambda: spoil(frame=lambda c: [[1]] * len(c)), "frame: expected whole numbers"),
        (lambda: rows(dense()).drop_columns(["y"]), "no column 'y', found type"),
        (lambda: rows(dense()).rename_columns({"landmark_index": "landmark_idx"}), "did you mean 'landmark_idx'"),
        (lambda: rows(dense()).slice(0, 0), "found no rows"),
        (lambda: spoil(x=lambda c: [None] * len(c)), "no point is seen in any of 4 frames"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(tmp_path, table, words):
    with pytest.raises(ClipError, match=words) as refusal:
        read(tmp_path / "a.parquet", table())
    assert "\n" not in str(refusal.value)


def test_what_is_not_parquet_and_what_is_gone_are_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"not parquet at all")
    settings = parquet(tmp_path)
    (ref,) = landmark_parquet.clips(settings)
    with pytest.raises(ClipError, match="not readable as Parquet"):
        landmark_parquet.read(ref, settings)
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(ClipError, match="the file is missing"):
        landmark_parquet.read(ref, settings)


def test_a_tree_without_metadata_is_named_by_its_folders(tmp_path):
    for name in ("hello/7_landmarks.parquet", "bye/8_landmarks.parquet", "flat.parquet", "deep/er/9.parquet"):
        read(tmp_path / name, rows(dense(1)))
    refs = landmark_parquet.clips(parquet(tmp_path))
    assert [(ref.id, ref.gloss) for ref in refs] == [
        ("bye/8", ("bye",)), ("deep/er/9", ()), ("flat", ()), ("hello/7", ("hello",)),
    ]  # fmt: skip


def test_train_csv_gives_gloss_signer_and_split(tmp_path):
    read(tmp_path / "files/2/1.parquet", rows(dense(1)))
    (tmp_path / "train.csv").write_text(
        "sign,path,participant_id,split\nhello,files/2/1.parquet,2,val\nbye,files/2/2.parquet,3,\n"
    )
    settings = parquet(tmp_path)
    refs = landmark_parquet.clips(settings)
    assert [(r.id, r.gloss, r.signer, r.split) for r in refs] == [
        ("files/2/1", ("hello",), "2", "val"), ("files/2/2", ("bye",), "3", None),
    ]  # fmt: skip
    with pytest.raises(ClipError, match="missing"):
        landmark_parquet.read(refs[1], settings)


def test_clips_of_signs_outside_the_gloss_map_go_to_quarantine_and_come_back(tmp_path):
    read(tmp_path / "data/hello/1.parquet", rows(dense(1)))
    (tmp_path / "map.csv").write_text("gloss,label\nbye,0\n")
    settings = parquet(tmp_path / "data", gloss_map=tmp_path / "map.csv")
    (ref,) = landmark_parquet.clips(settings)
    with pytest.raises(ClipError, match=r"sign 'hello' is not in map.csv"):
        landmark_parquet.read(ref, settings)
    (tmp_path / "map.csv").write_text("gloss,label\nbye,0\nhello,1\n")
    (again,) = landmark_parquet.clips(settings)
    assert again.stamp != ref.stamp
    assert landmark_parquet.read(again, settings).values.shape == (1, 1, 75, 3)


def test_metadata_without_a_needed_column_or_with_two_labels_for_a_clip_is_refused(tmp_path):
    (tmp_path / "train.csv").write_text("paths,sign\na,b\n")
    with pytest.raises(SourceError, match="no column 'path', found paths, sign; did you mean 'paths'"):
        landmark_parquet.clips(parquet(tmp_path))
    (tmp_path / "train.csv").write_text("path,sign\na.parquet,b\na.parquet,c\n")
    with pytest.raises(SourceError, match="listed twice"):
        landmark_parquet.clips(parquet(tmp_path))


def test_ids_do_not_change_when_the_folder_moves(tmp_path):
    read(tmp_path / "one/hello/1.parquet", rows(dense(1)))
    before = landmark_parquet.clips(parquet(tmp_path / "one"))
    (tmp_path / "one").rename(tmp_path / "two")
    after = landmark_parquet.clips(parquet(tmp_path / "two"))
    assert [(r.id, r.stamp) for r in before] == [(r.id, r.stamp) for r in after]


def test_folders_of_landmark_files_are_recognised_and_other_parquet_is_not(tmp_path):
    read(tmp_path / "a/hello/1.parquet", rows(dense(1)))
    assert detect(tmp_path / "a") == "landmark_parquet"
    assert detect(tmp_path / "a/hello/1.parquet") == "landmark_parquet"
    (tmp_path / "b").mkdir()
    pq.write_table(pa.table({"id": ["x"], "values": [[1.0]]}), tmp_path / "b/shard-0.parquet")
    (tmp_path / "c").mkdir()
    assert not landmark_parquet.recognises(tmp_path / "b")
    assert not landmark_parquet.recognises(tmp_path / "c")
    with pytest.raises(SourceError, match="no landmark files"):
        landmark_parquet.clips(parquet(tmp_path / "c"))


# ---------------------------------------------------------------- real recordings


@pytest.mark.real_data
@pytest.mark.parametrize("folder", ["gislr_official_samples", "silfa_gislr_letters", "traduttore_words/gislr"])
def test_real_landmark_files_agree_with_a_row_by_row_reading(real_data, folder):
    settings = parquet(real_data / folder)
    assert detect(settings.path) == "landmark_parquet"
    refs = landmark_parquet.clips(settings)
    for ref in refs[:: max(1, len(refs) // 10)]:
        found = landmark_parquet.read(ref, settings)
        assert found.layout == "holistic_543"
        table = pq.read_table(ref.path).to_pydict()
        first = {number: t for t, number in enumerate(sorted(set(table["frame"])))}
        for row in range(0, len(table["x"]), 97):
            place = LAYOUTS["holistic_543"].slices[table["type"][row]].start + table["landmark_index"][row]
            value = np.float32(np.nan if table["y"][row] is None else table["y"][row])
            np.testing.assert_array_equal(found.values[0, first[table["frame"][row]], place, 1], value)


def test_a_ref_of_a_clip_is_enough_to_read_it(tmp_path):
    read(tmp_path / "hello/1.parquet", rows(dense(1)))
    ref = ClipRef("any", str(tmp_path / "hello/1.parquet"), "stamp")
    assert landmark_parquet.read(ref, parquet(tmp_path)).values.shape == (1, 1, 75, 3)
