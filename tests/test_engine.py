"""Joining a cluster whose head does not answer, or dies meanwhile."""

import os
import socket
import subprocess
import sys
import time

from raysign.bench._cluster import free_port

COMMAND = [sys.executable, "-c", "from raysign.cli import main; main()", "import", "source.kind=synthetic"]


def command(port: int, out) -> subprocess.Popen:
    environment = {**os.environ, "RAY_ADDRESS": f"127.0.0.1:{port}"}
    return subprocess.Popen(
        [*COMMAND, "ray.head_wait=1", f"out={out}"], env=environment, stderr=subprocess.PIPE, text=True
    )


def test_an_address_where_nothing_answers_is_told(tmp_path):
    said = command(free_port(), tmp_path).communicate(timeout=60)[1]
    assert said.startswith("raysign: Ray at 127.0.0.1:") and "nothing answers there" in said


def test_a_head_that_dies_while_it_is_joined_ends_the_command(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as head:  # it is looked at, then nothing more is heard of it
        head.settimeout(60)
        waiting = command(head.getsockname()[1], tmp_path)
        head.accept()[0].close()
        time.sleep(0.5)
    said = waiting.communicate(timeout=60)[1]
    assert waiting.returncode == 1
    assert "its head has gone; start Ray again" in said
