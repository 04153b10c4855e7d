"""What very many clips cost the driver: listing, planning, going on, quarantine, in seconds and in memory.

All is as in a run, files in folders to a finished store, but for the kernel: what would read a video gives one frame of
one hand at once, or refuses the clip. What is left is raysign's own time, and Ray's.
"""

import functools
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from pydantic import PositiveInt

from raysign import config, engine, store
from raysign.errors import ClipError
from raysign.extract import plan as planning
from raysign.extract import work
from raysign.schema import ClipRef, Landmarks
from raysign.sources import video_folder

BAD = 200  # one clip of so many cannot be read
LATE = 100  # one clip of so many is not there the first time
ONE = Landmarks(np.zeros((1, 1, 21, 3), np.float32), np.ones((1, 1, 21), np.float32), "hand_21", fps=25.0)


def run(
    clips: PositiveInt = 100_000, media: bool = True, cpus: PositiveInt | None = None, out: Path | None = None
) -> dict:
    """Print a table and, as the last line, one JSON object; return it.

    clips: files, which are made empty. media: as videos are read, by long-lived workers that keep every clip as soon as
    it is read; else as landmark files are. out: folder to do it in, on the disk to be measured.
    """
    place = Path(tempfile.mkdtemp(prefix="raysign-scale-", dir=out))
    try:
        _files(place / "videos", clips)
        cluster = config.Ray.model_validate({"cpus": cpus})
        engine.connect(cluster)
        print(f"{'driver':26} {'seconds':>10} {'CPU s':>8} {'memory MB':>10}")
        found = _measured(place, clips, media, engine.cpus(cluster))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    _print(found)
    return found


def _files(folder: Path, clips: int) -> None:
    """Empty files of pretended sizes, in folders of a thousand."""
    for number in range(clips):
        if number % 1000 == 0:
            (folder / f"sign{number // 1000:05d}").mkdir(parents=True)
        with (folder / f"sign{number // 1000:05d}" / f"clip{number:08d}.mp4").open("wb") as file:
            os.truncate(file.fileno(), 100_000 + number * 7919 % 1_000_000)


def _measured(place: Path, clips: int, media: bool, cpus: int) -> dict:
    store_at, watch, cpu = place / "landmarks", Watch(), []
    options = {"workers": cpus, "per_unit": None if media else planning.CLIPS_PER_UNIT}
    offered = functools.partial(video_folder.clips, video_folder.Options(path=place / "videos"))

    def fill(chosen: Callable[[list[ClipRef]], list[ClipRef]], name: str, **more: Any) -> work.Plan:
        """A run as `pipeline.landmarks` does it; the clips it offers are held by nobody but the plan."""
        refs = [chosen(watch(f"list {name}", offered))]
        plan = watch(f"plan {name}", lambda: planning.plan(refs.pop(), store_at, "scale", **options, **more))
        arguments = {"reader": reader, "directory": store_at, "extractor": "scale", "run": plan.run, "journal": media}
        rows = engine.stream(plan.units, work.Worker, arguments, actors=cpus if media else None)
        done = watch(f"run {name}", lambda: list(rows))
        cpu.append(sum(row["cpu_seconds"] for row in done))
        watch(f"finish {name}", lambda: work.finish(store_at, plan, done, config={}, seconds=0.0))
        return plan

    first = fill(lambda refs: [ref for number, ref in enumerate(refs) if number % LATE], "of all")
    last = fill(lambda refs: refs, "of 1 % more")
    none = fill(lambda refs: refs, "of nothing")
    again = fill(lambda refs: refs, "of the quarantined", retry=True)
    late = -(-clips // LATE)
    counts = (clips - late, late, 0, store.read_table(store_at / "quarantine.parquet").num_rows)
    assert tuple(plan.todo for plan in (first, last, none, again)) == counts, "a plan has miscounted"
    files = [path.stat().st_size for path in store_at.iterdir()]
    names = ("seconds", "cpu_seconds", "peak_mb")
    driver = {name: dict(zip(names, row, strict=True)) for name, row in watch.found.items()}
    return {
        "clips": clips, "media": media, "cpus": cpus, "units": len(first.units), "quarantined": counts[3],
        "driver": driver, "peak_mb": max(row["peak_mb"] for row in driver.values()),
        "files": len(files), "megabytes": round(sum(files) / 1e6, 1),
        "index_megabytes": round((store_at / "index.parquet").stat().st_size / 1e6, 1),
        "cpu_ms_per_clip": {
            "worker": round(1000 * cpu[0] / (clips - late), 3),
            "driver": round(1000 * driver["run of all"]["cpu_seconds"] / (clips - late), 3),
        },
    }  # fmt: skip


def reader() -> Callable[[ClipRef], Landmarks]:
    """What stands in for MediaPipe."""
    return _read


def _read(ref: ClipRef) -> Landmarks:
    if int(Path(ref.path).stem[4:]) % BAD == 1:
        raise ClipError(f"{ref.path}: not readable as a video (moov atom not found)")
    return ONE


class Watch:
    """What each task costs this process: (seconds, CPU seconds, most resident memory in MB) by its name."""

    def __init__(self):
        self.found: dict[str, tuple[float, float, int]] = {}

    def __call__(self, name: str, task: Callable[[], Any]) -> Any:
        over, most = threading.Event(), [_resident()]

        def look() -> None:
            while not over.wait(0.05):
                most[0] = max(most[0], _resident())

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        began, cpu = time.perf_counter(), time.process_time()
        try:
            return task()
        finally:
            spent, cpu = time.perf_counter() - began, time.process_time() - cpu
            over.set()
            thread.join()
            self.found[name] = round(spent, 2), round(cpu, 2), round(max(most[0], _resident()))
            print("{:26} {:10.2f} {:8.2f} {:10}".format(name, *self.found[name]), flush=True)


def _resident() -> float:
    return psutil.Process().memory_info().rss / 1e6


def _print(found: dict) -> None:
    million = 1e6 / found["clips"]
    print(f"{found['clips']} clips in {found['units']} units on {found['cpus']} CPUs")
    print(f"{found['files']} files, {found['megabytes']} MB; {found['index_megabytes']} MB of them are the index")
    for name, row in found["driver"].items():
        print(f"{name:26} {row['seconds'] * million:10.1f} s a million clips")
    each = ", ".join(f"{name} {spent} ms" for name, spent in found["cpu_ms_per_clip"].items())
    print(f"CPU of a clip but for the kernel: {each}; most memory of the driver: {found['peak_mb']} MB")
    print(json.dumps(found))
