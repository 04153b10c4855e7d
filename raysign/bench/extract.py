"""How fast videos become landmarks: the engine against a bare MediaPipe loop, and two workers against one.

Frames per CPU-second say what a machine can do however busy it is; the engine's count its worker and its driver. Wall
times are of whole runs on a cluster that stands already, the start of the workers included.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pydantic import PositiveInt

from raysign import config, engine, pipeline, store
from raysign.bench._agreement import agreement
from raysign.errors import RaysignError
from raysign.extract import models

TARGETS = {"engine_vs_bare_loop": 0.95, "two_workers_vs_one": 1.8}

# What a competent user would write: one process, one landmarker per video, no Ray. A program of its own, so that
# nothing of ours is in its memory or time.
BARE_LOOP = """
import json, sys, time
import av, mediapipe, numpy as np
from mediapipe.tasks.python import BaseOptions, vision

def points(landmarks, count):
    return [(p.x, p.y, p.z) for p in landmarks[:count]] if landmarks else [(np.nan,) * 3] * count

model, files = sys.argv[1], sys.argv[2:]
options = vision.HolisticLandmarkerOptions(
    base_options=BaseOptions(model_asset_path=model), running_mode=vision.RunningMode.VIDEO
)
cpu, wall, frames = time.process_time(), time.perf_counter(), 0
for file in files:
    clip = []
    with vision.HolisticLandmarker.create_from_options(options) as landmarker, av.open(file) as container:
        for frame in container.decode(video=0):
            pixels = np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
            found = landmarker.detect_for_video(image, round(frame.time * 1000))
            clip.append(np.array(
                points(found.pose_landmarks, 33) + points(found.face_landmarks, 468)
                + points(found.left_hand_landmarks, 21) + points(found.right_hand_landmarks, 21), np.float32))
    frames += len(np.stack(clip))
print(json.dumps({"frames": frames, "cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}))
"""


def run(path: Path | None = None, workers: PositiveInt = 2, times: PositiveInt = 1) -> dict:
    """Print a table and, as the last line, one JSON object; return it.

    path: folder of videos with people in them; None takes $RAYSIGN_TEST_DATA. workers: of the larger run. times: the
    engine reads each video under so many names, to see what the start of its workers weighs.
    """
    folder = path or os.environ.get("RAYSIGN_TEST_DATA")
    if not folder:
        raise RaysignError("bench extract: no videos; give path=FOLDER or set RAYSIGN_TEST_DATA")
    model = models.find()
    with tempfile.TemporaryDirectory(prefix="raysign-bench-") as place:
        videos = Path(place) / "videos"
        videos.mkdir()
        for number in range(times):
            shutil.copytree(Path(folder).resolve(), videos / str(number), copy_function=os.symlink)
        settings = config.load([f"ray.cpus={workers}", "source.kind=video_folder", f"source.path={videos}"])
        engine.connect(settings.ray)
        one = _engine(settings, Path(place) / "one", 1)
        bare = _bare(model, sorted({str(Path(file).resolve()) for file in one["files"]}))
        many = _engine(settings, Path(place) / "many", workers)
    found = {**_compared(bare, one, many, workers), "videos": len(one["files"]) // times}
    found["published_mean_difference"] = agreement(Path(folder))
    _print(found, {"bare loop": bare, "engine, 1 worker": one, f"engine, {workers} workers": many})
    return found


def _bare(model: Path, files: list[str]) -> dict:
    """The bare loop's frames, CPU and wall seconds."""
    command = [sys.executable, "-c", BARE_LOOP, str(model), *files]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    if done.returncode:
        raise RaysignError(f"bench extract: the bare loop failed with {done.returncode} on one of {len(files)} videos")
    return json.loads(done.stdout)


def _engine(settings: config.Config, out: Path, workers: int) -> dict:
    """One run of the engine: frames, CPU seconds of workers and driver, wall seconds, and the files that were read."""
    extract = settings.extract.model_copy(update={"workers": workers})
    cpu, wall = time.process_time(), time.perf_counter()
    card = pipeline.extract(settings.model_copy(update={"out": out, "extract": extract}))
    driver, wall = time.process_time() - cpu, time.perf_counter() - wall
    read = store.read_columns(out / "landmarks", "source", "error").to_pylist()
    files = [row["source"] for row in read if not row["error"]]
    shutil.rmtree(out)
    return {
        "frames": card["counts"]["frames"], "cpu": card["speed"]["cpu_seconds"] + driver, "driver": driver,
        "wall": wall, "files": files, "quarantined": card["counts"]["quarantined"],
    }  # fmt: skip


def _compared(bare: dict, one: dict, many: dict, workers: int) -> dict:
    def speed(row: dict, clock: str) -> float:
        return row["frames"] / row[clock]

    return {
        "engine_vs_bare_loop": round(speed(one, "cpu") / speed(bare, "cpu"), 3),
        "two_workers_vs_one" if workers == 2 else f"{workers}_workers_vs_one": round(
            speed(many, "wall") / speed(one, "wall"), 3
        ),
        "frames": bare["frames"],
        "bare_frames_per_cpu_second": round(speed(bare, "cpu"), 2),
        "engine_frames_per_cpu_second": round(speed(one, "cpu"), 2),
        "driver_share_of_cpu": round(one["driver"] / one["cpu"], 4),
        "bare_frames_per_second": round(speed(bare, "wall"), 2),
        "engine_frames_per_second_1": round(speed(one, "wall"), 2),
        f"engine_frames_per_second_{workers}": round(speed(many, "wall"), 2),
    }


def _print(found: dict, rows: dict[str, dict]) -> None:
    print(f"{'':22} {'frames':>7} {'CPU s':>8} {'frames/CPU s':>13} {'wall s':>8} {'frames/s':>9}")
    for name, row in rows.items():
        per_cpu, per_second = row["frames"] / row["cpu"], row["frames"] / row["wall"]
        print(f"{name:22} {row['frames']:7} {row['cpu']:8.1f} {per_cpu:13.2f} {row['wall']:8.1f} {per_second:9.2f}")
    for name, target in TARGETS.items():
        if name in found:
            print(f"{name}: {found[name]} (target {target})")
    for name, difference in found["published_mean_difference"].items():
        print(
            f"published {name}: " + ("its image is not here" if difference is None else f"mean difference {difference}")
        )
    print(json.dumps(found))
