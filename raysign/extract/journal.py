"""What is finished of one unit of work, kept clip by clip so that it outlives the process that does it.

Beside the finished rows stands what was begun: a clip that was begun twice in a run and never finished has killed its
process twice.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from raysign.schema import LANDMARKS

_SUFFIX = ".arrows"


class Journal:
    """The journal of one unit in one run: `<unit>.<attempt>.arrows` per attempt and `<unit>.begun` in `folder`.

    careful: whether to use it clip by clip. Asking for False is overruled when the unit had been begun before: the
    first attempt at a cheap unit costs one empty file, and only the attempt after a death pays for each clip.
    finished: id -> one-row table of earlier attempts. deaths: id -> number of processes that died reading it.
    """

    def __init__(self, folder: Path, unit: str, careful: bool):
        folder.mkdir(parents=True, exist_ok=True)
        self._begun = folder / f"{unit}.begun"
        earlier = sorted(folder.glob(f"{unit}.*{_SUFFIX}"))
        self._path = folder / f"{unit}.{len(earlier)}{_SUFFIX}"
        self.careful = careful or self._begun.exists()
        self.finished = {row["id"][0].as_py(): row for path in earlier for row in rows(path)}
        self.deaths = Counter(line for line in self._lines() if line not in self.finished)
        self._log = self._begun.open("a", encoding="utf-8")
        self._file = self._writer = None

    def _lines(self) -> list[str]:
        text = self._begun.read_text(encoding="utf-8") if self._begun.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith('"')]  # the last one may be torn

    def begin(self, clip: str) -> None:
        """Note that `clip` is being read from now on."""
        self._log.write(f"{json.dumps(clip)}\n")
        self._log.flush()

    def add(self, row: pa.Table) -> None:
        """Keep the finished row of a clip; it survives the death of this process from here on."""
        if self._writer is None:
            self._file = self._path.open("wb", buffering=0)
            self._writer = pa.ipc.new_stream(self._file, LANDMARKS)
        self._writer.write_table(row)

    def close(self) -> None:
        """Let go of the files, which stay."""
        if self._writer is not None and self._file is not None:
            self._writer.close()
            self._file.close()
            self._writer = None
        self._log.close()

    def remove(self) -> None:
        """Close and delete the journal: its rows are in a shard now."""
        self.close()
        for path in [self._begun, *self._begun.parent.glob(f"{self._begun.stem}.*{_SUFFIX}")]:
            path.unlink(missing_ok=True)


def rows(path: Path) -> Iterator[pa.Table]:
    """The whole one-row tables of a journal file, up to where it is torn."""
    with path.open("rb") as file:
        try:
            stream = pa.ipc.open_stream(file)
            for batch in stream:
                yield pa.Table.from_batches([batch], LANDMARKS)
        except (pa.ArrowInvalid, OSError, EOFError):
            return


def left_over(folder: Path) -> Iterator[pa.Table]:
    """The rows of every journal under `folder`, of whatever run."""
    for path in sorted(folder.rglob(f"*{_SUFFIX}")):
        yield from rows(path)
