"""`raysign serve` from start to end: HTTP at once, in a thread of its own; then Ray; then nothing but waiting."""

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import Iterator

import uvicorn

from raysign.errors import ConfigError, RaysignError
from raysign.schema import Landmarks
from raysign.serve import app as routes
from raysign.serve.about import About, about
from raysign.serve.batches import Ask, Batches, Found
from raysign.serve.decoders import Decoders
from raysign.serve.measures import Measures
from raysign.serve.refusal import RefusedError
from raysign.serve.service import Service
from raysign.serve.settings import Serve

AT_ONCE = 512  # connections; further ones are told to come again


def run(settings: Serve) -> None:
    """Serve until an interrupt. ConfigError, BundleError or RaysignError when it cannot be begun."""
    bundles = {name: about(name, place, settings) for name, place in settings.bundles.items()}
    asks: dict[str, Ask] = {}
    with _listening(settings) as door, contextlib.ExitStack() as last, _http(settings, bundles, asks, door):
        place = _address(*door.getsockname()[:2])
        _say(f"raysign: {place}/ is the page, {place}/api/v1/recognitions takes questions; bundles are being loaded")
        from raysign.serve import deploy  # late: HTTP is there first

        last.callback(deploy.stop, settings)  # when HTTP has ended: what was asked before is answered yet
        deploy.connect(settings)
        asks.update(deploy.start(settings))
        for one in bundles.values():
            _say(f"raysign: {one.name} is ready ({len(one.labels)} glosses{'; ' + one.note if one.note else ''})")
        threading.Event().wait()


def _address(host: str, port: int) -> str:
    """What a browser on this machine is to open."""
    host = "localhost" if host in ("127.0.0.1", "0.0.0.0", "::") else host
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _listening(settings: Serve) -> Iterator[socket.socket]:
    """A socket at the address; ConfigError when it cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # the protocol in words: only of those who name it asyncio sends small answers at once
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((settings.host, settings.port))
            door.listen(AT_ONCE)
        except OSError as error:
            step = "give another host or port"
            raise ConfigError(
                f"{settings.host}:{settings.port}: cannot be listened at ({error.strerror}); {step}"
            ) from None
        yield door


@contextlib.contextmanager
def _http(settings: Serve, bundles: dict[str, About], asks: dict[str, Ask], door: socket.socket) -> Iterator[None]:
    """Answers HTTP in another thread, and ends it and the processes that read files."""
    begun, servers = threading.Event(), []

    async def serve() -> None:
        decoders = Decoders(settings, bundles)
        try:
            app = routes.build(_service(settings, bundles, asks, decoders))
            server = uvicorn.Server(uvicorn.Config(
                app, log_level="error", access_log=False, limit_concurrency=AT_ONCE, ws_max_size=2**23,
                timeout_graceful_shutdown=5, server_header=False, lifespan="off",
            ))  # fmt: skip
            servers.append(server)
            begun.set()
            await server.serve([door])
        finally:
            begun.set()
            decoders.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="raysign-http", daemon=True)
    thread.start()
    begun.wait()
    try:
        if not servers:
            raise RaysignError(
                "service: HTTP or the processes that read files did not start; see what is printed above"
            )
        yield
    finally:
        for server in servers:
            server.should_exit = True
        thread.join(10)


def _service(settings: Serve, bundles: dict[str, About], asks: dict[str, Ask], decoders: Decoders) -> Service:
    """What answers; a bundle does from when `asks` has it on."""
    measures, batches = Measures(), {}
    for name in bundles:

        async def ask(clips: list[Landmarks], name: str = name) -> list[Found]:
            return list(await asks[name](clips))

        told = measures.batch.labels(name).observe
        batches[name] = Batches(ask, settings.batch, settings.replicas, settings.waiting, told)
        measures.waiting.labels(name).set_function(lambda name=name: len(batches[name].queue))

    async def recognise(name: str, clips: list[Landmarks]) -> list[Found]:
        try:
            async with asyncio.timeout(settings.request_seconds):
                return await batches[name].recognise(clips)
        except TimeoutError:
            raise RefusedError(503, f"bundle {name}: no answer within {settings.request_seconds:g} seconds") from None

    return Service(settings, bundles, decoders, recognise, asks.__contains__, measures)
