"""Is this machine ready? One line for each thing raysign needs: what was found and how to mend what is not well."""

import ctypes
import os
import shutil
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from raysign import engine
from raysign.config import Config

GIB = 1024**3
LEAST_DISK, LEAST_MEMORY = 2 * GIB, 2 * GIB
# library -> the Debian and Ubuntu package it comes with; MediaPipe and its OpenCV load them
LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGLESv2.so.2": "libgles2",
    "libGL.so.1": "libgl1",
    "libglib-2.0.so.0": "libglib2.0-0",
}
NAMED = ("ray", "torch", "mediapipe", "numpy", "pyarrow", "mlflow", "av")  # a line each; the others share one


@dataclass(frozen=True)
class Check:
    """One line. fix: what to do, or what to know of it. required: raysign cannot do its work without it."""

    name: str
    ok: bool
    found: str
    fix: str = ""
    required: bool = True


def checks(config: Config) -> Iterator[Check]:
    """Every check, in a fixed order. A check that fails or breaks is a line, never an exception."""
    kinds: list[tuple[str, Callable[[Config], Iterator[Check]]]] = [
        ("python", _python), ("packages", _packages), ("ray[default]", _ray_extras), ("CPUs", _cpus), ("GPU", _gpus),
        ("memory", _memory), ("disk", _disk), ("system libraries", _libraries), ("video decoding", _decoding),
        ("models", _models), ("MLflow store", _mlflow), ("cluster", _cluster),
    ]  # fmt: skip
    for name, kind in kinds:
        try:
            yield from kind(config)
        except Exception as error:
            # the boundary of a line: whatever is broken on this machine must not hide the lines after it
            reason = str(error).splitlines()[0] if str(error) else "no reason given"
            yield Check(
                name, False, f"{type(error).__name__}: {reason}", "mend what the message names, then look again"
            )


def ready(found: Iterable[Check]) -> bool:
    """Whether everything required is well."""
    return all(check.ok for check in found if check.required)


def render(found: Iterable[Check]) -> str:
    """The checks as lines: `ok`, `FIX` for what is required, `note` for what is not; then the verdict."""
    found = list(found)
    width = max((len(check.name) for check in found), default=0)
    lines = []
    for check in found:
        mark = "ok" if check.ok else "FIX" if check.required else "note"
        lines.append(f"{mark:<5} {check.name:<{width}}  {check.found}")
        if check.fix:
            lines.append(f"{'':<5} {'':<{width}}  -> {check.fix}")
    broken = sum(1 for check in found if check.required and not check.ok)
    verdict = (
        "This machine is ready." if not broken else f"{broken} to fix (FIX above) before raysign can do all its work."
    )
    return "\n".join([*lines, "", verdict])


# ---------------------------------------------------------------- software


def _python(_: Config) -> Iterator[Check]:
    found, wanted = sys.version.split()[0], metadata.metadata("raysign")["Requires-Python"]
    fits = SpecifierSet(wanted).contains(found, prereleases=True)
    yield Check("python", fits, f"{found} at {sys.executable}", "" if fits else f"use a Python {wanted}")
    yield Check("raysign", True, metadata.version("raysign"))


def _packages(_: Config) -> Iterator[Check]:
    """What raysign's own metadata asks for, against what is installed."""
    wanted = [Requirement(line) for line in metadata.requires("raysign") or []]
    found = [_package(need) for need in wanted if not need.marker]
    by_name = {check.name: check for check in found}
    yield from (by_name[name] for name in NAMED if name in by_name)
    others = [check for check in found if check.name not in NAMED]
    broken = [check for check in others if not check.ok]
    yield from broken
    if not broken:
        yield Check("other packages", True, ", ".join(f"{check.name} {check.found}" for check in others))


def _package(need: Requirement) -> Check:
    version = _version(need.name)
    if version and need.specifier.contains(version, prereleases=True):
        return Check(need.name, True, version)
    return Check(need.name, False, version or "not installed", f"{sys.executable} -m pip install '{need}'")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _ray_extras(_: Config) -> Iterator[Check]:
    """Job server and dashboard: without them jobs have no server and dead workers keep their place in the cluster."""
    needs = [Requirement(line) for line in metadata.requires("ray") or []]
    default = [need for need in needs if need.marker and need.marker.evaluate({"extra": "default"})]
    missing = sorted({need.name for need in default if _version(need.name) is None})
    if missing:
        fix = f"{sys.executable} -m pip install 'ray[default]=={_version('ray')}'"
        yield Check("ray[default]", False, f"without {', '.join(missing)}", fix)
    else:
        yield Check("ray[default]", True, "job server and dashboard are installed")


def _libraries(_: Config) -> Iterator[Check]:
    if not sys.platform.startswith("linux"):
        yield Check("system libraries", True, f"part of the packages on {sys.platform}")
        return
    missing = [name for name in LIBRARIES if not _loads(name)]
    fix = "sudo apt-get install -y " + " ".join(LIBRARIES[name] for name in missing) if missing else ""
    yield Check(
        "system libraries", not missing, f"missing {', '.join(missing)}" if missing else ", ".join(LIBRARIES), fix
    )


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _decoding(_: Config) -> Iterator[Check]:
    import av

    missing = [name for name in ("h264", "hevc", "vp9", "mjpeg") if name not in av.codecs_available]
    av.CodecContext.create("h264", "r")
    fix = f"{sys.executable} -m pip install --force-reinstall --no-deps av (the wheel has them)" if missing else ""
    yield Check(
        "video decoding", not missing, f"missing {', '.join(missing)}" if missing else "h264, hevc, vp9, mjpeg", fix
    )


# ---------------------------------------------------------------- hardware


def _cpus(_: Config) -> Iterator[Check]:
    yield Check("CPUs", True, f"{engine.usable_cpus()}; extraction runs one landmarker on each")


def _gpus(config: Config) -> Iterator[Check]:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        yield Check("GPU", True, ", ".join(names))
    elif shutil.which("nvidia-smi"):
        fix = "install a CUDA build of torch (https://pytorch.org/get-started/locally) and look at nvidia-smi"
        yield Check("GPU", False, "torch cannot use the one here", fix, required=config.train.device == "cuda")
    else:
        asked = config.train.device == "cuda"
        fix = "set train.device=cpu, or train on a machine with a GPU" if asked else ""
        yield Check("GPU", not asked, "none; everything runs on the CPU", fix)


def _memory(_: Config) -> Iterator[Check]:
    import psutil

    memory = psutil.virtual_memory()
    enough = memory.available >= LEAST_MEMORY
    fix = "" if enough else "close programs; Ray and one landmarker want about 2 GiB"
    found = f"{memory.available / GIB:.1f} GiB free of {memory.total / GIB:.1f}"
    yield Check("memory", enough, found, fix, required=False)


def _existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _writable(folder: Path) -> bool:
    """Tried, not asked: permission bits say nothing of a read-only or full file system."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _disk(config: Config) -> Iterator[Check]:
    folder = _existing(config.home)
    if not _writable(folder):
        yield Check("disk", False, f"{folder} cannot be written to", "set out=FOLDER to one that can")
        return
    yield _room("disk", folder, config.home, "set out=FOLDER to a larger disk, or make room")
    temporary = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    fix = "make room, or set RAY_TMPDIR to another disk: Ray stops storing objects above 95 % of it"
    yield _room("disk for Ray", _existing(temporary), temporary, fix, share=0.05)


def _room(name: str, folder: Path, wanted: Path, fix: str, share: float = 0.0) -> Check:
    """Whether a disk has enough left; one of which a share must stay free is a note only."""
    usage = shutil.disk_usage(folder)
    enough = usage.free >= LEAST_DISK and usage.free >= share * usage.total
    found = f"{usage.free / GIB:.1f} GiB free of {usage.total / GIB:.1f} at {wanted}"
    return Check(name, enough, found, "" if enough else fix, required=not share)


# ---------------------------------------------------------------- files and servers


def _models(config: Config) -> Iterator[Check]:
    from raysign.extract import models

    if config.extract.model:
        there = config.extract.model.is_file()
        fix = "" if there else "correct extract.model, or leave it out"
        yield Check("model (extract.model)", there, str(config.extract.model) if there else "no such file", fix)
    for row in models.table():
        good = row["state"] not in ("not fetched", "not trusted")
        fix = "" if good else f"raysign models fetch {row['name']} (extraction fetches what it needs by itself)"
        found = f"{row['state']}, {row['where']}"
        yield Check(f"model {row['name']}", good, found, fix, required=False)


def _mlflow(config: Config) -> Iterator[Check]:
    if not config.mlflow.enabled:
        yield Check("MLflow store", True, "switched off (mlflow.enabled)")
        return
    from raysign.learn.mlflow_server import uri_of

    uri = uri_of(config)
    scheme = urlsplit(uri).scheme
    if scheme in ("http", "https"):
        yield _server(uri)
    elif scheme == "sqlite":
        yield _database(uri, Path(uri.removeprefix("sqlite:///")))
    elif scheme in ("", "file"):
        fix = "set mlflow.uri to sqlite:///ABSOLUTE/PATH.db or to a server"
        yield Check("MLflow store", False, f"{uri}: a folder of files, which MLflow gives up", fix)
    else:
        yield Check("MLflow store", True, f"{scheme} database (not tried)")


def _server(uri: str) -> Check:
    import requests

    fix = "start it, correct mlflow.uri, or set mlflow.enabled=false"
    try:
        status = requests.get(uri.rstrip("/") + "/health", timeout=5).status_code
    except requests.RequestException as error:
        return Check("MLflow store", False, f"{uri} does not answer ({type(error).__name__})", fix)
    return Check("MLflow store", status == 200, f"{uri} answers {status}", "" if status == 200 else fix)


def _database(uri: str, path: Path) -> Check:
    fix = "set mlflow.uri=sqlite:///ABSOLUTE/PATH.db to a place that can be written"
    if not _writable(_existing(path.parent)):
        return Check("MLflow store", False, f"{path.parent} cannot be written to", fix)
    if not path.exists():
        return Check("MLflow store", True, f"{uri} (made by the first training)")
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=5)
        try:
            connection.execute("PRAGMA schema_version").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        return Check("MLflow store", False, f"{path}: {error}", "move that file away, or " + fix)
    return Check("MLflow store", True, uri)


def _cluster(config: Config) -> Iterator[Check]:
    address = config.ray.address or os.environ.get("RAY_ADDRESS")
    token = Path("~/.ray/auth_token").expanduser()
    if token.is_file() and os.name == "posix" and token.stat().st_mode & 0o077:
        yield Check("cluster token", False, f"{token} can be read by others", f"chmod 600 {token}", required=False)
    if not address:
        yield Check(
            "cluster", True, "none named; one is started on this machine when needed (ray.address or RAY_ADDRESS)"
        )
        return
    hint = ""
    if token.is_file() and os.environ.get("RAY_AUTH_MODE") != "token":
        hint = "export RAY_AUTH_MODE=token if the cluster asks for one"
    parts = urlsplit(address if "//" in address else f"//{address}")
    if parts.hostname and parts.port and not _answers(parts.hostname, parts.port):
        fix = "start it (ray start --head), correct ray.address, or unset RAY_ADDRESS"
        yield Check("cluster", False, f"{address} does not answer", fix)
    else:
        yield Check("cluster", True, address, hint)


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=3):
            return True
    except OSError:
        return False
