"""`ray job submit` to a cluster started with `ray start --head`: results in a bucket, errors, stopping, going on."""

import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import requests
import yaml

from raysign import config, pipeline, remote, store
from raysign.cli import main
from raysign.learn.history import read_metrics

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
SMALL = ["configs/demo.yaml", "source.glosses=3", "source.signers=3", "source.takes=2", "split.val_signers=[signer1]",
         "split.test_signers=[signer2]", "train.workers=1"]  # fmt: skip
SUBMIT = ["--working-dir", ".", "--runtime-env", "jobs/runtime_env.yaml"]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def head(bucket, tmp_path_factory):
    """Address of the job server of a cluster of its own, in its own process session, and what its clients are told."""
    port, dashboard = free_port(), free_port()
    environment = {**os.environ, **bucket, "PATH": f"{BIN}:{os.environ['PATH']}", "RAY_AUTH_MODE": "token",
                   "RAYSIGN_MIRROR": str(tmp_path_factory.mktemp("node"))}  # fmt: skip
    command = ["ray", "start", "--head", "--block", "--num-cpus=2", f"--port={port}", "--dashboard-host=127.0.0.1",
               f"--dashboard-port={dashboard}", f"--ray-client-server-port={free_port()}",
               f"--dashboard-agent-listen-port={free_port()}"]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:  # sockets want a short path
        with (Path(folder) / "head.log").open("w") as log:
            process = subprocess.Popen([*command, f"--temp-dir={folder}"], env=environment, stdout=log, stderr=log,
                                       start_new_session=True)  # fmt: skip
        try:
            address = f"http://127.0.0.1:{dashboard}"
            until(lambda: ray_job((address, environment), "list").returncode == 0, 180)
            yield address, environment
        finally:
            process.terminate()  # `ray start --block` ends its own children, and them only
            process.wait(60)


def until(true: Callable[[], object], seconds: float) -> None:
    deadline = time.time() + seconds
    while not true():
        assert time.time() < deadline
        time.sleep(0.2)


def ray_job(head: tuple, verb: str, *words: str) -> subprocess.CompletedProcess:
    """`ray job VERB` as a user types it."""
    address, environment = head
    return subprocess.run(["ray", "job", verb, "--address", address, *words], cwd=ROOT, env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500)  # fmt: skip


def stop(head: tuple, job: str) -> None:
    """What `ray job stop` sends, without the seconds in which it starts: the training would be over."""
    token = {"Authorization": f"Bearer {os.environ['RAY_AUTH_TOKEN']}"}
    requests.post(f"{head[0]}/api/jobs/{job}/stop", headers=token, timeout=60).raise_for_status()


@pytest.fixture
def results(bucket, monkeypatch, tmp_path) -> str:
    """Where results go; this process then sees them as another machine than the cluster's, with a mirror of its own."""
    for name, value in bucket.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAYSIGN_MIRROR", str(tmp_path / "mirror"))
    return f"out=s3://raysign/{tmp_path.name}"


@pytest.mark.timeout(900)
def test_a_submitted_run_leaves_results_that_another_machine_sees(head, results):
    words = [*SMALL, results, "train.epochs=2", "mlflow.enabled=false"]
    done = ray_job(head, "submit", *SUBMIT, "--", "python", "jobs/run.py", *words)
    assert done.returncode == 0 and "succeeded" in done.stdout, done.stdout
    assert re.search("^report:  s3://raysign/.*/report.html$", done.stdout, re.MULTILINE)
    settings = config.load([str(ROOT / SMALL[0]), *words[1:], "train.workers=0"])
    assert not settings.home.exists()
    found = store.read_json(settings.home / "evaluation" / "metrics.json")
    made = store.found(settings.home, "train/*/checkpoints/*.pt")
    assert pipeline.evaluate(settings) == found
    assert store.found(settings.home, "train/*/checkpoints/*.pt") == made, "nothing is trained again"


@pytest.mark.timeout(600)
def test_a_mistake_is_the_message_of_a_failed_job(head):
    failed = ray_job(head, "submit", *SUBMIT, "--submission-id=typo", "--", "python", "jobs/train.py",
                     "configs/demo.yaml", "train.epoch=2")  # fmt: skip
    assert failed.returncode == 1
    assert "raysign: train.epoch: unknown key; did you mean 'epochs'?" in failed.stdout
    listed = ray_job(head, "list", "--log-style=record")
    assert "did you mean 'epochs'" in listed.stdout and "FAILED" in listed.stdout


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_a_stopped_training_says_so_and_goes_on_where_it_stopped(head, results, tmp_path):
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    words = [*SMALL, results, "train.epochs=12", "train.checkpoint_every=1", f"mlflow.uri={uri}"]
    command = [*SUBMIT, "--", "python", "jobs/train.py", *words]
    assert ray_job(head, "submit", "--no-wait", "--submission-id=first", *command).returncode == 0
    home = remote.place(results.removeprefix("out="))
    until(lambda: len(store.found(home, "train/*/checkpoints/epoch_*2.pt")), 400)
    stop(head, "first")
    until(lambda: "was stopped" in ray_job(head, "status", "first").stdout, 200)
    assert "raysign: terminated; the same command goes on where it was" in ray_job(head, "logs", "first").stdout
    (training,) = {file.parents[1] for file in store.found(home, "train/*/checkpoints/*.pt")}
    note, before = store.read_json(training / "mlflow.json"), len(read_metrics(training))
    assert 2 <= before < 12
    assert MlflowClient(uri).get_run(note["run_id"]).info.status == "KILLED"

    done = ray_job(head, "submit", *command)
    assert done.returncode == 0, done.stdout
    assert f"bundle: {remote.shown(home)}/bundle" in done.stdout
    told = [int(epoch) for epoch in re.findall(r"^epoch (\d+)/12", done.stdout, re.MULTILINE)]
    assert min(told) >= before and max(told) == 12
    assert [row["epoch"] for row in read_metrics(training)] == list(range(1, 13))
    assert store.read_json(training / "mlflow.json") == {**note, "finished": True}
    assert MlflowClient(uri).get_run(note["run_id"]).info.status == "FINISHED"


@pytest.mark.parametrize("script", sorted((ROOT / "jobs").glob("*.py")), ids=lambda script: script.stem)
def test_each_script_is_one_verb_and_says_how_it_is_submitted(script):
    text = script.read_text(encoding="utf-8")
    verb = re.findall(r'main\(\["([a-z]+)", \*sys\.argv\[1:\]\]\)', text)
    assert f"{' '.join(SUBMIT)} -- python jobs/{script.name} " in text
    assert verb[0] in main.commands and script.stem.startswith(verb[0])


def commands() -> list[list[str]]:
    """The words of each command that the page shows."""
    text = (ROOT / "docs" / "jobs.md").read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    told = [shlex.split(line, comments=True) for line in lines if not line.startswith("export ")]
    return [[word for word in words if word != "&"] for words in told]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_the_commands_of_the_page_are_understood(words):
    from ray.scripts.scripts import cli

    command, rest = {"ray": cli, "raysign": main}[words[0]], words[1:]
    while isinstance(command, click.Group):
        command, rest = command.commands[rest[0]], rest[1:]
    context = command.make_context(words[0], rest)  # a word or an option it does not know is an error
    if "python" in words:
        assert context.params["entrypoint"][0] == "python" and (ROOT / context.params["entrypoint"][1]).is_file()
        config.load([str(ROOT / word) if word.endswith(".yaml") else word for word in context.params["entrypoint"][2:]])


def test_what_the_runtime_environment_file_sets_is_known_to_ray():
    from ray.runtime_env import RuntimeEnv

    tree = yaml.safe_load((ROOT / "jobs" / "runtime_env.yaml").read_text(encoding="utf-8"))
    assert dict(RuntimeEnv(**tree)) == tree
