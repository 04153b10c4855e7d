"""How well people are recognised that training never saw: each signer held out in turn, with several seeds.

No speed is measured here. Everything else of the config stays as it is; the landmarks are read once.
"""

import json
import statistics
import tempfile
from collections import Counter
from pathlib import Path

from raysign import config, pipeline, store
from raysign.errors import ConfigError


def run(path: str, seeds: int = 3, out: str | None = None) -> dict:
    """Print a table and, as the last line, one JSON object; return it.

    path: YAML file of a line whose clips name their signers. seeds: trainings for each signer. out: folder to work
    in, where an interrupted benchmark goes on; None takes one that is removed at the end. Raises ConfigError when
    fewer than two signers are known.
    """
    with tempfile.TemporaryDirectory(prefix="raysign-bench-") as place:
        return _measured(path, seeds, Path(out or place))


def _measured(path: str, seeds: int, out: Path) -> dict:
    split = ["evaluate.split=test", "split.kind=signer", "split.val_signers=[]"]
    base = [path, f"out={out}", "mlflow.enabled=false", *split]
    settings = config.load(base)
    pipeline.landmarks(settings)
    signers = _signers(settings.landmarks_dir)
    if len(signers) < 2:
        raise ConfigError(f"{path}: found {len(signers)} signers, expected 2 or more; name them in the source")
    rows = {}
    for signer, clips in sorted(signers.items()):
        tops = []
        for seed in range(seeds):
            one = config.load([*base, f"split.test_signers={json.dumps([signer])}", f"seed={seed}"])
            figures = pipeline.evaluate(one)
            tops.append(figures["top1"] if "top1" in figures else figures["sequence_accuracy"])
        rows[signer] = {"clips": clips, "top1": round(statistics.mean(tops), 4), "each": [round(t, 4) for t in tops]}
        print(f"{signer:20} {clips:6} clips  top-1 {rows[signer]['top1']:.3f}  each seed {rows[signer]['each']}")
    found = {"mean_top1": round(statistics.mean(row["top1"] for row in rows.values()), 4), "signers": rows}
    print(f"{'mean of the signers':20} {sum(signers.values()):6} clips  top-1 {found['mean_top1']:.3f}")
    print(json.dumps(found))
    return found


def _signers(landmarks_dir: Path) -> Counter[str]:
    """Clips of each signer, without those that prepare leaves out."""
    gone = set((store.read_card(landmarks_dir) or {}).get("gone", ()))
    rows = store.read_columns(landmarks_dir, "id", "gloss", "signer", "error").to_pylist()
    good = [row for row in rows if row["gloss"] and not row["error"] and row["id"] not in gone]
    return Counter(row["signer"] for row in good if row["signer"])
