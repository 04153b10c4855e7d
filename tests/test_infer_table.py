"""Answers as tables, and as lines."""

import csv
import json

import pytest

from raysign import store
from raysign.errors import ConfigError
from raysign.infer import table
from raysign.infer.files import NO_PICTURE
from raysign.report import words

TOP = [["a", 0.75], ["b", 0.25]]
ROWS = [
    {"file": "f", "clip": "one", "top": TOP, "error": None},
    {"file": "f", "clip": "several", "top": [], "error": None, "segments": [
        {"start": 0.5, "end": 1.0, "gloss": "a", "confidence": 0.75, "top": TOP},
        {"start": 2.0, "end": 2.5, "gloss": "b", "confidence": 0.75, "top": TOP[::-1]}]},
    {"file": "f", "clip": "nothing", "top": [], "error": None, "segments": []},
    {"file": "f", "clip": "sentence", "top": TOP, "error": None, "decoded": ["b", "a"]},
    {"file": "f", "clip": "bad", "top": [], "error": "bad: torn"},
]  # fmt: skip


def test_a_table_has_a_row_for_each_clip_or_sign(tmp_path):
    table.write(tmp_path / "new" / "a.parquet", ROWS)
    rows = store.read_table(tmp_path / "new" / "a.parquet").to_pylist()
    assert [(row["clip"], row["gloss"], row["start"], row["confidence"], row["error"]) for row in rows] == [
        ("one", "a", None, 0.75, None), ("several", "a", 0.5, 0.75, None), ("several", "b", 2.0, 0.25, None),
        ("nothing", None, None, None, None), ("sentence", "b a", None, None, None),
        ("bad", None, None, None, "bad: torn"),
    ]  # fmt: skip
    table.write(tmp_path / "a.csv", ROWS)
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        again = list(csv.DictReader(file))
    assert [row["gloss"] for row in again] == [row["gloss"] or "" for row in rows]
    assert [json.loads(row["top"]) for row in again] == [row["top"] for row in rows]
    table.write(tmp_path / "a.jsonl", ROWS)
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == ROWS


def test_a_table_of_another_kind_is_refused():
    from pathlib import Path

    with pytest.raises(ConfigError, match=r"\.csv, \.parquet, \.jsonl"):
        table.checked(Path("answers.xlsx"))


def test_each_answer_is_said_in_lines():
    said = [words.answer(row) for row in ROWS]
    assert said[0] == "one  a 0.75  b 0.25"
    assert said[1].splitlines()[1].split() == ["0.50", "to", "1.00", "s", "a", "0.75", "b", "0.25"]
    assert said[2].splitlines() == ["nothing", "  (nothing signed)"]
    assert said[3] == "sentence  b a"
    assert said[4] == "bad: torn"


def test_a_line_says_where_the_picture_is_or_why_there_is_none():
    assert words.answer({**ROWS[0], "overlay": "out/a.mp4"}).endswith("b 0.25  [out/a.mp4]")
    assert words.answer({**ROWS[2], **NO_PICTURE}).splitlines()[0] == f"nothing  [{NO_PICTURE['note']}]"
