"""What a question that cannot be answered is answered with."""

from raysign.errors import ConfigError, LimitError, RaysignError


class RefusedError(RaysignError):
    """An error that knows its HTTP status."""

    def __init__(self, status: int, words: str):
        super().__init__(words)
        self.status = status


def status_of(error: RaysignError) -> int:
    """400 for a question that is not understood, 413 for too much, 422 for clips that cannot be used."""
    if isinstance(error, RefusedError):
        return error.status
    return 413 if isinstance(error, LimitError) else 400 if isinstance(error, ConfigError) else 422
