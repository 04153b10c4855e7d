"""Around all routes: questions are counted and timed, refused when they are too large or come too slowly, and browsers
are told to load nothing from elsewhere.
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
        began, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *SAFE]
            await send(message)

        try:
            await self.app(scope, self._limited(receive, began), noted)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.measures.requests.labels(route, status).inc()
            self.measures.seconds.labels(route).observe(time.perf_counter() - began)

    def _limited(self, receive: Receive, began: float) -> Receive:
        """`receive` of a question that must be whole in time, and not too large."""
        arrived, whole = 0, False

        async def limited() -> Message:
            nonlocal arrived, whole
            if whole:  # what comes now is that the asker has gone
                return await receive()
            try:
                async with asyncio.timeout(max(0.0, began + self.seconds - time.perf_counter())):
                    message = await receive()
            except TimeoutError:
                raise RefusedError(
                    408, f"body: not here after {self.seconds:g} seconds; send less, or faster"
                ) from None
            arrived += len(message.get("body", b""))
            whole = not message.get("more_body")
            if arrived > self.most:
                raise LimitError(f"body: found more than {self.most / 1e6:g} MB, expected less; send less")
            return message

        return limited
