"""What a review finds, and how it is shown."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from ..adapters.facts import Facts


class Level(StrEnum):
    """Whether an upgrade stops at a finding that nobody has acknowledged."""

    BLOCKS = "blocks"
    WARNS = "warns"


@dataclass(frozen=True)
class Finding:
    """One thing that hurts: where it stands, by which rule, why, and what to do instead (more lines are to paste)."""

    revision: str
    file: str
    line: int
    code: str
    level: Level
    message: str
    instead: str
    acknowledged: bool = False

    @property
    def stops(self) -> bool:
        """Whether an upgrade stops here."""
        return self.level is Level.BLOCKS and not self.acknowledged

    @property
    def words(self) -> str:
        """All of it, for a person."""
        said = " It is acknowledged." if self.acknowledged else ""
        return f"{self.file}, line {self.line}, {self.level}: {self.message}{said}\nInstead: {self.instead}"


def merged(reviews: Mapping[Facts, list[Finding]], order: list[str]) -> list[Finding]:
    """What was found for several databases: once each, and where it is not all of them, with their names.

    ``order`` has the revisions as they run.
    """
    products: dict[Finding, list[str]] = {}
    for facts, findings in reviews.items():
        for finding in findings:
            products.setdefault(finding, []).append(facts.product)
    return [
        finding
        if len(names) == len(reviews)
        else replace(finding, message=f"{finding.message.removesuffix('.')}, on {' and '.join(dict.fromkeys(names))}.")
        for finding, names in sorted(products.items(), key=lambda item: (order.index(item[0].revision), item[0].line))
    ]


def as_text(findings: Iterable[Finding]) -> str:
    """A paragraph for each."""
    return "\n\n".join(finding.words for finding in findings)


def as_json(findings: Iterable[Finding]) -> str:
    """One array of objects, with the names of a Finding's fields as keys."""
    return json.dumps([asdict(finding) for finding in findings], indent=2)


def as_github(findings: Iterable[Finding]) -> str:
    """Annotations of a pull request (docs.github.com, "Workflow commands for GitHub Actions")."""
    return "\n".join(
        f"::{'error' if finding.stops else 'warning'} file={_escaped(finding.file, ',:')},line={finding.line},"
        f"title={_escaped(finding.code, ',:')}::{_escaped(f'{finding.message} Instead: {finding.instead}')}"
        for finding in findings
    )


def _escaped(text: str, also: str = "") -> str:
    for character in "%\r\n" + also:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


FORMATS = {"text": as_text, "json": as_json, "github": as_github}
