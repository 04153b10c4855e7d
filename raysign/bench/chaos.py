"""Whether anything is lost when machines die: stages killed at random moments, and their results compared.

Each stage runs as the command a user types, on a cluster of two nodes that this benchmark owns. At a moment drawn
uniformly over the time an unbroken run takes, one of VICTIMS is killed; the same command is typed again until it ends
well. Then all that it made must be what the unbroken run made: landmarks and clips byte for byte but for times in
cards, metrics but for speeds, the bundle's weights bit for bit.
"""

import csv
import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import yaml
from pydantic import PositiveInt

from raysign import config, schema, store
from raysign.bench import some_of
from raysign.bench._cluster import Cluster
from raysign.errors import ConfigError, RaysignError
from raysign.learn import bundle
from raysign.learn.study import Study

MOST = 600  # seconds that a command may take
AGAIN = 5  # times that a command is typed after a kill before it counts as one that does not go on
TIMES = {"seconds", "written", "speed", "run"}  # of a card
SPEEDS = ("seconds", "clips_per_second", "gpu_memory_mb")  # of metrics.csv
SMALL = {
    "ray": {"head_wait": 5}, "mlflow": {"enabled": False},
    "source": {"kind": "synthetic", "glosses": 8, "signers": 5, "takes": 8},
    "split": {"kind": "signer", "val_signers": ["signer3"], "test_signers": ["signer4"]},
    "model": {"kind": "stgcn", "num_blocks": 1, "channels": 4, "spatial_channels": 4, "width": 8},
    "train": {"workers": 1, "cpus_per_worker": 1, "device": "cpu", "epochs": 40, "lr": 1e-4, "checkpoint_every": 4},
    # what a trial draws must not follow from which one ended before it
    "tune": {"trials": 4, "search": "random", "scheduler": "none", "space": {"train.lr": {"loguniform": [1e-4, 1e-2]}}},
}  # fmt: skip


# ---------------------------------------------------------------- stages: what each makes of a folder of results


def _landmarks(settings: config.Config) -> dict:
    """Each clip's row, whatever shard it lies in, and the card."""
    found: dict = {"card": _card(settings.landmarks_dir)}
    for _, table in store.tables(settings.landmarks_dir):
        small = table.drop_columns(["values", "visibility", "features"]).to_pylist()
        arrays = zip(*(schema.arrays(table, name, -1) for name in ("values", "visibility", "features")), strict=True)
        for row, parts in zip(small, arrays, strict=True):
            if row["id"] in found:
                raise RaysignError(f"bench chaos: clip {row['id']} has two rows")
            found[row["id"]] = [row, [_sha(part.tobytes()) for part in parts]]
    return found


def _clips(settings: config.Config) -> dict:
    """Every file of the clips."""
    place = next(path.parent for path in (settings.home / "clips").glob("*/card.json"))
    names = (path.name for path in place.iterdir() if path.suffix == ".parquet")
    return {"card": _card(place), **{name: _sha((place / name).read_bytes()) for name in names}}


def _bundle(settings: config.Config) -> dict:
    """The metrics of each epoch of every training by its key, and the weights, which are the chosen ones."""
    trainings = {}
    for place in sorted((settings.home / "train").glob("*/metrics.csv")):
        with place.open(newline="") as file:
            rows = [{name: cell for name, cell in row.items() if name not in SPEEDS} for row in csv.DictReader(file)]
        trainings[place.parent.name] = rows
    weights = bundle.load(settings.home / "bundle").network.state_dict()
    return {"metrics": trainings, "weights": {name: _sha(value.numpy().tobytes()) for name, value in weights.items()}}


def _search(settings: config.Config) -> dict:
    """What `_bundle` tells, what each trial drew and came to, and the best settings."""
    place = next((settings.home / "search").glob("*/study.journal")).parent
    trials = Study(settings, lambda _: settings.home, place, print).trials()
    return {
        **_bundle(settings), "best": (settings.home / "search" / "best.yaml").read_text(),
        "trials": [(trial.number, trial.state, trial.value, trial.params, trial.error) for trial in trials],
    }  # fmt: skip


# verb -> (the verb whose results it begins with, what it made)
STAGES: dict[str, tuple[str | None, Callable[[config.Config], dict]]] = {
    "extract": (None, _landmarks),
    "import": (None, _landmarks),
    "prepare": ("import", _clips),
    "train": ("prepare", _bundle),
    "tune": ("prepare", _search),
}


def _card(place: Path) -> dict:
    return {name: value for name, value in (store.read_card(place) or {}).items() if name not in TIMES}


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# ---------------------------------------------------------------- victims: how each is killed


def _driver(cluster: Cluster, command: subprocess.Popen) -> str:  # noqa: ARG001 - as all victims
    """The command itself, but not what it started."""
    command.kill()
    return f"pid {command.pid}"


WORKS = (
    "Map",
    "TrainWorker",
    "TrainController",
    "ImplicitFunc",
)  # in the name of a process that does something for a command


def _worker(cluster: Cluster, command: subprocess.Popen) -> str:
    """A process that works for the command on one of the nodes, as soon as there is one."""
    while command.poll() is None:
        found = [one for one in cluster.processes("ray::") if any(word in _name(one) for word in WORKS)]
        if found:
            victim = random.choice(found)
            name = _name(victim)
            with suppress(psutil.Error):
                victim.kill()
                return name
        time.sleep(0.02)
    return ""


def _name(process: psutil.Process) -> str:
    try:
        return process.cmdline()[0].strip()
    except (psutil.Error, IndexError):
        return ""


def _raylet(cluster: Cluster, command: subprocess.Popen) -> str:  # noqa: ARG001
    """The node beside the head, with all its processes; another one joins at once."""
    cluster.kill(cluster.nodes[-1])
    cluster.add(1)
    return "node 2"


def _head(cluster: Cluster, command: subprocess.Popen) -> str:  # noqa: ARG001
    """The head's node with all its processes; the command must end by itself."""
    cluster.kill(cluster.nodes[0])
    return "node 1"


VICTIMS: dict[str, Callable[[Cluster, subprocess.Popen], str]] = {
    "driver": _driver, "worker": _worker, "raylet": _raylet, "head": _head,
}  # fmt: skip


# ---------------------------------------------------------------- the benchmark


def run(
    points: PositiveInt = 20, stages: tuple[str, ...] = tuple(STAGES)[1:], path: Path | None = None,
    victims: tuple[str, ...] = tuple(VICTIMS), seed: PositiveInt = 1, settings: tuple[str, ...] = (),
) -> dict:  # fmt: skip
    """Print a line for each kill and, as the last line, one JSON object; return it.

    points: kills of each stage. stages: `extract` too, which wants path: a folder of a few short videos or images.
    victims: killed in turn. settings: over those of SMALL.
    """
    stages, victims = some_of("stages", stages, list(STAGES)), some_of("victims", victims, list(VICTIMS))
    if "extract" in stages and path is None:
        raise ConfigError("path: missing; stage extract wants a folder of videos or images, path=FOLDER")
    random.seed(seed)
    home, found = Path(tempfile.mkdtemp(prefix="raysign-chaos-")), []
    try:
        with Cluster(1, 1) as cluster:
            for stage in stages:
                one = Stage(stage, home / stage, path, cluster, settings)
                found += [one.killed(victims[i % len(victims)]) for i in range(points)]
    finally:
        shutil.rmtree(home, ignore_errors=True)
    told = _told(found, seed)
    print(json.dumps(told))
    return told


def _told(rows: list[dict], seed: int) -> dict:
    return {
        "kills": len(rows), "differences": sum(row["different"] for row in rows),
        "stages": dict(Counter(row["stage"] for row in rows)), "victims": dict(Counter(row["victim"] for row in rows)),
        "survived_by_the_same_command": sum(row["runs"] == 1 for row in rows),
        "tracebacks": sum(row["traceback"] for row in rows), "seed": seed,
    }  # fmt: skip


class Stage:
    """A stage and what its unbroken run made."""

    def __init__(
        self, verb: str, home: Path, path: Path | None, cluster: Cluster, settings: tuple[str, ...] = ()
    ):  # fmt: skip
        """home: folder of its own; path: what `extract` reads. settings: over those of SMALL."""
        self.verb, self.cluster = verb, cluster
        before, self.made = STAGES[verb]
        # always the same folder of results: cards name it
        self.out, self.given, self.log = home / "out", home / "given", home / "said.log"
        # a search takes several trainings' time, which a few epochs each are enough for
        more = {"extract": [str(path)], "tune": ["train.epochs=10"]}.get(verb, [])
        tree = {**SMALL, "out": str(self.out), **({"source": {"path": str(path)}} if verb == "extract" else {})}
        self.file = home / "config.yaml"
        store.write_bytes(self.file, yaml.safe_dump(tree).encode())
        self.settings = config.load([str(self.file), *more, *settings])
        store.write_bytes(self.file, self.settings.to_yaml().encode())
        self.given.mkdir()
        if before:
            self._finish(before)
            self.given.rmdir()
            self.out.rename(self.given)
        began = time.monotonic()
        self._finish(verb)
        self.seconds, self.expected = time.monotonic() - began, self.made(self.settings)
        print(f"{verb}: {self.seconds:.1f} s when nothing is killed", flush=True)

    def killed(self, victim: str) -> dict:
        """One kill, and all it takes to end well: what was hit, how many commands it took, whether results differ."""
        hit = ""
        while not hit:  # a run can be over before its moment
            moment, command = random.uniform(0, self.seconds), self.command()
            with suppress(subprocess.TimeoutExpired):
                command.wait(moment)
            hit = VICTIMS[victim](self.cluster, command) if command.poll() is None else ""
            command.wait(MOST)
        said, runs = self.log.read_text(), 1
        if victim == "head":
            self.cluster.restart()
        while command.returncode and runs <= AGAIN:
            command, runs = self._typed(self.verb), runs + 1
            command.wait(MOST)
            said += self.log.read_text()
        different = bool(command.returncode) or self.made(self.settings) != self.expected
        found = "DIFFERENT" if different else "the same"
        print(f"{self.verb}: {victim} ({hit}) at {moment:.1f} s, {runs} runs: {found}", flush=True)
        if different or "Traceback" in said:
            print(said[-3000:], file=sys.stderr, flush=True)
        return {"stage": self.verb, "victim": victim, "runs": runs, "different": different,
                "traceback": "Traceback" in said}  # fmt: skip

    def command(self, *words: str) -> subprocess.Popen:
        """The stage's command, running, with more settings; of earlier runs nothing is there."""
        shutil.rmtree(self.out, ignore_errors=True)
        shutil.copytree(self.given, self.out)
        return self._typed(self.verb, *words)

    def _finish(self, verb: str) -> None:
        """An unbroken run of a verb. RaysignError when it does not end well."""
        command = self._typed(verb)
        if command.wait(MOST):
            raise RaysignError(f"bench chaos: `raysign {verb}` failed by itself: {self.log.read_text()[-2000:]}")

    def _typed(self, verb: str, *words: str) -> subprocess.Popen:
        typed = [sys.executable, "-c", "from raysign.cli import main; main()", verb, str(self.file), *words]
        with self.log.open("w") as log:
            return subprocess.Popen(typed, env=self.cluster.environment, stdout=log, stderr=log)
