"""How fast landmark files become clips: import and prepare against pandas and against bare numpy, and at what memory.

Both stages run as the commands run them, files to files on a Ray cluster, and all they do counts but the start of the
cluster, which is connected and warmed up before. The files lie in the page cache for all sides alike. Baselines run in
this process alone, write nothing, and are taken over a sample of the same files.
"""

import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from platformdirs import user_cache_path

from raysign import config, engine, pipeline, schema, store
from raysign.clips import prepare
from raysign.clips.recipes import shoulder_centered
from raysign.skeleton import LAYOUTS

PARTS = LAYOUTS["holistic_75"].parts
TARGETS = {"import_vs_pandas": 5, "import_vs_row_lookup": 100, "prepare_vs_pandas": 20, "prepare_vs_numpy": 1.5}


def run(clips: int = 2000, repeats: int = 3, sample: int = 300, cpus: int | None = None, memory: bool = True) -> dict:
    """Print a table and, as the last line, one JSON object; return it.

    clips: files, of 75 points and 100 to 200 frames. repeats: each time is the best of so many. sample: files that the
    baselines read. memory: also run five times as many clips and compare the peak memory.
    """
    files = made_files(clips)
    cluster = config.Ray.model_validate({"cpus": cpus})
    engine.connect(cluster)
    workplace = Path(tempfile.mkdtemp(prefix="raysign-bench-"))
    try:
        _stages(made_files(256), workplace / "warm")  # shards enough to wake all workers of a small cluster
        for file in files.rglob("*.parquet"):
            file.read_bytes()
        passes = [_stages(files, workplace / f"pass{number}") for number in range(repeats)]
        best = {name: min(row[name] for row in passes) for name in ("import", "prepare")}
        chosen = sorted(files.rglob("*.parquet"))[:: max(1, clips // sample)]
        found = _ratios(best, clips, _baselines(chosen, workplace / "pass0", repeats))
        found["cpus"] = engine.cpus(cluster)
        found["peak_mb"] = round(max(row["peak"] for row in passes))
        if memory:
            found["peak_mb_5x"] = round(_stages(_fivefold(files, workplace / "files"), workplace / "large")["peak"])
            found["peak_5x_vs_1x"] = round(found["peak_mb_5x"] / found["peak_mb"], 2)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    _print(found)
    return found


# ---------------------------------------------------------------- the files


def made_files(count: int) -> Path:
    """A folder of `<gloss>/<clip>_landmarks.parquet`, kept in the user's cache between runs."""
    folder = user_cache_path("raysign") / "bench" / f"prepare-{schema.VERSION}-{count}"
    if not folder.exists():
        fresh = Path(tempfile.mkdtemp(prefix="making-", dir=_made(folder.parent)))
        for number in range(count):
            path = _made(fresh / f"sign{number % 50:02d}") / f"clip{number:06d}_landmarks.parquet"
            pq.write_table(made_clip(number), path)
        fresh.rename(folder)
    return folder


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def made_clip(seed: int) -> pa.Table:
    """Rows as an extractor writes them: smooth movement with noise, 64-bit numbers, NaN while a hand is not seen."""
    rng = np.random.default_rng(seed)
    frames = int(rng.integers(100, 201))
    time_axis = np.linspace(0, 2 * np.pi, frames)[:, None, None]
    waves = np.sin(time_axis * rng.uniform(0.5, 2, (1, 75, 1)) + rng.uniform(0, 6, (1, 75, 3)))
    xyz = rng.uniform(0.2, 0.8, (75, 3)) + 0.1 * waves + rng.normal(0, 0.002, (frames, 75, 3))
    xyz[:, [33, 54]] = xyz[:, [15, 16]] + rng.normal(0, 0.01, (frames, 2, 3))  # hands hang on their wrists
    visibility = np.concatenate([rng.uniform(0.9, 1, (frames, 33)), np.ones((frames, 42))], axis=1)
    for hand in (slice(33, 54), slice(54, 75)):
        start, length = rng.integers(0, frames // 2, 2)
        xyz[start : start + length, hand] = visibility[start : start + length, hand] = np.nan
    columns = {name: xyz[..., i].astype(np.float32).astype(float).ravel() for i, name in enumerate("xyz")}
    names = [part for part, size in PARTS for _ in range(size)]
    return pa.table({
        "type": np.tile(names, frames),
        "landmark_index": np.tile(np.concatenate([np.arange(size) for _, size in PARTS]), frames),
        "frame": np.repeat(np.arange(frames), 75), **columns,
        "visibility": visibility.astype(np.float32).astype(float).ravel(),
    })  # fmt: skip


def _fivefold(files: Path, folder: Path) -> Path:
    """Five times as many files: each under five names."""
    for file in files.rglob("*.parquet"):
        for number in range(5):
            name = _made(folder / file.parent.name) / f"{number}-{file.name}"
            try:
                os.link(file, name)
            except OSError:  # another disk
                shutil.copyfile(file, name)
    return folder


# ---------------------------------------------------------------- the stages


def _stages(files: Path, out: Path) -> dict[str, float]:
    """Seconds of import and of prepare, and the peak memory (MB) of this process and the workers during both."""
    settings = config.load(base={
        "out": str(out), "source": {"kind": "landmark_parquet", "path": str(files)}, "split": {"kind": "stratified"},
    })  # fmt: skip
    with _Peak() as peak:
        times = {"import": _seconds(lambda: pipeline.landmarks(settings))}
        times["prepare"] = _seconds(lambda: pipeline.prepare(settings))
    return {**times, "peak": peak.megabytes}


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


class _Peak:
    """Largest sum of the resident memory of this process and the Ray workers below it, seen ten times a second."""

    def __enter__(self):
        self.megabytes, self._over = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._over.wait(0.1):
            total = me.memory_info().rss
            for process in me.children(recursive=True):
                try:
                    if process.name().startswith("ray::"):
                        total += process.memory_info().rss
                except psutil.Error:
                    continue
            self.megabytes = max(self.megabytes, total / 2**20)


# ---------------------------------------------------------------- the baselines, in seconds a clip


def _baselines(files: list[Path], done: Path, repeats: int) -> dict[str, float]:
    """Seconds a clip of each baseline, the best of `repeats`; looking rows up is done once, for two clips."""
    import pandas

    def best(work: Callable[[], object], count: int) -> float:
        return min(_seconds(work) for _ in range(repeats)) / count

    options = shoulder_centered.Options.model_validate({})
    return {
        "pandas import": best(lambda: [_by_pandas(pandas, file) for file in files], len(files)),
        "row look-up import": _seconds(lambda: [_by_row(pandas, file) for file in files[:2]]) / 2,
        "pandas prepare": best(
            lambda: [shoulder_centered.apply(_by_pandas(pandas, file), options) for file in files], len(files)
        ),
        "numpy prepare": _in_memory(done, options, best),
    }


def _by_pandas(pandas, file: Path) -> schema.Landmarks:
    """One read, and for each part one selection and reshape."""
    frame = pandas.read_parquet(file)
    parts = []
    for part, size in PARTS:
        rows = frame.loc[frame["type"] == part, ["x", "y", "z", "visibility"]].to_numpy(np.float32)
        parts.append(rows.reshape(-1, size, 4))
    dense = np.concatenate(parts, axis=1)[None]
    return schema.Landmarks(dense[..., :3], dense[..., 3], "holistic_75")


def _by_row(pandas, file: Path) -> np.ndarray:
    """A look-up for each landmark of each frame, in the rows of that frame and part."""
    table = pandas.read_parquet(file)
    frames = []
    for _, frame in table.groupby("frame"):
        points = []
        for part, size in PARTS:
            rows = frame[frame["type"] == part]
            for index in range(size):
                row = rows[rows["landmark_index"] == index]
                points.append([row[name].iloc[0] for name in ("x", "y", "z", "visibility")])
        frames.append(points)
    return np.array(frames, np.float32)


def _in_memory(done: Path, options, best: Callable) -> float:
    """What prepare computes (recipe, fingerprint, table) over landmarks in memory, one shard after the other."""
    tables = [store.read_table(path) for path in store.shards(done / "landmarks")[:4]]

    def compute() -> None:
        for table in tables:
            arrays = [shoulder_centered.apply(landmarks, options) for landmarks in schema.landmarks_of(table)]
            shapes = [dict(zip(("persons", "frames", "points", "channels"), x.shape, strict=True)) for x in arrays]
            schema.to_table([{**shape, "x": x} for shape, x in zip(shapes, arrays, strict=True)], schema.CLIPS)
            for x in arrays:
                prepare.content(x)

    return best(compute, sum(len(table) for table in tables))


# ---------------------------------------------------------------- the answer


def _ratios(best: dict[str, float], clips: int, baselines: dict[str, float]) -> dict:
    """Clips a second of both stages and of the baselines, and the ratios that have a target."""
    mine = {name: seconds / clips for name, seconds in best.items()}
    ratios = {
        "import_vs_pandas": baselines["pandas import"] / mine["import"],
        "import_vs_row_lookup": baselines["row look-up import"] / mine["import"],
        "prepare_vs_pandas": baselines["pandas prepare"] / mine["prepare"],
        "prepare_vs_numpy": baselines["numpy prepare"] / mine["prepare"],
    }
    speeds = {name: round(1 / seconds, 1) for name, seconds in {**mine, **baselines}.items()}
    return {**{name: round(value, 2) for name, value in ratios.items()}, "clips": clips, "clips_per_second": speeds}


def _print(found: dict) -> None:
    print(f"{found['clips']} files, 75 points, 100 to 200 frames, {found['cpus']} CPUs; start of Ray not counted")
    for name, speed in found["clips_per_second"].items():
        print(f"  {name:20} {speed:10.1f} clips/s")
    for name, target in TARGETS.items():
        print(f"  {name:20} {found[name]:10.2f}  target {target}")
    memory = f", of five times as many clips {found['peak_mb_5x']} MB" if "peak_mb_5x" in found else ""
    print(f"  peak memory of driver and workers {found['peak_mb']} MB{memory}")
    print(json.dumps(found))
