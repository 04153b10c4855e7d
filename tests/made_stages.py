"""Finished stages of made-up clips, without a fault until one is planted."""

import copy
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from raysign import config, schema, store
from raysign.checks import evidence, validate
from raysign.checks.findings import Finding
from raysign.clips.recipes import shoulder_centered as recipe
from raysign.sources import synthetic

SPLITS = {"signer0": "train", "signer1": "val", "signer2": "test"}
Plant = Callable[[list[dict]], object]  # puts a fault into rows
RECIPE = recipe.Options()  # pyright: ignore[reportCallIssue]


@lru_cache(maxsize=1)
def made() -> list[tuple[schema.ClipRef, schema.Landmarks]]:
    """27 clips of 3 made-up signs by 3 made-up signers."""
    options = config.load(["source.kind=synthetic", "source.glosses=3", "source.signers=3", "source.takes=3"]).source
    return [(ref, synthetic.read(ref, options)) for ref in synthetic.clips(options)]


def landmarks() -> list[dict]:
    """Rows of LANDMARKS without a fault."""
    rows = [schema.landmarks_row(ref, "made up", clip) for ref, clip in made()]
    return [{name: copy.deepcopy(cell) for name, cell in row.items()} for row in rows]


def clips() -> list[dict]:
    """Rows of CLIPS without a fault, a signer to each split."""
    rows = []
    for ref, clip in made():
        x = recipe.apply(clip, RECIPE)
        shape = dict(zip(("persons", "frames", "points", "channels"), x.shape, strict=True))
        who = {"id": ref.id, "gloss": list(ref.gloss), "signer": ref.signer, "split": SPLITS[str(ref.signer)]}
        rows.append({**who, **shape, "x": x, "recipe": "made up"})
    return rows


def write(directory: Path, rows: list[dict], stage: str, **card) -> Path:
    """A finished stage of two shards."""
    kind = schema.LANDMARKS if stage == "landmarks" else schema.CLIPS
    for i in range(2):
        store.write_table(directory / f"shard-{i}.parquet", schema.to_table(rows[i::2], kind))
    more = {}
    if stage == "clips":
        more = {"labels": ["sign00", "sign01", "sign02"], "skeleton": asdict(recipe.skeleton(RECIPE, "holistic_75"))}
    told = {"counts": {"clips": len(rows)}, "config": {}, **more, **card}
    store.write_card(directory, stage, "made", dropped={}, seconds=0, **told)
    return directory


def found(directory: Path) -> list[Finding]:
    return validate.look(evidence.gather(directory))


def doubled(rows: list[dict], other: dict, **changes) -> None:
    """Put a clip's numbers under the name of another."""
    keep = {name: other[name] for name in ("id", "gloss", "signer", "split")}
    other.update({**rows[0], **keep, **changes})
