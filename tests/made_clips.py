"""A stage of made-up clips, small enough to train on in a test: each gloss is a motion of its own."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from raysign import config, schema, store
from raysign.clips.recipes import shoulder_centered
from raysign.skeleton import layout

# settings of trainings, several at once: whatever holds for one of them must hold for all
TRAININGS = {
    "plain": (),
    "sgd": (
        "train.optimizer=sgd", "train.schedule=step", "train.steps=[2, 4]", "train.ema=0.9", "train.accumulate=2",
        "train.repeat=2", "train.mixup=0.3",
    ),
    "alone": ("task.kind=ctc", "train.batch=1", "train.epochs=2"),  # of two workers one has no clip
    "plateau": (
        "train.optimizer=adam", "train.schedule=plateau", "train.plateau_patience=0", "train.patience=3",
        "train.freeze=[encoder.blocks.0]", "train.deterministic=true", "train.best=val/loss", "train.lr=0.01",
    ),
}  # fmt: skip
CHANNELS = shoulder_centered.CHANNELS
POINTS = 59


def clip(rng: np.random.Generator, gloss: int, frames: int) -> np.ndarray:
    """(1, frames, 59, 4): a random pose that moves at the gloss's own pace and in its own direction."""
    time = np.linspace(0, 1, frames)[:, None, None]
    way = np.random.default_rng(gloss).normal(size=(1, POINTS, 3))
    x = rng.normal(size=(1, POINTS, 3)) * 0.05 + 0.3 * np.sin(time * (gloss + 1) * 3) * way
    return np.concatenate([x, np.ones((frames, POINTS, 1))], axis=-1)[None].astype(np.float32)


def write(directory: Path, *, glosses: int = 3, train: int = 8, val: int = 3, shards: int = 2, seed: int = 0) -> Path:
    """A finished clips stage with so many clips of each gloss per split, 1 to 20 frames long."""
    rng, rows = np.random.default_rng(seed), []
    for split, count in (("train", train), ("val", val)):
        for i in range(count * glosses):
            x = clip(rng, i % glosses, int(rng.integers(1, 21)))
            shape = dict(zip(("persons", "frames", "points", "channels"), x.shape, strict=True))
            rows.append(
                {
                    "id": f"{split}{i}",
                    "gloss": [f"sign{i % glosses}"],
                    "category": f"kind{i % 2}",
                    "split": split,
                    "x": x,
                    **shape,
                }
            )
    for i in range(shards):
        store.write_table(directory / f"shard-{i}.parquet", schema.to_table(rows[i::shards], schema.CLIPS))
    labels, counts = [f"sign{i}" for i in range(glosses)], {"clips": len(rows)}
    store.write_card(directory, "prepare", f"made-{seed}-{len(rows)}", config={}, counts=counts, dropped={}, seconds=0,
                     labels=labels, categories=["kind0", "kind1"],
                     channels=list(CHANNELS), skeleton=asdict(layout("top_body_59")))  # fmt: skip
    return directory


def settings(home: Path, *overrides: str) -> config.Config:
    """A config for them: a small network, few epochs, this process, no MLflow."""
    small = {
        "out": str(home / "runs" / "test"), "source": {"kind": "synthetic"},
        "model": {"kind": "stgcn", "num_blocks": 2, "channels": 8, "spatial_channels": 4, "width": 16},
        "train": {"epochs": 6, "batch": 7, "checkpoint_every": 2, "workers": 0}, "mlflow": {"enabled": False},
    }  # fmt: skip
    return config.load(overrides, base=small)
