"""A service without Ray and without a port: the app itself, asked by ASGI, with a recogniser in this process."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from raysign.schema import Landmarks
from raysign.serve import app as routes
from raysign.serve import settings
from raysign.serve.about import about
from raysign.serve.batches import Batches
from raysign.serve.decoders import Decoders
from raysign.serve.recogniser import Recogniser
from raysign.serve.service import Service


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks an app. `service` is what answers in it."""

    def __init__(self, app, service: Service):
        self.app, self.service = app, service

    async def get(self, path: str) -> Answer:
        return await self.ask("GET", path)

    async def ask(
        self, method: str, path: str, body: bytes | Sequence[bytes] = b"", left: asyncio.Event | None = None,
        **headers: str,
    ) -> Answer:  # fmt: skip
        """body: whole, or in pieces, whose length is then not told. left: is set when the asker goes away; status 0 is
        for him who has not been answered.
        """
        path, _, query = path.partition("?")
        pieces = [body] if isinstance(body, bytes) else [*body]
        told = {**headers, **({"content-length": str(len(body))} if isinstance(body, bytes) else {})}
        coming = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        coming.append({"type": "http.request", "body": b"", "more_body": False})
        sent: list[dict] = []

        async def receive() -> dict:
            if coming:
                return coming.pop(0)
            await (left or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message) -> None:
            sent.append(message)

        named = [(name.replace("_", "-").encode(), value.encode()) for name, value in told.items()]
        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path,
                 "raw_path": path.encode(), "query_string": query.encode(), "headers": named, "scheme": "http",
                 "server": ("here", 80), "client": ("here", 1), "root_path": ""}  # fmt: skip
        await self.app(scope, receive, send)
        if not sent:
            return Answer(0, {}, b"")
        known = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], known, b"".join(message.get("body", b"") for message in sent[1:]))

    async def post(self, body: object, path: str = "/api/v1/recognitions") -> Answer:
        """JSON, or bytes that are said to be JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.ask("POST", path, data, content_type="application/json")

    async def send(self, content: bytes, path: str = "/api/v1/recognitions", name: str = "x", field="file") -> Answer:
        """A file, as a form of a browser does."""
        body, kind = form(content, name, field)
        return await self.ask("POST", path, body, content_type=kind)

    @asynccontextmanager
    async def camera(self, path: str = "/api/v1/live", **headers: str) -> AsyncIterator["Camera"]:
        path, _, query = path.partition("?")
        named = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "websocket", "asgi": {"version": "3.0"}, "path": path, "raw_path": path.encode(),
                 "query_string": query.encode(), "headers": named, "scheme": "ws", "server": ("here", 80),
                 "client": ("here", 1), "subprotocols": [], "root_path": ""}  # fmt: skip
        camera = Camera()
        task = asyncio.create_task(self.app(scope, camera.to.get, camera.answered))
        try:
            yield camera
        finally:
            await camera.to.put({"type": "websocket.disconnect", "code": 1000})
            await asyncio.wait_for(task, 30)


class Camera:
    """The asking side of a WebSocket."""

    def __init__(self):
        self.to, self.back, self.gone = asyncio.Queue(), asyncio.Queue(), False
        self.to.put_nowait({"type": "websocket.connect"})

    async def answered(self, message: dict) -> None:
        """Is given what the service says; raises what a server does when nobody is there any more."""
        if self.gone:
            raise OSError("gone")
        await self.back.put(message)

    async def next(self) -> dict:
        return await asyncio.wait_for(self.back.get(), 120)

    async def ask(self, frame: bytes | dict | str) -> dict:
        """The answer to a frame."""
        text = json.dumps(frame) if isinstance(frame, dict) else frame
        key = "bytes" if isinstance(frame, bytes) else "text"
        await self.to.put({"type": "websocket.receive", key: text})
        return json.loads((await self.next())["text"])


@asynccontextmanager
async def service_of(bundle_dir: Path, *words: str) -> AsyncIterator[Client]:
    """A client of a service of one bundle, called tiny."""
    told = settings.load([str(bundle_dir), "decoders=1", *words])
    known = {name: about(name, place, told) for name, place in told.bundles.items()}
    waiting = {}
    for name, place in told.bundles.items():

        async def ask(clips: list[Landmarks], recogniser: Recogniser = Recogniser(place)) -> list:  # noqa: B008
            return recogniser.answers(clips)

        waiting[name] = Batches(ask, told.batch, told.replicas, told.waiting)
    decoders = Decoders(told, known)
    try:
        service = Service(told, known, decoders, lambda name, clips: waiting[name].recognise(clips), lambda _: True)
        yield Client(routes.build(service), service)
    finally:
        decoders.close()


def form(content: bytes, name: str = "x", field: str = "file") -> tuple[bytes, str]:
    """A file as multipart/form-data, and its content type."""
    edge = b"edge-of-the-form"
    head = f'Content-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'.encode()
    return (
        b"--" + edge + b"\r\n" + head + content + b"\r\n--" + edge + b"--\r\n",
        f"multipart/form-data; boundary={edge.decode()}",
    )


def as_json(clip: Landmarks) -> dict:
    """Landmarks as nested lists, null where not seen."""
    lists = {name: np.where(np.isnan(array), np.array(None), array.astype(float)).tolist()
             for name, array in (("values", clip.values), ("visibility", clip.visibility))}  # fmt: skip
    return {"layout": clip.layout, **lists, "fps": clip.fps, "width": clip.width, "height": clip.height}


@contextmanager
def asked(bundle_dir: Path, *words: str) -> Iterator[tuple[Client, Callable[[Coroutine], Any]]]:
    """A client, and what runs its coroutines."""
    with asyncio.Runner() as runner:
        service = service_of(bundle_dir, *words)
        client = runner.run(service.__aenter__())
        try:
            yield client, runner.run
        finally:
            runner.run(service.__aexit__(None, None, None))


@contextmanager
def listening(bundle_dir: Path, *words: str) -> Iterator[str]:
    """The address of such a service on a free port of this machine."""
    begun, over, told = threading.Event(), [], []

    async def serve() -> None:
        async with service_of(bundle_dir, *words) as client:
            server = uvicorn.Server(uvicorn.Config(client.app, log_level="error", lifespan="off"))
            over.append(server)
            with socket.socket() as door:
                door.bind(("127.0.0.1", 0))
                told.append(f"http://127.0.0.1:{door.getsockname()[1]}")
                door.listen()
                begun.set()
                await server.serve([door])

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    assert begun.wait(60)
    try:
        yield told[0]
    finally:
        over[0].should_exit = True
        thread.join(30)
