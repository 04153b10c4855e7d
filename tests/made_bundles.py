"""A small untrained recogniser of three made-up signs, and landmarks and clips for it."""

from pathlib import Path

import torch

from raysign import config, schema, store
from raysign.clips import prepare
from raysign.clips.recipes import shoulder_centered
from raysign.learn import bundle as bundles
from raysign.learn import distribute
from raysign.learn.labels import Labels
from raysign.learn.recogniser import build
from raysign.sources import synthetic

LABELS = ["sign00", "sign01", "sign02"]
CHANNELS = ("x", "y", "z", "visibility")
SKELETON = shoulder_centered.skeleton(shoulder_centered.Options(), "holistic_75")  # pyright: ignore[reportCallIssue]


def settings(*arguments: str) -> config.Config:
    tree = {"source": {"kind": "synthetic", "glosses": 3, "signers": 3, "takes": 2}, "name": "tiny"}
    small = ("split.kind=signer", "model.channels=8", "model.num_blocks=1")
    return config.load([*small, *arguments], base=tree)


def untrained(*arguments: str) -> bundles.Bundle:
    """A small untrained recogniser."""
    torch.manual_seed(0)
    tree = settings(*arguments)
    network = build(tree, SKELETON, CHANNELS, Labels(LABELS)).eval()
    return bundles.Bundle(tree, SKELETON, Labels(LABELS), CHANNELS, network, {"extractor": "made up"})


def stored(directory: Path) -> Path:
    """Two shards of made-up signers' landmarks, and a row in quarantine."""
    source = settings().source
    refs = synthetic.clips(source)
    rows = [schema.landmarks_row(ref, "made up", synthetic.read(ref, source)) for ref in refs]
    rows.append(schema.landmarks_row(schema.ClipRef("bad", "bad.mp4", "1", ("sign00",)), "made up", "no person"))
    for i, part in enumerate((rows[:7], rows[7:])):
        store.write_table(directory / f"shard-{i}.parquet", schema.to_table(part, schema.LANDMARKS))
    return directory


def prepared(landmarks_dir, root, *arguments):
    """The clips of the landmarks, without a cluster."""
    tree = settings(*arguments)
    plan = prepare.plan(landmarks_dir, root, tree)
    for unit in plan.units:
        prepare.Worker(landmarks_dir, plan.directory, tree.prepare)(unit)
    prepare.finish(landmarks_dir, plan, tree, 0.0)
    return plan.directory


def trained(directory: Path) -> Path:
    """A recogniser that has learnt the three signs from all three signers, without a cluster; its folder."""
    small = (
        "train.epochs=16",
        "train.workers=0",
        "train.lr=5e-3",
        "mlflow.enabled=false",
        "split.kind=stratified",
        "split.val=0",
        "split.test=0",
    )
    clips = prepared(stored(directory / "landmarks"), directory / "clips", *small)
    return distribute.train(settings(*small), clips, directory / "train")
