"""Files of strangers to landmarks, in processes that can be killed: a file that hangs, swells or crashes its reader
costs the one who sent it an error, and nobody else anything.
"""

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO

import pyarrow as pa

from raysign import schema
from raysign.errors import ClipError, RaysignError
from raysign.schema import Landmarks
from raysign.serve.about import About
from raysign.serve.refusal import RefusedError
from raysign.serve.settings import Serve

# those of a question, whether it has a list of them, and what each of a list in a file is called there, or nothing
Clips = tuple[list[Landmarks | RaysignError], bool, list[str]]


class Decoder:
    """One process of `reader`, asked one question at a time."""

    def __init__(self, told: dict):
        self.folder = tempfile.TemporaryDirectory(prefix="raysign-")
        self.door, theirs = socket.socketpair()
        self.door.setblocking(False)
        words = json.dumps({**told, "folder": self.folder.name})
        command = [sys.executable, "-m", "raysign.serve.reader", str(theirs.fileno()), words]
        with theirs:
            self.process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )

    async def ask(self, question: dict, file: IO[bytes], seconds: float) -> Clips:
        """The clips of a file. ClipError or RefusedError when it cannot be used.

        The process is dead afterwards if it had to be killed, when it asked for it, and when the question is withdrawn.
        """
        descriptor = file.fileno()  # which a small file, that was in memory until now, gets at this moment
        file.flush()
        try:
            async with asyncio.timeout(seconds):
                socket.send_fds(self.door, [json.dumps(question).encode()], [descriptor])
                head, body = await self._answer()
        except BaseException as error:
            self.close()
            if isinstance(error, TimeoutError):
                raise ClipError(f"clip: not read within {seconds:g} seconds; make it shorter or smaller") from None
            if isinstance(error, OSError):
                raise ClipError("clip: it took too much memory or broke its reader; give another file") from None
            raise
        if head.get("last"):
            self.close()
        if "error" in head:
            raise RefusedError(head["status"], head["error"])
        table = pa.ipc.open_stream(body).read_all()
        return _clips(table), head["many"], table["id"].to_pylist()

    async def _answer(self) -> tuple[dict, bytes]:
        loop, found = asyncio.get_running_loop(), bytearray()
        while b"\n" not in found:
            found += await self._some(loop)
        line, _, body = found.partition(b"\n")
        head = json.loads(line)
        while len(body) < head.get("size", 0):
            body += await self._some(loop)
        return head, bytes(body)

    async def _some(self, loop: asyncio.AbstractEventLoop) -> bytes:
        if not (found := await loop.sock_recv(self.door, 1 << 20)):
            raise ConnectionError
        return found

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.wait()
        self.door.close()
        self.folder.cleanup()


def _clips(table: pa.Table) -> list[Landmarks | RaysignError]:
    errors = table["error"].to_pylist()
    good = schema.landmarks_of(table.filter(table["error"].is_null()))
    return [ClipError(error) if error else next(good) for error in errors]


class Decoders:
    """The processes that read files, and those that follow somebody before a camera; made in a running event loop."""

    def __init__(self, settings: Serve, bundles: dict[str, About]):
        self.settings = settings
        extract = {name: about.extract for name, about in bundles.items()}
        tables = not all(about.media for about in bundles.values())
        self.told = {"settings": settings.model_dump(mode="json"), "extract": extract, "tables": tables}
        self.idle = [Decoder(self.told) for _ in range(settings.decoders)]
        self.places = asyncio.Semaphore(settings.decoders)
        self.cameras: list[Decoder] = []
        self.busy = 0

    async def read(self, bundle: str, suffix: str, file: IO[bytes], name: str = "clip") -> Clips:
        """The clips of a file whose content is of a kind that has this ending. name: what it is called in answers.

        Errors as of Decoder.ask; RefusedError also when all processes are busy for too long.
        """
        try:
            async with asyncio.timeout(self.settings.request_seconds):
                await self.places.acquire()
        except TimeoutError:
            raise RefusedError(429, "service: too many files are being read; ask again in a while") from None
        self.busy += 1
        try:
            decoder = self._taken()
            question = {"do": "read", "bundle": bundle, "suffix": suffix, "name": name}
            try:
                return await decoder.ask(question, file, self.settings.request_seconds)
            finally:
                if decoder.alive:
                    self.idle.append(decoder)
        finally:
            self.busy -= 1
            self.places.release()

    def _taken(self) -> Decoder:
        while self.idle:
            if (decoder := self.idle.pop()).alive:
                return decoder
            decoder.close()
        return Decoder(self.told)

    @asynccontextmanager
    async def camera(self) -> AsyncIterator[Decoder]:
        """A process of its own for a session."""
        decoder = Decoder(self.told)
        self.cameras.append(decoder)
        try:
            yield decoder
        finally:
            self.cameras.remove(decoder)
            decoder.close()

    def close(self) -> None:
        """End all processes."""
        for decoder in (*self.idle, *self.cameras):
            decoder.close()
