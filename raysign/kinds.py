"""What settings are made of: frozen sections, paths, and the open families, whose kinds are files.

A section of a family (`source`, `prepare`, `model`, `task`) is chosen by its `kind`, the name of a file in that
family's package, which holds its own options: adding a file adds a kind.
"""

import os
import pkgutil
from importlib import import_module, util
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, SerializeAsAny, ValidationError

from raysign import remote
from raysign.errors import ConfigError, nearest


class Section(BaseModel):
    """A frozen group of settings; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _expand(path: Any) -> Any:
    """Absolute path with `~` and `$VARS` expanded; workers of a cluster run in other directories than the user."""
    if not isinstance(path, str | Path):
        return path
    filled = _filled(path)
    if remote.is_address(filled):
        raise ValueError("expected a path: only results are kept in object stores; copy it here or mount the bucket")
    return Path(os.path.abspath(os.path.expanduser(filled)))  # noqa: PTH100, PTH111 - keeps symbolic links as given


def _filled(path: str | Path) -> str:
    """`path` with its `$VARS`."""
    expanded = os.path.expandvars(str(path))
    if "$" in expanded:
        unset = expanded[expanded.index("$") :].split("/")[0]
        raise ValueError(f"{unset} is not set; export it or write the path out")
    return expanded


def _expand_stored(path: Any) -> Any:
    """As `_expand`, but an address such as s3://bucket/x is its place in the mirror."""
    if isinstance(path, str) and remote.is_address(filled := _filled(path)):
        return remote.place(filled)
    return _expand(path)


def expand_result(path: Any) -> Any:
    """As `_expand_stored`, but a relative path starts at $RAYSIGN_HOME, else at the current folder.

    The current folder of a submitted job is a copy that Ray deletes: there results go below ~/raysign.
    """
    root = os.environ.get("RAYSIGN_HOME", "~/raysign" if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ else "")
    if isinstance(path, str | Path) and not remote.is_address(_filled(path)):
        return _expand(os.path.join(root, path))  # noqa: PTH118 - "~", "$VAR"
    return _expand_stored(path)


AnyPath = Annotated[Path, BeforeValidator(_expand)]
_shown = PlainSerializer(remote.shown, return_type=str, when_used="json")
StoredPath = Annotated[Path, BeforeValidator(_expand_stored), _shown]  # of results that are there
ResultPath = Annotated[Path, BeforeValidator(expand_result), _shown]


# ---------------------------------------------------------------- open families: a kind is the name of a file

DEFAULT_KIND = {"source": "video_folder", "prepare": "shoulder_centered", "model": "stgcn", "task": "classification"}
FAMILIES = {
    "source": "raysign.sources",
    "prepare": "raysign.clips.recipes",
    "model": "raysign.models",
    "task": "raysign.learn.tasks",
    "to": "raysign.writers",  # no section of the tree: told to `raysign convert` alone
}


def kinds(family: str) -> list[str]:
    """The kinds a family has."""
    return members(FAMILIES[family])


def members(package: str) -> list[str]:
    """A package's modules, without those whose name starts with an underscore."""
    found = pkgutil.iter_modules(import_module(package).__path__)
    return sorted(module.name for module in found if not module.name.startswith("_"))


def kind_module(family: str, kind: str):
    """The module of one kind; ConfigError with the nearest name when there is none."""
    name = f"{FAMILIES[family]}.{kind}"
    if not kind.isidentifier() or kind.startswith("_") or util.find_spec(name) is None:
        known = kinds(family)
        raise ConfigError(f"{family}.kind: found {kind!r}, expected one of {', '.join(known)}{nearest(kind, known)}")
    return import_module(name)


def of_family(name: str):
    """A config field whose class is `Options` of the module its `kind` names."""

    def choose(value: Any) -> Any:
        if isinstance(value, dict):
            kind = value.get("kind", DEFAULT_KIND[name])
            return validated(kind_module(name, str(kind)).Options, {**value, "kind": kind}, f"{name}.")
        return value

    return Annotated[SerializeAsAny[Section], BeforeValidator(choose), Field(default={}, validate_default=True)]


def validated(section: type[BaseModel], tree: dict, prefix: str = "") -> Any:
    """`tree` as an instance of `section`; ConfigError with one line for the first problem found."""
    try:
        return section.model_validate(tree)
    except ValidationError as error:
        problem = error.errors()[0]
    place = (prefix + ".".join(str(part) for part in problem["loc"])).removesuffix(".")
    if problem["type"] == "extra_forbidden":
        near = nearest(str(problem["loc"][-1]), _fields_at(section, problem["loc"][:-1]))
        of = f" of kind {tree['kind']}" if prefix and len(problem["loc"]) == 1 and "kind" in tree else ""
        raise ConfigError(f"{place}: unknown key{of}{near or ', expected one that `raysign config` prints'}")
    if problem["type"] == "missing":
        raise ConfigError(f"{place}: missing; give it as {place}=VALUE or in the YAML file")
    message = problem["msg"].removeprefix("Value error, ")
    found = f"found {problem['input']!r}; " if problem["loc"] else ""  # of a whole section it would say it all
    raise ConfigError(f"{place}: {found}{message[0].lower()}{message[1:]}")


def _fields_at(section: Any, location: tuple) -> list[str]:
    """The names allowed in the section at `location` below `section`."""
    for part in location:
        field = getattr(section, "model_fields", {}).get(part)
        section = field.annotation if field else None
    return list(getattr(section, "model_fields", {}))
