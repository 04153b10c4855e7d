"""Extraction whose driver and workers are killed for real: the same rows, and nothing that was finished done twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from raysign import engine, store
from raysign.errors import ModelFileError
from raysign.extract.work import LIVES
from raysign.schema import landmarks_of

# A driver as the pipeline is one, with a reader that makes landmarks of the bytes of its file and logs each call.
DRIVER = """
import functools, hashlib, os, signal, sys, time
from pathlib import Path
import numpy as np
from raysign import config, engine
from raysign.errors import ClipError
from raysign.extract import work
from raysign.schema import Landmarks
from raysign.sources import video_folder

def read(ref, log, pause):
    with open(log, "a") as file:
        file.write(f"{ref.id} {os.getpid()}\\n")
    time.sleep(pause)
    data = Path(ref.path).read_bytes()
    if data.startswith(b"poison"):
        os.kill(os.getpid(), signal.SIGKILL)
    if data.startswith(b"bad"):
        raise ClipError(f"{ref.path}: not readable")
    seed = int(hashlib.sha256(data).hexdigest()[:8], 16)
    values = np.random.default_rng(seed).random((1, 2 + seed % 5, 33, 3), np.float32)
    return Landmarks(values, values[..., 0], "pose_33")

def reader(log, pause):
    return functools.partial(read, log=log, pause=pause)

if __name__ == "__main__":
    source, directory, log, actors, pause = sys.argv[1:]
    directory, actors = Path(directory), int(actors) or None
    refs = video_folder.clips(video_folder.Options(path=source))
    engine.connect(config.Ray())
    plan = work.plan(refs, directory, "test reader", workers=2, per_unit=None if actors else 10)
    arguments = {"reader": functools.partial(reader, log, float(pause)), "directory": directory,
                 "extractor": "test reader", "run": plan.run, "journal": bool(actors)}
    rows = list(work.progress(engine.stream(plan.units, work.Worker, arguments, actors=actors), plan))
    work.finish(directory, plan, rows, config={}, seconds=0.0)
"""

CLIPS = 60
pytestmark = pytest.mark.usefixtures("cluster")


class Extraction:
    """A folder of pretended videos, extracted by drivers that can be killed."""

    def __init__(self, folder: Path, actors: int, poison: bool):
        self.source, self.out, self.log = folder / "videos", folder / "landmarks", folder / "calls.log"
        self.actors, self.script = actors, folder / "driver.py"
        self.script.write_text(DRIVER)
        self.log.touch()
        for number in range(CLIPS):
            path = self.source / f"sign{number % 4}" / f"{number:03}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"clip %03d" % number * (number + 1))
        (self.source / "sign0" / "bad.mp4").write_bytes(b"bad")
        if poison:
            (self.source / "sign1" / "poison.mp4").write_bytes(b"poison" * 30)

    def start(self, pause: float) -> subprocess.Popen:
        import ray

        address = ray.get_runtime_context().gcs_address
        command = [sys.executable, self.script, self.source, self.out, self.log, str(self.actors), str(pause)]
        return subprocess.Popen(command, env={**os.environ, "RAY_ADDRESS": address}, stderr=subprocess.PIPE)

    def finish(self, driver: subprocess.Popen) -> None:
        _, errors = driver.communicate(timeout=240)
        assert driver.returncode == 0, errors.decode()[-2000:]

    def kill(self, driver: subprocess.Popen) -> None:
        """End the driver with no warning, and wait until its workers are gone as well."""
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
        before = -1
        while before != (now := self.log.stat().st_size):
            before = now
            time.sleep(2)

    def calls(self) -> Counter:
        return Counter(line.split()[0] for line in self.log.read_text().splitlines())

    def wait_for_calls(self, number: int) -> None:
        deadline = time.monotonic() + 120
        while len(self.log.read_text().splitlines()) < number:
            assert time.monotonic() < deadline, "the extraction does not get on"
            time.sleep(0.02)

    def rows(self) -> dict:
        """id -> (gloss, values) of a good clip, or its error."""
        found = {}
        for _, table in store.tables(self.out):
            for number, row in enumerate(table.select(["id", "gloss", "error"]).to_pylist()):
                assert row["id"] not in found, "a clip has two rows"
                values = b"" if row["error"] else next(landmarks_of(table.slice(number, 1))).values.tobytes()
                found[row["id"]] = (row["gloss"], row["error"] or values)
        return found


def expected(extraction: Extraction) -> dict:
    """The rows an unbroken run gives, computed here."""
    space: dict = {"__name__": "driver"}
    exec(extraction.script.read_text(), space)
    found = {}
    for ref in space["video_folder"].clips(space["video_folder"].Options(path=extraction.source)):
        if "poison" in ref.id:
            found[ref.id] = (list(ref.gloss), f"{ref.path}: its process died {LIVES} times while reading it")
            continue
        try:
            result = space["read"](ref, os.devnull, 0).values.tobytes()
        except space["ClipError"] as error:
            result = str(error)
        found[ref.id] = (list(ref.gloss), result)
    return found


@pytest.mark.parametrize("actors", [2, 0], ids=["actors", "tasks"])
def test_a_killed_driver_costs_only_the_clips_in_flight(tmp_path, actors):
    extraction = Extraction(tmp_path, actors, poison=False)
    driver = extraction.start(pause=0.1)
    extraction.wait_for_calls(25)
    extraction.kill(driver)
    assert len(extraction.calls()) < CLIPS, "killed too late to tell anything"
    extraction.finish(extraction.start(pause=0.0))
    assert extraction.rows() == expected(extraction)
    again = sum(count > 1 for count in extraction.calls().values())
    assert again <= (2 if actors else 20)  # one in each process; without a journal, one unit of ten in each
    before = extraction.calls()
    extraction.finish(extraction.start(pause=0.0))
    assert extraction.calls() == before, "a finished run was done again"


def test_without_a_journal_a_killed_worker_costs_its_unit_once_and_a_deadly_clip_itself(tmp_path):
    extraction = Extraction(tmp_path, 0, poison=True)
    driver = extraction.start(pause=0.05)
    extraction.wait_for_calls(20)
    victim = int(extraction.log.read_text().splitlines()[-1].split()[1])
    os.kill(victim, signal.SIGKILL)
    extraction.finish(driver)
    assert extraction.rows() == expected(extraction)
    calls = extraction.calls()
    assert calls.pop("sign1/poison.mp4") <= LIVES + 1  # without a journal the first attempt leaves no name
    assert sum(count > 1 for count in calls.values()) <= 20
    card = json.loads((extraction.out / "card.json").read_text())
    assert card["counts"]["quarantined"] == 2
    assert set(card["dropped"]) == {"not readable", "its process died N times while reading it"}


def test_a_fault_that_is_no_clips_own_reaches_the_driver_as_itself():
    class Broken:
        def __call__(self, unit):
            raise ModelFileError(f"no model for {unit['unit']}")

    for actors in (1, None):
        with pytest.raises(ModelFileError, match="no model for a"):
            list(engine.stream([{"unit": "a"}], Broken, {}, actors=actors))


def test_driver_worker_and_poison_together_give_the_rows_of_an_unbroken_run(tmp_path):
    extraction = Extraction(tmp_path, 2, poison=True)
    driver = extraction.start(pause=0.1)
    extraction.wait_for_calls(15)
    os.kill(int(extraction.log.read_text().splitlines()[-1].split()[1]), signal.SIGKILL)
    extraction.wait_for_calls(30)
    extraction.kill(driver)
    extraction.finish(extraction.start(pause=0.0))
    assert extraction.rows() == expected(extraction)
    calls = extraction.calls()
    assert calls.pop("sign1/poison.mp4") <= 2 * LIVES
    assert sum(count > 1 for count in calls.values()) <= 3  # one for the worker, two for the driver
