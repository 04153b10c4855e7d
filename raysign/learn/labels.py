"""The names a recogniser tells clips by."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raysign.errors import ConfigError, SourceError
from raysign.sources import _tables


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
    if path.suffix == ".csv":
        return _of_table(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        tree = json.loads(text) if path.suffix == ".json" else None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not readable as labels ({error}); give one name a line") from None
    if isinstance(tree, dict) and "glosses" in tree:
        return Labels(in_order(tree["glosses"], path), in_order(tree.get("categories", ()), path))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return Labels(in_order(lines if tree is None else tree, path))


def _of_table(path: Path) -> Labels:
    try:
        rows = [row for _, row in _tables.rows(path, {})]
    except SourceError as error:
        raise ConfigError(str(error)) from None
    columns = dict.fromkeys(name for row in rows for name in row)
    if {"gloss_id", "label", "cat_id", "category"} <= {*columns}:
        return Labels(_column(rows, "gloss_id", "label", path), _column(rows, "cat_id", "category", path))
    if {"gloss", "label"} <= {*columns}:
        return Labels(_column(rows, "label", "gloss", path))
    found = ", ".join(columns) or "no rows"
    raise ConfigError(f"{path}: found {found}, expected the columns gloss, label or gloss_id, label, cat_id, category")


def _column(rows: list[dict[str, str]], number: str, name: str, path: Path) -> list[str]:
    return _numbered([(row.get(number), row.get(name)) for row in rows], path)


def in_order(told: Any, place: object) -> list[str]:
    """Names in the order of their numbers, of a list, {number: name} or {name: number}. ConfigError for another."""
    if isinstance(told, dict):
        names_first = all(isinstance(value, int) for value in told.values())  # JSON has no keys but text
        return _numbered([(value, key) if names_first else (key, value) for key, value in told.items()], place)
    if not isinstance(told, list | tuple):
        raise ConfigError(f"{place}: found a {type(told).__name__}, expected names, or names and their numbers")
    return _numbered(list(enumerate(told)), place)


def _numbered(pairs: list[tuple[Any, Any]], place: object) -> list[str]:
    """The names of (number, name) in the order of the numbers, which leave none out; a pair may come again."""
    names: dict[int, str] = {}
    for number, name in pairs:
        if not (isinstance(name, str) or _is_number(name)):
            raise ConfigError(f"{place}: found a {type(name).__name__}, expected the name of a label")
        if not _is_number(number) or names.setdefault(int(number), str(name)) != str(name):
            step = "give each label one, from 0 on"
            raise ConfigError(f"{place}: found no number of its own for {name!r:.40}; {step}")
    if max(names, default=0) - min(names, default=0) >= max(1, len(names)):
        raise ConfigError(f"{place}: found labels with gaps between their numbers; number them from 0 on")
    if len(set(names.values())) < len(names):
        raise ConfigError(f"{place}: found a label twice, expected each once")
    return [names[number] for number in sorted(names)]


def _is_number(told: Any) -> bool:
    """Whether it is a whole number of at most nine digits, or the text of one; Python refuses those of thousands."""
    few = abs(told) < 10**9 if isinstance(told, int) else len(str(told)) < 10
    return few and str(told).isdecimal()
