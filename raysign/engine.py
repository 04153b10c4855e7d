"""The one door to Ray Data: units of work out to the workers, small manifest rows back.

A unit is a JSON-like mapping worth some seconds of work. The worker reads, computes and writes its own shard, so no
array ever passes through Ray's object store and memory stays flat however long the list of units is.
"""

import logging
import os
import re
import secrets
import signal
import socket
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from raysign import config, errors
from raysign.errors import RaysignError

GROUP_WAIT = 15  # seconds that Ray Train waits for a group's place before it thinks it over
LOOK = 1.0  # seconds between two looks at the cluster's head


def connect(settings: config.Ray, dashboard: bool = False, environment: dict[str, str] | None = None) -> None:
    """Join the cluster named by the settings or RAY_ADDRESS, else start one on this machine. Does nothing twice.

    dashboard: also start the dashboard of a cluster started here (Ray Train cleans up after dead workers with it).
    environment: variables of all worker processes.
    """
    import ray

    if ray.is_initialized():
        return
    address = settings.address or os.environ.get("RAY_ADDRESS")
    common: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if environment:
        common["runtime_env"] = {"env_vars": environment}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else warnings of its own inside a run that is well
    # a worker that waits for its turn would otherwise be asked for its health every 2 s, and each report waits for it
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    # a group of workers for which there is no room, as after the loss of a node, is thought over this often
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(GROUP_WAIT))
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    stop, joined = signal.getsignal(signal.SIGTERM), threading.Event()
    if address and re.fullmatch(r"[^/]+:\d+", address):
        if not _answers(address, settings.head_wait):
            raise RaysignError(f"Ray at {address}: nothing answers there; start it, or see ray.address and RAY_ADDRESS")
        # Ray tries for a quarter of an hour to join a head that dies in the middle of it
        _watch(address, settings.head_wait, lambda: not joined.is_set())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if address:
                ray.init(address=address, **common)
            else:
                # a token of this process alone: none is left lying in the home directory
                os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
                ray.init(num_cpus=settings.cpus, include_dashboard=dashboard, dashboard_host="127.0.0.1", **common)
    except Exception as error:  # a node that came up too slowly is an Exception and nothing more
        where = address or "this machine"
        hint = " (a cluster that asks for a token wants RAY_AUTH_MODE=token)" if address else ""
        raise RaysignError(f"Ray at {where}: {str(error).splitlines()[0]}{hint}") from None
    finally:
        joined.set()
    if callable(stop) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)  # Ray has put its own in place
    quiet()
    _heads.append(ray.get_runtime_context().gcs_address)
    number = len(_heads)
    _watch(_heads[-1], settings.head_wait, lambda: ray.is_initialized() and len(_heads) == number)


_heads: list[str] = []  # that this process has joined, the newest last


def _answers(address: str, wait: float) -> bool:
    """Whether somebody listens at HOST:PORT, or begins to within so many seconds."""
    host, _, port = address.rpartition(":")
    until = time.monotonic() + wait
    while True:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=wait):
                return True
        except OSError:
            if time.monotonic() > until:
                return False
        time.sleep(LOOK)


def _watch(address: str, wait: float, needed: Callable[[], bool]) -> None:
    """As long as it is needed, end this process with a line when the head has not answered for so many seconds.

    Ray itself would wait a minute and then abort the process, whose calls never return, with a dump of its own.
    """

    def look() -> None:
        while needed():
            if not _answers(address, wait) and needed():
                step = "start Ray again; the same command goes on where it stopped"
                print(f"raysign: Ray at {address}: its head has gone; {step}", file=sys.stderr, flush=True)
                os._exit(1)
            time.sleep(LOOK)

    threading.Thread(target=look, name="raysign-watch", daemon=True).start()


def quiet() -> None:
    """Ray Data without its own progress bars and chatter; raysign shows its own progress."""
    import ray

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of defaults of its own
        context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # half of a small cluster's CPUs would be kept for other steps of the pipeline, and there are none: on 2 CPUs
    # tasks then run one after the other
    context.op_resource_reservation_enabled = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def cpus(settings: config.Ray) -> int:
    """CPUs of the cluster that `connect` would give, at least 1. Starts none for the answer."""
    import ray

    if ray.is_initialized() or settings.address or os.environ.get("RAY_ADDRESS"):
        connect(settings)
        return max(1, int(sum(machine.get("CPU", 0) for machine in machines())))
    return settings.cpus or usable_cpus()


BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")  # what `ray up` leaves on a head: the settings of its autoscaler


def machines(alive: bool = False) -> list[dict[str, float]]:
    """Resources of each machine of the cluster: those alive and, unless only they are wanted, those that the
    autoscaler of `ray up` may start.
    """
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    found = [node["Resources"] for node in nodes]
    told = BOOTSTRAP.expanduser()
    if alive or not told.exists():
        return found
    cluster = yaml.safe_load(told.read_text(encoding="utf-8"))
    groups, more = Counter(node["Labels"].get("ray.io/node-group") for node in nodes), []
    for name, kind in cluster["available_node_types"].items():
        if name != cluster["head_node_type"]:
            most = kind.get("max_workers", cluster.get("max_workers", 0))
            more += [kind.get("resources", {})] * (most - groups[name])
    return found + more[: max(0, cluster.get("max_workers", 0) + 1 - len(nodes))]


def usable_cpus() -> int:
    """CPUs this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_use() -> int:
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def stream(
    units: list[dict], worker: Callable[..., Any], arguments: dict, *, actors: int | None = None
) -> Iterator[dict]:
    """Run every unit through `worker(**arguments)(unit)` on the cluster; yield its manifest rows as they come.

    worker: a class; its instances turn a unit into one small mapping. actors: None runs stateless tasks, as many at
    a time as there are CPUs; a number runs that many long-lived instances of one CPU each, for workers that are
    costly to make. Units of a process or node that dies are run again, for ever: a worker that may kill its process
    must keep a ledger. Order is not kept.
    """
    import ray
    from ray.exceptions import RayTaskError

    if not units:
        return
    if actors:
        # one unit to a block: an idle actor takes the next one, and a dead one costs its own unit only
        data = ray.data.from_items(units, override_num_blocks=len(units))
        most = min(actors, len(units))
        pool = ray.data.ActorPoolStrategy(size=most, max_tasks_in_flight_per_actor=1)
        mapped = data.map(worker, fn_constructor_kwargs=arguments, compute=pool, num_cpus=1)
    else:
        # few blocks of many units: a block costs tens of milliseconds, and stateless units are short
        data = ray.data.from_items(units, override_num_blocks=min(len(units), 4 * _in_use()))
        mapped = data.map(_Stateless(worker, arguments), num_cpus=1)
    try:
        yield from mapped.iter_rows()
    except RayTaskError as error:
        raise _own(error) from None


def _own(error: Exception) -> Exception:
    """The RaysignError a worker raised, which Ray hands on as text only; any other error as it is."""
    told = re.search(r"^raysign\.errors\.(\w+): (.+)$", str(error), re.MULTILINE)
    return getattr(errors, told[1])(told[2]) if told else error


class _Stateless:
    """A worker made anew in each task, passed to Ray Data as a plain function of a row."""

    def __init__(self, worker: Callable[..., Any], arguments: dict):
        self.worker, self.arguments = worker, arguments
        self.__name__ = getattr(worker, "__name__", "worker")

    def __call__(self, unit: dict) -> dict:
        return self.worker(**self.arguments)(unit)
