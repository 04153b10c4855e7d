"""The prepare stage: what it writes, what it leaves out and says so, and that it may be killed or spread out."""

import numpy as np
import pyarrow as pa
import pytest

from raysign import config, engine, schema, store
from raysign.clips import prepare
from raysign.errors import ConfigError, StoreError
from raysign.schema import ClipRef, Landmarks


def settings(tmp_path, *overrides):
    return config.load(["source.kind=npz", f"source.path={tmp_path}", f"out={tmp_path}", *overrides])


def clip(seed, frames=None):
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.2, 0.8, (1, frames or int(rng.integers(3, 9)), 75, 3)).astype(np.float32)
    return Landmarks(values, np.ones(values.shape[:3], np.float32), "holistic_75")


def row(number, result=None, **changes):
    about = {"gloss": (f"g{number % 3}",), "signer": f"s{number // 3 % 4}", "stamp": "1", **changes}
    ref = ClipRef(f"clip{number:02d}", "file", **about)
    return schema.landmarks_row(ref, "extractor", clip(number) if result is None else result)


def landmarks(tmp_path, rows=None, per_shard=5):
    rows = [row(number) for number in range(24)] if rows is None else rows
    for start in range(0, len(rows), per_shard):
        table = schema.to_table(rows[start : start + per_shard], schema.LANDMARKS)
        store.write_table(tmp_path / "landmarks" / f"shard-{start:03d}.parquet", table)
    return tmp_path / "landmarks"


def make(tmp_path, *overrides, directory=None):
    """Plan, work and finish in this process; the plan and the card."""
    chosen = settings(tmp_path, *overrides)
    made = prepare.plan(tmp_path / "landmarks", directory or tmp_path / "clips", chosen)
    worker = prepare.Worker(tmp_path / "landmarks", made.directory, chosen.prepare)
    for unit in made.units:
        worker(unit)
    return made, prepare.finish(tmp_path / "landmarks", made, chosen, 1.0)


def contents(directory):
    return {path.name: path.read_bytes() for path in store.shards(directory)}


def test_every_good_clip_becomes_a_row_with_its_split_and_no_nan(tmp_path):
    landmarks(tmp_path)
    made, card = make(tmp_path)
    table = store.read_columns(made.directory, *schema.CLIPS.names)
    assert table.schema.equals(schema.CLIPS)
    assert sorted(table["id"].to_pylist()) == [f"clip{n:02d}" for n in range(24)]
    for x in schema.arrays(table, "x", "persons", "frames", "points", "channels"):
        assert x.shape[2:] == (59, 4)
        assert np.isfinite(x).all()
    assert len(set(table["recipe"].to_pylist())) == 1
    assert card["counts"]["split"] == dict(zip(*np.unique(table["split"], return_counts=True), strict=True))
    assert card["labels"] == ["g0", "g1", "g2"]
    assert card["counts"]["gloss"]["g1"] == {"train": 4, "val": 2, "test": 2}
    assert card["leaks"]["test"]["signers"] == []
    assert card["split"]["kind"] == "signer"
    assert sum(count for _, count in card["skeleton"]["parts"]) == 59
    assert card["channels"][-1] == "visibility"
    assert card["lengths"]["min"] == min(table["frames"].to_pylist())
    assert store.read_card(made.directory) == card


def test_nothing_is_left_out_without_a_reason(tmp_path):
    rows = [row(n) for n in range(24)]
    rows[3] = row(3, "no such file")
    rows[4] = row(4, gloss=())
    rows[5] = row(5, clip(5, frames=2))
    landmarks(tmp_path, rows)
    made, card = make(tmp_path, "prepare.min_frames=3")
    dropped = {r["id"]: r["reason"] for r in store.read_table(made.directory / "dropped.parquet").to_pylist()}
    assert dropped == {
        "clip03": "quarantined", "clip04": "no gloss: unlabelled in the source",
        "clip05": "found 2 frames, expected at least 3 (prepare.min_frames)",
    }  # fmt: skip
    assert sum(card["dropped"].values()) == 3
    assert card["counts"]["clips"] == 21


def test_a_second_run_has_nothing_to_do_and_a_killed_one_goes_on_with_what_is_missing(tmp_path):
    landmarks(tmp_path)
    made, card = make(tmp_path)
    before = contents(made.directory)
    chosen = settings(tmp_path)
    assert prepare.plan(tmp_path / "landmarks", tmp_path / "clips", chosen).finished
    (made.directory / "card.json").unlink()
    (made.directory / "shard-005.parquet").unlink()
    again = prepare.plan(tmp_path / "landmarks", tmp_path / "clips", chosen)
    assert not again.finished
    assert [unit["shard"] for unit in again.units] == ["shard-005.parquet"]
    assert again.done == 4
    assert make(tmp_path)[1]["counts"] == card["counts"]
    assert contents(made.directory) == before


@pytest.mark.parametrize("override", ["prepare.max_frames=4", "split.kind=stratified", "seed=1"])
def test_another_recipe_split_or_seed_is_another_directory(tmp_path, override):
    landmarks(tmp_path)
    chosen = (settings(tmp_path, *extra) for extra in ((), (override,), ("train.epochs=3", "name=x")))
    keys = [prepare.plan(tmp_path / "landmarks", tmp_path / "clips", one).key for one in chosen]
    assert keys[0] == keys[2] != keys[1]


@pytest.mark.parametrize("change", [{"stamp": "2"}, {"gloss": ("g2",)}, {"signer": "s3"}])
def test_a_changed_clip_is_another_directory(tmp_path, change):
    landmarks(tmp_path)
    before = prepare.plan(tmp_path / "landmarks", tmp_path / "clips", settings(tmp_path)).key
    landmarks(tmp_path, [row(0, **change), *(row(n) for n in range(1, 24))])
    assert prepare.plan(tmp_path / "landmarks", tmp_path / "clips", settings(tmp_path)).key != before


def test_the_same_clip_under_two_names_is_reported_as_a_leak(tmp_path):
    rows = [row(n) for n in range(24)]
    rows[20] = row(20, clip(2))
    landmarks(tmp_path, rows)
    _, card = make(tmp_path, "split.test_signers=[s2]", "split.val_signers=[s1]")
    assert card["leaks"]["test"]["examples"] == [{"test": "clip20", "train": "clip02"}]
    assert card["leaks"]["val"]["clips"] == 0


def test_landmarks_that_cannot_be_prepared_are_refused_in_one_line(tmp_path):
    with pytest.raises(StoreError, match="no landmarks; run"):
        make(tmp_path)
    landmarks(tmp_path, [row(n, "torn") for n in range(3)])
    with pytest.raises(
        StoreError, match=r"none of 3 clips can be prepared \(3 quarantined\); such as torn; .*quarantine\.parquet"
    ):
        make(tmp_path)
    landmarks(tmp_path, [row(1), row(1)])
    with pytest.raises(StoreError, match="'clip01' is stored twice"):
        make(tmp_path)
    landmarks(tmp_path, [row(n, split="train") for n in range(3)] + [row(9, split="test", gloss=("new",))])
    with pytest.raises(ConfigError, match="found 'new' in the test split only"):
        make(tmp_path)


def test_a_recipe_that_drops_everything_says_why(tmp_path):
    landmarks(tmp_path)
    with pytest.raises(StoreError, match=r"no training clips are left; \d+ were dropped: found . frames"):
        make(tmp_path, "prepare.min_frames=99")


def test_a_gloss_whose_training_clips_are_all_dropped_is_named(tmp_path):
    named = {0: "train", 1: "val", 2: "test"}
    rows = [row(n, split=named[n % 3], gloss=(f"g{n // 3 % 2}",)) for n in range(24)]
    short = [n for n in range(24) if n % 3 == 0 and n // 3 % 2 == 1]
    for n in short:
        rows[n] = row(n, clip(n, frames=2), split="train", gloss=("g1",))
    landmarks(tmp_path, rows)
    with pytest.raises(StoreError, match=rf"gloss 'g1' are left; {len(short)} were dropped: found 2 frames"):
        make(tmp_path, "prepare.min_frames=3")


def test_landmarks_of_clips_without_a_split_say_nothing_of_the_form_of_the_others(tmp_path):
    one = Landmarks(np.ones((1, 4, 25, 3), np.float32), np.ones((1, 4, 25), np.float32), "ntu_25")
    rows = [row(n, split="val" if n > 8 else "train") for n in range(12)]
    landmarks(tmp_path, [*rows, row(12, one)])
    _, card = make(tmp_path)
    assert (card["counts"]["clips"], card["dropped"]) == (12, {"no split": 1})


@pytest.mark.usefixtures("cluster")
def test_many_workers_write_the_same_bytes_as_one(tmp_path):
    landmarks(tmp_path, per_shard=3)
    alone, _ = make(tmp_path)
    chosen = settings(tmp_path)
    made = prepare.plan(tmp_path / "landmarks", tmp_path / "elsewhere", chosen)
    arguments = {"landmarks_dir": tmp_path / "landmarks", "directory": made.directory, "options": chosen.prepare}
    rows = list(engine.stream(made.units, prepare.Worker, arguments))
    assert sum(r["clips"] for r in rows) == 24
    assert contents(made.directory) == contents(alone.directory)


def test_a_clip_that_left_the_source_is_not_trained_on(tmp_path):
    directory = landmarks(tmp_path)
    before, _ = make(tmp_path)
    store.write_json(directory / "card.json", {"gone": ["clip07"]})
    after, card = make(tmp_path)
    assert after.key != before.key
    assert "clip07" not in store.read_columns(after.directory, "id")["id"].to_pylist()
    assert card["dropped"] == {"no longer in the source": 1}


def test_landmarks_that_no_recipe_can_use_are_refused_before_any_work(tmp_path):
    one = Landmarks(np.ones((1, 4, 25, 3), np.float32), np.ones((1, 4, 25), np.float32), "ntu_25")
    landmarks(tmp_path, [row(number, one) for number in range(6)])
    with pytest.raises(ConfigError, match=r"left_hand or right_hand, found ntu_25 of body \(25\)"):
        make(tmp_path)


def test_the_card_tells_how_long_the_clips_were_that_train_and_no_others(tmp_path):
    splits = [("train", "train", "val", "test")[number // 3 % 4] for number in range(24)]
    rows = [row(number, clip(number, 10 if name == "train" else 50), split=name) for number, name in enumerate(splits)]
    unlabelled, bad = row(24, clip(24, 900), gloss=()), row(25, "no such file")
    landmarks(tmp_path, [*rows, unlabelled, bad])
    _, card = make(tmp_path, "split.kind=given", "prepare.max_frames=5")
    assert set(card["landmark_lengths"]["frames"].values()) == {10}


def test_the_card_tells_how_long_the_landmarks_were_in_seconds_where_their_rate_is_known():
    frames, fps = [30, 60, 90], [30.0, 30.0, 0.0]
    good = pa.table({"frames": pa.array(frames, pa.int32()), "fps": pa.array(fps, pa.float32())})
    told = prepare._durations(good)
    assert (told["frames"]["min"], told["frames"]["max"]) == (30, 90)
    assert (told["seconds"]["min"], told["seconds"]["max"]) == (1.0, 2.0)
    assert set(prepare._durations(good.slice(2))) == {"frames"}
