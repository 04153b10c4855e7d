"""One JSON file a clip, or a frame: how it is opened."""

import json
from pathlib import Path
from typing import Any

from raysign.errors import ClipError


def mapping(file: Path) -> dict[str, Any]:
    """The object that is in the file. ClipError when it is torn or holds anything else."""
    try:
        tree = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ClipError(f"{file}: not readable as JSON ({str(error)[:80]})") from None
    if not isinstance(tree, dict):
        raise ClipError(f"{file}: a JSON {type(tree).__name__}, expected an object")
    return tree
