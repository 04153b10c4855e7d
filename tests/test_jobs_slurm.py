"""jobs/slurm.sbatch on a SLURM of two nodes that is started here for these tests, with its own keys, ports and folders.

Skipped where SLURM or munge is not installed, or where the user may not start them.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_jobs import free_port

from raysign.learn.history import read_metrics

ROOT = Path(__file__).parents[1]
DAEMONS = ("munged", "slurmctld", "slurmd")
SMALL = ["source.glosses=3", "source.signers=3", "source.takes=2", "split.val_signers=[signer1]",
         "split.test_signers=[signer2]"]  # fmt: skip
SETTINGS = """\
ClusterName=test
SlurmctldHost={host}
SlurmUser=root
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={home}/munge.socket,cred_expire=5
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool-%n
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2
MpiDefault=none
ReturnToService=2
KillWait=20
MailProg=/bin/true
NodeName=n1 NodeHostname={host} Port={first} CPUs=2
NodeName=n2 NodeHostname={host} Port={second} CPUs=2
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The folder of a running SLURM; jobs are submitted with its configuration."""
    if os.geteuid() or not all(map(program, DAEMONS)):
        pytest.skip("needs slurmctld, slurmd and munged, and root, who alone may start them")
    home = tmp_path_factory.mktemp("slurm")
    host = socket.gethostname()
    ports = {"port": free_port(), "first": free_port(), "second": free_port()}
    (home / "slurm.conf").write_text(SETTINGS.format(home=home, host=host, **ports))
    (home / "cgroup.conf").write_text("IgnoreSystemd=yes\n")
    (home / "munge.key").write_bytes(os.urandom(1024))
    (home / "munge.key").chmod(0o600)
    started = []
    try:
        started.append(daemon(home, "munged", "--foreground", "--force", f"--key-file={home}/munge.key",
                              f"--socket={home}/munge.socket", f"--pid-file={home}/munge.pid",
                              f"--seed-file={home}/munge.seed", f"--log-file={home}/munge.log"))  # fmt: skip
        until(lambda: (home / "munge.socket").exists())
        started.append(daemon(home, "slurmctld", "-D"))
        started += [daemon(home, "slurmd", "-D", "-N", node) for node in ("n1", "n2")]
        until(lambda: asked(home, "sinfo", "-h", "-o", "%t %D") == "idle 2", seconds=60)
        yield home
    finally:
        if len(started) > 1:
            asked(home, "scancel", "--user=root")
            until(lambda: not asked(home, "squeue", "-h"), seconds=60)
        for process in reversed(started):
            process.terminate()
            process.wait(60)


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "SLURM_CONF": f"{home}/slurm.conf", "RAYSIGN_VENV": sys.prefix, "PYTHONPATH": str(ROOT)}


def daemon(home: Path, name: str, *options: str) -> subprocess.Popen:
    with (home / f"{name}-{len(options)}.log").open("a") as log:
        return subprocess.Popen([str(program(name)), *options], env=environment(home), stdout=log, stderr=log,
                                start_new_session=True)  # fmt: skip


def asked(home: Path, *words: str) -> str:
    return subprocess.run(words, env=environment(home), capture_output=True, text=True).stdout.strip()


def until(true, seconds: float = 400) -> None:
    deadline = time.time() + seconds
    while not true():
        assert time.time() < deadline, "waited in vain"
        time.sleep(0.5)


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder to submit from, with what one has there: the configs, a `.env` and a place for logs."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / ".env").write_text(f"RAYSIGN_HOME={tmp_path}/results\n")
    (tmp_path / "logs").mkdir()
    return tmp_path


def submit(home: Path, project: Path, options: list[str], *words: str) -> str:
    done = subprocess.run(["sbatch", "--parsable", "--cpus-per-task=1", "--mem=0", *options, ROOT / "jobs/slurm.sbatch",
                           *words], cwd=project, env=environment(home), capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def told(home: Path, job: str, what: str) -> str:
    shown = asked(home, "scontrol", "show", "job", job)
    return next(word.split("=")[1] for word in shown.split() if word.startswith(f"{what}="))


def log_of(project: Path, job: str) -> str:
    return (project / "logs" / f"raysign_{job}.out").read_text()


def state(home: Path, job: str) -> str:
    return told(home, job, "JobState")


def ended(home: Path, job: str) -> str:
    """The state of the job when it is over."""
    until(lambda: state(home, job) in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"))
    return state(home, job)


@pytest.mark.timeout(900)
def test_a_job_of_two_nodes_goes_on_after_its_time_was_up_and_another_beside_it_fails_alone(slurm, project):
    training = ["run", "configs/demo.yaml", *SMALL, "out=there", "train.checkpoint_every=1", "train.epochs=12"]
    job = submit(slurm, project, ["--nodes=2"], *training, "train.workers=2")
    wrong = submit(slurm, project, [], "run", "configs/demo.yaml", "train.epoch=2")
    home = project / "results" / "there"
    until(lambda: list(home.glob("train/*/checkpoints/*")) or state(slurm, job) == "FAILED")
    asked(slurm, "scancel", "--batch", "--signal=USR1", job)  # what SLURM sends shortly before the time is up
    until(lambda: told(slurm, job, "Restarts") == "1" or state(slurm, job) == "FAILED")

    assert ended(slurm, wrong) == "FAILED"
    assert told(slurm, wrong, "ExitCode") == "1:0"
    assert "did you mean 'epochs'" in log_of(project, wrong)
    assert ended(slurm, job) == "COMPLETED", log_of(project, job)
    assert (home / "bundle" / "card.json").is_file()
    (trained,) = home.glob("train/*")
    assert [row["epoch"] for row in read_metrics(trained)] == [*range(1, 13)]
    assert log_of(project, job).count("epoch 1/12") == 1  # the second time it went on
    assert not [name for name in (job, wrong) if Path(f"/tmp/raysign-{name}").exists()]
