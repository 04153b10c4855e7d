"""How often to say how far a work is: a bar on a terminal, ever fewer lines in a log."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator

from tqdm import tqdm

FIRST, SHARE = 2.0, 0.05  # a line after so many seconds, then each time that this share of the time has been added


def pace() -> Callable[[], bool]:
    """A function that tells whether another line is due: some hundred of them in a day, whatever is told."""
    began = spoke = time.monotonic()

    def due() -> bool:
        nonlocal spoke
        now = time.monotonic()
        if now - spoke < max(FIRST, SHARE * (now - began)):
            return False
        spoke = now
        return True

    return due


def told(rows: Iterable, what: str, total: int, unit: str) -> Iterator:
    """Pass rows on while saying on stderr how many of `total` there are."""
    if sys.stderr.isatty():
        yield from tqdm(rows, what, total, unit=unit)
        return
    due = pace()
    for done, row in enumerate(rows, 1):
        if done == total or due():
            print(f"{what}: {done}/{total} {unit}s", file=sys.stderr, flush=True)
        yield row
