"""Servers of a team, started for a test on free ports of this machine: PostgreSQL as Debian packs it, and MLflow."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from raysign.learn.tracking import Tracker

WAIT = 240  # seconds, on a busy machine


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


def _taken(port: int) -> bool:
    with socket.socket() as door:
        return door.connect_ex(("127.0.0.1", port)) == 0


def ended(process: subprocess.Popen, how: signal.Signals) -> None:
    """End a process and its children, which are a group of their own."""
    try:
        os.killpg(process.pid, how)
        process.wait(20)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        process.kill()
        process.wait()


def postgres_programs() -> Path | None:
    """The folder of initdb and postgres; None where PostgreSQL is not installed."""
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextmanager
def postgres() -> Iterator[str]:
    """The URI of an empty database in a folder that is deleted afterwards. It refuses to run as root."""
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    as_user = ["runuser", "-u", user, "--"] if os.geteuid() == 0 else []
    programs = postgres_programs()
    assert programs, "PostgreSQL is not installed"
    home = Path(tempfile.mkdtemp(prefix="raysign-pg-", dir="/tmp"))
    try:
        shutil.chown(home, user)
        data, port = home / "data", free_port()
        make = [programs / "initdb", "-D", data, "-U", "raysign", "-A", "trust", "--no-sync"]
        subprocess.run([*as_user, *make], check=True, cwd="/", stdout=subprocess.DEVNULL)
        serve = [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", home, "-F"]
        process = subprocess.Popen([*as_user, *serve], cwd="/", start_new_session=True, stderr=subprocess.DEVNULL)
        try:
            _until(lambda: subprocess.run([programs / "pg_isready", "-q", "-h", home, "-p", str(port)]).returncode == 0)
            yield f"postgresql+pg8000://raysign@127.0.0.1:{port}/postgres"
        finally:
            ended(process, signal.SIGINT)
    finally:
        shutil.rmtree(home, ignore_errors=True)


class Mlflow:
    """`mlflow server` on a database, which can be stopped and started again at the same address."""

    def __init__(self, database: str, artifacts: Path):
        self.port, self.process, self.log = free_port(), None, artifacts / "server.log"
        self.uri = f"http://127.0.0.1:{self.port}"
        self.command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", database, "--artifacts-destination", str(artifacts),
        ]  # fmt: skip

    def start(self) -> None:
        _until(lambda: not _taken(self.port))  # by what is left of the one that was stopped
        with self.log.open("a") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True, cwd="/tmp")
        _until(self._answers)

    def stop(self) -> None:
        if self.process:
            ended(self.process, signal.SIGTERM)
        self.process = None

    def _answers(self) -> bool:
        assert self.process and self.process.poll() is None, self.log.read_text()[-2000:]
        try:
            return requests.get(f"{self.uri}/health", timeout=5).status_code == 200
        except requests.RequestException:
            return False


def _until(condition) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "the server did not start"
        time.sleep(0.2)


def run_of(tracker: Tracker) -> str:
    """MLflow's name of its run, once it was told what there is so far."""
    end = time.monotonic() + WAIT
    while not tracker.kept:
        assert time.monotonic() < end
        time.sleep(0.05)
    return tracker.note["run_id"]
