"""`ray job submit` against a cluster started with `ray start --head`, as the README has it."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def head():
    """Address of the job server of a cluster of its own, in its own process session."""
    port, dashboard = free_port(), free_port()
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "RAY_AUTH_MODE": "token"}
    command = ["ray", "start", "--head", "--block", "--num-cpus=2", f"--port={port}", "--dashboard-host=127.0.0.1",
               f"--dashboard-port={dashboard}", f"--ray-client-server-port={free_port()}",
               f"--dashboard-agent-listen-port={free_port()}"]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:  # sockets want a short path
        with (Path(folder) / "head.log").open("w") as log:
            process = subprocess.Popen([*command, f"--temp-dir={folder}"], env=environment, stdout=log, stderr=log,
                                       start_new_session=True)  # fmt: skip
        try:
            yield wait_for(f"http://127.0.0.1:{dashboard}", environment), environment
        finally:
            process.terminate()  # `ray start --block` ends its own children, and them only
            process.wait(60)


def wait_for(address: str, environment: dict) -> str:
    deadline = time.time() + 90
    while time.time() < deadline:
        listing = subprocess.run(["ray", "job", "list", "--address", address], env=environment, capture_output=True)
        if listing.returncode == 0:
            return address
        time.sleep(1)
    raise TimeoutError(f"no job server at {address}")


def submit(head: tuple, *words: str) -> subprocess.CompletedProcess:
    address, environment = head
    return subprocess.run(["ray", "job", "submit", "--address", address, "--working-dir", ".", "--", *words],
                          cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400)  # fmt: skip


@pytest.mark.timeout(600)
def test_a_submitted_training_leaves_a_bundle_and_a_mistake_fails_with_its_line(head, tmp_path):
    small = ["source.glosses=3", "source.signers=3", "source.takes=2", "split.val_signers=[signer1]",
             "split.test_signers=[signer2]", "train.epochs=2", "train.workers=1", f"out={tmp_path}/out"]  # fmt: skip
    done = submit(head, "python", "jobs/train.py", "configs/demo.yaml", *small)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "bundle" / "card.json").is_file()
    failed = submit(head, "python", "jobs/train.py", "configs/demo.yaml", "train.epoch=2")
    assert failed.returncode == 1
    assert "did you mean 'epochs'" in failed.stdout
