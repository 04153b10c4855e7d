"""Whether `raysign plan` is right: what it predicts of each stage against what the stage then takes.

The stages run on the plan's number of CPUs, on a cluster that has had something to do already: its first work waits for
its processes, once and not for each config.
"""

import json
import shutil
import tempfile
from pathlib import Path

from pydantic import PositiveFloat, PositiveInt

from raysign import config, engine, pipeline, views
from raysign.bench._watch import seconds as timed
from raysign.errors import ConfigError

TARGET = 0.25  # largest difference, share of what is measured
LIGHT = ("mlflow.enabled=false", "train.workers=0", "split.kind=stratified")


def run(
    path: Path | None = None, clips: PositiveInt = 20000, epochs: PositiveInt = 1, cpus: PositiveInt = 2,
    seconds: PositiveFloat = 30.0, settings: tuple[str, ...] = (),
) -> dict:  # fmt: skip
    """Print a table and, as the last line, one JSON object; return it.

    path: what to read, such as a folder of videos; None for `clips` clips of made-up signers. epochs: to train. cpus:
    to plan for and to run on. seconds: of reading the sample. settings: more of the config's.
    """
    place = Path(tempfile.mkdtemp(prefix="raysign-bench-"))
    takes = max(1, -(-clips // _made_a_take()))
    source = [str(path)] if path else ["source.kind=synthetic", f"source.takes={takes}"]
    try:
        told = [*source, *LIGHT, f"train.epochs={epochs}", f"ray.cpus={cpus}", *settings, f"out={place / 'out'}"]
        made = config.load(told)
        if made.train.workers:
            raise ConfigError(
                f"train.workers: found {made.train.workers}, expected 0; training is measured without Ray"
            )
        engine.connect(made.ray)
        pipeline.landmarks(config.load(["source.kind=synthetic", "source.takes=1", f"out={place / 'waking'}"]))
        plan = views.plan(made, {"cpus": engine.cpus(made.ray), "gpus": 0}, seconds)
        measured = {
            plan.stages[0].name: timed(lambda: pipeline.landmarks(made)),
            "prepare": timed(lambda: pipeline.prepare(made)), "train": timed(lambda: pipeline.train(made)),
        }  # fmt: skip
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return _told({"sample": plan.sample, "target": TARGET, "stages": _compared(plan.stages, measured)})


def _made_a_take() -> int:
    """Clips that one take of each made-up sign and signer gives."""
    made = config.load(["source.kind=synthetic", "source.takes=1"]).source
    return made.glosses * made.signers  # pyright: ignore[reportAttributeAccessIssue]


def _compared(stages: list, measured: dict[str, float]) -> dict[str, dict]:
    return {
        stage.name: {
            "clips": stage.clips, "measured_s": round(measured[stage.name], 2),
            **{f"{name}_s": round(getattr(stage.hours, name) * 3600, 2) for name in ("value", "low", "high")},
            "ratio": round(stage.hours.value * 3600 / measured[stage.name], 3),
        }
        for stage in stages
    }  # fmt: skip


def _told(found: dict) -> dict:
    print(f"{'':8} {'clips':>8} {'predicted s':>12} {'90 %':>20} {'measured s':>11} {'ratio':>7}")
    for name, row in found["stages"].items():
        between = f"{row['low_s']} to {row['high_s']}"
        print(f"{name:8} {row['clips']:8} {row['value_s']:12} {between:>20} {row['measured_s']:11} {row['ratio']:7}")
    print(json.dumps(found))
    return found
