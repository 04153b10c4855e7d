"""A config's stages, each with what it will take: the sample, probed and scaled up."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from raysign import schema
from raysign.clips import split
from raysign.config import Config
from raysign.errors import SourceError
from raysign.extract import plan as planning
from raysign.forecast import estimate, probe
from raysign.forecast.estimate import NONE, Estimate
from raysign.schema import ClipRef

# operations a second that networks of this size may reach; asked where there is no GPU to measure
GPU_SPEEDS = {"low": 1e12, "usual": 3e12, "high": 1e13}
RAY_TRAIN_S = 9.0  # until the first step, beside what a worker itself needs
_HOUR = 3600.0


@dataclass(frozen=True)
class Machines:
    """What a run is planned for. gpus: None for as many as this machine has.

    Prices are of an hour, in whatever currency; None for not asked for.
    """

    cpus: int
    gpus: int | None = None
    cpu_price: float | None = None
    gpu_price: float | None = None

    def cost(self, hours: Estimate, gpus: int = 0) -> Estimate | None:
        """Of all CPUs, and so many GPUs, for as long; None without prices."""
        if self.cpu_price is None and self.gpu_price is None:
            return None
        return hours * (self.cpus * (self.cpu_price or 0.0) + gpus * (self.gpu_price or 0.0))


@dataclass(frozen=True)
class Stage:
    """clips: of one pass. each: seconds a clip of one CPU, or of one GPU. disk, memory (of one process): GB."""

    name: str
    clips: int
    each: Estimate
    startup: float
    hours: Estimate
    disk: Estimate
    memory: float
    cost: Estimate | None


@dataclass(frozen=True)
class Forecast:
    """stages: in their order. sample: clips that were tried. notes: what is assumed, in sentences."""

    machines: Machines
    stages: list[Stage]
    sample: int
    notes: list[str]

    def total(self) -> dict[str, Estimate | None]:
        """Hours, disk and cost of all stages together; the cost is None without prices."""
        costs = [stage.cost for stage in self.stages if stage.cost is not None]
        hours, disk = (sum((getattr(stage, name) for stage in self.stages), NONE) for name in ("hours", "disk"))
        return {"hours": hours, "disk": disk, "cost": sum(costs, NONE) if costs else None}

    def as_dict(self) -> dict:
        """As plain values, an Estimate as {value, low, high}."""
        total = {name: found and asdict(found) for name, found in self.total().items()}
        return {**asdict(self), "total": total}


def forecast(
    config: Config, refs: list[ClipRef], reader: Callable, extractor: str, media: bool, machines: Machines,
    seconds: float, told: Callable[[str, int], None],
) -> Forecast:  # fmt: skip
    """Of all stages for these clips.

    seconds: of reading the sample, about. told: called with what is tried and how many more clips of it are done.
    SourceError when no clip of the sample can be used; ConfigError when the splits cannot be made.
    """
    labelled = [ref for ref in refs if ref.gloss]
    glosses = sorted({word for ref in labelled for word in ref.gloss})
    if len(glosses) < 2:
        raise SourceError(f"{config.source.kind}: found {len(glosses)} gloss, expected 2 or more to train on")
    columns = ([getattr(ref, name) for ref in labelled] for name in ("id", "gloss", "signer", "split"))
    splits = split.assign(*columns, config.split, config.seed).names  # pyright: ignore[reportCallIssue]
    categories = sorted({ref.category for ref in labelled if ref.category})
    with tempfile.TemporaryDirectory(prefix="raysign-plan-") as folder:
        place, name = Path(folder), "extract" if media else "import"
        units = list(_sample(refs, media, config.seed))
        told(name, 0)
        read = probe.landmarks(units, place, reader, extractor, media, seconds, lambda clips: told(name, clips))
        good = probe.good(place)
        told("prepare", 0)
        prepared = probe.clips(place, good, config)
        told("train", 0)
        trained = probe.training(place, config, glosses, categories, machines.gpus != 0)
    machines = replace(machines, gpus=trained["gpus"]) if machines.gpus is None else machines
    share = len(good) / sum(read.clips)
    used = {part: round(share * splits.count(part)) for part in schema.SPLITS}
    stages = [
        _landmarks(name, config, refs, read, media, machines),
        _clips(sum(used.values()), prepared, machines),
        _training(config, used["train"], used["val"], trained, machines),
    ]
    return Forecast(machines, stages, sum(read.clips), _notes(config, share, trained, machines))


def _sample(refs: list[ClipRef], media: bool, seed: int) -> Iterator[list[ClipRef]]:
    """Units to try, in an order of which every beginning is a fair sample.

    Of videos and images one clip each, one of each of equally many by size; of other files runs as the engine has them.
    """
    rng = np.random.default_rng(seed)
    if media:
        by_size = sorted(refs, key=lambda ref: (planning.size_of(ref), ref.id))
        most = min(probe.MOST, len(refs))
        places = ((np.arange(most) + rng.random(most)) * len(refs) / most).astype(int)
        yield from ([by_size[place]] for place in rng.permutation(places))
    else:
        starts = range(0, len(refs), planning.CLIPS_PER_UNIT)
        for place in rng.permutation(len(starts))[: probe.MOST]:
            yield refs[starts[place] : starts[place] + planning.CLIPS_PER_UNIT]


def _landmarks(
    name: str, config: Config, refs: list[ClipRef], read: probe.Sampled, media: bool, machines: Machines
) -> Stage:
    parts = len(refs) if media else -(-len(refs) // planning.CLIPS_PER_UNIT)
    alone = len({ref.path for ref in refs}) == len(refs)  # a file of many clips does not tell how long one is

    def whole(costs: list[float]) -> Estimate:
        by_size = media and alone and estimate.steadier(read.sizes, costs)
        sizes, all_of_it = (read.sizes, sum(map(planning.size_of, refs))) if by_size else (read.clips, len(refs))
        return estimate.total(sizes, costs, all_of_it, parts, config.seed)

    workers = min(config.extract.workers or machines.cpus, machines.cpus, parts) if media else min(machines.cpus, parts)
    return _stage(name, len(refs), whole(read.seconds), read, workers, whole(read.stored), machines)


def _clips(clips: int, prepared: probe.Sampled, machines: Machines) -> Stage:
    shards = max(len(prepared.clips) + 1, -(-clips // planning.CLIPS_PER_UNIT))
    seconds, stored = (
        estimate.total(prepared.clips, costs, clips, shards) for costs in (prepared.seconds, prepared.stored)
    )
    return _stage("prepare", clips, seconds, prepared, min(machines.cpus, shards), stored, machines)


def _stage(
    name: str, clips: int, seconds: Estimate, tried: probe.Sampled, workers: int, stored: Estimate, machines: Machines
) -> Stage:
    hours = (seconds * (1 / workers) + tried.startup) * (1 / _HOUR)
    each = seconds * (1 / max(clips, 1))
    return Stage(name, clips, each, tried.startup, hours, stored * 1e-9, tried.memory / 1e9, machines.cost(hours))


def _training(config: Config, clips: int, held: int, trained: dict, machines: Machines) -> Stage:
    """All epochs over the clips, and over those held for validation."""
    train, (cpus, gpus) = config.train, _used(config, machines)
    passes = train.epochs * train.repeat
    if gpus and not trained["on_gpu"]:
        operations = trained["flops"] * (clips * passes + held * train.epochs / 3)
        work = Estimate(*(operations / GPU_SPEEDS[name] for name in ("usual", "high", "low")))
    else:
        work = _epochs(trained, clips * passes, held * train.epochs) * (1 if gpus else trained["threads"])
    startup = trained["startup"] + (RAY_TRAIN_S if train.workers else 0.0)
    hours = (work * (1 / (gpus or cpus)) + startup) * (1 / _HOUR)
    stored = trained["weights"] * (3 * train.keep_checkpoints + 2)  # with the optimizer's state; the bundle twice
    kept = min(trained["clip_bytes"] * (clips + held), train.memory_gb * 2**30)
    return Stage(
        "train", clips, work * (1 / max(1, clips * passes)), startup, hours, Estimate(stored, stored, stored) * 1e-9,
        (trained["memory"] + kept) / 1e9, machines.cost(hours, gpus),
    )  # fmt: skip


def _used(config: Config, machines: Machines) -> tuple[int, int]:
    """(CPUs, GPUs) that training uses: a worker has one GPU, and the CPUs that it is given."""
    train, workers = config.train, max(1, config.train.most)
    cpus = min(machines.cpus, workers * train.cpus_per_worker) if train.cpus_per_worker else machines.cpus
    return cpus, 0 if train.device == "cpu" else min(machines.gpus or 0, workers)


def _epochs(trained: dict, clips: int, held: int) -> Estimate:
    """Seconds of so many clips trained on and so many validated on, from the epochs that were tried."""
    sizes, many = [trained["clips"]] * len(trained["train"]), 10**9
    costs = {name: [each * trained["clips"] for each in trained[name]] for name in ("train", "val")}
    return estimate.total(sizes, costs["train"], clips, many) + estimate.total(sizes, costs["val"], held, many)


def _notes(config: Config, share: float, trained: dict, machines: Machines) -> list[str]:
    """What is assumed."""
    cpus, gpus = _used(config, machines)
    memory = (trained["weights"] * 4 + trained["activations"]) / 1e9
    notes = [
        "measured on this machine as it is now, one CPU for extract, import and prepare, and taken as linear in CPUs",
        f"training measured on {trained['device']}; all {config.train.epochs} epochs, none for `patience`",
        f"a step of training takes {memory:.2f} GB of a GPU's memory beside the clips that it holds",
    ]
    if gpus < (machines.gpus or 0):
        notes.append(f"training uses {gpus} of {machines.gpus} GPUs: see `train.workers`, `train.device`")
    if not gpus:
        each = "one worker" if config.train.most < 2 else "each worker"
        notes.append(f"training uses {cpus} CPUs; {each} cannot use more of them than a machine has")
    if gpus and not trained["on_gpu"]:
        flops = f"{trained['flops'] / 1e9:.2f} GFLOP a clip at {GPU_SPEEDS['low'] / 1e12:.0f} to "
        notes.append(f"training on a GPU is computed, not measured: {flops}{GPU_SPEEDS['high'] / 1e12:.0f} TFLOP/s")
    if share < 1:
        notes.append(f"{1 - share:.0%} of the sample cannot be used, and so much of the whole is taken to be")
    if machines.cpu_price is not None or machines.gpu_price is not None:
        notes.append("all CPUs are paid for in every stage, the GPUs that training uses while it lasts")
    return notes
