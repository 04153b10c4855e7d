"""Clips that wait for a recogniser: those there are when a replica is free are asked together; none waits for more."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from raysign.errors import RaysignError
from raysign.schema import Landmarks
from raysign.serve.refusal import RefusedError

# probabilities (K,), None of a clip of several signs, and what else is told, such as `segments`; or why there are none
Found = tuple[np.ndarray | None, dict] | RaysignError
Ask = Callable[[list[Landmarks]], Awaitable[Sequence[Found]]]


class Batches:
    """What waits for the replicas of one bundle.

    ask: answers of clips, one each, from any replica. most: clips asked together. replicas: calls of `ask` at a time.
    waiting: clips that may wait. told: is called with the size of each batch.
    """

    def __init__(
        self, ask: Ask, most: int, replicas: int, waiting: int, told: Callable[[int], object] = lambda _: None
    ):
        self.ask, self.most, self.free, self.waiting, self.told = ask, most, replicas, waiting, told
        self.queue: deque[tuple[Landmarks, asyncio.Future]] = deque()
        self.calls: set[asyncio.Task] = set()

    async def recognise(self, clips: Sequence[Landmarks]) -> list[Found]:
        """The answers of clips, in order. RefusedError when too many wait already."""
        if self.queue and len(self.queue) + len(clips) > self.waiting:
            raise RefusedError(429, f"clips: found {len(self.queue)} that wait, expected fewer; ask again in a second")
        futures = [asyncio.get_running_loop().create_future() for _ in clips]
        self.queue.extend(zip(clips, futures, strict=True))
        self._start()
        try:
            return await asyncio.gather(*futures)
        finally:
            for future in futures:  # whoever asked may have gone: what waits for him is passed over
                future.cancel()

    def _start(self) -> None:
        while self.free and self.queue:
            self.free -= 1
            call = asyncio.create_task(self._call())
            self.calls.add(call)
            call.add_done_callback(self._ended)

    def _ended(self, call: asyncio.Task) -> None:
        self.calls.discard(call)
        self.free += 1
        self._start()

    async def _call(self) -> None:
        batch = []
        while self.queue and len(batch) < self.most:
            if not (one := self.queue.popleft())[1].done():
                batch.append(one)
        if not batch:
            return
        self.told(len(batch))
        try:
            found = await self.ask([landmarks for landmarks, _ in batch])
        except Exception as error:  # of the recogniser, not of a clip: all who asked are told
            found = [error] * len(batch)
        for (_, future), one in zip(batch, found, strict=True):
            if future.done():
                continue
            if isinstance(one, Exception) and not isinstance(one, RaysignError):
                future.set_exception(one)
            else:
                future.set_result(one)
