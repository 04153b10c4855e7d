"""JSON files, of a clip, a frame or a table: how they are opened."""

import json
from pathlib import Path
from typing import Any

from raysign.errors import ClipError, RaysignError


def tree(file: Path, wrong: type[RaysignError], step: str = "") -> Any:
    """What is in the file. Raises `wrong`, which ends in the next `step`, when it is torn."""
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise wrong(f"{file}: not readable as JSON ({str(error)[:80]}){step and '; '}{step}") from None


def mapping(file: Path) -> dict[str, Any]:
    """The object that is in the file. ClipError when it is torn or holds anything else."""
    found = tree(file, ClipError)
    if not isinstance(found, dict):
        raise ClipError(f"{file}: a JSON {type(found).__name__}, expected an object")
    return found
