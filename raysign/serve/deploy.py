"""Recognisers as deployments of Ray Serve: the only file that runs it."""

import asyncio
import logging
import os
import secrets
import warnings
from functools import partial
from pathlib import Path

import ray
from ray.exceptions import RayActorError

from raysign import engine
from raysign.errors import RaysignError
from raysign.schema import Landmarks
from raysign.serve.batches import Ask, Found
from raysign.serve.recogniser import Recogniser
from raysign.serve.refusal import RefusedError
from raysign.serve.settings import Serve

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pydantic's, of words that Ray Serve uses
    from ray import serve

SERVICE = secrets.token_hex(3)  # tells the applications of this service from those of others on the same cluster
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


def start(settings: Serve) -> dict[str, Ask]:
    """Deploy the bundles, wait until they can be asked, and return what asks each: answers of clips, one each.

    RaysignError when Ray cannot start them.
    """
    threads = settings.threads or max(1, engine.usable_cpus() // (settings.replicas * len(settings.bundles)))
    device = "auto" if settings.gpus else "cpu"
    made = Replica.options(
        num_replicas=settings.replicas, max_ongoing_requests=2,
        ray_actor_options={"num_cpus": settings.cpus, "num_gpus": settings.gpus},
    )  # fmt: skip
    targets = [
        serve.RunTarget(made.options(name=name).bind(str(place), device, threads), f"raysign-{SERVICE}-{name}", None)
        for name, place in settings.bundles.items()
    ]
    try:
        handles = serve.run_many(targets)
    except RuntimeError as error:
        raise RaysignError(f"bundles: Ray Serve could not start them ({str(error).splitlines()[0]})") from None
    return {name: partial(_asked, handle) for name, handle in zip(settings.bundles, handles, strict=True)}


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


def stop(settings: Serve) -> None:
    """End the deployments, those of other services on the same cluster not among them, and Ray if it began here."""
    for name in settings.bundles if ray.is_initialized() else ():
        serve.delete(f"raysign-{SERVICE}-{name}", _blocking=False)
    ray.shutdown()
