"""A forecast as a table for people."""

from raysign.forecast.estimate import Estimate
from raysign.forecast.stages import Forecast

Units = tuple[tuple[float, str], ...]
TIME: Units = ((1, " h"), (1 / 60, " min"), (1 / 3600, " s"))  # of hours
SIZE: Units = ((1000, " TB"), (1, " GB"), (1e-3, " MB"))  # of GB


def render(found: Forecast) -> str:
    """A line a stage, their sum, and what is assumed; in brackets the interval of 90 %."""
    total, machines = found.total(), found.machines
    priced = total["cost"] is not None
    where = f"on {machines.cpus} CPUs, {machines.gpus} GPUs"
    rows = [["stage", "clips", "s/clip", where, "on disk", "GB/worker", "cost"]]
    rows += [
        [stage.name, f"{stage.clips:,}", _number(stage.each.value), _told(stage.hours, TIME), _told(stage.disk, SIZE),
         f"{stage.memory:.1f}", _told(stage.cost)] for stage in found.stages
    ]  # fmt: skip
    rows.append(["all", "", "", _told(total["hours"], TIME), _told(total["disk"], SIZE), "", _told(total["cost"])])
    rows = rows if priced else [row[:-1] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:>{wide}}" for cell, wide in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*lines, f"from a sample of {found.sample} clips; in brackets where it lies with 90 %",
                      *(f"- {note}" for note in found.notes)])  # fmt: skip


def _told(found: Estimate | None, units: Units = ((1, ""),)) -> str:
    """In the largest unit of which there is one; without the interval where that is none."""
    if found is None:
        return ""
    size, unit = next((unit for unit in units if found.value >= unit[0]), units[-1])
    value, low, high = (_number(number / size) for number in (found.value, found.low, found.high))
    return f"{value}{unit}" + (f" [{low} to {high}]" if low != high else "")


def _number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
