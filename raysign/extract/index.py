"""What a LANDMARKS store holds, without its arrays: the small columns of all shards, kept in one file beside them.

A shard that is there never changes: one whose rows must is written under another name. Where a unit is read again, its
shard goes and comes anew under the same name, and `plan` asks for the index in between. So the index is right for every
shard that it names, and only the others are read: to find out that nothing is to do takes one file and one listing,
however many shards there are.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from raysign import store
from raysign.schema import LANDMARKS, VERSION

_NAMES = ("id", "gloss", "category", "signer", "split", "source", "stamp", "frames", "layout", "seen", "extractor",
          "note", "error")  # fmt: skip
INDEX = pa.schema(
    [pa.field("shard", pa.string()), *(LANDMARKS.field(name) for name in _NAMES)],
    metadata={"raysign.schema": f"index/{VERSION}"},
)
_TOGETHER = 256  # shards; a table of a few rows takes more memory for what it is than for its rows


def about(directory: Path) -> pa.Table:
    """INDEX: the small columns of all rows, and the name of the shard that each lies in; rows of a shard together.

    Leaves them in `index.parquet`. StoreError naming a shard that is not readable.
    """
    path = directory / "index.parquet"
    known = store.read_table(path) if store.exists(path) else INDEX.empty_table()
    names = pa.array([shard.name for shard in store.shards(directory)], pa.string())
    kept = known.filter(pc.is_in(known["shard"], value_set=names))  # pyright: ignore
    fresh = names.filter(pc.invert(pc.is_in(names, value_set=kept["shard"].unique()))).to_pylist()  # pyright: ignore
    if not fresh and len(kept) == len(known):
        return known
    table = pa.concat_tables([kept, *_read(directory, fresh)]).replace_schema_metadata(INDEX.metadata)
    store.write_table(path, table)
    return table


def _read(directory: Path, names: list[str]) -> Iterator[pa.Table]:
    """INDEX of some shards, many of them a table."""
    for start in range(0, len(names), _TOGETHER):
        yield pa.concat_tables(_of(directory, name) for name in names[start : start + _TOGETHER]).combine_chunks()


def _of(directory: Path, name: str) -> pa.Table:
    table = store.read_table(directory / name, list(_NAMES))
    columns = [pa.array([name] * len(table), pa.string()), *(table[column] for column in _NAMES)]
    return pa.Table.from_arrays(columns, schema=INDEX)
