"""What verbs have in common: the program itself, errors as one line, and a config told by words."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from functools import wraps
from pathlib import Path

import click

from raysign import __version__
from raysign.errors import RaysignError

CONFIG_HELP = """CONFIG is any number of YAML files, dotted overrides (train.lr=3e-4) and at most one path to read from,
merged left to right; `raysign config` prints the result."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="raysign")
def main() -> None:
    """Videos and images of people signing, turned into trained, evaluated sign-language recognisers.

    \b
      raysign run my_videos/          folder of <gloss>/<clip>.mp4 to a trained and evaluated bundle
      raysign demo                    the same on made-up signers, no data needed
      raysign doctor                  is this machine ready?
    """


def plain_errors(verb):
    """What the user can mend is one line on stderr and exit code 1; an interrupt is exit code 130, SIGTERM is 143."""

    @wraps(verb)
    def guarded(*args, **kwargs):
        stopped = []
        try:
            with terminable(stopped):
                return verb(*args, **kwargs)
        except RaysignError as error:
            click.echo(f"raysign: {error}", err=True)
            sys.exit(1)
        except BrokenPipeError:  # who reads the lines has enough; click ends quietly
            raise
        except OSError as error:  # no room, no permission, no such place
            click.echo(f"raysign: {error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            word, code = ("terminated", 128 + signal.SIGTERM) if stopped else ("stopped", 128 + signal.SIGINT)
            click.echo(f"raysign: {word}; the same command goes on where it was", err=True)
            sys.exit(code)

    return guarded


def folder(word: str, holds: Callable[[Path], object]) -> Path | None:
    """The directory that a word of the command line names, if it holds what is asked for; else None."""
    from raysign import remote

    there = remote.is_address(word) or os.path.isdir(word)  # noqa: PTH112 - of a long word pathlib says it is too long
    return remote.place(word) if there and holds(remote.place(word)) else None


@contextmanager
def terminable(stopped: list):
    """SIGTERM, as of `ray job stop`, ends what is done here as an interrupt does, once; `stopped` then holds it.

    Not as SystemExit: Ray gives that another exit code on its way.
    """
    if threading.current_thread() is not threading.main_thread():  # no other thread may say what a signal does
        yield
        return

    def stop(number, _frame):
        signal.signal(number, signal.SIG_IGN)
        stopped.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


NO_DATA = {"source": {"kind": "synthetic"}}  # for verbs that look at settings alone


LAYOUT = click.option("--layout", metavar="NAME", help="of the landmarks, where there are none yet that tell")


def verb(name: str | None = None, base: dict | None = None):
    """A verb that takes a config from its arguments, merged over `base` where they are none by themselves."""

    def decorate(function):
        @main.command(name or function.__name__, epilog=CONFIG_HELP)
        @click.argument("config", nargs=-1)
        @plain_errors
        @wraps(function)
        def command(config: tuple[str, ...], **options):
            return function(settings_of(config, base), **options)

        return command

    return decorate


def settings_of(arguments: tuple[str, ...], base: dict | None = None):
    """The config of the arguments, merged over `base` where they are none by themselves."""
    from raysign.config import load
    from raysign.errors import ConfigError

    try:
        return load(arguments)
    except ConfigError:
        if base is None:
            raise
        return load(arguments, base)
