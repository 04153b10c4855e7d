"""Planning and working without Ray: nothing is read twice, and what changed is read again."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from raysign import store
from raysign.errors import ClipError, ModelFileError, StoreError
from raysign.extract import work
from raysign.extract.journal import Journal, rows
from raysign.schema import LANDMARKS, ClipRef, Landmarks, landmarks_row, to_table

CALLS: list[str] = []


def reader():
    return read


def read(ref: ClipRef) -> Landmarks:
    CALLS.append(ref.id)
    if ref.id.startswith("bad"):
        raise ClipError(f"{ref.path}: not readable (at byte 17)")
    if ref.id.startswith("odd"):
        raise ZeroDivisionError("by zero")
    values = np.random.default_rng(len(ref.id)).random((1, 4, 543, 3), np.float32)
    values[:, 2:, 501:522] = np.nan
    return Landmarks(values, values[..., 0], "holistic_543", fps=25.0)


def refs(*names: str, stamp: str = "10-1") -> list[ClipRef]:
    return [ClipRef(name, f"/videos/{name}", stamp, gloss=("book",), signer="p1") for name in names]


def extract(
    directory: Path, offered: list[ClipRef], extractor: str = "e1", **options
) -> tuple[work.Plan, dict, list[str]]:
    """One whole run; returns its plan, its card and the clips it read."""
    CALLS.clear()
    plan = work.plan(offered, directory, extractor, **options)
    worker = work.Worker(reader, directory, extractor, plan.run, journal=True)
    card = work.finish(directory, plan, list(work.progress(map(worker, plan.units), plan)), config={}, seconds=1.0)
    return plan, card, sorted(CALLS)


def test_a_second_run_reads_nothing(tmp_path):
    first = extract(tmp_path, refs("a", "b", "c"))
    assert first[2] == ["a", "b", "c"]
    plan, card, calls = extract(tmp_path, refs("a", "b", "c"))
    assert (calls, plan.kept, plan.units) == ([], 3, [])
    assert {**card, "run": 0, "written": 0} == {**first[1], "run": 0, "written": 0}


def test_only_new_changed_and_otherwise_extracted_clips_are_read(tmp_path):
    extract(tmp_path, refs("a", "b", "c"))
    assert extract(tmp_path, refs("a", "b", "c", "d"))[2] == ["d"]
    assert extract(tmp_path, [*refs("a", "c", "d"), *refs("b", stamp="11-2")])[2] == ["b"]
    assert extract(tmp_path, refs("a", "c"), extractor="e2")[2] == ["a", "c"]
    ids = store.read_columns(tmp_path, "id")["id"].to_pylist()
    assert sorted(ids) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("cut", [{"start": 0.5}, {"end": 1.5}, {"first_frame": 5}, {"last_frame": 20}])
def test_a_clip_whose_cut_has_changed_is_read_again(tmp_path, cut):
    whole = refs("a", "b")
    other = [replace(whole[0], **cut), whole[1]]
    extract(tmp_path, whole)
    assert extract(tmp_path, other)[2] == ["a"]
    assert extract(tmp_path, other)[2] == []
    assert extract(tmp_path, whole)[2] == ["a"]


def test_a_name_that_is_no_unicode_costs_its_clip_only(tmp_path):
    name = os.fsdecode(b"bad\xf1al.mp4")
    odd = ClipRef(name, f"/videos/{name}", "10-1", gloss=(os.fsdecode(b"se\xf1al"),), signer=name)
    _, card, calls = extract(tmp_path, [*refs("a"), odd])
    assert calls == ["a", r"bad\udcf1al.mp4"]
    assert (card["counts"]["clips"], card["counts"]["quarantined"]) == (1, 1)
    (listed,) = store.read_table(tmp_path / "quarantine.parquet").to_pylist()
    assert listed["reason"] == r"/videos/bad\udcf1al.mp4: not readable (at byte 17)"
    assert extract(tmp_path, [*refs("a"), odd])[2] == []


def test_rows_whose_clip_is_gone_are_kept_and_counted(tmp_path):
    extract(tmp_path, refs("a", "b"))
    plan, card, _ = extract(tmp_path, refs("a"))
    assert plan.gone == card["gone"] == ["b"]
    assert card["counts"]["gone"] == 1
    assert card["counts"]["clips"] == 2


def test_a_corrected_label_is_taken_over_without_reading_the_clip(tmp_path):
    extract(tmp_path, refs("a", "b"))
    corrected = [replace(ref, gloss=("drink",), signer="p2", path="/moved/" + ref.id) for ref in refs("a", "b")]
    assert extract(tmp_path, corrected)[2] == []
    table = store.read_columns(tmp_path, "gloss", "signer", "source")
    assert table["gloss"].to_pylist() == [["drink"], ["drink"]]
    assert set(table["source"].to_pylist()) == {"/moved/a", "/moved/b"}


def test_a_kill_between_a_corrected_shard_and_the_end_of_the_old_one_loses_nothing(tmp_path):
    extract(tmp_path, refs("a", "b"))
    left = {path: path.read_bytes() for path in (*store.shards(tmp_path), tmp_path / "index.parquet")}
    corrected = [replace(ref, gloss=("drink",)) for ref in refs("a", "b")]
    extract(tmp_path, corrected)
    for path, data in left.items():
        path.write_bytes(data)
    for _ in range(2):
        assert extract(tmp_path, corrected)[2] == []
        assert sorted(store.read_columns(tmp_path, "id")["id"].to_pylist()) == ["a", "b"]


def test_a_unit_that_is_read_again_is_what_it_has_become(tmp_path, monkeypatch):
    extract(tmp_path, refs("bad"))
    good = read(refs("a")[0])
    monkeypatch.setitem(globals(), "read", lambda _: good)
    for retry in (True, False):
        _, card, _ = extract(tmp_path, refs("bad"), retry=retry)
        assert (card["counts"]["clips"], card["counts"]["quarantined"]) == (1, 0)
        assert not store.read_table(tmp_path / "quarantine.parquet").num_rows


def test_quarantined_clips_are_tried_again_only_when_asked(tmp_path):
    _, card, _ = extract(tmp_path, refs("a", "bad1", "bad22", "odd"))
    assert card["counts"]["quarantined"] == 3
    assert card["dropped"] == {"not readable": 2, "ZeroDivisionError while reading": 1}
    listed = store.read_table(tmp_path / "quarantine.parquet").to_pylist()
    assert [row["id"] for row in listed] == ["bad1", "bad22", "odd"]
    assert listed[0]["reason"] == "/videos/bad1: not readable (at byte 17)"
    assert extract(tmp_path, refs("a", "bad1", "bad22", "odd"))[2] == []
    assert extract(tmp_path, refs("a", "bad1", "bad22", "odd"), retry=True)[2] == ["bad1", "bad22", "odd"]


def test_the_card_tells_in_which_share_of_frames_each_part_is_seen(tmp_path):
    _, card, _ = extract(tmp_path, refs("a"))
    assert card["seen"]["clips"] == {"a": {"pose": 1.0, "face": 1.0, "left_hand": 0.5, "right_hand": 1.0}}
    assert card["speed"]["frames"] == 4


def test_a_fault_that_is_no_clips_own_stops_the_run(tmp_path):
    def broken():
        def read(_ref):
            raise ModelFileError("no model")

        return read

    plan = work.plan(refs("a"), tmp_path, "e1")
    with pytest.raises(ModelFileError, match="no model"):
        work.Worker(broken, tmp_path, "e1", plan.run)(plan.units[0])


def test_journals_of_a_killed_run_are_recovered(tmp_path):
    plan = work.plan(refs("a", "b"), tmp_path, "e1", per_unit=2)
    journal = Journal(tmp_path / ".work" / plan.run, plan.units[0]["unit"], careful=True)
    journal.begin("a")
    journal.add(to_table([landmarks_row(refs("a")[0], "e1", read(refs("a")[0]))], LANDMARKS))
    journal.begin("b")
    again, _, calls = extract(tmp_path, refs("a", "b"))
    journal.close()
    assert (again.recovered, calls) == (1, ["b"])


def test_a_torn_journal_gives_its_whole_rows(tmp_path):
    journal = Journal(tmp_path, "unit", careful=True)
    for name in ("a", "b", "c"):
        journal.add(to_table([landmarks_row(refs(name)[0], "e1", read(refs(name)[0]))], LANDMARKS))
    journal.close()
    (path,) = tmp_path.glob("*.arrows")
    whole = path.read_bytes()
    for share in (0.2, 0.5, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        assert [row["id"][0].as_py() for row in rows(path)] == ["a", "b", "c"][: int(3 * share)]


def test_a_clip_that_was_begun_twice_and_never_finished_is_given_up(tmp_path):
    plan = work.plan(refs("a", "deadly"), tmp_path, "e1", per_unit=2)
    worker = work.Worker(reader, tmp_path, "e1", plan.run)
    for _ in range(work.LIVES):
        journal = Journal(tmp_path / ".work" / plan.run, plan.units[0]["unit"], careful=True)
        journal.begin("deadly")
        journal.close()
    assert worker(plan.units[0])["quarantined"] == 1
    errors = store.read_columns(tmp_path, "id", "error").to_pylist()
    assert errors[1] == {"id": "deadly", "error": "/videos/deadly: its process died 2 times while reading it"}


def test_a_worker_of_a_run_that_is_over_writes_nothing(tmp_path):
    old = work.plan(refs("a"), tmp_path, "e1")
    work.plan(refs("a"), tmp_path, "e1")
    with pytest.raises(StoreError, match="another run has taken over"):
        work.Worker(reader, tmp_path, "e1", old.run)(old.units[0])
    assert store.shards(tmp_path) == []


def test_two_drivers_cannot_fill_one_directory(tmp_path):
    code = (
        "import sys; from pathlib import Path; from raysign.extract import work; work.plan([], Path(sys.argv[1]), 'e')"
    )
    plan = work.plan(refs("a"), tmp_path, "e1")
    second = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert "another raysign is filling it" in second.stderr
    work.finish(tmp_path, plan, [work.Worker(reader, tmp_path, "e1", plan.run)(plan.units[0])], config={}, seconds=0)
    assert subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, check=False).returncode == 0


def test_units_of_media_take_the_largest_files_first_and_share_them_out(tmp_path):
    offered = [ref for n in range(200) for ref in refs(f"{n:03}", stamp=f"{1000 + n * n}-0")]
    plan = work.plan(offered, tmp_path, "e1", workers=2)
    units = [json.loads(unit["clips"]) for unit in plan.units]
    sizes = [int(clip["stamp"].split("-")[0]) for unit in units for clip in unit]
    assert sizes == sorted(sizes, reverse=True)
    assert sorted(clip["id"] for unit in units for clip in unit) == sorted(ref.id for ref in offered)
    assert len(units) >= 16
    assert max(map(len, units)) <= 16


def test_units_of_very_many_media_are_larger_rather_than_more(tmp_path, monkeypatch):
    monkeypatch.setattr("raysign.extract.plan._MOST_UNITS", 10)
    assert [unit["count"] for unit in work.plan(refs(*map(str, range(400))), tmp_path / "40", "e1").units] == [40] * 10
    sizes = [unit["count"] for unit in work.plan(refs(*map(str, range(4000))), tmp_path / "64", "e1").units]
    assert max(sizes) == work.CLIPS_PER_UNIT


def test_a_store_whose_rows_are_all_known_is_not_read(tmp_path):
    _, card, _ = extract(tmp_path, refs("a", "b", "bad"))
    for shard in store.shards(tmp_path):
        shard.write_bytes(b"")
    again = extract(tmp_path, refs("a", "b", "bad"))
    assert (again[0].kept, again[1]["counts"]) == (3, card["counts"])


def test_an_index_that_is_lost_or_behind_is_made_again(tmp_path):
    extract(tmp_path, refs("a", "b"))
    behind = (tmp_path / "index.parquet").read_bytes()
    extract(tmp_path, refs("a", "b", "c"))
    whole = store.read_table(tmp_path / "index.parquet").sort_by("id")
    assert whole["id"].to_pylist() == ["a", "b", "c"]
    (tmp_path / "index.parquet").write_bytes(behind)
    assert extract(tmp_path, refs("a", "b", "c"))[2] == []
    (tmp_path / "index.parquet").unlink()
    assert extract(tmp_path, refs("a", "b", "c"))[2] == []
    assert store.read_table(tmp_path / "index.parquet").sort_by("id").equals(whole)


def test_a_clip_that_is_stored_twice_is_kept_once(tmp_path):
    extract(tmp_path, refs("a", "b"))
    for number, shard in enumerate(store.shards(tmp_path)):
        (tmp_path / f"shard-twin{number}.parquet").write_bytes(shard.read_bytes())
    for offered, gone in (refs("a"), 1), (refs("a", "b"), 0):
        plan, _, calls = extract(tmp_path, offered)
        assert (calls, len(plan.gone)) == ([], gone)
        assert sorted(store.read_columns(tmp_path, "id")["id"].to_pylist()) == ["a", "b"]


def test_units_of_landmark_files_are_the_same_however_many_workers_there_are(tmp_path):
    offered = refs(*(str(n) for n in range(150)))
    one = work.plan(offered, tmp_path, "e1", workers=1, per_unit=work.CLIPS_PER_UNIT)
    many = work.plan(offered, tmp_path, "e1", workers=9, per_unit=work.CLIPS_PER_UNIT)
    assert one.units == many.units
    assert [unit["count"] for unit in one.units] == [64, 64, 22]


def test_a_plan_of_many_clips_is_quick_and_lean(tmp_path):
    offered = refs(*(f"folder/{n:06}.mp4" for n in range(20_000)))
    code_size = sum(len(unit["clips"]) for unit in work.plan(offered, tmp_path, "e1", per_unit=64).units)
    assert code_size < 20_000 * 400


def test_progress_off_a_terminal_is_lines_with_the_time_left(tmp_path, capsys):
    plan = work.plan(refs("a", "b"), tmp_path, "e1")
    row = {"clips": 2, "frames": 8, "quarantined": 1}
    assert list(work.progress([row], plan)) == [row]
    assert "2/2 clips" in capsys.readouterr().err
    work.finish(
        tmp_path, plan, [work.Worker(reader, tmp_path, "e1", plan.run)(u) for u in plan.units], config={}, seconds=0
    )


def test_the_same_run_twice_gives_the_same_bytes(tmp_path):
    for place in ("one", "two"):
        extract(tmp_path / place, refs("a", "b", "bad"))
    for one, two in zip(store.shards(tmp_path / "one"), store.shards(tmp_path / "two"), strict=True):
        assert one.name == two.name
        assert one.read_bytes() == two.read_bytes()


def test_the_arrays_of_a_row_are_bytes_that_numpy_reads(tmp_path):
    extract(tmp_path, refs("a"))
    table = store.read_table(store.shards(tmp_path)[0])
    assert np.frombuffer(table["values"][0].as_py(), "<f4").size == 4 * 543 * 3
    assert not (tmp_path / ".work").exists()


def test_a_stage_is_not_whole_while_a_run_is_at_work(tmp_path):
    extract(tmp_path, refs("a"))
    work.plan(refs("a", "b"), tmp_path, "e1")
    assert store.read_card(tmp_path) is None
