"""What clips look like before there are any: their points and channels, by a config's recipe and a layout."""

from collections.abc import Iterable

from raysign import config, store
from raysign.errors import ConfigError
from raysign.kinds import kind_module
from raysign.skeleton import LAYOUTS, NO_POINTS, Skeleton
from raysign.skeleton import layout as layout_of

Form = tuple[Skeleton, tuple[str, ...]]  # of all clips, and the names of their channels


def of_layouts(layouts: Iterable[str], settings: config.Config) -> Form:
    """Of clips made from landmarks of these layouts.

    ConfigError when the recipe cannot make clips of one of them, or makes several kinds.
    """
    recipe = kind_module("prepare", settings.prepare.kind)
    found = {
        (recipe.skeleton(settings.prepare, layout), recipe.channels(settings.prepare, layout)): layout
        for layout in sorted(layouts)
    }
    if len(found) > 1:
        some = ", ".join(layout_of(name).name for name in found.values())
        raise ConfigError(f"landmarks: found several layouts ({some}), expected one; prepare each in a run of its own")
    return next(iter(found))


def expected(settings: config.Config, layout: str | None = None) -> Form:
    """Of clips of a layout; None: of the landmarks that are there, else of any layout when all give the same clips.

    ConfigError when that does not tell, with the layouts that the recipe takes.
    """
    if layout is not None:
        return of_layouts([layout], settings)
    if store.shards(settings.landmarks_dir):
        rows = store.read_columns(settings.landmarks_dir, "layout", "error").to_pylist()
        if stored := {row["layout"] for row in rows if not row["error"]}:
            return of_layouts(stored, settings)
    taken = {}
    for name in (NO_POINTS.name, *LAYOUTS):
        try:
            taken[name] = of_layouts([name], settings)
        except ConfigError:
            continue
    if len(set(taken.values())) == 1:
        return next(iter(taken.values()))
    known = ", ".join(name for name in taken if name in LAYOUTS) or f"none; prepare.kind={settings.prepare.kind} fails"
    raise ConfigError(f"--layout: found no landmarks that tell what the points are, expected one of {known}")
