"""A shard against the data contract: its version, columns, shapes and layouts, looked at before any number of it is."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysign import schema, skeleton
from raysign.checks.findings import Finding
from raysign.errors import ConfigError, nearest, some

SCHEMAS = {"landmarks": schema.LANDMARKS, "clips": schema.CLIPS}


def stage_of(table: pa.Table) -> str:
    """What a shard says it holds; by its columns when it does not say."""
    wrote = (table.schema.metadata or {}).get(b"raysign.schema", b"").decode().partition("/")[0]
    return wrote or ("clips" if "x" in table.column_names else "landmarks")


def columns(path: Path, table: pa.Table) -> Iterator[Finding]:
    """Every column of the schema is there with its type."""
    wanted = SCHEMAS.get(stage_of(table))
    if wanted is None:
        yield _error("columns", f"{path}: found schema {stage_of(table)!r}, expected landmarks or clips; move it away")
        return
    if b"raysign.schema" not in (table.schema.metadata or {}):
        line = f"{path}: found no schema version, expected {schema.VERSION}; have raysign write the stage"
        yield Finding("warning", "columns", line)
    for field in wanted:
        place = table.schema.get_field_index(field.name)
        if place < 0:
            near = nearest(field.name, set(table.column_names) - set(wanted.names))
            yield _error(
                "columns", f"{path}: found no column {field.name!r}, expected {field.type}{near}; make it again"
            )
        elif table.schema.field(place).type != field.type:
            found = table.schema.field(place).type
            yield _error("columns", f"{path}: column {field.name}: found {found}, expected {field.type}; make it again")


def shapes(path: Path, table: pa.Table) -> tuple[np.ndarray, list[Finding]]:
    """Which rows hold as many numbers as their shape says, (N,) bool; and a finding on numbers that do not fit.

    Rows in quarantine hold none: they are left out without a finding.
    """
    form = [table[name].to_numpy().astype(np.int64) for name in ("persons", "frames", "points")]
    whole = np.prod(form, axis=0)
    if stage_of(table) == "clips":
        channels = table["channels"].to_numpy().astype(np.int64)
        good, kept = _lengths(table["x"]) == 4 * whole * channels, np.ones(len(table), bool)
        good &= (channels >= 2) & (whole > 0)
    else:
        good = (_lengths(table["values"]) == 12 * whole) & (_lengths(table["visibility"]) == 4 * whole)
        features = form[1] * table["feature_size"].fill_null(0).to_numpy()
        good &= (_lengths(table["features"].fill_null(b"")) == 4 * features) & (whole + features > 0)
        kept = table["error"].is_null().to_numpy(zero_copy_only=False)
    found = []
    if bad := [name for name, wrong in zip(table["id"].to_pylist(), kept & ~good, strict=True) if wrong]:
        line = f"{path}: found {len(bad)} clips whose numbers do not fill persons x frames x points ({some(bad)})"
        found.append(_error("shapes", f"{line}, expected all; delete the shard and run the stage again"))
    return kept & good, found


def _lengths(column: pa.ChunkedArray) -> np.ndarray:
    """Bytes of each row; -1 for null."""
    return pc.call_function("binary_length", [column]).fill_null(-1).to_numpy()


def layouts(path: Path, table: pa.Table) -> tuple[np.ndarray, list[Finding]]:
    """Which rows of LANDMARKS have a layout raysign knows, of as many points as they say, (N,) bool; and findings."""
    found, good = [], np.ones(len(table), bool)
    if stage_of(table) == "clips":
        return good, found
    pairs = list(zip(table["layout"].to_pylist(), table["points"].to_pylist(), strict=True))
    for name, points in sorted({pair for pair in pairs if pair[0] is not None}):
        try:
            expected = skeleton.layout(name).points
        except ConfigError as error:
            found.append(_error("layouts", f"{path}: {error}"))
            expected = -1
        if expected not in (points, -1):
            line = f"{path}: found {points} points in clips of {name[:40]}, expected {expected}; name their layout"
            found.append(_error("layouts", line))
        if expected != points:
            good &= np.array([pair != (name, points) for pair in pairs])
    return good & np.array([name is not None for name, _ in pairs], bool), found


def _error(check: str, line: str) -> Finding:
    return Finding("error", check, line)
