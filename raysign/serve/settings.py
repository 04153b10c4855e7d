"""What a service is told: which bundles, where it listens, and how much it takes from strangers."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import Field

from raysign import config, remote
from raysign.errors import ConfigError
from raysign.extract.frames import Limits
from raysign.kinds import Section, StoredPath, validated
from raysign.trees import merged, override, read_yaml


def _told(variable: str, otherwise: str | None = None) -> Callable[[], Any]:
    """A default of the environment."""
    return lambda: os.environ.get(variable) or otherwise


class Serve(Section):
    """A service."""

    bundles: dict[str, StoredPath] = Field(
        description="name in questions: folder of a bundle; the first is the default"
    )
    host: str = Field(
        "127.0.0.1", description="address to listen at; 0.0.0.0 for all, behind a proxy that asks who it is"
    )
    port: int = Field(8000, ge=0, le=65535, description="0: any that is free")
    # what there is to answer with
    replicas: int = Field(1, ge=1, description="processes that each bundle answers with")
    batch: int = Field(32, ge=1, description="clips that a replica is asked at a time, at most")
    cpus: float = Field(0, ge=0, description="CPUs that each replica reserves in the cluster")
    gpus: float = Field(0, ge=0, description="GPUs that each replica reserves in the cluster; it then answers on them")
    threads: int | None = Field(None, ge=1, description="of torch in a replica; None: this machine's CPUs, shared out")
    decoders: int = Field(2, ge=1, description="processes that read videos and images")
    ray: config.Ray = config.Ray()  # pyright: ignore[reportCallIssue]
    # what is taken
    media: bool = Field(True, description="false: landmarks only")
    any_extractor: bool = Field(
        False,
        description="take media also for bundles trained on landmarks that were not made as here; answers may be worse",
    )
    detection_confidence: float | None = Field(
        default_factory=_told("ASL_MIN_DETECTION_CONFIDENCE"), ge=0, le=1, validate_default=True,
        description="least score at which a person or hand counts; None: as the bundle was trained",
    )  # fmt: skip
    tracking_confidence: float | None = Field(
        default_factory=_told("ASL_MIN_TRACKING_CONFIDENCE"), ge=0, le=1, validate_default=True,
        description="least score at which a track goes on; None: as the bundle was trained",
    )  # fmt: skip
    max_hands: int = Field(
        default_factory=_told("ASL_MAX_NUM_HANDS", "1"), ge=1, le=2, validate_default=True,
        description="1: of two hands in a photo of a letter only the larger one counts",
    )  # fmt: skip
    max_upload_mb: float = Field(32, gt=0, description="of a question, files included")
    max_seconds: float = Field(60, gt=0, description="length of a clip")
    max_pixels: int = Field(2**24, ge=1, description="of a frame or image")
    max_clips: int = Field(64, ge=1, description="in a question")
    decoder_mb: int = Field(3000, ge=1500, description="memory of a process that reads files")
    request_seconds: float = Field(
        120, gt=0, description="to send a question, to read its file, and to wait for its answer"
    )
    waiting: int = Field(1024, ge=1, description="clips that may wait for a bundle; further ones are refused")
    # cameras
    live_sessions: int = Field(2, ge=0, description="at a time; each has a process that follows the person")
    live_seconds: float = Field(600, gt=0, description="after which a session ends")
    live_window: float = Field(2.5, ge=0.1, le=20, description="seconds of the past that an answer is about")
    live_every: float = Field(0.4, ge=0, description="seconds between two answers")

    @property
    def limits(self) -> Limits:
        """What is read of a file; 60 frames a second at most."""
        return Limits(self.max_pixels, round(self.max_seconds * 60), self.max_seconds)


def load(words: Iterable[str]) -> Serve:
    """The settings told by the words of a command line, left to right: folders of bundles, YAML files, key=value.

    A bundle without a name is called as its config is. Without any bundle, ASL_CLASSIFIER_PATH names one. ConfigError
    or BundleError naming the word at fault.
    """
    tree: dict = {"bundles": {}}
    for word in words:
        tree = merged(tree, _tree(word, tree["bundles"]))
    told = os.environ.get("ASL_CLASSIFIER_PATH")
    if not tree["bundles"] and told:
        tree = merged(tree, _tree(told, {}))
    if not tree["bundles"]:
        raise ConfigError("bundles: found none, expected folders that `raysign train` has left; give one")
    return validated(Serve, tree)


def _tree(word: str, known: dict) -> dict:
    """The settings of one word; known: the bundles so far."""
    if word.endswith((".yaml", ".yml")):
        return read_yaml(Path(word))
    if "=" in word and not Path(word).exists():
        return override(word)
    from raysign.learn import ensemble  # late: it imports torch

    name = ensemble.load(remote.place(word)).config.name
    if name in known:
        raise ConfigError(f"{word}: found a second bundle named {name!r}; give one as bundles.NAME={word}")
    return {"bundles": {name: word}}
