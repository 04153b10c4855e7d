"""Where a training loop tells of its epochs: this process, or Ray Train, whose driver follows the file of metrics."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from raysign.errors import RaysignError
from raysign.pace import pace

PAUSE = 0.5  # seconds between two looks at the file of metrics


class Reporter(Protocol):
    """What the loop calls after each epoch, on every worker."""

    def report(self, metrics: dict[str, float], saved: bool) -> None:
        """metrics: plain numbers, `epoch` (from 1) among them. saved: a checkpoint was written."""


class Tracking(Protocol):
    """What the driver of a training tells of it: MLflow's run, or a search's."""

    told: float  # epochs that need no telling

    def log(self, epoch: int, metrics: dict[str, float]) -> None:
        """An epoch has ended."""

    def finish(self, status: str, bundle: Path | None = None, best: dict[str, float] | None = None) -> None:
        """The training has: FINISHED, FAILED or KILLED, with the metrics of the best epoch."""


@contextmanager
def told_of_its_end(tracker: Tracking) -> Iterator[None]:
    """What is done in here tells of its own good end; of an error's, or of a stop's, the tracker is told."""
    try:
        yield
    except RaysignError:
        tracker.finish("FAILED")
        raise
    except BaseException:
        tracker.finish("KILLED")
        raise


class Local:
    """Shows progress and hands each epoch's metrics to `log`."""

    def __init__(self, epochs: int, log: Callable[[int, dict[str, float]], None] | None = None):
        self.epochs, self.log = epochs, log
        self.bar = tqdm(total=epochs, unit="epoch") if sys.stderr.isatty() else None
        self.began, self.first, self.due = 0.0, None, pace()

    def report(self, metrics: dict[str, float], saved: bool = False) -> None:  # noqa: ARG002 - the protocol
        epoch = int(metrics["epoch"])
        numbers = {name: value for name, value in metrics.items() if name != "epoch"}
        if self.log:
            self.log(epoch, numbers)
        if self.first is None:
            self.began, self.first = time.monotonic(), epoch  # the first takes longer than those that follow
        told = {name: f"{numbers[name]:.3f}" for name in ("train/loss", "val/loss", "val/top1") if name in numbers}
        if self.bar is not None:
            self.bar.set_postfix(told)
            self.bar.update(epoch - self.bar.n)
        elif epoch in (self.first, self.epochs) or self.due():
            said = [f"epoch {epoch}/{self.epochs}", *(f"{name} {value}" for name, value in told.items())]
            if epoch > self.first:
                left = (time.monotonic() - self.began) / (epoch - self.first) * (self.epochs - epoch)
                said.append(f"{left:.0f} s left")
            print("  ".join(said), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the terminal tidy."""
        if self.bar is not None:
            self.bar.close()


class Train:
    """Hands metrics to Ray Train when a checkpoint was saved: each report waits for all workers and for Ray."""

    def __init__(self, report: Callable[[dict], None]):
        self.hand_over = report

    def report(self, metrics: dict[str, float], saved: bool) -> None:
        if saved:
            self.hand_over({name: float(value) for name, value in metrics.items()})


class Follow:
    """Passes each new epoch that `read()` lists to a reporter of this process, from a thread, until closed.

    Used by the driver while workers train elsewhere: it alone writes to the terminal and to MLflow, whatever happens
    to workers. An epoch that is trained again after a worker was lost is told once.
    """

    def __init__(self, read: Callable[[], list[dict]], reporter: Local, told: int = 0):
        self.read, self.reporter, self.told = read, reporter, told
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self._run, name="raysign-follow", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.closing.wait(PAUSE):
            self._look()

    def _look(self) -> None:
        for metrics in self.read():
            if metrics["epoch"] > self.told:
                self.told = int(metrics["epoch"])
                self.reporter.report(metrics)

    def close(self) -> None:
        """Tell what is left and end the thread."""
        self.closing.set()
        self.thread.join()
        self._look()
