"""How often to say how far a work is: a bar on a terminal, ever fewer lines in a log."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

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


def counted(
    rows: Iterable, what: str, total: int, unit: str, told: Callable[[Any], tuple[int, str]] = lambda _: (1, ""),
) -> Iterator:  # fmt: skip
    """Pass rows on while saying on stderr how many of `total` units are done and how long the others will take.

    A bar on a terminal; elsewhere a line now and then.
    told: called with a row, how many units it is and what to say beside.
    """
    live, due, done, first = sys.stderr.isatty(), pace(), 0, None
    with tqdm(desc=what, total=total, unit=unit, disable=not live, smoothing=0.05) as bar:
        for row in rows:
            count, beside = told(row)
            done += count
            bar.set_postfix_str(beside, refresh=False)
            bar.update(count)
            first = first or (time.monotonic(), done)  # what comes before it, such as Ray's start, comes once
            if not live and (done >= total or due()):
                said = [f"{what}: {done}/{total} {unit}s", *([beside] if beside else [])]
                if done > first[1]:
                    said.append(f"{(time.monotonic() - first[0]) / (done - first[1]) * (total - done):.0f} s left")
                print(", ".join(said), file=sys.stderr, flush=True)
            yield row
