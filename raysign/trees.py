"""Settings as they are told, before they are checked: YAML files, paths and dotted overrides as trees, merged."""

import os
from pathlib import Path
from typing import Any

import yaml

from raysign.errors import ConfigError, nearest
from raysign.kinds import DEFAULT_KIND, FAMILIES, kind_module


def tree_of(argument: str, detecting: bool) -> dict:
    """The (partial) config tree of one command-line argument; `detecting` finds out of what kind a path is."""
    there = os.path.exists(argument)  # noqa: PTH110 - of a long value pathlib says that the name is too long
    if argument.endswith((".yaml", ".yml")) and (there or "=" not in argument):
        return read_yaml(Path(argument))
    if there and not detecting:
        return {"source": {"path": argument}}
    if there:
        from raysign.sources import detect  # late: a source pulls in pyarrow or numpy

        return {"source": {"kind": detect(Path(argument)), "path": argument}}
    return override(argument)


def override(argument: str) -> dict:
    """The tree of `key=value`, with dots in the key."""
    key, equals, value = argument.partition("=")
    if not equals:
        raise ConfigError(f"{argument}: found neither a YAML file, a path nor key=value; check the spelling")
    leaf: Any = value_of(value)
    for part in reversed(key.split(".")):
        leaf = {part: leaf}
    return leaf


def value_of(word: str) -> Any:
    """What a word of the command line means as YAML; the word itself when it is none."""
    try:
        return yaml.safe_load(word)
    except yaml.YAMLError:
        return word


def read_yaml(path: Path) -> dict:
    """One YAML file as a mapping. ConfigError when it is missing, unreadable or no mapping."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        near = nearest(path.name, [file.name for file in path.absolute().parent.glob("*.y*ml")])
        raise ConfigError(f"{path}: {error.strerror or error}{near or '; give an existing YAML file'}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: found a {type(tree).__name__}, expected a mapping of settings")
    return tree


def merged(under: dict, over: dict) -> dict:
    """`over` laid on `under`, mapping by mapping. A section that changes its kind starts afresh."""
    found = dict(under)
    for key, value in over.items():
        old = found.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            found[key] = merged(_of_kind(key, old, str(value["kind"])) if "kind" in value else old, value)
        else:
            found[key] = value
    return found


def _of_kind(family: str, section: dict, kind: str) -> dict:
    """What a section keeps that is to be of `kind`: nothing when it was said to be of another.

    When it was not said of what kind it is, settings that only the default kind has were meant for that one.
    """
    if family not in FAMILIES or section.get("kind") == kind:
        return section
    if "kind" in section:
        return {}
    ours = kind_module(family, kind).Options.model_fields
    theirs = kind_module(family, DEFAULT_KIND.get(family, kind)).Options.model_fields
    return {key: value for key, value in section.items() if key in ours or key not in theirs}
