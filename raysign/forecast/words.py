"""A forecast as a table for people."""

from raysign.forecast.estimate import Estimate
from raysign.forecast.stages import Forecast


def render(found: Forecast) -> str:
    """A line a stage, their sum, and what is assumed; in brackets the interval of 90 %."""
    total, machines = found.total(), found.machines
    priced = total["cost"] is not None
    where = f"hours on {machines.cpus} CPUs, {machines.gpus} GPUs"
    rows = [["stage", "clips", "s/clip", where, "GB on disk", "GB/worker", "cost"]]
    rows += [
        [stage.name, f"{stage.clips:,}", _number(stage.each.value), _told(stage.hours), _told(stage.disk),
         f"{stage.memory:.1f}", _told(stage.cost)] for stage in found.stages
    ]  # fmt: skip
    rows.append(["all", "", "", *(_told(total[name]) for name in ("hours", "disk")), "", _told(total["cost"])])
    rows = rows if priced else [row[:-1] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:>{wide}}" for cell, wide in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*lines, f"from a sample of {found.sample} clips; in brackets where it lies with 90 %",
                      *(f"- {note}" for note in found.notes)])  # fmt: skip


def _told(found: Estimate | None) -> str:
    return "" if found is None else f"{_number(found.value)} [{_number(found.low)} to {_number(found.high)}]"


def _number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
