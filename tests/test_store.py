"""Tables and stage directories: what is written is read back, whole or not at all."""

import hashlib

import numpy as np
import pytest

from raysign import store
from raysign.errors import StoreError
from raysign.schema import CLIPS, LANDMARKS, ClipRef, Landmarks, arrays, landmarks_of, landmarks_row, to_table
from raysign.skeleton import LAYOUTS


def some_landmarks(rng, layout: str, frames: int, persons: int = 1) -> Landmarks:
    values = rng.normal(size=(persons, frames, LAYOUTS[layout].points, 3)).astype(np.float32)
    values[rng.random(values.shape[:3]) < 0.2] = np.nan
    return Landmarks(values, rng.random(values.shape[:3]).astype(np.float32), layout, 25.0, 640, 480)


def landmarks_table(layout="holistic_75", clips=5):
    rng = np.random.default_rng(0)
    made = [some_landmarks(rng, layout, int(rng.integers(1, 9)), 1 + i % 2) for i in range(clips)]
    rows = [landmarks_row(ClipRef(f"clip{i}", "там/clip.mp4", "1", ("привет",)), "e", m) for i, m in enumerate(made)]
    return made, to_table(rows, LANDMARKS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_landmarks_come_back_bit_by_bit(tmp_path, layout):
    made, table = landmarks_table(layout)
    store.write_table(tmp_path / "shard-0.parquet", table)
    back = list(landmarks_of(store.read_table(tmp_path / "shard-0.parquet")))
    assert len(back) == len(made)
    for a, b in zip(made, back, strict=True):
        assert a.values.tobytes() == b.values.tobytes()
        assert a.visibility.tobytes() == b.visibility.tobytes()
        assert (a.layout, a.fps, a.width) == (b.layout, b.fps, b.width)


def test_a_table_of_several_chunks_reads_like_one():
    import pyarrow as pa

    made, table = landmarks_table()
    pieces = pa.concat_tables([table.slice(0, 2), table.slice(2)])
    for a, b in zip(made, arrays(pieces, "visibility", "persons", "frames", "points"), strict=True):
        assert np.array_equal(a.visibility, b)


def test_a_shard_is_plain_parquet_for_any_reader(tmp_path):
    pd = pytest.importorskip("pandas")
    made, table = landmarks_table()
    store.write_table(tmp_path / "shard-0.parquet", table)
    frame = pd.read_parquet(tmp_path / "shard-0.parquet")
    assert list(frame["id"]) == [f"clip{i}" for i in range(5)]
    assert np.array_equal(np.frombuffer(frame["values"][0], "<f4"), made[0].values.reshape(-1), equal_nan=True)


def test_the_same_table_is_written_as_the_same_bytes(tmp_path):
    _, table = landmarks_table()
    for name in "ab":
        store.write_table(tmp_path / name, table)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_torn_shard_is_refused_by_name(tmp_path):
    _, table = landmarks_table()
    path = tmp_path / "shard-0.parquet"
    store.write_table(path, table)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StoreError, match=r"shard-0\.parquet"):
        store.read_table(path)


def test_a_shard_of_another_schema_version_is_refused(tmp_path):
    table = to_table([{"id": "a"}], CLIPS).replace_schema_metadata({"raysign.schema": "clips/999"})
    store.write_table(tmp_path / "shard-0.parquet", table)
    with pytest.raises(StoreError, match="clips/999"):
        store.read_table(tmp_path / "shard-0.parquet")


def test_half_written_files_are_no_shards(tmp_path):
    (tmp_path / ".shard-0.parquet.1.tmp").write_bytes(b"half")
    assert store.shards(tmp_path) == []


def test_an_empty_stage_says_so(tmp_path):
    with pytest.raises(StoreError, match="no shards"):
        store.read_columns(tmp_path, "id")


def test_a_torn_card_is_refused_by_name(tmp_path):
    (tmp_path / "card.json").write_text('{"half":')
    with pytest.raises(StoreError, match=r"card\.json"):
        store.read_card(tmp_path)


def test_a_checksum_is_that_of_the_whole_content(tmp_path):
    data = np.random.default_rng(0).bytes(1 << 20)
    (tmp_path / "a").write_bytes(data)
    assert store.sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_a_fingerprint_tells_values_apart_and_forgets_the_order_of_keys():
    assert store.fingerprint({"a": 1, "b": 2}) == store.fingerprint({"b": 2, "a": 1})
    assert store.fingerprint({"a": 1}) != store.fingerprint({"a": 2})


def test_clips_come_back_bit_by_bit_also_from_a_part_of_their_table(tmp_path):
    rng = np.random.default_rng(0)
    made = [rng.random((1, frames, 3, 4), np.float32) for frames in (5, 1, 7, 2)]
    names = ("persons", "frames", "points", "channels")
    rows = [{"id": str(i), "x": x, **dict(zip(names, x.shape, strict=True))} for i, x in enumerate(made)]
    store.write_table(tmp_path / "shard-0.parquet", to_table(rows, CLIPS))
    table = store.read_table(tmp_path / "shard-0.parquet")
    for part, wanted in ((table, made), (table.slice(1, 2), made[1:3]), (table.take([3, 0]), [made[3], made[0]])):
        found = list(arrays(part, "x", *names))
        assert [x.tobytes() for x in found] == [x.tobytes() for x in wanted]
