"""A bundle as a folder for other programs: model.onnx, model.pt2, labels.txt, and a card that says how to use them.

The network is traced once by torch.export, with any number of clips, persons and frames, and written twice: for ONNX
Runtime, which runs it without torch, and for torch.export.load. Nothing is written before both were found to answer
as the bundle does.
"""

import hashlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import util
from pathlib import Path

import torch
from pydantic import Field, PositiveInt
from torch import nn
from torch.export import ExportedProgram

from raysign import __version__, store
from raysign.errors import ConfigError, ExportError
from raysign.infer import parity
from raysign.kinds import AnyPath, Section, StoredPath, validated
from raysign.learn import bundle as bundles
from raysign.learn.bundle import Bundle
from raysign.learn.recogniser import Recogniser
from raysign.trees import merged, override

FILES = {"model.onnx", "model.pt2", "labels.txt", "card.json"}
OPSET = 20
INPUTS = {
    "x": "float32 (batch, persons, frames, points, channels): clips as `prepare` makes them, zeros beyond their ends",
    "frames": "int64 (batch,): how many of its frames are a clip's own, 1 or more",
    "persons": "int64 (batch,): how many of its persons are there, 1 or more",
}
AXES = ({0: "batch", 1: "persons", 2: "frames"}, {0: "batch"}, {0: "batch"})
NEEDED = ("onnx", "onnxscript", "onnxruntime")
DIFFERENCE = 1e-3  # of a probability, beyond which an export is not the bundle


class Options(Section):
    """With what an export is checked and measured."""

    clips: StoredPath | None = Field(None, description="folder of prepared clips; None: those of the training")
    files: tuple[AnyPath, ...] = Field((), description="videos, images or landmark files to check with instead")
    count: PositiveInt = Field(64, description="clips to check with, at most")
    rounds: PositiveInt = Field(50, description="answers that the time of one is taken of")


def options(arguments: Iterable[str]) -> Options:
    """`key=value` words as options. ConfigError naming the key at fault."""
    tree: dict = {}
    for argument in arguments:
        tree = merged(tree, override(argument))
    files = tree.get("files", [])
    return validated(Options, {**tree, "files": [files] if isinstance(files, str) else files})


def export(bundle_dir: Path, out: Path, options: Options) -> dict:
    """Write the folder `out`, the card last; returns the card. What `out` held before goes on to stand until then.

    ConfigError when `out` holds something else than an earlier export. ExportError when a network cannot be exported,
    when what was exported answers otherwise than the bundle by more than 0.001 of a probability, or when the packages
    of the extra `export` are missing.
    """
    if missing := [name for name in NEEDED if util.find_spec(name) is None]:
        raise ExportError(f"{', '.join(missing)}: not installed; pip install 'raysign[export]'")
    _require_own(out)
    bundle = bundles.load(bundle_dir)
    clips, whose = parity.clips_of(bundle, bundle_dir, options.clips, options.files, options.count)
    traced = trace(bundle)
    least = _least_frames(traced)
    files = {"model.onnx": _onnx(traced, bundle), "model.pt2": _pt2(traced)}
    answers = {"model.onnx": parity.of_onnx(files["model.onnx"]), "model.pt2": parity.of_pt2(files["model.pt2"], least)}
    agreed = {name: parity.compared(bundle, clips, answer) for name, answer in answers.items()}
    for name, found in agreed.items():
        if not found["difference"] <= DIFFERENCE:
            raise ExportError(f"{name}: found probabilities {found['difference']:.2g} off the bundle's on {whose}, "
                              f"expected at most {DIFFERENCE}; nothing was written")  # fmt: skip
    files["labels.txt"] = "".join(f"{label}\n" for label in bundle.labels).encode()
    card = {
        **_about(bundle), "frames_at_least": {"model.onnx": 1, "model.pt2": least}, "opset": OPSET,
        "checked_on": whose, "clips": len(clips), "agreement": agreed,
        "speed": parity.speed(bundle, clips, answers, options.rounds),
        "size_mb": {name: round(len(data) / 1e6, 2) for name, data in files.items() if name in answers},
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }  # fmt: skip
    store.unlink(out / "card.json")
    for name, data in files.items():
        store.write_bytes(out / name, data)
    store.write_json(out / "card.json", card)
    return card


def _require_own(out: Path) -> None:
    """ConfigError when the folder holds something else than an earlier export, whole or not."""
    there = {file.name for file in out.iterdir() if not file.name.startswith(".")} if out.exists() else set()
    if other := there - FILES:
        raise ConfigError(f"{out}: found {min(other)} in it, expected a new folder or an earlier export; give another")


def _about(bundle: Bundle) -> dict:
    """What a program needs to know to ask and to understand the answer."""
    config = bundle.config
    return {
        "name": config.name, "raysign": __version__, "torch": torch.__version__, "model": config.model.kind,
        "task": config.task.kind, "inputs": INPUTS, "outputs": bundle.network.task.OUTPUTS, "labels": bundle.labels,
        "categories": bundle.names.categories, "channels": list(bundle.channels), "skeleton": asdict(bundle.skeleton),
        "prepare": config.prepare.model_dump(mode="json"), "extractor": bundle.card.get("extractor"),
        "bundle": bundle.card.get("sha256"),
    }  # fmt: skip


# ---------------------------------------------------------------- the network in other words


class Answering(nn.Module):
    """x, frames and persons as a Recogniser takes them, to what its task says under OUTPUTS."""

    def __init__(self, network: Recogniser):
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor, frames: torch.Tensor, persons: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.network.task.outputs(self.network(x, frames, persons))


def trace(bundle: Bundle) -> ExportedProgram:
    """The network as a graph of operations, for any batch, persons and frames. ExportError when torch cannot."""
    batch, persons, frames = 3, 2, 11  # all different, and none 0 or 1: those would be taken for constants
    x = torch.zeros(batch, persons, frames, bundle.skeleton.points, len(bundle.channels))
    inputs = x, torch.tensor([11, 7, 5]), torch.tensor([2, 1, 2])
    axes = tuple(dict.fromkeys(places, torch.export.Dim.DYNAMIC) for places in AXES)
    try:
        with torch.no_grad(), _quietly():
            return torch.export.export(
                Answering(bundle.network).eval(),
                inputs,
                dynamic_shapes=axes,
                prefer_deferred_runtime_asserts_over_guards=True,
            )
    except Exception as error:  # torch has no class for what it cannot export
        what = f"model.kind={bundle.config.model.kind} with task.kind={bundle.config.task.kind}"
        reason = " ".join(str(error).split())[:300]
        raise ExportError(f"{what}: torch {torch.__version__} cannot export it ({reason})") from error


def _least_frames(traced: ExportedProgram) -> int:
    """The shortest clip that torch lets the graph be given, padding counted."""
    x = next(node for node in traced.graph.nodes if node.name == "x")
    return max(1, int(traced.range_constraints[x.meta["val"].shape[2].node.expr].lower))


def _onnx(traced: ExportedProgram, bundle: Bundle) -> bytes:
    with _quietly():
        program = torch.onnx.export(
            traced, dynamo=True, opset_version=OPSET, verbose=False, dynamic_shapes=AXES,
            input_names=list(INPUTS), output_names=list(bundle.network.task.OUTPUTS),
        )  # fmt: skip
    return program.model_proto.SerializeToString()  # pyright: ignore[reportOptionalMemberAccess]


def _pt2(traced: ExportedProgram) -> bytes:
    buffer = io.BytesIO()
    with _quietly():
        torch.export.save(traced, buffer)
    return buffer.getvalue()


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what torch says of packages it does not find, and without its record of each step, which takes longer
    than the steps where a program listens to all that is logged.
    """
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.__trace")]
    before = [log.level for log in loggers]
    try:
        for log in loggers:
            log.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(loggers, before, strict=True):
            log.setLevel(level)
