"""Some clips of a config through the code of its stages: what each takes here, when nothing else is done with it.

Each stage has a process of its own: MediaPipe binds its process to one CPU, and memory is a process's. What a process
takes to be ready is measured apart, since it is paid once for each worker and not once for each clip.
"""

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from raysign import store
from raysign.clips import form, prepare
from raysign.config import Config
from raysign.errors import RaysignError, SourceError
from raysign.extract import plan as planning
from raysign.extract import work
from raysign.kinds import kind_module
from raysign.schema import ClipRef

FEWEST, MOST = 3, 24  # units of a sample
_EPOCHS, _STEPS = 4, 2  # that the sample is trained on; the first epoch is not counted
_SHARDS, _ROWS = 4, 32  # that the sample's clips are made into for `prepare`
_PLACE = "store"  # below a unit's folder


@dataclass(frozen=True)
class Sampled:
    """What a stage took for the parts of a sample.

    clips, sizes (bytes of their files, 0 for unknown), seconds, stored (bytes written), one entry a part each.
    startup: seconds until a process is ready. memory: its most, bytes.
    """

    clips: list[int]
    sizes: list[int]
    seconds: list[float]
    stored: list[float]
    startup: float
    memory: int


# ---------------------------------------------------------------- landmarks


def landmarks(
    units: list[list[ClipRef]], place: Path, reader: Callable, extractor: str, media: bool, budget: float,
    told: Callable[[int], None],
) -> Sampled:  # fmt: skip
    """Read units of clips one after the other, until `budget` seconds have passed and FEWEST are read.

    Leaves the store of unit i in `place/i/store`. told: called with the number of clips of each that is done.
    """
    found = Sampled([], [], [], [], 0.0, 0)
    with _process() as (ask, startup):
        startup += ask(_make_reader, reader)
        began = time.perf_counter()
        for number, refs in enumerate(units):
            if number >= FEWEST and time.perf_counter() - began > budget:
                break
            directory = place / str(number) / _PLACE
            plan = planning.plan(refs, directory, extractor, per_unit=len(refs))
            seconds = ask(_read, directory, extractor, plan.run, media, plan.units[0])
            planning.release(directory, plan.run)
            found.clips.append(len(refs))
            found.sizes.append(sum(map(planning.size_of, refs)))
            found.seconds.append(seconds)
            told(len(refs))
        return Sampled(found.clips, found.sizes, found.seconds, _sizes(place), startup, ask(_memory))


def _sizes(place: Path) -> list[float]:
    """Bytes of each unit's rows as they are when many clips share a shard; joins all in one, `place/all`."""
    paths = [
        shard for number in range(len(list(place.iterdir()))) for shard in store.shards(place / str(number) / _PLACE)
    ]
    store.write_table(place / "all" / "shard-all.parquet", pa.concat_tables(map(store.read_table, paths)))
    alone = [path.stat().st_size for path in paths]
    together = (place / "all" / "shard-all.parquet").stat().st_size
    return [size * together / sum(alone) for size in alone]


_READ: Any = None  # of a process: what reads its clips


def _make_reader(reader: Callable) -> float:
    """Seconds that took."""
    global _READ
    began = time.perf_counter()
    _READ = reader()
    return time.perf_counter() - began


def _read(directory: Path, extractor: str, run: str, media: bool, unit: dict) -> float:
    return work.Worker(_made, directory, extractor, run, media)(unit)["wall_seconds"]


def _made() -> Any:
    return _READ


# ---------------------------------------------------------------- clips


def good(place: Path) -> np.ndarray:
    """The rows of the sample, in `place/all`, that could be read. SourceError when there is none."""
    errors = store.read_table(place / "all" / "shard-all.parquet", ["error"])["error"]
    rows = np.flatnonzero(errors.is_null().to_numpy())
    if not len(rows):
        raise SourceError(f"{errors[0]}; none of the {len(errors)} clips of the sample can be used")
    return rows


def clips(place: Path, good: np.ndarray, config: Config) -> Sampled:
    """Prepare the sample's good clips, in shards drawn from them anew; leaves these in `place/clips`.

    SourceError when none has a gloss, or the recipe takes none of them.
    """
    table = store.read_table(place / "all" / "shard-all.parquet")
    glosses = table["gloss"].to_pylist()
    good = good[[bool(glosses[row]) for row in good]]
    if not len(good):
        raise SourceError(f"none of the {len(table)} clips of the sample has a gloss; there is nothing to train on")
    rng, source = np.random.default_rng(config.seed), place / "drawn"
    for number in range(_SHARDS + 1):  # one to wake up with
        drawn = good[rng.integers(len(good), size=_ROWS)]
        store.write_table(source / f"shard-{number}.parquet", table.take(drawn))
    with _process() as (ask, startup):
        startup += ask(_prepared, source, place / "waking", config, 0)[0]
        rows = [ask(_prepared, source, place / "clips", config, number) for number in range(1, _SHARDS + 1)]
        memory = ask(_memory)
    if not any(count for _, count in rows):
        raise SourceError(f"prepare.kind={config.prepare.kind} makes no clip of the sample; see `raysign validate`")
    stored = [float(path.stat().st_size) for path in store.shards(place / "clips")]
    return Sampled([_ROWS] * _SHARDS, [0] * _SHARDS, [seconds for seconds, _ in rows], stored, startup, memory)


def _prepared(source: Path, directory: Path, config: Config, number: int) -> tuple[float, int]:
    """(seconds, clips) of one shard."""
    began = time.perf_counter()
    unit = {"shard": f"shard-{number}.parquet", "splits": ["train"] * _ROWS}
    done = prepare.Worker(source, directory, config.prepare)(unit)
    return time.perf_counter() - began, done["clips"]


# ---------------------------------------------------------------- training


def training(place: Path, config: Config, glosses: list[str], categories: list[str], gpu: bool) -> dict:
    """Train some steps on the prepared sample, repeated, in the loop of `raysign train`.

    Returns `train` and `val`: seconds a clip of each epoch; `clips`: of an epoch; `clip_bytes`; `flops` of a clip's
    step; `weights` and `activations`: bytes, the latter of a step's clips as long as the longest; `threads`; `device`;
    `gpus`; `startup` and `memory`.
    """
    from raysign.learn.distribute import ENVIRONMENT

    with _process(ENVIRONMENT if config.train.workers else {}) as (ask, startup):
        found = ask(_trained, place, config, glosses, categories, gpu)
        return {**found, "startup": startup + found["startup"], "memory": ask(_memory)}


def _trained(place: Path, config: Config, glosses: list[str], categories: list[str], gpu: bool) -> dict:
    import torch

    from raysign.clips.augment import Augment
    from raysign.clips.batch import Listing, Resident, listing
    from raysign.learn import loop, recogniser
    from raysign.learn.labels import Labels
    from raysign.report import network as costs

    began = time.perf_counter()
    device = torch.device("cuda" if gpu and torch.cuda.is_available() and config.train.device != "cpu" else "cpu")
    if config.train.cpus_per_worker:
        torch.set_num_threads(config.train.cpus_per_worker)
    some = listing(place / "clips", "train")
    rows = np.resize(np.arange(len(some)), _STEPS * config.train.batch)
    many = Listing(some.paths, some.table.take(rows), some.shard[rows], some.place[rows], some.shape[rows])
    skeleton, channels = form.of_layouts(_layouts(place), config)
    labels = Labels(glosses, categories)
    torch.manual_seed(config.seed)
    network = recogniser.build(config, skeleton, channels, labels)
    targets = kind_module("task", config.task.kind).targets(many.table, labels).to(device)
    split = loop.Split(Resident(many, device), targets)
    short = {"epochs": _EPOCHS, "repeat": 1, "start_from": None, "patience": 0, "stop_at": None, "smoke": False,
             "checkpoint_every": _EPOCHS}  # fmt: skip
    brief = config.model_copy(update={"train": config.train.model_copy(update=short)})
    epochs: list[dict] = []
    startup = time.perf_counter() - began
    augment = Augment(config.augment, skeleton, channels, config.seed)
    loop.fit(brief, network, split, split, augment, place / "training", _Listening(epochs))
    told = [(1 / epoch["clips_per_second"], epoch["seconds"] / len(many)) for epoch in epochs[1:]]
    inputs = costs.clips(config.train.batch, int(many.shape[:, 1].max()), skeleton, channels)
    one = costs.clips(1, int(many.shape[:, 1].mean()), skeleton, channels)
    network = network.to("cpu")
    return {
        "train": [train for train, _ in told], "val": [whole - train for train, whole in told], "clips": len(many),
        "clip_bytes": many.bytes / len(many), "flops": 3 * costs.operations(network, one),
        "weights": sum(value.nbytes for value in network.state_dict().values()),
        "activations": costs.step_memory(network, inputs, targets[: config.train.batch].cpu())[0],
        "threads": torch.get_num_threads(), "device": costs.named(device), "gpus": torch.cuda.device_count(),
        "on_gpu": device.type == "cuda", "startup": startup,
    }  # fmt: skip


def _layouts(place: Path) -> set[str]:
    return set(store.read_table(place / "all" / "shard-all.parquet", ["layout"])["layout"].to_pylist()) - {None}


class _Listening:
    """A Reporter that keeps what it is told."""

    def __init__(self, epochs: list[dict]):
        self.epochs = epochs

    def report(self, metrics: dict[str, float], saved: bool) -> None:  # noqa: ARG002 - the protocol
        self.epochs.append(metrics)


# ---------------------------------------------------------------- a process apart


@contextmanager
def _process(environment: dict[str, str] | None = None) -> Iterator[tuple[Callable, float]]:
    """(`ask(function, *arguments)`: its answer from a new process; the seconds that took to begin).

    environment: variables that the process has more than this one.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:

        def ask(function: Callable, *arguments: Any) -> Any:
            try:
                return pool.submit(function, *arguments).result()
            except BrokenProcessPool:
                raise RaysignError("the process that tried the sample died; see `raysign doctor`") from None

        before, began = dict(os.environ), time.perf_counter()
        os.environ.update(environment or {})
        try:
            ask(_memory)
        finally:
            os.environ.clear()
            os.environ.update(before)
        yield ask, time.perf_counter() - began


def _memory() -> int:
    """The most that this process has had, bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
