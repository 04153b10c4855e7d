"""What `raysign tune` gains over a loop of `raysign train` in the shell: the same trials on the same machine.

The loop trains the settings of each trial one after the other in a fresh process, on all CPUs, as a script would; its
clips are prepared before, and nothing ends early on either side. Overhead is what a search takes beyond its trainings'
own epochs, for each trial.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from pydantic import PositiveInt

from raysign import config, engine, pipeline
from raysign.learn import search, trials

WANTED, OVERHEAD = 1.7, 3.0
MADE = {"kind": "synthetic", "glosses": 10, "signers": 5, "takes": 4}
TRIALS = {"train.lr": {"loguniform": [1e-4, 1e-2]}, "augment.drop_hand": {"uniform": [0.0, 0.5]}}


def run(
    path: str | None = None, settings: tuple[str, ...] = (), trials: PositiveInt = 4, epochs: PositiveInt = 10
) -> dict:
    """Print a table and, as the last line, one JSON object; return it.

    path: YAML file of a line with validation clips; None: made-up signers. settings: overrides. epochs: of a trial.
    """
    with tempfile.TemporaryDirectory(prefix="raysign-bench-") as place:
        base = {} if path else {"source": MADE, "split": {"val_signers": ["signer3"], "test_signers": ["signer4"]}}
        tree = {
            **base, "mlflow": {"enabled": False},
            "tune": {"trials": trials, "scheduler": "none", "search": "random", "space": TRIALS},
        }  # fmt: skip
        words = [*([path] if path else []), *settings, f"train.epochs={epochs}", f"out={place}/search"]
        found = _measured(config.load(words, tree), Path(place))
    print(f"{trials} trials of {epochs} epochs{'':20}{'seconds':>10}")
    print(f"{'raysign train, one after the other':38}{found['sequential_seconds']:>10}")
    print(f"{'raysign tune':38}{found['search_seconds']:>10}")
    print(f"{'ratio (wanted: at least ' + str(WANTED) + ')':38}{found['vs_sequential_script']:>10}")
    print(f"{'overhead of a trial (wanted: at most ' + str(OVERHEAD) + ')':38}{found['overhead_per_trial_s']:>9}")
    print(json.dumps(found))
    return found


def _measured(settings: config.Config, place: Path) -> dict:
    engine.connect(settings.ray, dashboard=True, environment=trials.ENVIRONMENT)  # else prepare does, without it
    clips = pipeline.prepare(settings)
    slots, _ = trials.room(settings)
    began = time.perf_counter()
    study = search.run(settings, clips, say=lambda _: None)
    seconds = time.perf_counter() - began
    at_once = min(slots, study.most)
    working = sum(trial.seconds for trial in study.trials()) / at_once
    alone = sum(_alone(study.job(trial.number).config, place / "script") for trial in study.trials())
    return {
        "vs_sequential_script": round(alone / seconds, 2),
        "overhead_per_trial_s": round((seconds - working) / study.most * at_once, 2),
        "search_seconds": round(seconds, 1), "sequential_seconds": round(alone, 1),
        "trials": study.most, "at_once": at_once, "cpus": engine.cpus(settings.ray),
    }  # fmt: skip


def _alone(settings: config.Config, home: Path) -> float:
    """Seconds of `raysign train` of these settings in a fresh process, its clips prepared."""
    here = settings.model_copy(update={"out": home, "landmarks": settings.landmarks_dir})
    pipeline.prepare(here)
    home.mkdir(parents=True, exist_ok=True)
    file = home / "trial.yaml"
    file.write_text(yaml.safe_dump(here.model_dump(mode="json")))
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}  # a script has its own
    began = time.perf_counter()
    command = [sys.executable, "-c", "from raysign.cli import main; main()", "train", str(file)]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - began
