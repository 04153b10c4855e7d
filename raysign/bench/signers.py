"""How well people are recognised that training never saw: each signer held out in turn, with several seeds.

No speed is measured here. Everything else of the config stays as it is; the landmarks are read once.
"""

import json
import statistics
import tempfile
from pathlib import Path

from pydantic import PositiveInt

from raysign import config, pipeline, store
from raysign.errors import ConfigError


def run(path: str, seeds: PositiveInt = 3, out: str | None = None) -> dict:
    """Print a table and, as the last line, one JSON object; return it.

    path: YAML file of a line whose clips name their signers. seeds: trainings for each signer. out: folder to work
    in, where an interrupted benchmark goes on; None takes one that is removed at the end. Raises ConfigError when
    fewer than two signers are known.
    """
    with tempfile.TemporaryDirectory(prefix="raysign-bench-") as place:
        return _measured(path, seeds, Path(out or place))


def _measured(path: str, seeds: int, out: Path) -> dict:
    split = ["evaluate.split=test", "split.kind=signer", "split.val_signers=[]", "split.test_signers=[]"]
    base = [path, f"out={out}", "mlflow.enabled=false", *split]
    pipeline.landmarks(config.load(base))
    signers = _signers(pipeline.prepare(config.load([*base, "split.kind=stratified"])))
    if len(signers) < 2:
        raise ConfigError(f"{path}: found {len(signers)} signers, expected 2 or more; name them in the source")
    rows = {}
    for signer in signers:
        told = [*base, f"split.test_signers={json.dumps([signer])}"]
        scored = [pipeline.evaluate(config.load([*told, f"seed={seed}"])) for seed in range(seeds)]
        tops = [figures["top1"] if "top1" in figures else figures["sequence_accuracy"] for figures in scored]
        clips = scored[0]["count"]
        rows[signer] = {"clips": clips, "top1": round(statistics.mean(tops), 4), "each": [round(t, 4) for t in tops]}
        print(f"{signer:20} {clips:6} clips  top-1 {rows[signer]['top1']:.3f}  each seed {rows[signer]['each']}")
    found = {"mean_top1": round(statistics.mean(row["top1"] for row in rows.values()), 4), "signers": rows}
    count = sum(row["clips"] for row in rows.values())
    print(f"{'mean of the signers':20} {count:6} clips  top-1 {found['mean_top1']:.3f}")
    print(json.dumps(found))
    return found


def _signers(clips_dir: Path) -> list[str]:
    """Who signs in the clips, as far as that is known."""
    return sorted({name for name in store.read_columns(clips_dir, "signer")["signer"].to_pylist() if name})
