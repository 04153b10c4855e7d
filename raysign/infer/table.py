"""Answers as a table: one row for each clip, or for each sign of a clip of several."""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from raysign import store
from raysign.errors import ConfigError
from raysign.report import words

ANSWERS = pa.schema(
    {
        "file": pa.string(), "clip": pa.string(),
        "start": pa.float64(), "end": pa.float64(),  # seconds, of one of several signs
        "gloss": pa.string(), "confidence": pa.float64(),  # null: a sequence, which has none
        "top": pa.list_(pa.string()), "probabilities": pa.list_(pa.float64()),  # the likeliest first
        "decoded": pa.list_(pa.string()), "predicted_category": pa.string(),  # where the task tells them
        "error": pa.string(),
    }
)  # fmt: skip
SUFFIXES = (".csv", ".parquet", ".jsonl")


def checked(out: Path) -> None:
    """ConfigError when the file's name does not say how to write it."""
    if out.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--out: found {out}, expected a name that ends in {', '.join(SUFFIXES)}")


def write(out: Path, rows: Sequence[dict]) -> None:
    """The rows of infer.files: as they are as .jsonl, else as ANSWERS, in which a CSV holds lists as JSON."""
    out.parent.mkdir(parents=True, exist_ok=True)
    kind = out.suffix.lower()
    if kind == ".jsonl":
        store.write_bytes(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
        return
    table = pa.Table.from_pylist([line for row in rows for line in flat(row)], ANSWERS)
    if kind == ".parquet":
        store.write_table(out, table)
    else:
        store.write_csv(
            out, ANSWERS.names, ([_cell(line[name]) for name in ANSWERS.names] for line in table.to_pylist())
        )


def flat(row: dict) -> list[dict]:
    """The ANSWERS rows of one row of infer.files; one without a gloss for a clip in which nothing is signed."""
    who = {name: row[name] for name in ("file", "clip", "error")}
    return [{**who, **_answer(one)} for one in row.get("segments") or [row]]


def _answer(row: dict) -> dict:
    (gloss, confidence), likeliest = words.told(row), row["top"]
    names, shares = [name for name, _ in likeliest], [share for _, share in likeliest]
    told = {name: row.get(name) for name in ("start", "end", "decoded", "predicted_category")}
    return {**told, "gloss": gloss or None, "confidence": confidence, "top": names, "probabilities": shares}


def _cell(cell: object) -> object:
    return json.dumps(cell, ensure_ascii=False) if isinstance(cell, list) else cell
