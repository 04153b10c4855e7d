"""The verb that answers over HTTP."""

import click

from raysign.cli._verb import main, plain_errors


@main.command()
@click.argument("words", nargs=-1, metavar="BUNDLE... [KEY=VALUE | FILE.yaml]...")
@plain_errors
def serve(words: tuple[str, ...]):
    """Answer over HTTP with one or more BUNDLEs, and show a page for a browser; on this machine alone unless told.

    Settings such as port=8080, decoders=4 or media=false go by KEY=VALUE or in a YAML file; bundles.NAME=FOLDER gives a
    bundle another name. Needs the extra `serve`. Ctrl-C or SIGTERM ends it.
    """
    from raysign.errors import ConfigError

    try:
        from raysign.serve import run, settings
    except ImportError as error:
        raise ConfigError(f"serve: found no {error.name}; pip install 'raysign[serve]'") from None
    told = settings.load(words)
    try:
        run.run(told)
    except KeyboardInterrupt:
        click.echo("raysign: the service has ended", err=True)
