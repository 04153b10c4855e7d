"""Tables beside the data, as csv with a header, that say what its files show."""

import csv
from collections.abc import Iterator
from pathlib import Path

from raysign.errors import SourceError, nearest


def rows(path: Path, needed: dict[str, tuple[str, ...]]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells of each row, the needed columns under the first of their names that is there.

    SourceError when a column is missing or the file cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            header = [name.strip() for name in table.fieldnames or ()]
            table.fieldnames = header
            names = {name: next((n for n in allowed if n in header), None) for name, allowed in needed.items()}
            for name, found in names.items():
                if found is None:
                    raise SourceError(f"{path}: no column {name!r}, found {', '.join(header)}{nearest(name, header)}")
            for row in table:
                cells = {key: value.strip() for key, value in row.items() if key and isinstance(value, str)}
                yield table.line_num, cells | {name: cells.get(str(found), "") for name, found in names.items()}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path}: not readable as csv ({error})") from None


def by_first(path: Path, needed: dict[str, tuple[str, ...]]) -> dict[str, dict[str, str]]:
    """The rows by their cell in the first needed column; SourceError when two of one name tell different things."""
    found, key = {}, next(iter(needed))
    for line, row in rows(path, needed):
        if found.setdefault(row[key], row) != row:
            raise SourceError(f"{path}:{line}: {row[key]} is listed twice with different labels; keep one line")
    return found
