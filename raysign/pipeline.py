"""The whole story, one function for each arrow:

    videos, images --extract--> landmarks --prepare--> clips --train--> bundle --evaluate, predict--> answers
    other formats  --import --> landmarks

Every stage reads the one before it and writes its own directory below `config.home`; run again, it does only what is
missing, new or changed. The kernels are plain functions of their rooms; `engine` carries them to the CPUs of a cluster.
"""

import functools
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from raysign import engine, store
from raysign.config import Config, kind_module
from raysign.errors import BundleError, ConfigError, StoreError


def landmarks(config: Config) -> dict:
    """Source to LANDMARKS: MediaPipe over videos and images, or a reader over files of landmarks. Returns the card."""
    from raysign.extract import work

    start = time.time()
    source = kind_module("source", config.source.kind)
    refs = source.clips(config.source)
    engine.connect(config.ray)
    media = not hasattr(source, "read")
    reader, extractor = _media_reader(config) if media else _file_reader(config)
    workers = (config.extract.workers or engine.cpus()) if media else None
    plan = work.plan(
        refs, config.landmarks_dir, extractor, retry=config.extract.retry_quarantined, workers=workers or engine.cpus(),
        per_unit=None if media else work.CHEAP_CLIPS_PER_UNIT,
    )  # fmt: skip
    arguments = {
        "reader": reader, "directory": config.landmarks_dir, "extractor": extractor, "run": secrets.token_hex(4),
        "journal": media,
    }  # fmt: skip
    rows = engine.stream(plan.units, work.Worker, arguments, actors=workers)
    totals = work.consume(rows, plan)
    sections = {"source": config.source.model_dump(mode="json"), "extract": config.extract.model_dump(mode="json")}
    return work.finish(config.landmarks_dir, extractor, plan, totals, config=sections, seconds=time.time() - start)


def _media_reader(config: Config):
    """What makes a landmarker in a worker, and the fingerprint of its results."""
    from raysign.extract import landmarker, models

    model = models.find(config.extract.model)
    return functools.partial(landmarker.reader, config.extract), landmarker.fingerprint(config.extract, model)


def _file_reader(config: Config):
    """What reads landmark files in a worker, and the fingerprint of its results."""
    options = config.source.model_dump(mode="json", exclude={"path"})
    return functools.partial(_bound_read, config.source), f"import-{config.source.kind}-{store.fingerprint(options)}"


def _bound_read(options):
    return functools.partial(kind_module("source", options.kind).read, options=options)
