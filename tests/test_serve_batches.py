"""Clips that wait for a recogniser: who is asked together, who is refused, and who has gone."""

import asyncio

import numpy as np
import pytest

from raysign.errors import RaysignError
from raysign.schema import Landmarks
from raysign.serve.batches import Batches
from raysign.serve.refusal import RefusedError

CLIP = Landmarks(np.zeros((1, 1, 21, 3), np.float32), np.ones((1, 1, 21), np.float32), "hand_21")


async def answers(clips: list) -> list:
    return [(np.zeros(1), {}) for _ in clips]


class Held:
    """A recogniser that keeps all waiting until `free` is set. sizes: of the batches it was asked about."""

    def __init__(self, waiting: int):
        self.sizes: list[int] = []
        self.free = asyncio.Event()
        self.batches = Batches(self.ask, most=4, replicas=1, waiting=waiting, told=self.sizes.append)

    async def ask(self, clips: list) -> list:
        await self.free.wait()
        return await answers(clips)

    async def questions(self, count: int) -> list[asyncio.Task]:
        """So many who each ask about one clip, and wait."""
        made = [asyncio.create_task(self.batches.recognise([CLIP])) for _ in range(count)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return made


def test_clips_that_wait_are_asked_together_and_no_more_than_may():
    async def waiting() -> list[int]:
        held = Held(waiting=100)
        questions = await held.questions(10)
        held.free.set()
        await asyncio.gather(*questions)
        return held.sizes

    sizes = asyncio.run(waiting())
    assert sizes[0] in (1, 4) and max(sizes) == 4 and sum(sizes) == 10


def test_who_has_gone_is_not_asked_for_and_too_many_are_refused():
    async def leaving() -> int:
        held = Held(waiting=4)
        await held.questions(1)
        questions = await held.questions(4)
        with pytest.raises(RefusedError, match="ask again"):
            await held.batches.recognise([CLIP])
        questions[2].cancel()
        questions[3].cancel()
        held.free.set()
        await asyncio.gather(*questions[:2])
        return sum(held.sizes)

    assert asyncio.run(leaving()) == 3


def test_more_clips_than_may_wait_are_answered_when_nobody_waits():
    async def alone() -> list:
        return await Batches(answers, most=4, replicas=1, waiting=3).recognise([CLIP] * 9)

    assert len(asyncio.run(alone())) == 9


def test_a_recogniser_that_fails_fails_for_all_who_asked_and_for_nobody_later():
    tries = []

    async def ask(clips: list) -> list:
        tries.append(len(clips))
        if len(tries) == 1:
            raise RefusedError(503, "gone")
        return await answers(clips)

    async def twice() -> tuple:
        batches = Batches(ask, most=4, replicas=1, waiting=100)
        return await batches.recognise([CLIP]), await batches.recognise([CLIP])

    first, second = asyncio.run(twice())
    assert isinstance(first[0], RaysignError) and not isinstance(second[0], RaysignError)
