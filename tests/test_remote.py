"""Results in an object store: what one machine writes another reads, and nothing else changes."""

import io
import itertools
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysign import config, remote, store
from raysign.errors import ConfigError, StoreError
from raysign.extract import plan as planning
from raysign.extract import work
from raysign.learn import history

NAMES = st.text("abcxyz019-_.", min_size=1, max_size=8).filter(lambda name: name not in (".", ".."))


@pytest.fixture
def machine(bucket, tmp_path, monkeypatch):
    """A function that moves this process to the machine of a name: its mirror is another one."""
    for name, value in bucket.items():
        monkeypatch.setenv(name, value)

    def be(name: str) -> Path:
        monkeypatch.setenv("RAYSIGN_MIRROR", str(tmp_path / name))
        return remote.place(f"s3://raysign/{tmp_path.name}")

    return be


@settings(deadline=None)
@given(st.lists(NAMES, min_size=1))
def test_an_address_is_shown_as_it_was_typed(parts):
    address = f"s3://{'/'.join(parts)}"
    assert remote.shown(remote.place(address)) == address
    assert config.load([f"out={address}", "source.kind=synthetic"]).model_dump(mode="json")["out"] == address


def test_an_address_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("SHELF", "s3://bucket/x")
    for name, word in (("out", "$SHELF/y"), ("out", "${SHELF}/y"), ("evaluate.bundle", "$SHELF/y")):
        tree = config.load([f"{name}={word}", "source.kind=synthetic"])
        assert remote.shown(tree.out or tree.evaluate.bundle or Path()) == "s3://bucket/x/y"


@pytest.mark.parametrize("address", ["ftp://host/x", "s3://bucket/../other", "hdfs://name/x"])
def test_an_address_that_cannot_be_used_is_named(address):
    with pytest.raises(ConfigError, match=rf"{address}: found .* s3://BUCKET"):
        config.load([f"out={address}", "source.kind=synthetic"])


def test_a_mirror_inside_a_mirror_is_refused(monkeypatch):
    monkeypatch.setenv("RAYSIGN_MIRROR", "/mnt/raysign-mirror")
    with pytest.raises(ConfigError, match="RAYSIGN_MIRROR: found /mnt/raysign-mirror, expected"):
        remote.place("s3://bucket/x")


def test_sources_are_read_from_disks_only():
    with pytest.raises(ConfigError, match=r"source\.path: found 's3://b/videos'; expected a path: only results"):
        config.load(["source.kind=video_folder", "source.path=s3://b/videos"])


def test_a_path_of_this_machine_is_left_alone(tmp_path):
    assert remote.where(tmp_path) is None and remote.holds(tmp_path) is None and remote.listed(tmp_path, True) is None
    assert remote.part(tmp_path / "x") is None and remote.pull(tmp_path / "x") == tmp_path / "x"


def test_what_one_machine_writes_another_reads_and_what_it_deletes_is_gone(machine):
    store.write_json(machine("one") / "deep" / "a.json", [1])
    there = machine("two")
    assert store.read_json(there / "deep" / "a.json") == [1]
    assert store.found(there, "*/*.json") == [there / "deep" / "a.json"]
    assert store.found(there, "*.json") == [] and store.exists(there / "deep" / "a.json")
    store.unlink(machine("one") / "deep" / "a.json")
    there = machine("two")
    assert (there / "deep" / "a.json").exists(), "a copy that nobody has asked for since"
    with pytest.raises(StoreError):
        store.read_json(there / "deep" / "a.json")
    assert not store.exists(there / "deep" / "a.json") and store.read_card(there) is None


def test_a_changed_file_is_fetched_again_and_an_unchanged_one_is_not(machine):
    card = machine("one") / "card.json"
    store.write_json(card, "first")
    copy = machine("two") / "card.json"
    assert store.read_json(copy) == "first"
    before = copy.stat()
    assert store.read_json(copy) == "first"
    assert copy.stat().st_ino == before.st_ino
    time.sleep(1.1)  # object stores tell times in seconds
    machine("one")
    store.write_json(card, "other")
    machine("two")
    assert store.read_json(copy) == "other"
    assert copy.stat().st_ino != before.st_ino


def test_an_interrupt_at_any_line_leaves_a_whole_object(machine):
    path = machine("one") / "metrics.csv"
    files, key = remote.where(path) or pytest.fail("no object store")
    for line in itertools.count(1):
        store.write_bytes(path, b"good")
        lines, before = itertools.count(1), sys.gettrace()

        def stop(frame, event, _, lines=lines, line=line):
            if frame.f_code.co_filename == remote.__file__ and event == "line" and next(lines) == line:
                raise KeyboardInterrupt
            return stop

        sys.settrace(stop)
        try:
            store.write_bytes(path, b"better")
            break
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        with files.open_input_stream(key) as stream:
            assert stream.read() in (b"good", b"better")
    assert line > 5


def test_who_began_last_is_at_work_and_others_leave_it_alone(machine):
    time.sleep(1 - time.time() % 1)  # object stores tell times in seconds: all that follows is in one
    one, two = machine("one"), machine("two")
    begun = [(history.begin(place), planning.plan([], place, "e")) for place in (one, two)]
    (first, started), (second, going) = begun
    assert not history.is_current(one, first) and history.is_current(two, second)
    with pytest.raises(StoreError, match="another run has taken over"):
        work.finish(one, started, [], config={}, seconds=0)
    planning.release(one, started.run)
    assert work.finish(two, going, [], config={}, seconds=0) == store.read_card(one)
    assert not store.exists(planning.desk(two) / "run")


def test_files_are_found_by_the_whole_of_their_names(machine):
    there = machine("one")
    for name in ("train/k/metrics.csv", "old/train/k/metrics.csv", "train/metrics.csv"):
        store.write_bytes(there / name, b"")
    assert store.found(there, "train/*/metrics.csv") == [there / "train" / "k" / "metrics.csv"]
    assert store.found(there, "train/*.csv") == [there / "train" / "metrics.csv"]


def test_a_torn_shard_is_named_by_its_address(machine):
    path = machine("one") / "shard-1.parquet"
    store.write_bytes(path, b"torn")
    machine("two")
    for columns in (["id"], None):
        with pytest.raises(StoreError, match=rf"^{remote.shown(path)}: not readable .*; delete it"):
            store.read_table(path, columns)


def test_a_connection_that_breaks_in_a_shard_is_made_again(machine, monkeypatch):
    class Cut(io.BytesIO):
        def read(self, *_):
            raise OSError("connection reset")

    path = machine("one") / "shard-1.parquet"
    store.write_table(path, pa.table({"id": ["a"]}))
    monkeypatch.setattr(remote, "part", lambda _: Cut(b"PAR1" * 99))
    assert store.read_table(path, ["id"])["id"].to_pylist() == ["a"]


def test_a_disk_that_takes_no_mirror_is_not_the_buckets_fault(machine, tmp_path):
    store.write_bytes(machine("one") / "a", b"1")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="another disk by RAYSIGN_MIRROR"):
        remote.pull(machine("file") / "a")
    room = f"No space left.*make room below {tmp_path}/one/raysign-mirror"
    with pytest.raises(StoreError, match=room), remote._told(machine("one")):
        Path("/dev/full").write_bytes(b"1")


def test_small_columns_are_read_without_fetching_the_arrays(machine):
    table = pa.table({"id": ["a", "b"], "x": pa.array([os.urandom(1 << 16), b"2"], pa.large_binary())})
    store.write_table(machine("one") / "shard-1.parquet", table)
    there = machine("two")
    assert store.read_columns(there, "id")["id"].to_pylist() == ["a", "b"]
    assert not there.exists()
    assert store.read_table(there / "shard-1.parquet", ["x"])["x"][1].as_py() == b"2"
    assert (there / "shard-1.parquet").stat().st_size > 1 << 16
    store.remove_tree(there)
    assert store.shards(there) == [] and store.shards(machine("one")) == []


def test_workers_of_one_machine_may_fetch_the_same_file(machine):
    data = os.urandom(3_000_000)
    store.write_bytes(machine("one") / "weights.pt", data)
    path = machine("two") / "weights.pt"
    with ThreadPoolExecutor(8) as pool:
        assert all(found == data for found in pool.map(lambda _: remote.pull(path).read_bytes(), range(8)))
    assert [file.name for file in path.parent.iterdir()] == ["weights.pt"]


def test_a_bucket_that_is_not_there_is_one_line(machine):
    machine("one")
    with pytest.raises(StoreError) as raised:
        store.write_json(remote.place("s3://nowhere/x/card.json"), {})
    said = str(raised.value)
    assert said.startswith("s3://nowhere/x/card.json: ") and "\n" not in said
    assert "bucket does not exist" in said and "AWS_ENDPOINT_URL" in said
