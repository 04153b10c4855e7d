"""Around all routes: questions are counted and timed, refused when they are too large or come too slowly, given up when
their asker has gone, and browsers are told to load nothing from elsewhere.
"""

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from raysign.errors import LimitError
from raysign.serve.refusal import RefusedError
from raysign.serve.service import Service

_SAFE = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-store",
}  # fmt: skip
LEFT = 499  # the status, by nginx's example, of questions whose asker has gone; nobody is sent it
SAFE = [(name.encode(), value.encode()) for name, value in _SAFE.items()]


class Around:
    """The ASGI app that is around the routes."""

    def __init__(self, app: ASGIApp, service: Service):
        self.app, self.measures = app, service.measures
        self.most, self.seconds = service.settings.max_upload_mb * 1e6, service.settings.request_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, whole = time.perf_counter(), 0, asyncio.Event()
        asking = asyncio.current_task()
        assert asking

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *SAFE]
            await send(message)

        async def watched() -> None:
            nonlocal status
            await whole.wait()
            await receive()  # all that comes after a question is that its asker has gone
            if not status:
                status = LEFT
                asking.cancel()

        watching = asyncio.create_task(watched())
        try:
            await self.app(scope, self._limited(receive, began, whole), noted)
        except asyncio.CancelledError:
            if status != LEFT:
                raise
            asking.uncancel()
        finally:
            watching.cancel()
            route = getattr(scope.get("route"), "path", "other")
            self.measures.requests.labels(route, status or 500).inc()
            self.measures.seconds.labels(route).observe(time.perf_counter() - began)

    def _limited(self, receive: Receive, began: float, whole: asyncio.Event) -> Receive:
        """`receive` of a question that must be in time, and not too large; sets `whole` at its end."""
        arrived = 0

        async def limited() -> Message:
            nonlocal arrived
            try:
                async with asyncio.timeout(max(0.0, began + self.seconds - time.perf_counter())):
                    message = await receive()
            except TimeoutError:
                raise RefusedError(
                    408, f"body: not here after {self.seconds:g} seconds; send less, or faster"
                ) from None
            arrived += len(message.get("body", b""))
            if message["type"] == "http.request" and not message.get("more_body"):
                whole.set()
            if arrived > self.most:
                raise LimitError(f"body: found more than {self.most / 1e6:g} MB, expected less; send less")
            return message

        return limited
