"""Results in an object store: `out=s3://bucket/prefix`, of which each machine keeps a mirror.

raysign works on files of this machine. What belongs to s3://bucket/x lies here at DIR/raysign-mirror/s3/bucket/x, where
DIR is $RAYSIGN_MIRROR or ~/.cache. `store` brings (`push`) what it writes to the object store before it gives the file
its name here, and fetches (`pull`) what it reads when it is new or changed. The object store has the last word: what is
not there is not here either, and a mirror may be deleted whenever nothing runs. A path outside a mirror costs one look
at its parts.
"""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from raysign.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from pyarrow import fs

MARK = "raysign-mirror"  # tells a path in a mirror, whatever machine has named it
SCHEMES = ("s3", "gs")
ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://(.+)")


def is_address(word: object) -> bool:
    """Whether this names something in an object store."""
    return ADDRESS.fullmatch(str(word)) is not None


def place(word: str) -> Path:
    """The path of what a user names: of an address its place in the mirror. ConfigError for one that cannot be used."""
    found = ADDRESS.fullmatch(word)
    if not found:
        return Path(word)
    scheme, rest = found.groups()
    parts = [part for part in rest.split("/") if part not in ("", ".")]
    if scheme not in SCHEMES or not parts or ".." in parts:
        known = " or ".join(f"{name}://BUCKET/PREFIX" for name in SCHEMES)
        raise ConfigError(f"{word}: found an address that results cannot be kept at, expected a path, {known}")
    home = Path(os.environ.get("RAYSIGN_MIRROR") or "~/.cache").expanduser().absolute()
    if MARK in home.parts:
        raise ConfigError(f"RAYSIGN_MIRROR: found {home}, expected a folder outside {MARK}, which is made below it")
    return home.joinpath(MARK, scheme, *parts)


def shown(path: Path) -> str:
    """The inverse of `place`: what a user would type."""
    if MARK not in path.parts:
        return str(path)
    scheme, *rest = path.parts[path.parts.index(MARK) + 1 :]
    return f"{scheme}://{'/'.join(rest)}"


def where(path: Path) -> "tuple[fs.FileSystem, str] | None":
    """The object store and the key of a path in a mirror; None for a path of this machine alone. StoreError when the
    bucket's region cannot be found.
    """
    if MARK not in path.parts:
        return None
    scheme, bucket, *rest = path.parts[path.parts.index(MARK) + 1 :]
    with _told(path):
        return _opened(scheme, bucket, os.getpid()), "/".join([bucket, *rest])


@lru_cache
def _opened(scheme: str, bucket: str, _process: int) -> "fs.FileSystem":
    """A connection of this process."""
    from pyarrow import fs

    if scheme != "s3":
        return fs.FileSystem.from_uri(f"{scheme}://{bucket}")[0]
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not endpoint and not region:
        region = fs.resolve_s3_region(bucket)
    tries = fs.AwsStandardS3RetryStrategy(max_attempts=5)
    secure, _, host = (endpoint or "").rpartition("://")
    return fs.S3FileSystem(
        endpoint_override=host or None, scheme=secure or "https", region=region, retry_strategy=tries,
        connect_timeout=10, request_timeout=60,
    )  # fmt: skip


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # what a disk says that takes no more


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What an object store objects to, as one line."""
    try:
        yield
    except (OSError, ValueError) as error:  # Arrow's own errors are of these classes
        reason = " ".join(str(error).split())[:300]
        step = "check the bucket's name, its credentials (AWS_ACCESS_KEY_ID, ...), AWS_REGION and AWS_ENDPOINT_URL"
        if getattr(error, "errno", None) in _FULL or getattr(error, "filename", None):  # no store says of a file here
            mirror = Path(*path.parts[: path.parts.index(MARK) + 1])
            step = f"make room below {mirror} and see that it can be written, or name another disk by RAYSIGN_MIRROR"
        raise StoreError(f"{shown(path)}: {reason}; {step}") from None


# ------------------------------------------------ files; nothing is done for a path of this machine alone


def push(path: Path, file: Path) -> None:
    """Put the finished `file` into the object store as `path`; no reader sees half of it."""
    if found := where(path):
        from pyarrow import fs

        files, key = found
        with _told(path):
            # in one call, which nothing interrupts: a stream that Python opens and leaves is closed, and so published
            fs.copy_files(str(file), key, source_filesystem=fs.LocalFileSystem(), destination_filesystem=files)
            _date(file, files.get_file_info(key))


def pull(path: Path, anew: bool = False) -> Path:
    """`path`, with the object store's file there, or no file when it has none.

    anew: fetch it also when the file here looks the same, as two of one size do that were written in one second: for
    what says who is at work, which is as long whoever it is.
    """
    if found := where(path):
        files, key = found
        with _told(path):
            info = files.get_file_info(key)
            if not info.is_file:
                path.unlink(missing_ok=True)
            elif anew or not _is_here(path, info):
                _fetch(files, info, path)
    return path


def _fetch(files: "fs.FileSystem", info: "fs.FileInfo", path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")  # others of this machine may fetch it too
    try:
        with files.open_input_stream(info.path) as stream, temporary.open("wb") as file:
            shutil.copyfileobj(stream, file, 1 << 24)
        _date(temporary, info)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _date(file: Path, info: "fs.FileInfo") -> None:
    """A file here has the time of the object it is: with its size, what tells whether that has changed since."""
    os.utime(file, ns=(info.mtime_ns, info.mtime_ns))


def _is_here(path: Path, info: "fs.FileInfo") -> bool:
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return (status.st_size, status.st_mtime_ns) == (info.size, info.mtime_ns)


def holds(path: Path) -> bool | None:
    """Whether the object store has the file; None for a path of this machine alone."""
    if not (found := where(path)):
        return None
    files, key = found
    with _told(path):
        return files.get_file_info(key).is_file


def part(path: Path):
    """The object store's file, open to read some of it, when it is not here as it is there; else None."""
    if not (found := where(path)):
        return None
    files, key = found
    with _told(path):
        info = files.get_file_info(key)
        return files.open_input_file(key) if info.is_file and not _is_here(path, info) else None


def listed(directory: Path, deep: bool) -> list[str] | None:
    """Names of the files in a folder, with its subfolders' if `deep`; None for a path of this machine alone."""
    from pyarrow import fs

    if not (found := where(directory)):
        return None
    files, key = found
    with _told(directory):
        infos = files.get_file_info(fs.FileSelector(key, allow_not_found=True, recursive=deep))
    return [info.path.removeprefix(f"{key}/") for info in infos if info.is_file]


def remove(path: Path) -> None:
    """Take a file, or a folder with all that is in it, out of the object store."""
    if found := where(path):
        files, key = found
        with _told(path):
            info = files.get_file_info(key)
            if info.is_file:
                files.delete_file(key)
            elif info.type.name == "Directory":
                files.delete_dir(key)
