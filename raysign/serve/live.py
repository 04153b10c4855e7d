"""A camera, frame by frame: each is answered with its points, and every so often with what the last seconds show."""

import asyncio
import json
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import numpy as np
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from raysign.errors import ConfigError, LimitError, RaysignError
from raysign.schema import Landmarks
from raysign.serve import question
from raysign.serve.about import About
from raysign.serve.answer import bones_of, likeliest, points_of, signs
from raysign.serve.batches import Found
from raysign.serve.decoders import Decoder, Decoders
from raysign.serve.settings import Serve

PICTURE = 4_000_000  # bytes
QUIET = 30  # seconds without a frame after which a session ends
START = 60  # seconds that the first frame may take: its process must be made

GONE = (WebSocketDisconnect, RuntimeError)  # what sending raises when the other side has gone
Recognise = Callable[[list[Landmarks]], Awaitable[list[Found]]]


class Past:
    """The frames of the last seconds of a session, as one clip."""

    def __init__(self, window: float):
        self.window, self.frames = window, deque[tuple[float, Landmarks]](maxlen=round(window * 60))

    def add(self, seconds: float, frame: Landmarks) -> None:
        """Take a frame in, let go of those that are too old. ConfigError when it is not like those before."""
        if frame.values.shape[:2] != (1, 1):
            raise ConfigError(f"values: found shape {frame.values.shape}, expected one frame of one person")
        if self.frames and self.frames[-1][1].layout != frame.layout:
            raise ConfigError("layout: found another one than in the frames before, expected the same; begin anew")
        self.frames.append((seconds, frame))
        while seconds - self.frames[0][0] > self.window:
            self.frames.popleft()

    def clip(self) -> Landmarks:
        """The frames, at the rate they came in."""
        (begun, _), (ended, last) = self.frames[0], self.frames[-1]
        rate = (len(self.frames) - 1) / (ended - begun) if ended > begun else 0.0
        values, seen = (
            np.concatenate([getattr(f, name) for _, f in self.frames], axis=1) for name in ("values", "visibility")
        )
        return replace(last, values=values, visibility=seen, fps=rate)


class Session:
    """The talk with one camera."""

    def __init__(
        self, socket: WebSocket, about: About, decoders: Decoders, recognise: Recognise, settings: Serve, top: int
    ):
        self.socket, self.about, self.decoders, self.recognise = socket, about, decoders, recognise
        self.settings, self.top = settings, top
        self.past, self.begun, self.asked = Past(settings.live_window), time.monotonic(), 0.0
        self.camera: Decoder | None = None
        self.drawn: list[int] = []

    async def run(self) -> None:
        """Until the camera is switched off, nothing comes any more, or the time is over."""
        async with AsyncExitStack() as stack:
            while (message := await self._message()) is not None:
                if time.monotonic() - self.begun > self.settings.live_seconds:
                    raise LimitError(f"session: over after {self.settings.live_seconds:g} seconds; begin another")
                answer = json.dumps(await self._answer(message, stack))
                try:
                    await self.socket.send_text(answer)
                except GONE:
                    return

    async def _message(self) -> Message | None:
        """The next frame; None when there is none."""
        try:
            async with asyncio.timeout(QUIET):
                message = await self.socket.receive()
        except TimeoutError:
            return None
        return None if message["type"] == "websocket.disconnect" else message

    async def _answer(self, message: Message, stack: AsyncExitStack) -> dict:
        began = time.monotonic()
        if message.get("bytes") is not None:
            frame = await self._of_picture(message["bytes"], stack)
        else:
            told = question.of_json(_sized(message.get("text") or "", question.SHORT))
            frame = question.landmarks_of(told, self.settings)
        first = not self.past.frames
        self.past.add(began - self.begun, frame)
        answer: dict = {}
        if first:
            self.drawn, answer["parts"] = bones_of(frame.layout)
        answer["points"] = points_of(frame, self.drawn)[0][0]
        if began - self.asked >= self.settings.live_every:
            self.asked = began
            answer.update(await self._recognised())
        return {**answer, "milliseconds": round(1000 * (time.monotonic() - began), 1)}

    async def _recognised(self) -> dict:
        """The likeliest glosses of the last seconds, or why there are none."""
        (found,) = await self.recognise([self.past.clip()])
        if isinstance(found, RaysignError):
            return {"top": [], "note": str(found)}
        probabilities, told = found
        if probabilities is None:  # a window longer than signs are: the last of them
            last = signs(told, self.top)["segments"][-1:]
            return last[0] if last else {"top": []}
        return {"top": likeliest(probabilities, self.about.labels, self.top), **told}

    async def _of_picture(self, picture: bytes, stack: AsyncExitStack) -> Landmarks:
        if not self.about.media:
            raise ConfigError(f"bundle {self.about.name}: {self.about.note}")
        suffix = question.suffix_of(_sized(picture, PICTURE)[:512])
        if suffix not in question.IMAGES:
            raise ConfigError("frame: found no picture, expected a JPEG or PNG")
        new = self.camera is None
        self.camera = self.camera or await stack.enter_async_context(self.decoders.camera())
        asked = {"do": "frame", "bundle": self.about.name, "suffix": suffix, "first": new,
                 "seconds": time.monotonic() - self.begun}  # fmt: skip
        with tempfile.TemporaryFile() as file:
            file.write(picture)
            file.flush()
            (found,), *_ = await self.camera.ask(asked, file, START if new else self.settings.request_seconds)
        if isinstance(found, RaysignError):
            raise found
        return found


def _sized(told, most: int):
    if len(told) > most:
        raise LimitError(f"frame: found {len(told) / 1e6:.1f} MB, expected at most {most / 1e6:.0f}; send smaller ones")
    return told
