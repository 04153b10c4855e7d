"""The names a recogniser tells clips by."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Labels:
    """glosses: in the order of the logits. categories: what kinds of glosses there are; empty where nobody says."""

    glosses: list[str]
    categories: list[str] = field(default_factory=list)


def of_card(card: dict) -> Labels:
    """Those of a stage of clips: what its training clips are labelled with."""
    return Labels(list(card["labels"]), list(card.get("categories", ())))
