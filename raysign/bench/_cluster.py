"""A Ray cluster of several nodes on this machine, in processes of their own that can be killed one by one."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from raysign.errors import RaysignError

PATIENCE = 180  # seconds for a node to come up or to go
STARTS = 3  # times that a node is started before its failure counts
# a dead node is found out after 3 s instead of 15, so that a kill costs seconds
QUICK = {"RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "3"}


class Cluster:
    """A head and further nodes, each with CPUs of its own. Use it in a `with`, which ends all of it.

    address: what RAY_ADDRESS is to be; it stays the same through `restart`. environment: of processes that join.
    """

    def __init__(self, *cpus: int):
        """cpus: of the head and of each further node."""
        self.cpus, self.port = cpus, _lasting_port()
        self.address = f"127.0.0.1:{self.port}"
        self.environment = {
            **os.environ, **QUICK, "RAY_ADDRESS": self.address, "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0",
        }  # fmt: skip
        self.folder = Path(tempfile.mkdtemp(prefix="rs-"))  # short: the sockets in it allow 107 characters
        self.nodes: list[subprocess.Popen] = []
        self.started = 0

    def __enter__(self) -> "Cluster":
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *trouble) -> None:
        self.close()

    def start(self) -> None:
        """All nodes, the head first."""
        head = ["--head", f"--port={self.port}", "--dashboard-host=127.0.0.1", f"--dashboard-port={free_port()}",
                f"--ray-client-server-port={free_port()}"]  # fmt: skip
        self._start(self.cpus[0], *head)
        for cpus in self.cpus[1:]:
            self.add(cpus)

    def add(self, cpus: int) -> subprocess.Popen:
        """A further node; returns when it has joined."""
        return self._start(cpus, f"--address={self.address}")

    def kill(self, node: subprocess.Popen) -> None:
        """A node and every process on it, as when a machine loses its power."""
        if node in self.nodes:
            self.nodes.remove(node)
        for process in [*below(node.pid), *([psutil.Process(node.pid)] if node.poll() is None else [])]:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        node.wait(PATIENCE)

    def restart(self) -> None:
        """All nodes anew, at the same address."""
        for node in list(self.nodes):
            self.kill(node)
        self.start()

    def close(self) -> None:
        """End what is left, and clear it away."""
        for node in reversed(self.nodes):
            node.terminate()  # `ray start --block` ends its own children, and them only
        for node in list(self.nodes):
            with suppress(subprocess.TimeoutExpired):
                node.wait(30)
            self.kill(node)
        shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self, name: str) -> list[psutil.Process]:
        """Those of all nodes whose command line begins with a name, such as `ray::` of what works."""
        found = []
        for node in self.nodes:
            for process in below(node.pid):
                with suppress(psutil.Error):
                    if " ".join(process.cmdline()).startswith(name):
                        found.append(process)
        return found

    def _start(self, cpus: int, *words: str) -> subprocess.Popen:
        """A node that is up. Ray gives one up after 30 s, which a busy machine can take: it is then started again."""
        for _ in range(STARTS - 1):
            with suppress(RaysignError):
                return self._started(cpus, *words)
            self.kill(self.nodes[-1])
        return self._started(cpus, *words)

    def _started(self, cpus: int, *words: str) -> subprocess.Popen:
        ray = Path(sys.executable).parent / "ray"
        command = [str(ray), "start", "--block", f"--num-cpus={cpus}", "--num-gpus=0"]
        command += ["--object-store-memory=150000000", "--min-worker-port=0", "--max-worker-port=0"]
        command += [f"--dashboard-agent-listen-port={free_port()}"]
        if "--head" in words:
            command.append(f"--temp-dir={self.folder}")
        environment = {name: value for name, value in self.environment.items() if name != "RAY_ADDRESS"}
        environment["PATH"] = f"{ray.parent}:{environment['PATH']}"
        self.started += 1
        log = self.folder / f"node{self.started}.log"
        with log.open("w") as file:
            node = subprocess.Popen(
                [*command, *words], env=environment, stdout=file, stderr=file, start_new_session=True
            )
        self.nodes.append(node)
        _wait_for_start(node, log)
        return node


def _wait_for_start(node: subprocess.Popen, log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while "Ray runtime started" not in log.read_text():
        if node.poll() is not None or time.monotonic() > until:
            raise RaysignError(f"ray start: the node did not come up: {log.read_text()[-500:]}")
        time.sleep(0.1)


def below(pid: int) -> list[psutil.Process]:
    """A process's descendants; none when it is gone."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    return _bound(0)


def _lasting_port() -> int:
    """As `free_port`, but none that a connection may be given while a head that was killed starts again: those come
    from 32768 on (Linux) or 49152 (elsewhere).
    """
    while True:
        with suppress(OSError):
            return _bound(20000 + secrets.randbelow(12000))


def _bound(port: int) -> int:
    """The port, or any free one for 0. OSError when somebody listens there."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", port))
        return found.getsockname()[1]
