"""MediaPipe model bundles: an explicit path, else the cache, else the official store, else assembled from a wheel.

The wheels of the mediapipe we run ship no models. Where Google's model store cannot be reached, the bundles are put
together from the models inside an older mediapipe wheel, which pip downloads (from any mirror) and nobody installs.
Every file is checked against the sha256 that models.json pins: of the store's version 1 as several independent
projects and MediaPipe's own test set-up publish it, and of what `assemble` makes, byte for byte.
"""

import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from functools import cache
from pathlib import Path

import platformdirs
import requests

from raysign import store
from raysign.errors import ModelFileError, nearest

_LOG = logging.getLogger(__name__)
_CONNECT_S, _READ_S = 5.0, 30.0  # a host that is filtered out must not hold the work up for minutes
_INSIDE = "mediapipe/modules/"


@cache
def pinned() -> dict:
    """models.json: what raysign knows of each bundle, of the wheel and of the single models in it."""
    return json.loads(Path(__file__).with_name("models.json").read_text(encoding="utf-8"))


def directory() -> Path:
    """Where fetched bundles are kept: $RAYSIGN_CACHE/models, else the user's cache directory."""
    root = os.environ.get("RAYSIGN_CACHE")
    return (Path(root).expanduser() if root else Path(platformdirs.user_cache_dir("raysign"))) / "models"


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal digits. ModelFileError when it cannot be read."""
    try:
        return store.sha256(path)
    except OSError as error:
        raise ModelFileError(f"{path}: {error.strerror or error}; give an existing file or leave it out") from None


def table() -> list[dict]:
    """One row per bundle: name, where (its place in the cache), size (bytes), sha256, state.

    state: "from the store", "assembled", "not trusted" (its sha256 is not one that is pinned) or "not fetched".
    """
    return [_row(name) for name in pinned()["bundles"]]


def render(rows: list[dict]) -> str:
    """The rows of `table` as lines of text."""
    line = "{name:9} {state:15} {mb:5.1f} MB  {sha256:.16}  {where}"
    return "\n".join(line.format(mb=row["size"] / 1e6, **row) for row in rows)


def _row(name: str) -> dict:
    path = _place(name)
    if not path.is_file():
        return {"name": name, "where": str(path), "size": 0, "sha256": "", "state": "not fetched"}
    digest = sha256(path)
    return {
        "name": name, "where": str(path), "size": path.stat().st_size, "sha256": digest,
        "state": _origin(name, digest) or "not trusted",
    }  # fmt: skip


def find(explicit: Path | None = None, name: str = "holistic") -> Path:
    """The bundle to use: `explicit` when given, else the cached one, fetched first when there is none.

    Naming a file is trusting it, whatever its sha256; RAYSIGN_MODEL_SHA256, when set, must be that of a Holistic one.
    """
    if explicit is None:
        return fetch(name)
    digest, wanted = sha256(explicit), os.environ.get("RAYSIGN_MODEL_SHA256", "").lower()
    if name == "holistic" and wanted and digest != wanted:
        raise ModelFileError(f"{explicit}: sha256 {digest}, expected {wanted} of RAYSIGN_MODEL_SHA256; give that file")
    members = _members(explicit, name)
    if not _origin(name, digest):
        _LOG.warning("%s: sha256 %s is none that raysign knows; used because it was named", explicit, digest)
    return _mended(explicit, digest, members) if name == "holistic" else explicit


def file_of(name: str) -> str:
    """What the file of a bundle is called."""
    return _bundle(name)["file"]


def pair(explicit: Path | None = None) -> tuple[Path, Path]:
    """The Holistic and the hand bundle to use. With a named Holistic one goes the hand one beside it, where it is."""
    beside = explicit.with_name(file_of("hand")) if explicit else None
    return find(explicit), find(beside if beside and beside.is_file() else None, "hand")


def _mended(path: Path, digest: str, members: dict[str, bytes]) -> Path:
    """The bundle itself, or its copy in the cache with a face model whose points the task does not scramble."""
    raw = {pinned()["models"][source] for source in pinned()["without_iris_points"]}
    if hashlib.sha256(members["face_landmarks_detector.tflite"]).hexdigest() not in raw:
        return path
    copy = directory() / f"mended-{digest[:16]}.task"
    if not copy.exists():
        from raysign.extract import assemble  # late, see `assembled`

        _LOG.warning("%s: its face model gives 468 points, the task reads 478; a mended copy is used", path)
        face = assemble.with_iris_points(members["face_landmarks_detector.tflite"])
        store.write_bytes(copy, assemble.bundle({**members, "face_landmarks_detector.tflite": face}))
    return copy


def _members(path: Path, name: str) -> dict[str, bytes]:
    """The models in a bundle. ModelFileError when it is damaged or lacks one."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member: archive.read(member) for member in archive.namelist()}
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError) as error:
        told = f"{type(error).__name__}: {str(error)[:80]}"
        raise ModelFileError(f"{path}: not a whole MediaPipe bundle ({told}); give a {_bundle(name)['file']}") from None
    if missing := set(_bundle(name)["members"]) - set(members):
        raise ModelFileError(f"{path}: no {min(missing)} in it; give a {_bundle(name)['file']}")
    return members


def fetch(name: str) -> Path:
    """The cached bundle `name` (holistic, hand or pose), fetched when it is missing or not as pinned.

    Processes may fetch at once: each writes a file of its own and renames it. ModelFileError says what was tried.
    """
    path = _place(name)
    if path.is_file() and _origin(name, sha256(path)):
        return path
    tried = []
    for way in (_from_store, _from_wheel):
        try:
            way(name)
            return path
        except ModelFileError as error:
            tried.append(str(error))
    named = {"holistic": " or set extract.model", "hand": " or beside extract.model"}.get(name, "")
    raise ModelFileError(f"model bundle {name}: {'; '.join(tried)}; put a {_bundle(name)['file']} at {path}{named}")


# ---------------------------------------------------------------- the two ways


def _from_store(name: str) -> None:
    """Download one bundle from Google's model store."""
    about = _bundle(name)["store"]
    try:
        answer = requests.get(about["url"], timeout=(_CONNECT_S, _READ_S))
        answer.raise_for_status()
    except requests.RequestException as error:
        raise ModelFileError(f"the model store cannot be reached ({type(error).__name__})") from None
    store.write_bytes(_place(name), _checked(answer.content, about["sha256"], about["url"]))


def _from_wheel(_name: str) -> None:
    """Assemble all bundles from one download of the older wheel."""
    _LOG.warning("assembling the MediaPipe model bundles from the %s wheel (once)", pinned()["wheel"]["requirement"])
    with tempfile.TemporaryDirectory() as folder:
        wheel = _download_wheel(Path(folder))
        _checked(wheel.read_bytes(), pinned()["wheel"]["sha256"], wheel.name)
        with zipfile.ZipFile(wheel) as archive:
            for name in pinned()["bundles"]:
                store.write_bytes(_place(name), assembled(name, archive))


def _download_wheel(folder: Path) -> Path:
    about = pinned()["wheel"]
    # one wheel for every machine: only the models in it are used, so it need not fit this platform or Python
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
        "--disable-pip-version-check", "--dest", str(folder), "--platform", about["platform"],
        "--python-version", about["python"], "--implementation", "cp", "--abi", about["abi"], about["requirement"],
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ModelFileError(f"pip download of {about['requirement']} failed ({error})") from None
    found = list(folder.glob("*.whl"))
    if done.returncode or not found:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ModelFileError(f"pip download of {about['requirement']} failed ({last})")
    return found[0]


def assembled(name: str, wheel: zipfile.ZipFile) -> bytes:
    """The bundle `name` made of the models in an open wheel; ModelFileError when a byte is not as pinned."""
    from raysign.extract import assemble  # late: it imports mediapipe, which a cached bundle does not need

    members = {}
    for member, source in _bundle(name)["members"].items():
        if source is None:
            members[member] = assemble.blendshapes_stub()
            continue
        try:
            model = wheel.read(_INSIDE + source)
        except KeyError:
            raise ModelFileError(f"{wheel.filename}: no {source} in it, expected the 0.10.21 wheel") from None
        _checked(model, pinned()["models"][source], source)
        if source in pinned()["without_metadata"]:
            model = assemble.with_unit_scaling(model)
        if source in pinned()["without_iris_points"]:
            model = assemble.with_iris_points(model)
        members[member] = model
    return _checked(assemble.bundle(members), _bundle(name)["assembled"]["sha256"], f"the assembled {name} bundle")


# ---------------------------------------------------------------- what is known


def _bundle(name: str) -> dict:
    known = pinned()["bundles"]
    if name not in known:
        raise ModelFileError(f"model bundle: found {name!r}, expected one of {', '.join(known)}{nearest(name, known)}")
    return known[name]


def _place(name: str) -> Path:
    return directory() / _bundle(name)["file"]


def _origin(name: str, digest: str) -> str | None:
    """How a bundle of this sha256 came to be, or None when it is none of ours."""
    about = _bundle(name)
    return {about["store"]["sha256"]: "from the store", about["assembled"]["sha256"]: "assembled"}.get(digest)


def _checked(data: bytes, wanted: str, what: str) -> bytes:
    digest = hashlib.sha256(data).hexdigest()
    if digest != wanted:
        raise ModelFileError(f"{what}: sha256 {digest}, expected {wanted}; not used")
    return data
