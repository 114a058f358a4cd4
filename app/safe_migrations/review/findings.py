"""Findings of a review, a script's assurances about them, and the formats in which they are shown."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from ..adapters.facts import Facts


class Level(StrEnum):
    """The level of a finding: one that blocks stops an upgrade until it is acknowledged."""

    BLOCKS = "blocks"
    WARNS = "warns"


@dataclass(frozen=True)
class Finding:
    """A dangerous operation: where it is, its rule, why it hurts, and what to do instead, with lines to paste."""

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
        """Return whether an upgrade stops here."""
        return self.level is Level.BLOCKS and not self.acknowledged

    @property
    def words(self) -> str:
        """Return the finding as text."""
        said = " It is acknowledged." if self.acknowledged else ""
        return f"{self.file}, line {self.line}, {self.level}: {self.message}{said}\nInstead: {self.instead}"


@dataclass(frozen=True)
class Assurances:
    """A script's ``safety_assured``; ``known`` are the codes of all rules."""

    declared: Any
    known: Collection[str] = ()

    @property
    def codes(self) -> set[str]:
        """Return the acknowledged codes: those with a reason."""
        declared = self.declared if isinstance(self.declared, dict) else {}
        return {code for code, reason in declared.items() if self.is_reason(reason)}

    @staticmethod
    def is_reason(reason: object) -> bool:
        """Return True if it says anything."""
        return isinstance(reason, str) and bool(reason.strip())


def merged(reviews: Mapping[Facts, list[Finding]], order: list[str]) -> list[Finding]:
    """Return the findings for several databases: each once, with their names unless it applies to all of them.

    ``order`` has the revisions in the order in which they run.
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
    """Return a paragraph for each finding."""
    return "\n\n".join(finding.words for finding in findings)


def as_json(findings: Iterable[Finding]) -> str:
    """Return one array of objects, with the names of a Finding's fields as keys."""
    return json.dumps([asdict(finding) for finding in findings], indent=2)


def as_github(findings: Iterable[Finding]) -> str:
    """Return annotations of a pull request (docs.github.com, "Workflow commands for GitHub Actions")."""
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
