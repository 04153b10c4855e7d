"""The names a recogniser tells clips by."""

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raysign.errors import ConfigError


@dataclass(frozen=True)
class Labels:
    """glosses: in the order of the logits. categories: what kinds of glosses there are; empty where nobody says."""

    glosses: list[str]
    categories: list[str] = field(default_factory=list)


def of_card(card: dict) -> Labels:
    """Those of a stage of clips: what its training clips are labelled with."""
    return Labels(list(card["labels"]), list(card.get("categories", ())))


def of_file(path: Path) -> Labels:
    """Those of a file: .json of names, of a mapping between names and numbers, or of `glosses` and `categories`; .csv
    with the columns gloss_id, label, cat_id, category or gloss, label; else one name a line. ConfigError for another.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        tree = json.loads(text) if path.suffix == ".json" else None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not readable as labels ({error}); give one name a line") from None
    if path.suffix == ".csv":
        return _of_rows(list(csv.DictReader(text.splitlines())), path)
    if isinstance(tree, dict) and "glosses" in tree:
        return Labels(in_order(tree["glosses"], path), in_order(tree.get("categories", ()), path))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return Labels(in_order(lines if tree is None else tree, path))


def _of_rows(rows: list[dict], path: Path) -> Labels:
    columns = set(rows[0]) if rows else set()
    if {"gloss_id", "label", "cat_id", "category"} <= columns:
        glosses, categories = ({row[name]: row[number] for row in rows} for name, number in
                               (("label", "gloss_id"), ("category", "cat_id")))  # fmt: skip
        return Labels(in_order(glosses, path), in_order(categories, path))
    if {"gloss", "label"} <= columns:
        return Labels(in_order({row["gloss"]: row["label"] for row in rows}, path))
    found = ", ".join(columns) or "no rows"
    raise ConfigError(f"{path}: found {found}, expected the columns gloss, label or gloss_id, label, cat_id, category")


def in_order(told: Any, place: object) -> list[str]:
    """Names in the order of their numbers, of a list, {number: name} or {name: number}. ConfigError for another."""
    if isinstance(told, list | tuple):
        names = [str(name) for name in told]
    elif isinstance(told, dict):
        numbered = all(str(key).isdecimal() for key in told)
        pairs = told.items() if numbered else ((number, name) for name, number in told.items())
        by_number = {int(number): str(name) for number, name in pairs if str(number).isdecimal()}
        names = [by_number[number] for number in sorted(by_number)]
        if len(names) < len(told) or max(by_number, default=0) - min(by_number, default=0) >= max(1, len(names)):
            raise ConfigError(f"{place}: found labels without a number each, or with gaps; number them from 0 on")
    else:
        raise ConfigError(f"{place}: found a {type(told).__name__}, expected names, or names and their numbers")
    if len(set(names)) < len(names):
        raise ConfigError(f"{place}: found a label twice, expected each once")
    return names
