"""The figures of a training by epoch: `metrics.csv` in its directory, where each epoch adds its row as it ends."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from raysign import remote, store

FILE = "metrics.csv"


def read_metrics(directory: Path) -> list[dict]:
    """One mapping an epoch, `epoch` (from 1) and the figures by name; without a torn last row, empty without a file."""
    path, rows = remote.pull(directory / FILE), []
    text = path.read_text(encoding="utf-8").rpartition("\n")[0] if path.exists() else ""
    for row in csv.DictReader(text.splitlines()):
        try:
            figures = {name: float(value) for name, value in row.items() if value and name != "epoch"}
            rows.append({"epoch": int(row["epoch"]), **figures})
        except (ValueError, TypeError, KeyError):
            break
    return rows


def append(directory: Path, row: dict) -> None:
    """Add an epoch. Its figures are those of the file's first row; one that is missing leaves its column empty."""
    path, file = remote.pull(directory / FILE), io.StringIO()
    file.write(path.read_text(encoding="utf-8") if path.exists() else "")
    columns = next(csv.reader(file.getvalue().splitlines()[:1]), [])
    _write(file, columns or list(row), [row], header=not columns)
    store.write_bytes(path, file.getvalue().encode())


def forget_after(directory: Path, epoch: int) -> None:
    """Take out what comes after an epoch, and a torn row."""
    rows, file = [row for row in read_metrics(directory) if row["epoch"] <= epoch], io.StringIO()
    if rows:
        _write(file, list(rows[0]), rows, header=True)
    store.write_bytes(directory / FILE, file.getvalue().encode())


def _write(file: io.StringIO, columns: list[str], rows: Iterable[dict], header: bool) -> None:
    writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
