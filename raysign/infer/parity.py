"""Does an exported network answer as its bundle does, and how fast? Both through the one Predictor."""

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from raysign import schema, store
from raysign.errors import ExportError, RaysignError, StoreError
from raysign.infer import example
from raysign.infer.predictor import ONE_VIEW, Predictor
from raysign.infer.reader import Reader
from raysign.learn.bundle import Bundle

Answer = Callable[..., Sequence[torch.Tensor]]  # x, frames and persons to the outputs of the bundle's task


# ---------------------------------------------------------------- clips to compare on


def clips_of(
    bundle: Bundle, bundle_dir: Path, given: Path | None, files: Sequence[Path], count: int
) -> tuple[list[np.ndarray], str]:
    """At most `count` clips, and whose they are: of the folder or files given, of the training, else made up.

    StoreError for a folder without clips, the error of the first file when no file can be used, ExportError when
    nothing can be made up either.
    """
    predictor = Predictor(bundle, views=ONE_VIEW)
    if files:
        return _of_files(predictor, files, count)
    for place in [given] if given else _of_training(bundle, bundle_dir):
        found = _stored(place, count)
        if not found:
            raise StoreError(f"{place}: found no clips; give the folder of some that `raysign prepare` has made")
        return found, f"clips {place.name}"
    if (made_up := example.landmarks(bundle)) is None:
        raise ExportError("clips: found none of the training, and none could be made up; give clips=DIR or files=FILE")
    return [predictor.prepared(made_up)], "a made-up clip"


def _of_training(bundle: Bundle, bundle_dir: Path) -> list[Path]:
    """Where the clips of the training lie, if they still do: below its results, or below those that it was moved to."""
    key = str(bundle.card.get("clips"))
    places = (home / "clips" / key for home in (bundle.config.home, Path(bundle_dir).absolute().parent))
    return [place for place in places if (store.read_card(place) or {}).get("key") == key][:1]


def _stored(directory: Path, count: int) -> list[np.ndarray]:
    """As many clips of each shard, spread over it: neighbours are often of one gloss."""
    shards = store.shards(directory) if (store.read_card(directory) or {}).get("stage") == "prepare" else []
    found: list[np.ndarray] = []
    for left, path in zip(range(len(shards), 0, -1), shards, strict=True):
        table = store.read_table(path, ["x", "persons", "frames", "points", "channels"])
        some = min(len(table), -(-(count - len(found)) // left))
        table = table.take(np.linspace(0, len(table) - 1, some).round().astype(int))
        found += [x.copy() for x in schema.arrays(table, *table.column_names)]
    return found


def _of_files(predictor: Predictor, files: Sequence[Path], count: int) -> tuple[list[np.ndarray], str]:
    reader, found, wrong = Reader(predictor.bundle), [], []
    try:
        for _, one in (clip for file in files for clip in reader.clips(file)):
            try:
                if isinstance(one, RaysignError):
                    raise one
                found.append(predictor.prepared(one))
            except RaysignError as error:
                wrong.append(error)
            if len(found) == count:
                break
    finally:
        reader.close()
    if not found:
        raise wrong[0]
    return found, f"{len(files)} file(s)" + (f", of which {len(wrong)} clip(s) could not be used" if wrong else "")


# ---------------------------------------------------------------- exported networks


def of_onnx(model: bytes | str) -> Answer:
    """What ONNX Runtime answers with a model, on one CPU thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def answer(*inputs: torch.Tensor) -> list[torch.Tensor]:
        found = session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})
        return [torch.from_numpy(value) for value in found]

    return answer


def of_pt2(program: bytes, least_frames: int) -> Answer:
    """What torch answers with an exported program; shorter clips are padded to `least_frames`."""
    network = torch.export.load(io.BytesIO(program)).module()

    def answer(x: torch.Tensor, frames: torch.Tensor, persons: torch.Tensor) -> Sequence[torch.Tensor]:
        spare = max(0, least_frames - x.shape[2])
        return network(nn.functional.pad(x, (0, 0, 0, 0, 0, spare)), frames, persons)

    return answer


class Foreign(nn.Module):
    """An exported network where a Predictor has the bundle's: logits that give the task the same answers."""

    def __init__(self, task: Any, answer: Answer):
        super().__init__()
        self.task, self.answer = task, answer

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        found = zip(self.task.OUTPUTS, self.answer(*inputs), strict=True)
        # the softmax of the logarithms of probabilities is these
        return torch.cat([value if name.startswith("log_") else value.log() for name, value in found], dim=1)


def predictor_of(bundle: Bundle, answer: Answer) -> Predictor:
    """A Predictor that asks the exported network instead of the bundle's own."""
    network: Any = Foreign(bundle.network.task, answer)
    return Predictor(replace(bundle, network=network), views=ONE_VIEW)


# ---------------------------------------------------------------- figures


def compared(bundle: Bundle, clips: list[np.ndarray], answer: Answer) -> dict[str, float]:
    """difference: the largest of any probability of any clip; top1: share of clips whose likeliest gloss is the same.

    Clips are asked in batches of several lengths, and one of them alone.
    """
    ours, theirs = Predictor(bundle, views=ONE_VIEW), predictor_of(bundle, answer)
    wanted = ours.probabilities(clips, 16)
    found = np.concatenate([theirs.probabilities(clips[:1]), theirs.probabilities(clips[1:], 16)])
    return {
        "difference": float(np.abs(found - wanted).max()),
        "top1": float((found.argmax(1) == wanted.argmax(1)).mean()),
    }


def speed(bundle: Bundle, clips: list[np.ndarray], answers: dict[str, Answer], rounds: int) -> dict:
    """Milliseconds to answer one clip, that of median length, on one CPU thread: of each exported network and of the
    bundle's own (`torch`), in turn. {frames, persons, name: {median, p95}}.
    """
    clip = sorted(clips, key=lambda one: one.shape[1])[len(clips) // 2]
    persons, frames = clip.shape[:2]
    inputs = torch.from_numpy(clip)[None], torch.tensor([frames]), torch.tensor([persons])
    asked: dict[str, Callable] = {**answers, "torch": bundle.network}
    took: dict[str, list[float]] = {name: [] for name in asked}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for _ in range(rounds + 3):  # the first ones warm up
                for name, answer in asked.items():
                    began = time.perf_counter()
                    answer(*inputs)
                    took[name].append(1000 * (time.perf_counter() - began))
    finally:
        torch.set_num_threads(threads)
    told = {name: np.percentile(each[3:], [50, 95]).round(2).tolist() for name, each in took.items()}
    return {"frames": frames, "persons": persons,
            **{name: {"median": median, "p95": high} for name, (median, high) in told.items()}}  # fmt: skip
