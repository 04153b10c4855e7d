"""The worst mistakes of an evaluation, drawn: clips that were told wrong, each beside one of what it was taken for."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from raysign import schema, store
from raysign.kinds import kind_module, validated
from raysign.report import drawing, html
from raysign.report.show import of_clip
from raysign.skeleton import of_dict

MOST = 6  # mistakes
FRAMES = 6  # of a strip
_SHAPE = ("persons", "frames", "points", "channels")


def drawn(table: pa.Table, clips_dir: Path) -> list[dict]:
    """The first MOST of html.wrong_clips of a PREDICTIONS table, each with `like`, the id of a training clip of the
    gloss it was taken for (None for none), and `picture`, PNG of the one over the other.
    """
    rows = html.wrong_clips(table)[:MOST]
    about = [
        {"path": path, **row}
        for path, part in store.tables(clips_dir, ["id", "gloss", "split"])
        for row in part.to_pylist()
    ] if rows else []  # fmt: skip
    known = {}  # gloss -> the first training clip of nothing else
    for row in about:
        if row["split"] == "train" and len(row["gloss"]) == 1:
            known.setdefault(row["gloss"][0], row["id"])
    like = [known.get(row["answer"]) for row in rows]
    wanted = {row["id"] for row in rows} | set(like)
    card = store.read_json(clips_dir / "card.json")
    recipe, form = card["config"]["prepare"], (of_dict(card["skeleton"]), tuple(card["channels"]))
    options = validated(kind_module("prepare", recipe["kind"]).Options, recipe, "prepare.")
    found = _arrays(sorted({row["path"] for row in about if row["id"] in wanted}), wanted)

    def strip(row: dict, other: str | None) -> bytes:
        names = [("told wrong", row["id"]), *([("of what it was taken for", other)] if other else [])]
        views = [of_clip(name, found[clip], options, *form) for name, clip in names]
        return drawing.strip([(clip, [view]) for (_, clip), view in zip(names, views, strict=True)], FRAMES)

    return [{**row, "like": other, "picture": strip(row, other)} for row, other in zip(rows, like, strict=True)]


def _arrays(paths: list[Path], wanted: set) -> dict[str, np.ndarray]:
    """The clips (M, T, V, C) of these ids that some shards hold, a shard in memory at a time."""
    found = {}
    for path in paths:
        table = store.read_table(path, ["id", "x", *_SHAPE])
        rows = table.filter(pa.array([name in wanted for name in table["id"].to_pylist()]))
        arrays = schema.arrays(rows, "x", *_SHAPE)
        found |= {name: x.copy() for name, x in zip(rows["id"].to_pylist(), arrays, strict=True)}
    return found
