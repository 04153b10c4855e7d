"""How fast landmark files become clips: import and prepare against pandas and against bare numpy, and at what memory.

Both stages run as the commands run them, files to files on a Ray cluster, and all they do counts but the start of the
cluster, which is connected and warmed up before. The files lie in the page cache for all sides alike. Baselines run in
this process alone, write nothing, and are taken over a sample of the same files.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from platformdirs import user_cache_path
from pydantic import PositiveInt

from raysign import config, engine, pipeline, schema, store
from raysign.bench import _made, _usual, some_of
from raysign.bench._peak import Peak
from raysign.bench._watch import seconds
from raysign.clips import prepare
from raysign.errors import ClipError, ConfigError
from raysign.kinds import kind_module, kinds
from raysign.skeleton import LAYOUTS
from raysign.writers._landmark_rows import rows

TARGETS = {"import_vs_pandas": 5, "import_vs_row_lookup": 100, "prepare_vs_pandas": 20, "prepare_vs_numpy": 1.5}
LAYOUT_OF = {75: "holistic_75", 543: "holistic_543"}
MADE = 2000  # different files; more clips are the same files under further names


def run(
    clips: PositiveInt = 2000, points: int = 75, frames: PositiveInt = 150,
    recipes: tuple[str, ...] = ("shoulder_centered",), repeats: PositiveInt = 3, sample: PositiveInt = 300,
    cpus: PositiveInt | None = None, memory: bool = True,
) -> dict:  # fmt: skip
    """Print a table and, as the last line, one JSON object; return it.

    clips: files. points: of a frame, 75 or 543. frames: mean length; clips are a third shorter to a third longer.
    recipes: kinds of `prepare` that make clips of such points with their defaults, or `all` of them; the ratios that
    have a target are of the first.
    repeats: each time is the best of so many. sample: files that the baselines read. memory: also run with a tenth of
    the clips and compare the peak memory.
    """
    if points not in LAYOUT_OF:
        raise ConfigError(f"points: found {points}, expected {' or '.join(map(str, LAYOUT_OF))}")
    recipes = some_of("recipes", recipes, _recipes(LAYOUT_OF[points]))
    files, few = made_files(clips, points, frames), made_files(max(1, clips // 10), points, frames)
    cluster = config.Ray.model_validate({"cpus": cpus})
    engine.connect(cluster)
    workplace = Path(tempfile.mkdtemp(prefix="raysign-bench-"))
    try:
        _stages(made_files(256, points, frames), workplace / "warm", recipes)  # enough to wake all workers of a few
        low = _stages(few, workplace / "few", recipes[:1]) if memory else {}
        passes = [_stages(files, workplace / f"pass{number}", recipes) for number in range(repeats)]
        best = {name: min(row[name] for row in passes) for name in ("import", *recipes)}
        chosen = sorted(files.rglob("*.parquet"))[:: max(1, clips // sample)]
        found = _ratios(best, clips, _baselines(chosen, workplace / "pass0", LAYOUT_OF[points], recipes, repeats))
        found |= {"points": points, "frames": frames, "cpus": engine.cpus(cluster)}
        found["clips_per_cpu_second"] = {name: round(clips / best[name] / found["cpus"], 1) for name in best}
        found["peak_mb"] = round(max(row["peak"] for row in passes))
        if memory:
            found["peak_mb_of_a_tenth"] = round(low["peak"])
            found["peak_vs_a_tenth"] = round(found["peak_mb"] / found["peak_mb_of_a_tenth"], 2)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    _print(found)
    return found


def _recipes(layout: str) -> tuple[str, ...]:
    """The recipes that can make clips of the layout, the default one first."""
    found = []
    for kind in kinds("prepare"):
        recipe = kind_module("prepare", kind)
        try:
            recipe.apply(_made.landmarks(0, layout, 30), recipe.Options.model_validate({}))
        except (ConfigError, ClipError, ValueError):  # not of such landmarks, or not without settings
            continue
        found.append(kind)
    return tuple(sorted(found, key=lambda kind: kind != "shoulder_centered"))


# ---------------------------------------------------------------- the files


def made_files(count: int, points: int, frames: int) -> Path:
    """A folder of `<gloss>/<clip>_landmarks.parquet`, kept in the user's cache between runs.

    One that was made in another way, by an earlier raysign or numpy, gives way to a new one.
    """
    home, name = user_cache_path("raysign") / "bench", f"landmarks-{points}x{frames}-{count}"
    folder = home / f"{name}-{store.fingerprint([MADE, _table(0, points, 10).to_pydict()])}"
    if not folder.exists():
        home.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="making-", dir=home))
        try:
            _make(fresh, count, points, frames)
            for stale in home.glob(f"{name}-*"):
                shutil.rmtree(stale)
            fresh.rename(folder)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
    return folder


def _make(folder: Path, count: int, points: int, frames: int) -> None:
    for number in range(50):
        (folder / f"sign{number:02d}").mkdir()
    names = [folder / f"sign{number % 50:02d}" / f"clip{number:06d}_landmarks.parquet" for number in range(count)]
    for number, path in enumerate(names):
        if number < MADE:
            pq.write_table(_table(number, points, frames), path)
        else:
            _same(names[number % MADE], path)


def _table(number: int, points: int, frames: int) -> pa.Table:
    layout = LAYOUT_OF[points]
    return pa.table(rows(_made.landmarks(number, layout, frames), list(LAYOUTS[layout].slices), pa.float64()))


def _same(file: Path, name: Path) -> None:
    try:
        os.link(file, name)
    except OSError:  # a file has no room for more names, or a disk has no links
        shutil.copyfile(file, name)


# ---------------------------------------------------------------- the stages


def _stages(files: Path, out: Path, recipes: tuple[str, ...]) -> dict[str, float]:
    """Seconds of import and of prepare by each recipe, and the peak memory (MB) of driver and workers over all."""
    for file in files.rglob("*.parquet"):
        file.read_bytes()
    base = {"source": {"kind": "landmark_parquet", "path": str(files)}, "split": {"kind": "stratified"},
            "landmarks": str(out / "landmarks")}  # fmt: skip
    settings = [config.load(base={**base, "out": str(out / kind), "prepare": {"kind": kind}}) for kind in recipes]
    with Peak() as peak:
        times = {"import": seconds(lambda: pipeline.landmarks(settings[0]))}
        for one in settings:
            times[one.prepare.kind] = seconds(lambda one=one: pipeline.prepare(one))
            shutil.rmtree(one.home)  # room for the next
    return {**times, "peak": peak.megabytes}


# ---------------------------------------------------------------- the baselines, in seconds a clip


def _baselines(files: list[Path], done: Path, layout: str, recipes: tuple[str, ...], repeats: int) -> dict[str, float]:
    """Seconds a clip of each baseline, the best of `repeats`; looking rows up is done once, for two clips."""
    import pandas

    def best(work: Callable[[], object], count: int) -> float:
        return min(seconds(work) for _ in range(repeats)) / count

    found = {
        "pandas import": best(lambda: [_by_pandas(file, layout) for file in files], len(files)),
        "row look-up import": seconds(lambda: [_by_row(pandas, file, layout) for file in files[:2]]) / 2,
    }
    tables = [store.read_table(path) for path in store.shards(done / "landmarks")[:4]]
    for kind in recipes:
        recipe = kind_module("prepare", kind)
        options = recipe.Options.model_validate({})
        found[f"pandas {kind}"] = best(
            lambda r=recipe, o=options: [r.apply(_by_pandas(file, layout), o) for file in files], len(files)
        )
        found[f"numpy {kind}"] = best(
            lambda r=recipe, o=options: [_computed(table, r, o) for table in tables],
            sum(len(table) for table in tables),
        )
    return found


def _by_pandas(file: Path, layout: str) -> schema.Landmarks:
    dense = _usual.long_rows(file, layout)[None]
    return schema.Landmarks(dense[..., :3], dense[..., 3], layout)


def _by_row(pandas, file: Path, layout: str) -> np.ndarray:
    """A look-up for each landmark of each frame, in the rows of that frame and part."""
    table = pandas.read_parquet(file)
    frames = []
    for _, frame in table.groupby("frame"):
        points = []
        for part, size in LAYOUTS[layout].parts:
            rows = frame[frame["type"] == part]
            for index in range(size):
                row = rows[rows["landmark_index"] == index]
                points.append([row[name].iloc[0] for name in ("x", "y", "z", "visibility")])
        frames.append(points)
    return np.array(frames, np.float32)


def _computed(table: pa.Table, recipe, options) -> None:
    """What prepare computes (recipe, fingerprint, table) of a shard of landmarks in memory."""
    arrays = [recipe.apply(landmarks, options) for landmarks in schema.landmarks_of(table)]
    shapes = [dict(zip(("persons", "frames", "points", "channels"), x.shape, strict=True)) for x in arrays]
    schema.to_table([{**shape, "x": x} for shape, x in zip(shapes, arrays, strict=True)], schema.CLIPS)
    for x in arrays:
        prepare.content(x)


# ---------------------------------------------------------------- the answer


def _ratios(best: dict[str, float], clips: int, baselines: dict[str, float]) -> dict:
    """The ratios that have a target, those of each recipe, and clips a second of all sides."""
    mine = {name: seconds / clips for name, seconds in best.items()}
    recipes = {
        kind: {
            "vs_pandas": round(baselines[f"pandas {kind}"] / mine[kind], 2),
            "vs_numpy": round(baselines[f"numpy {kind}"] / mine[kind], 2),
        }
        for kind in mine
        if kind != "import"
    }
    first = next(iter(recipes.values()))
    speeds = {name: round(1 / seconds, 1) for name, seconds in {**mine, **baselines}.items()}
    return {
        "import_vs_pandas": round(baselines["pandas import"] / mine["import"], 2),
        "import_vs_row_lookup": round(baselines["row look-up import"] / mine["import"], 2),
        **{f"prepare_{name}": ratio for name, ratio in first.items()},
        "recipes": recipes, "clips": clips, "clips_per_second": speeds,
    }  # fmt: skip


def _print(found: dict) -> None:
    print(f"{found['clips']} files, {found['points']} points, about {found['frames']} frames, {found['cpus']} CPUs; "
          "start of Ray not counted")  # fmt: skip
    for name, speed in found["clips_per_second"].items():
        print(f"  {name:32} {speed:10.1f} clips/s")
    for name, target in TARGETS.items():
        print(f"  {name:32} {found[name]:10.2f}  target {target}")
    for kind, ratios in found["recipes"].items():
        print(f"  {kind:32} {ratios['vs_pandas']:10.2f} x pandas {ratios['vs_numpy']:10.2f} x numpy in memory")
    tenth = f", of a tenth of the clips {found['peak_mb_of_a_tenth']} MB" if "peak_mb_of_a_tenth" in found else ""
    print(f"  peak memory of driver and workers {found['peak_mb']} MB{tenth}")
    print(json.dumps(found))
