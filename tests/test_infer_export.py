"""An exported network answers as its bundle does, whatever it is of and whoever is asked together."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from made_bundles import CHANNELS, LABELS, SKELETON, settings

from raysign import schema, store
from raysign.cli import main
from raysign.errors import BundleError, ConfigError, ExportError, StoreError
from raysign.infer import evaluate as scoring
from raysign.infer import export as exporting
from raysign.infer import parity
from raysign.infer.predictor import Predictor
from raysign.kinds import kinds
from raysign.learn import bundle as bundles
from raysign.learn.labels import Labels
from raysign.learn.recogniser import build
from raysign.skeleton import LAYOUTS

SMALL = {
    "stgcn": ["model.channels=8", "model.num_blocks=1", "model.width=16"],
    "conv_transformer": ["model.dim=16", "model.layers=1"],
    "transformer": ["model.emb_dim=16", "model.n_heads=2"],
    "st_gcn": ["model.widths=[8,16]", "model.motion=true"],
    "st_gcn_pp": ["model.widths=[8,16]"],
    "bilstm": ["model.hidden=8", "model.layers=2"],
}
NAMES = Labels(LABELS, ["one", "two"])
TOLERANCE = 1e-4


def untrained(kind: str, task: str, skeleton=SKELETON) -> bundles.Bundle:
    """A small recogniser whose normalisation has seen something, so that nothing in it is 0 or 1."""
    torch.manual_seed(0)
    tree = settings(f"model.kind={kind}", f"task.kind={task}", *SMALL.get(kind, []))
    network = build(tree, skeleton, CHANNELS, NAMES)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.add_(0.1 * torch.rand_like(value) if "running" in name or "bias" in name else 0)
    return bundles.Bundle(tree, skeleton, NAMES, CHANNELS, network.eval(), {"extractor": "made up"})


def asked(batch: int, persons: int, frames: int, points: int) -> tuple[torch.Tensor, ...]:
    """Clips of all lengths up to `frames`, some points unseen, and beyond their ends anything."""
    generator = torch.Generator().manual_seed(batch)
    x = torch.randn(batch, persons, frames, points, len(CHANNELS), generator=generator)
    x[:, :, :, ::5] = 0
    lengths, most = (torch.randint(1, top + 1, (batch,), generator=generator) for top in (frames, persons))
    lengths[0], most[0] = frames, persons
    return x, lengths, most


@pytest.mark.parametrize("task", kinds("task"))
@pytest.mark.parametrize("kind", kinds("model"))
def test_every_model_with_every_task_answers_the_same_in_any_company(kind, task):
    bundle = untrained(kind, task, LAYOUTS["hands_42"])
    traced = exporting.trace(bundle)
    answers = {
        "onnx": parity.of_onnx(exporting._onnx(traced, bundle)),
        "pt2": parity.of_pt2(exporting._pt2(traced), exporting._least_frames(traced)),
    }
    for shape in ((1, 1, 1), (2, 1, 30), (5, 3, 2), (1, 2, 13), (4, 1, 3), (2, 2, 8)):
        inputs = asked(*shape, bundle.skeleton.points)
        with torch.inference_mode():
            wanted = exporting.Answering(bundle.network)(*inputs)
            for program, answer in answers.items():
                for found, value in zip(answer(*inputs), wanted, strict=True):
                    frames = min(found.shape[1], value.shape[1])  # what was padded for torch says no gloss
                    assert torch.allclose(found[:, :frames], value[:, :frames], atol=TOLERANCE), (program, shape)
