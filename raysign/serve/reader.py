"""A process that reads files of strangers: the only place where they are decoded. It may hang, swell or die.

It is started by `decoders` with a socket and answers one question after the other: a line of JSON with a file that has
no name on any disk, answered by a line of JSON (`error` and `status`, or `size` and `many`: whether the file is a list
of clips) and LANDMARKS as an Arrow stream.
"""

import ctypes
import json
import os
import re
import resource
import signal
import socket
import sys
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raysign import config, schema
from raysign.errors import BundleError, ClipError, LimitError, RaysignError
from raysign.extract import frames, landmarker
from raysign.schema import ClipRef, Landmarks
from raysign.serve.question import TABLES, clips_of, of_json
from raysign.serve.refusal import RefusedError, status_of
from raysign.serve.settings import Serve


class Files:
    """Reads files for some bundles.

    extract: of each bundle how its videos and images are read. folder: an empty one of this process.
    """

    def __init__(self, settings: Serve, extract: dict[str, dict], folder: str):
        self.settings, self.extract, self.folder = settings, extract, Path(folder)
        self.landmarkers, self.tables, self.count = {}, {}, 0
        self.camera: Iterator | None = None
        self.shown: tuple[float, np.ndarray]

    def answer(self, question: dict, file: int) -> tuple[list[Landmarks | RaysignError], bool, list[str]]:
        """The clips of a file, as `decoders` tells them; of a camera one frame."""
        self.count += 1  # a name of its own: some readers remember files by theirs
        path = self.folder / f"{self.count}{question['suffix']}"
        path.symlink_to(f"/dev/fd/{file}")  # readers want a name, and tell by it what they read
        try:
            if question["do"] == "frame":
                return [self._frame(question, path)], False, [""]
            if question["suffix"] == ".json":
                clips, many = clips_of(of_json(path.read_bytes()), self.settings)
                return [*clips], many, [""] * len(clips)
            if question["suffix"] in TABLES:
                ids, clips = zip(*self._table(question["bundle"], path), strict=True)
                if len(clips) == 1:
                    return [*clips], False, [""]
                if path.suffix == ".npz":  # whose clips are named after it
                    ids = [re.sub(rf"^{self.count}/", f"{question['name']}/", one) for one in ids]
                return [*clips], True, [*ids]
            clip = self._landmarker(question["bundle"]).read(ClipRef(question["name"], str(path), ""))
            return [clip], False, [""]
        finally:
            path.unlink()

    def _landmarker(self, bundle: str) -> landmarker.Landmarker:
        if bundle not in self.landmarkers:
            options = config.Extract.model_validate(self.extract[bundle])
            self.landmarkers[bundle] = landmarker.Landmarker(options, limits=self.settings.limits)
        return self.landmarkers[bundle]

    def _frame(self, question: dict, path: Path) -> Landmarks:
        """The landmarks of a camera's next frame; the first of a session begins to follow somebody anew."""
        self.shown = question["seconds"], frames.image(path, self.settings.limits)
        with landmarker.quiet():
            if question["first"] or self.camera is None:
                self.camera = self._landmarker(question["bundle"]).follow(self._film())
            _, pixels, points = next(self.camera)
        return landmarker.gathered([points], 0.0, pixels.shape[1], pixels.shape[0])

    def _film(self) -> Iterator[tuple[float, np.ndarray]]:
        while True:
            yield self.shown

    def _table(self, bundle: str, path: Path) -> list[tuple[str, Landmarks | RaysignError]]:
        unfolded, may, most = _unfolded(path) / 1e6, self.settings.decoder_mb // 8, self.settings.max_clips
        if unfolded > may:
            raise LimitError(f"{path}: found {unfolded:.0f} MB when unfolded, expected at most {may}")
        if bundle not in self.tables:
            self.tables[bundle] = self._reader(bundle)
        found = list(islice(self.tables[bundle].clips(path), most + 1))
        if not found:
            raise ClipError(f"{path}: found no clip in it; give another file")
        if len(found) > most:
            raise LimitError(f"{path}: found more than {most} clips, expected fewer; send several files")
        for _, clip in found:
            if isinstance(clip, Landmarks):
                persons, count = clip.values.shape[:2]
                self.settings.limits.check(path, 0, 0, persons * count, count / clip.fps if clip.fps else 0)
        return found

    def _reader(self, bundle: str):
        from raysign.infer.reader import Reader  # late: it imports torch, which videos do not need
        from raysign.learn import ensemble as ensembles

        try:
            reader = Reader(ensembles.load(self.settings.bundles[bundle]))
        except BundleError:
            raise RefusedError(503, f"bundle {bundle}: it has gone or changed; ask again when it is back") from None
        if reader.trained and not reader.trained.kind.endswith("npz"):
            reader.trained = None  # a stranger's file is none of the lists of other files that training may have read
        return reader


def _unfolded(path: Path) -> float:
    """Bytes that a table takes in memory, as far as it says itself."""
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                return sum(entry.file_size for entry in archive.infolist())
        told = pq.read_metadata(path)
        groups = (told.row_group(i) for i in range(told.num_row_groups))
        return max(sum(group.total_byte_size for group in groups), told.num_rows * told.num_columns * 8)
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, pa.ArrowException) as error:
        raise ClipError(f"{path}: not readable ({(str(error).splitlines() or [''])[0][:200]})") from None


# ---------------------------------------------------------------- the process


def main() -> None:
    """Answer until the socket is closed."""
    door, told = socket.socket(fileno=int(sys.argv[1])), json.loads(sys.argv[2])
    settings = Serve.model_validate(told["settings"])
    most = settings.decoder_mb << 20
    _confine(most)
    files = Files(settings, told["extract"], told["folder"])
    if told["tables"]:
        import raysign.infer.reader  # noqa: F401 - it takes seconds, which the first question would wait for
    while True:
        line, descriptors, _, _ = socket.recv_fds(door, 65536, 1)
        if not line:
            break
        question = json.loads(line)
        called = question.get("name", "clip")
        try:
            clips, many, names = files.answer(question, descriptors[0])
            rows = [_row(name, clip, files.folder, called) for name, clip in zip(names, clips, strict=True)]
            body = _stream(schema.to_table(rows, schema.LANDMARKS))
            head: dict = {"size": len(body), "many": many}
        except RaysignError as error:
            head, body = {"error": _public(error, files.folder, called), "status": status_of(error)}, b""
        except Exception as error:  # the row boundary: a strange file costs that file only
            reason = (str(error).splitlines() or [""])[0][:200]
            words = f"{called}: {type(error).__name__} while reading ({reason})"
            head, body = {"error": words, "status": 422, "last": True}, b""
        finally:
            os.close(descriptors[0])
        if question["do"] == "read" and _data() > most // 2:
            head["last"] = True  # what is left of its memory may not do for the next file
        door.sendall(json.dumps(head).encode() + b"\n" + body)


def _confine(most: int) -> None:
    """Little memory, no orphan: the process ends when the one that started it does, however that ends."""
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C of a terminal is for the service, which ends this one
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _data() -> int:
    """Bytes of this process that the limit of its memory counts; 0 where the system does not tell."""
    told = Path("/proc/self/statm")
    return int(told.read_text().split()[5]) * resource.getpagesize() if told.exists() else 0


def _row(name: str, clip: Landmarks | RaysignError, folder: Path, called: str) -> dict:
    result = _public(clip, folder, called) if isinstance(clip, RaysignError) else clip
    return schema.landmarks_row(ClipRef(name, called, ""), "service", result)


def _public(error: RaysignError, folder: Path, called: str) -> str:
    """Its words with what the file is called instead of its place on this machine."""
    return re.sub(rf"{re.escape(str(folder))}/\d+", called, str(error))[:500]


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


if __name__ == "__main__":
    main()
