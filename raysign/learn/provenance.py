"""What a record of a training says of its settings and surroundings."""

import getpass
import platform
import subprocess
from contextlib import suppress
from importlib import metadata

import torch

from raysign import __version__, engine


def flat(tree: dict, prefix: str = "") -> dict[str, str]:
    """A tree of settings as dotted names and text: the same names that override settings on the command line."""
    found = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = str(value)
    return found


def environment() -> dict[str, str]:
    """Who and what trains: user, versions, machine, and the commit when the current folder is a git checkout."""
    found = {
        "raysign.version": __version__, "python": platform.python_version(), "torch": torch.__version__,
        "ray": metadata.version("ray"), "platform": platform.platform(), "cpus": str(engine.usable_cpus()),
        "mlflow.source.name": "raysign", "mlflow.source.type": "LOCAL",
    }  # fmt: skip
    with suppress(OSError, KeyError):  # a container's user without a name
        found["mlflow.user"] = getpass.getuser()
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    if commit := _git("rev-parse", "HEAD"):
        dirty = bool(_git("status", "--porcelain", "--untracked-files=no"))
        found |= {"git.commit": commit, "git.dirty": str(dirty), "mlflow.source.git.commit": commit}
    return found


def _git(*words: str) -> str:
    """What git says; empty when it has nothing to say, or is not there."""
    try:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
