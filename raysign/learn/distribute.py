"""Train a bundle from a stage of clips: in this process, or with Ray Train on one to many workers.

A training lives in a directory named by what its result follows from. The one mechanism of going on is the loop's own
checkpoints in it: after a killed driver, after a lost worker, and with another number of workers alike. Ray's run gets
a name and a folder of its own each time, so nothing Ray left behind can be mistaken for it.
"""

import logging
import math
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import torch

from raysign import config as configs
from raysign import engine, errors, remote, store
from raysign.clips.augment import Augment
from raysign.clips.batch import Listing, Resident, Streamed, listing
from raysign.config import Config
from raysign.errors import BundleError, RaysignError, StoreError, TrainError
from raysign.kinds import kind_module
from raysign.learn import bundle, checkpoint, compute, history, loop, recogniser, reporters, tracking, transfer
from raysign.learn.labels import Labels, of_card
from raysign.learn.tracking import Tracker
from raysign.skeleton import of_dict

log = logging.getLogger(__name__)
# Of a worker's process, before it starts: large tensors come from memory it keeps, instead of from the system, page by
# page, at each step of the training, which takes a third longer on CPUs.
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "2000000000", "MALLOC_TOP_PAD_": "268435456",
}  # fmt: skip
RESIZE = 20  # seconds between two looks for room for more workers; a group that grows goes on from a checkpoint
LOOK = 2.0  # seconds between two looks for room for the fewest
FAILED = "failed.json"  # what a worker that met an error for the user leaves behind
SECTIONS = ("prepare", "augment", "model", "task", "train")
# Settings of the training that do not change its result.
FREE = {
    "workers", "device", "cpus_per_worker", "checkpoint_every", "keep_checkpoints", "max_failures", "node_wait",
    "restart", "compile",
}  # fmt: skip


def key_of(config: Config, clips_key: str) -> str:
    """Name of the training: a hash of the clips, the seed and every setting that its result follows from."""
    tree = {name: getattr(config, name).model_dump(mode="json") for name in SECTIONS}
    tree["train"] = {name: value for name, value in tree["train"].items() if name not in FREE}
    if config.train.start_from:
        tree["train"]["start_from"] = bundle.fingerprint(config.train.start_from)
    return store.fingerprint([tree, clips_key, config.seed])


def train(config: Config, clips_dir: Path, train_root: Path, tracker: reporters.Tracking | None = None) -> Path:
    """The bundle of this config and these clips, trained if it is not there yet; returns its directory.

    An unfinished training of the same key goes on from its last checkpoint, unless `train.restart` is set. tracker: who
    is told of its epochs and its end; None: a run of MLflow. Raises StoreError for unfinished clips, ConfigError and
    TrainError for what cannot be trained.
    """
    clips_dir, card = Path(clips_dir).absolute(), store.read_card(Path(clips_dir))
    if card is None:
        raise StoreError(f"{clips_dir}: no finished clips; run `raysign prepare` first")
    directory = Path(train_root).absolute() / key_of(config, card["key"])
    if config.train.restart:
        store.remove_tree(directory)
    if _is_bundle(directory / "bundle"):
        if tracker is None and tracking.owes(config, directory):
            best = store.read_json(directory / "bundle" / "card.json")["metrics"]
            Tracker(config, directory, tags(config, card, directory)).finish("FINISHED", directory / "bundle", best)
        return directory / "bundle"
    _check(card, clips_dir)
    directory.mkdir(parents=True, exist_ok=True)
    store.write_bytes(directory / "config.yaml", config.to_yaml().encode())  # for `raysign analyze`
    tracker = tracker or Tracker(config, directory, tags(config, card, directory))
    with reporters.told_of_its_end(tracker):
        run = _run_here if config.train.most == 0 else _run_on_ray
        run(config, clips_dir, directory, tracker)
        made, state = _write_bundle(config, card, directory)
        tracker.finish("FINISHED", made, state["best"]["metrics"])
    if state["epoch"] < config.train.epochs:
        print(f"ended after epoch {state['epoch']} of {config.train.epochs}: {state['ended']}", file=sys.stderr)
    return made


def _is_bundle(directory: Path) -> bool:
    try:
        bundle.load(directory)
    except BundleError:
        return False
    return True


def _check(card: dict, clips_dir: Path) -> None:
    if len(card["labels"]) < 2:
        raise TrainError(f"{clips_dir}: found {len(card['labels'])} gloss to train, expected 2 or more; add clips")


def tags(config: Config, card: dict, directory: Path) -> dict[str, str]:
    """Which data and which training it is, whatever machine it is on."""
    found = {
        "raysign.clips": card["key"], "raysign.recipe": store.fingerprint(config.prepare.model_dump(mode="json")),
        "raysign.training": directory.name, "raysign.directory": remote.shown(directory),
    }  # fmt: skip
    told = {"raysign.landmarks": card.get("landmarks"), "raysign.extractor": ", ".join(card.get("extractor") or ())}
    return found | {name: value for name, value in told.items() if value}


def _write_bundle(config: Config, card: dict, directory: Path) -> tuple[Path, dict]:
    """The best epoch of the last checkpoint as a bundle. Returns its directory and the checkpoint."""
    state = checkpoint.newest(directory)
    if state is None or not state["ended"]:
        raise TrainError(f"{directory}: no checkpoint of the last epoch; is it on storage that all nodes share?")
    best, channels, labels = state["best"], tuple(card["channels"]), of_card(card)
    skeleton = of_dict(card["skeleton"])
    network = recogniser.build(config, skeleton, channels, labels)
    network.load_state_dict(best["weights"])
    about = {
        "training": directory.name, "epoch": best["epoch"], "metrics": best["metrics"], "ended": state["ended"],
        "clips": card["key"],
        "landmarks": card.get("landmarks"), "extractor": card.get("extractor"), "counts": card["counts"],
        "splits": card.get("splits"), "made_of": card.get("made_of"), "landmark_lengths": card.get("landmark_lengths"),
    }  # fmt: skip
    bundle.Bundle(config, skeleton, labels, channels, network.eval(), about).save(directory / "bundle")
    return directory / "bundle", state


# ---------------------------------------------------------------- what every worker does


def work(config: Config, clips_dir: Path, directory: Path, reporter: reporters.Reporter, device: torch.device,
         run: str = "") -> None:  # fmt: skip
    """Load the clips, build the network and train it: all of a worker's life. run: as `loop.fit`."""
    card = store.read_card(clips_dir)
    if card is None:
        raise StoreError(f"{clips_dir}: not to be seen from a worker; put `out` on storage that all nodes share")
    found = {name: listing(clips_dir, name) for name in ("train", "val")}
    if config.train.smoke:
        found = {name: part.some(config.train.batch) for name, part in found.items()}
    fits = sum(part.bytes for part in found.values()) <= config.train.memory_gb * 2**30
    labels = of_card(card)
    splits = {name: _split(part, labels, config, fits, device) for name, part in found.items() if len(part)}
    if "train" not in splits:
        raise TrainError(f"{clips_dir}: no training clips; change the `split` section")
    skeleton = of_dict(card["skeleton"])
    augment = Augment(config.augment, skeleton, tuple(card["channels"]), config.seed)
    torch.manual_seed(config.seed)
    network = recogniser.build(config, skeleton, tuple(card["channels"]), labels)
    if config.train.start_from:
        transfer.start_from(network, config.train.start_from, config.train.ignore)
    with compute.deterministic(config.train.deterministic):
        loop.fit(config, network, splits["train"], splits.get("val"), augment, directory, reporter, run)


def _split(found: Listing, labels: Labels, config: Config, fits: bool, device: torch.device) -> loop.Split:
    targets = kind_module("task", config.task.kind).targets(found.table, labels).to(device)
    if fits:
        return loop.Split(Resident(found, device), targets)
    return loop.Split(Streamed(found, device, config.train.memory_gb * 2**30), targets)


# ---------------------------------------------------------------- here


def _run_here(config: Config, clips_dir: Path, directory: Path, tracker: reporters.Tracking) -> None:
    """The loop in this process, without Ray."""
    gpu = torch.cuda.is_available() and config.train.device != "cpu"
    if config.train.device == "cuda" and not gpu:
        raise TrainError("train.device: found cuda, but PyTorch sees no GPU; use train.device=auto")
    if config.train.cpus_per_worker:
        torch.set_num_threads(config.train.cpus_per_worker)
    reporter = reporters.Local(config.train.epochs, tracker.log)
    run = history.begin(directory)
    try:
        work(config, clips_dir, directory, reporter, torch.device("cuda" if gpu else "cpu"), run)
    finally:
        history.end(directory, run)
        reporter.close()


# ---------------------------------------------------------------- on Ray


def _run_on_ray(config: Config, clips_dir: Path, directory: Path, tracker: reporters.Tracking) -> None:
    """The loop on `train.workers` workers of a cluster, followed from here through its file of metrics."""
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # else what a worker prints is printed twice
    engine.connect(config.ray, dashboard=True)
    cpus, gpu = resources(config.train)
    run = history.begin(directory)
    store.unlink(directory / FAILED)
    told = len(history.read_metrics(directory)) if checkpoint.saved(directory) else 0
    reporter = reporters.Local(config.train.epochs, tracker.log)
    follow = reporters.Follow(lambda: history.read_metrics(directory), reporter, int(min(told, tracker.told)))
    try:
        _fit(config, clips_dir, directory, run, cpus, gpu)
    finally:
        follow.close()
        reporter.close()
        if history.is_current(directory, run):
            store.remove_tree(directory / "ray")
        history.end(directory, run)
    if store.exists(directory / FAILED):
        failed = store.read_json(directory / FAILED)
        raise getattr(errors, failed["kind"], TrainError)(failed["error"])


def _fit(config: Config, clips_dir: Path, directory: Path, run: str, cpus: int, gpu: bool) -> None:
    from ray.exceptions import RayActorError
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    train = config.train
    files, storage = remote.where(directory / "ray") or (None, str(directory / "ray"))
    each: dict[str, float] = {"CPU": cpus, **({"GPU": 1} if gpu else {})}
    trainer = TorchTrainer(
        _worker,
        train_loop_config={
            "config": config.model_dump(mode="json"),
            "clips": str(clips_dir),
            "into": str(directory),
            "run": run,
            "cpus": cpus,
        },
        scaling_config=ScalingConfig(
            num_workers=train.most if train.most == train.fewest else (train.fewest, train.most),
            elastic_resize_monitor_interval_s=RESIZE,
            use_gpu=gpu,
            resources_per_worker=each,
        ),
        run_config=RunConfig(
            name=uuid.uuid4().hex,
            storage_path=storage,
            storage_filesystem=files,
            # room is looked for by `_in_a_thread`; what else keeps a group from starting is tried as long
            failure_config=FailureConfig(
                max_failures=train.max_failures, controller_failure_limit=1 + train.node_wait // engine.GROUP_WAIT
            ),
            worker_runtime_env={"env_vars": ENVIRONMENT},
        ),
    )
    try:
        _in_a_thread(trainer.fit, train, cpus, gpu)
    except (TrainingFailedError, RayActorError) as error:
        if not store.exists(directory / FAILED):
            reason = [line for line in str(error).splitlines() if line.strip()][-1:] or [type(error).__name__]
            raise TrainError(
                f"{directory}: Ray Train gave up ({reason[0].strip()}); the same command goes on where it stopped"
            ) from error


def _in_a_thread(fit: Callable, train: configs.Train, cpus: int, gpu: bool) -> None:
    """Call `fit` and wait for its end, no longer than `train.node_wait` while the cluster has no room for it.

    In a thread, for in the main one Ray takes the user's interrupts for itself. TrainError when there was no room.
    """
    trouble: list[BaseException] = []

    def call() -> None:
        try:
            fit()
        except BaseException as error:  # handed on below
            trouble.append(error)

    thread = threading.Thread(target=call, name="raysign-fit", daemon=True)
    thread.start()
    lacking = 0.0  # since when, on the clock
    while thread.is_alive():
        thread.join(LOOK)
        now, wanted = time.monotonic(), f"{train.fewest} workers of {cpus} CPUs"
        if room(engine.machines(alive=True), cpus, gpu) >= train.fewest:
            lacking = 0.0
        elif not lacking:
            lacking = now
            log.warning(
                "train.workers: the cluster has no room for %s; waiting %d s for nodes", wanted, train.node_wait
            )
        elif now - lacking > train.node_wait:
            raise TrainError(
                f"train.workers: the cluster has had no room for {wanted} for {train.node_wait} s (train.node_wait); "
                "add nodes, the same command goes on where it stopped"
            )
    if trouble:
        raise trouble[0]


def _worker(settings: dict) -> None:
    """One worker's process. An error meant for the user is left in a file, and the workers that follow end at once."""
    import ray.train
    from ray.train.torch import get_device

    directory = Path(settings["into"])
    if store.exists(directory / FAILED):
        return
    torch.set_num_threads(settings["cpus"])
    config = configs.load(base=settings["config"])
    try:
        device = get_device()
        reporter = reporters.Train(ray.train.report)  # pyright: ignore[reportArgumentType]
        work(config, Path(settings["clips"]), directory, reporter, device, settings["run"])
    except history.TakenOverError:
        raise
    except RaysignError as error:
        store.write_json(directory / FAILED, {"kind": type(error).__name__, "error": str(error)})
        raise


def resources(train: configs.Train) -> tuple[int, bool]:
    """(CPUs of each worker, whether each has a GPU), all CPUs of the cluster shared out among the largest group of
    workers that there is room for, unless the config says less.

    Counts machines that an autoscaler may start. TrainError when there would never be room for the fewest.
    """
    machines = engine.machines()
    gpus = sum(int(machine.get("GPU", 0)) for machine in machines)
    gpu = train.device == "cuda" or (train.device == "auto" and gpus >= train.fewest)
    if gpu and gpus < train.fewest:
        raise TrainError(f"train.workers: found {train.fewest}, expected at most {gpus}, the cluster's GPUs; "
                         "lower it or use train.device=cpu")  # fmt: skip
    most = max((int(machine.get("CPU", 0)) for machine in machines), default=0)
    for workers in range(train.most, train.fewest - 1, -1):
        for cpus in [train.cpus_per_worker] if train.cpus_per_worker else range(most, 0, -1):
            if room(machines, cpus, gpu) >= workers:
                return cpus, gpu
    total = sum(int(machine.get("CPU", 0)) for machine in machines)
    wanted = f"{train.fewest} workers of {train.cpus_per_worker or 1} CPUs"
    raise TrainError(
        f"train.workers: found {wanted}, but the cluster has {total} CPUs on {len(machines)} nodes; lower it"
    )


def room(machines: list[dict[str, float]], cpus: int, gpu: bool) -> int:
    """How many workers of so many CPUs, and a GPU each or none, the machines hold."""
    fit = [(machine.get("CPU", 0) // cpus, machine.get("GPU", 0) if gpu else math.inf) for machine in machines]
    return int(sum(min(pair) for pair in fit))
