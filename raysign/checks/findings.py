"""What a check has to say: one line, with the weight it has."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from raysign.checks.limits import MOST_LINES

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """severity: error (cannot be trusted as it is), warning (look before training) or note (good to know).

    check: name of the function that found it. line: `place: found, expected, next step`.
    """

    severity: str
    check: str
    line: str


def limited(found: Iterable[Finding]) -> list[Finding]:
    """The findings, errors first; of a check that has many of one severity the first few and how many more."""
    groups = defaultdict(list)
    for finding in found:
        groups[SEVERITIES.index(finding.severity), finding.check].append(finding)
    kept = []
    for (severity, check), group in sorted(groups.items(), key=lambda item: item[0][0]):
        kept += group[:MOST_LINES]
        if len(group) > MOST_LINES:
            kept.append(Finding(SEVERITIES[severity], check, f"and {len(group) - MOST_LINES} more like it"))
    return kept


def table(found: Sequence[Finding]) -> str:
    """The findings as lines for a terminal, then how many there are of each severity."""
    width = max((len(finding.check) for finding in found), default=0)
    lines = [f"{finding.severity:<7}  {finding.check:<{width}}  {finding.line}" for finding in found]
    counts = [(sum(finding.severity == name for finding in found), name) for name in SEVERITIES]
    return "\n".join([*lines, ", ".join(f"{count} {name}{'s' * (count != 1)}" for count, name in counts)])
