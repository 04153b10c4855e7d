"""Recognisers as deployments of Ray Serve: the only file that runs it."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from ray import serve
from ray.exceptions import RayActorError

from raysign import engine
from raysign.errors import RaysignError
from raysign.schema import Landmarks
from raysign.serve.batches import Found
from raysign.serve.recogniser import Recogniser
from raysign.serve.refusal import RefusedError
from raysign.serve.settings import Serve

TRIES = 3  # replicas that a batch is given to, when they die of it or otherwise


@serve.deployment
class Replica:
    """A recogniser in a process of its own."""

    def __init__(self, place: str, device: str, threads: int):
        import torch

        torch.set_num_threads(threads)
        self.recogniser = Recogniser(Path(place), device)

    def __call__(self, clips: list[Landmarks]) -> list[Found]:
        return self.recogniser.answers(clips)


def start(settings: Serve, name: str) -> Callable[[list[Landmarks]], Awaitable[list[Found]]]:
    """Deploy a bundle and wait until it can be asked. Returns what asks it: answers of clips, one each.

    RaysignError when Ray cannot start it.
    """
    threads = settings.threads or max(1, engine.usable_cpus() // (settings.replicas * len(settings.bundles)))
    made = Replica.options(
        name=name, num_replicas=settings.replicas, max_ongoing_requests=2,
        ray_actor_options={"num_cpus": settings.cpus, "num_gpus": settings.gpus},
    ).bind(str(settings.bundles[name]), "auto" if settings.gpus else "cpu", threads)  # fmt: skip
    try:
        handle = serve.run(made, name=f"raysign-{name}", route_prefix=None)
    except RuntimeError as error:
        raise RaysignError(f"bundles.{name}: Ray Serve could not start it ({str(error).splitlines()[0]})") from None
    return partial(_asked, handle)


async def _asked(handle, clips: list[Landmarks]) -> list[Found]:
    for _ in range(TRIES):
        try:
            return await handle.remote(clips)
        except RayActorError:  # Serve starts another replica
            await asyncio.sleep(1)
    raise RefusedError(503, "service: its recogniser has died; ask again in a while")


def connect(settings: Serve) -> None:
    """Join or start Ray, with Serve in it that talks no HTTP itself."""
    os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")
    engine.connect(settings.ray)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR", "enable_access_log": False})


def stop(names: list[str]) -> None:
    """End the deployments, and Ray where it was started here."""
    import ray

    for name in names:
        serve.delete(f"raysign-{name}")
    serve.shutdown()
    ray.shutdown()
