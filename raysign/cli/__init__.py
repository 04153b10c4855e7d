"""The command line: one verb for each arrow of `pipeline`. Imports happen inside the verbs, so help answers at once."""

from raysign.cli import formats, looks, machine, service, stages  # noqa: F401 - what is in them becomes a verb of `main`
from raysign.cli._verb import main

__all__ = ["main"]
