"""The figures of a training by epoch: `metrics.csv` in its directory, where each epoch adds its row as it ends."""

import csv
import io
import secrets
from collections.abc import Iterable
from pathlib import Path

from raysign import remote, store
from raysign.errors import TrainError

FILE = "metrics.csv"
RUN = "run"


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


def begin(directory: Path) -> str:
    """Name of a run that fills the directory from now on, instead of all before it, until its `end`."""
    run = secrets.token_hex(4)
    store.write_bytes(directory / RUN, run.encode())
    return run


def is_current(directory: Path, run: str) -> bool:
    """Whether it is this run that fills the directory."""
    path = remote.pull(directory / RUN, anew=True)
    return path.exists() and path.read_text() == run


def require_current(directory: Path, run: str) -> None:
    """TrainError when it is not this run that fills the directory: a worker can outlive its killed driver."""
    if run and not is_current(directory, run):
        raise TakenOverError(f"{directory}: this run is over, or another run of the same training has taken over")


def end(directory: Path, run: str) -> None:
    """Workers of the run, should there be any left, write no more."""
    if is_current(directory, run):
        store.unlink(directory / RUN)


class TakenOverError(TrainError):
    """What a worker meets whose run is over."""


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
