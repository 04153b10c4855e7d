"""Every error raysign raises on purpose: `place: found, expected, next step`, one line each."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class RaysignError(Exception):
    """Something the user can mend. The command line prints it as one line and exits with 1."""


class ConfigError(RaysignError):
    """A config file, a dotted override or a combination of settings that cannot be used."""


class SourceError(RaysignError):
    """A source (folder, manifest, metadata table) that cannot be listed at all."""


class ClipError(RaysignError):
    """One clip that cannot be read or used. Becomes the clip's row in the quarantine table; the job goes on."""


class LimitError(ClipError):
    """A clip that is larger or longer than is taken."""


class ModelFileError(RaysignError):
    """A model file that cannot be found, fetched or trusted."""


class StoreError(RaysignError):
    """A stage directory that is missing, torn, or of another schema version."""


class TrainError(RaysignError):
    """Training that cannot start or cannot go on."""


class BundleError(RaysignError):
    """A bundle that cannot be loaded or does not fit what it is given."""


class ExportError(RaysignError):
    """A bundle that cannot be exported, or whose export answers otherwise than it does."""


def nearest(word: str, choices) -> str:
    """`; did you mean 'x'?` for the choice nearest to `word`, or an empty string when none is near."""
    close = get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def some(names: Iterable[object], most: int = 3) -> str:
    """The first few names in a line, and how many there are beside them."""
    listed = [str(name) for name in names]
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def in_line(names: Sequence[str]) -> str:
    """Names in a line, of many the first three and the last."""
    few = names if len(names) < 9 else (*names[:3], "...", names[-1])
    return ", ".join(few)
