"""How fast files of each format become landmarks: `raysign import` against the usual loop over the same files.

The usual loop is one process that reads each clip as the format's users do (bench/_usual.py) and saves it as npy. Ours
runs as the command runs it, on a Ray cluster that stands already, and writes the whole store: compressed, with labels,
checks and quarantine. The files lie in the page cache for both.
"""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
from pydantic import PositiveInt

from raysign import config, engine, pipeline, schema, store
from raysign.bench import _made, _usual, some_of
from raysign.bench._watch import seconds

TARGET = 1.5
# format -> layout, persons and mean number of frames of its clips
FORMATS = {
    "gesture_parquet": ("holistic_75", 1, 150), "gislr_parquet": ("holistic_543", 1, 40),
    "stgcn_npy": ("ntu_25", 2, 100), "npz": ("holistic_75", 1, 60), "fsl_npz": ("fsl_78", 1, 100),
    "pyskl_pickle": ("coco_17", 2, 100), "pose_format": ("holistic_543", 1, 60), "ntu_skeleton": ("ntu_25", 2, 100),
    "kinetics_json": ("openpose_18", 2, 300), "npy_tree": ("holistic_75", 1, 30),
}  # fmt: skip


def run(
    clips: PositiveInt = 1000, repeats: PositiveInt = 3, formats: tuple[str, ...] = ("all",),
    cpus: PositiveInt | None = None,
) -> dict:  # fmt: skip
    """Print a table and, as the last line, one JSON object; return it.

    clips: of each format. repeats: each time is the best of so many. formats: which of them, or `all`.
    """
    formats = some_of("formats", formats, list(FORMATS))
    cluster = config.Ray.model_validate({"cpus": cpus})
    engine.connect(cluster)
    found = {"clips": clips, "cpus": engine.cpus(cluster), "formats": {}}
    print(f"{clips} clips of each format, {found['cpus']} CPUs; start of Ray not counted")
    print(f"{'':18} {'usual ms/clip':>14} {'raysign ms/clip':>16} {'ratio':>7}   target {TARGET}")
    for name in formats:
        place = Path(tempfile.mkdtemp(prefix="raysign-bench-"))
        try:
            row = found["formats"][name] = _measured(name, clips, repeats, place)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        print(f"{name:18} {row['usual_ms'] or 'not installed':>14} {row['raysign_ms']:16} {row['ratio'] or '':>7}")
    print(json.dumps(found))
    return found


def _measured(name: str, clips: int, repeats: int, place: Path) -> dict:
    source = _files(name, clips, place)
    for file in (place / "files").rglob("*"):
        if file.is_file():
            file.read_bytes()
    passes = iter(range(repeats))
    ours = min(seconds(lambda: _import(source, place / f"ours{next(passes)}", clips)) for _ in range(repeats))
    try:
        usual = min(seconds(lambda: _saved(name, place, clips)) for _ in range(repeats))
    except ImportError:
        usual = None
    return {
        "usual_ms": usual and round(1000 * usual / clips, 3), "raysign_ms": round(1000 * ours / clips, 3),
        "ratio": usual and round(usual / ours, 2),
    }  # fmt: skip


def _import(source: dict, out: Path, clips: int) -> None:
    card = pipeline.landmarks(config.load(base={"out": str(out), "source": source}))
    assert card["counts"]["clips"] == clips, card["dropped"]


def _saved(name: str, place: Path, clips: int) -> None:
    """The usual loop, each clip saved."""
    out = Path(tempfile.mkdtemp(dir=place))
    for number, clip in enumerate(getattr(_usual, name)(place / "files")):
        np.save(out / f"{number}.npy", clip)
    assert number + 1 == clips
    shutil.rmtree(out)


# ---------------------------------------------------------------- the files


def _files(name: str, clips: int, place: Path) -> dict:
    """Write the clips in a format to `files` below `place`. Returns the source section that reads them."""
    layout, persons, frames = FORMATS[name]
    made = (_made.landmarks(number, layout, frames, persons) for number in range(clips))
    if name in _WRITERS:
        (place / "files").mkdir()
        for number, one in enumerate(made):
            _WRITERS[name](one, number, place / "files")
        return {"kind": name, "path": str(place / "files")}
    _stored(made, place / "store")
    card = pipeline.convert(place / "store", place / "files", config.section("to", [f"to={name}"]))
    return card["source"]


def _stored(made, directory: Path) -> None:
    rows = []
    for number, one in enumerate(made):
        ref = schema.ClipRef(f"clip{number:06d}", "made", "0", (f"sign{number % 50:02d}",), signer=f"{number % 7}")
        rows.append(schema.landmarks_row(ref, "made", one))
    for start in range(0, len(rows), 64):
        table = schema.to_table(rows[start : start + 64], schema.LANDMARKS)
        store.write_table(directory / f"shard-{start:06d}.parquet", table)
    store.write_card(directory, "landmarks", "made", config={}, counts={"clips": len(rows)}, dropped={}, seconds=0)


def _ntu(one: schema.Landmarks, number: int, folder: Path) -> None:
    values: np.ndarray = np.zeros((*one.values.shape[:3], 12))
    values[..., :3], values[..., -1] = one.values, 2
    lines = [str(values.shape[1])]
    for t in range(values.shape[1]):
        lines.append(str(len(values)))
        for identity, joints in enumerate(values[:, t]):
            lines += [f"7205759403{identity} 0 1 1 1 1 0 0.1 0.1 2", "25"]
            lines += [" ".join(f"{value:.7g}" for value in joint) for joint in joints]
    name = f"S{number // 1000 + 1:03d}C001P{number // 60 % 40 + 1:03d}R{number % 2 + 1:03d}A{number % 60 + 1:03d}"
    (folder / f"{name}.skeleton").write_text("\n".join(lines) + "\n")


def _kinetics(one: schema.Landmarks, number: int, folder: Path) -> None:
    data = []
    for t in range(one.values.shape[1]):
        skeletons = [
            {"pose": person[t, :, :2].round(3).reshape(-1).tolist(), "score": seen[t].round(3).tolist()}
            for person, seen in zip(one.values.astype(float), one.visibility.astype(float), strict=True)
        ]
        data.append({"frame_index": t + 1, "skeleton": skeletons})
    clip = {"data": data, "label": f"sign {number % 50}", "label_index": number % 50}
    (folder / f"clip{number:06d}.json").write_text(json.dumps(clip))


def _npy_frames(one: schema.Landmarks, number: int, folder: Path) -> None:
    place = folder / f"sign{number % 50:02d}" / f"{number}"
    place.mkdir(parents=True)
    values = np.nan_to_num(one.values[0])
    pose = np.concatenate([values[:, :33], one.visibility[0, :, :33, None]], axis=-1)
    flat = np.concatenate([pose.reshape(len(pose), -1), values[:, 33:].reshape(len(values), -1)], axis=1)
    for t, frame in enumerate(flat):
        np.save(place / f"{t}.npy", frame)


_WRITERS = {"ntu_skeleton": _ntu, "kinetics_json": _kinetics, "npy_tree": _npy_frames}  # no format of raysign.writers
