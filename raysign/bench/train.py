"""What Ray Train and raysign's loop cost: clips a second against a plain PyTorch loop of the same network.

Both sides train the same network with the same optimizer, batch, loss and gradient clipping on all CPUs (or the GPU),
without augmentation on either side, on random walks of 59 points and 64 to 150 frames. The plain loop has its clips in
memory as one padded tensor. Rounds alternate, so that a machine that slows down does so for both. A ratio above 1 is
the workers' doing: they keep their memory (learn/distribute.py), which a plain loop does not.
"""

import json
import shutil
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, PositiveInt

from raysign import config, engine, schema, skeleton, store
from raysign.clips.recipes import shoulder_centered
from raysign.learn import distribute, recogniser
from raysign.learn.history import read_metrics
from raysign.learn.labels import Labels

TARGET = 0.95
OFF = dict.fromkeys(config.Augment.model_fields, 0)
SKELETON = skeleton.layout("top_body_59")
LABELS = [f"sign{i:02d}" for i in range(20)]


def run(
    clips: PositiveInt = 128, epochs: Annotated[int, Field(ge=2)] = 10, rounds: PositiveInt = 3,
    batch: PositiveInt = 32, workers: PositiveInt = 1,
) -> dict:  # fmt: skip
    """Print a table and, as the last line, one JSON object; return it.

    clips: random walks. epochs: of each round, the first of which is not counted. rounds: trainings on either side.
    """
    home = Path(tempfile.mkdtemp(prefix="raysign-bench-"))
    try:
        arrays = walks(clips)
        stage = _stage(home / "clips", arrays)
        settings = _settings(home, epochs, batch, workers)
        engine.connect(settings.ray, dashboard=True)
        ray, plain, starts = [], [], []
        for number in range(rounds):
            plain += _plain(settings, arrays)
            began = time.perf_counter()
            made = distribute.train(settings, stage, home / f"train{number}")
            rows = read_metrics(made.parent)
            starts.append(time.perf_counter() - began - sum(row["seconds"] for row in rows))
            ray += [row["clips_per_second"] for row in rows[1:]]
    finally:
        shutil.rmtree(home, ignore_errors=True)
    found = {
        "ray_clips_per_second": round(statistics.median(ray), 1),
        "plain_clips_per_second": round(statistics.median(plain), 1),
        "ray_vs_plain_loop": round(statistics.median(ray) / statistics.median(plain), 3),
        "ray_start_seconds": round(statistics.median(starts), 1),
        "clips": clips, "batch": batch, "workers": workers, "augmentation": "off on both sides",
    }  # fmt: skip
    _print(found)
    return found


def _print(found: dict) -> None:
    print(f"{'':34}{'clips/s':>10}")
    print(f"{'plain PyTorch loop':34}{found['plain_clips_per_second']:>10}")
    print(f"{'raysign under Ray Train':34}{found['ray_clips_per_second']:>10}")
    print(f"{'ratio (wanted: at least ' + str(TARGET) + ')':34}{found['ray_vs_plain_loop']:>10}")
    print(f"{'start and end of a Ray run, s':34}{found['ray_start_seconds']:>10}")
    print(json.dumps(found))


def walks(clips: int, seed: int = 0) -> list[np.ndarray]:
    """Random walks as clips (1, T, 59, 4) with T from 64 to 150, seen throughout."""
    rng = np.random.default_rng(seed)
    found = []
    for frames in rng.integers(64, 151, clips):
        x = np.cumsum(rng.normal(size=(1, frames, 59, 4)), axis=1) * 0.01
        x[..., -1] = 1.0
        found.append(x.astype(np.float32))
    return found


def _stage(directory: Path, arrays: list[np.ndarray]) -> Path:
    """The walks as a finished stage of clips."""
    rows = []
    for i, x in enumerate(arrays):
        shape = dict(zip(("persons", "frames", "points", "channels"), x.shape, strict=True))
        rows.append({"id": str(i), "gloss": [LABELS[i % len(LABELS)]], "split": "train", "x": x, **shape})
    store.write_table(directory / "shard-0.parquet", schema.to_table(rows, schema.CLIPS))
    store.write_card(directory, "prepare", "walks", config={}, counts={}, dropped={}, seconds=0.0, labels=LABELS,
                     channels=list(shoulder_centered.CHANNELS), skeleton=asdict(SKELETON))  # fmt: skip
    return directory


def _settings(home: Path, epochs: int, batch: int, workers: int) -> config.Config:
    tree = {
        "source": {"kind": "synthetic"}, "out": str(home / "runs"), "augment": OFF, "mlflow": {"enabled": False},
        "train": {"epochs": epochs, "batch": batch, "workers": workers, "checkpoint_every": epochs},
    }  # fmt: skip
    return config.load(base=tree)


def _plain(settings: config.Config, arrays: list[np.ndarray]) -> list[float]:
    """Clips a second in each epoch but the first of a loop as one writes it by hand."""
    train, device = settings.train, torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.zeros(len(arrays), 1, max(a.shape[1] for a in arrays), 59, 4)
    for i, array in enumerate(arrays):
        x[i, :, : array.shape[1]] = torch.from_numpy(array)
    x, frames = x.to(device), torch.tensor([a.shape[1] for a in arrays], device=device)
    y = torch.arange(len(arrays), device=device) % len(LABELS)
    persons = torch.ones_like(frames)
    torch.manual_seed(0)
    network = recogniser.build(settings, SKELETON, shoulder_centered.CHANNELS, Labels(LABELS)).to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=train.lr, weight_decay=train.weight_decay)
    speeds = []
    for _ in range(train.epochs):
        began = time.perf_counter()
        for rows in torch.randperm(len(arrays), device=device).split(train.batch):
            clips = x[rows, :, : int(frames[rows].max())]
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                logits = network(clips, frames[rows], persons[rows])
            loss = torch.nn.functional.cross_entropy(logits.float(), y[rows], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), train.clip_norm)
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        speeds.append(len(arrays) / (time.perf_counter() - began))
    return speeds[1:]
