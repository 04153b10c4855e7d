"""A skeleton of one's own, declared in a config."""

from pydantic import Field, model_validator

from raysign.errors import nearest
from raysign.kinds import Section
from raysign.skeleton import Skeleton


class Declaration(Section):
    """A skeleton that is written down in a config instead of here."""

    name: str = Field(min_length=1)
    points: tuple[str, ...] = Field(min_length=1, description="names of the points, in the order they are stored in")
    bones: tuple[tuple[str, str], ...] = Field((), description="pairs of points that are tied to each other")
    mirror: tuple[tuple[str, str], ...] = Field((), description="pairs of left-right twins; none: no mirror image")
    centre: str | None = Field(None, description="the point the others hang on; None: the first")

    @model_validator(mode="after")
    def _fits(self):
        known = set(self.points)
        if len(known) < len(self.points):
            raise ValueError("points: a name occurs twice")
        told = [point for pair in (*self.bones, *self.mirror) for point in pair]
        if unknown := [name for name in (*told, self.centre or self.points[0]) if name not in known]:
            raise ValueError(f"{unknown[0]!r} is none of the points{nearest(unknown[0], known)}")
        return self

    def skeleton(self) -> Skeleton:
        """The skeleton that is declared: one part, `body`."""
        place = {name: i for i, name in enumerate(self.points)}
        mirror = list(range(len(place)))
        for a, b in self.mirror:
            mirror[place[a]], mirror[place[b]] = place[b], place[a]
        return Skeleton(
            self.name,
            (("body", len(place)),),
            tuple((place[a], place[b]) for a, b in self.bones),
            tuple(mirror) if self.mirror else (),
            place[self.centre or self.points[0]],
            tuple(place.items()),
        )
