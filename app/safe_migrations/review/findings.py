"""The findings of a review, the ``safety_assured`` that acknowledges them, and their formats (text, JSON, GitHub)."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from ..adapters.facts import Facts

PLACEHOLDER = "why it is safe"
"""The text that messages print in place of a reason."""
PLACEHOLDERS = (PLACEHOLDER, "...")


class Level(StrEnum):
    """The level of a finding: BLOCKS stops an upgrade until the script acknowledges it, WARNS is only printed."""

    BLOCKS = "blocks"
    WARNS = "warns"


@dataclass(frozen=True)
class Finding:
    """A dangerous operation that a rule found in a revision script.

    ``code`` names the rule, ``message`` says what is dangerous, and ``instead`` says what to do in its place.
    """

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
        """Return True if this finding stops an upgrade: its level is BLOCKS, and the script does not acknowledge it."""
        return self.level is Level.BLOCKS and not self.acknowledged

    @property
    def words(self) -> str:
        """Return the finding as text: file, line, level, message, and what to do instead."""
        said = " It is acknowledged in safety_assured." if self.acknowledged else ""
        return f"{self.file}, line {self.line}, {self.level}: {self.message}{said}\nInstead: {self.instead}"


@dataclass(frozen=True)
class Assurances:
    """The ``safety_assured`` of a script, which maps rule codes to reasons; ``known`` has the codes of all rules."""

    declared: Any
    known: Collection[str] = ()

    @property
    def codes(self) -> set[str]:
        """Return the codes that ``safety_assured`` lists with a reason; findings with these codes are acknowledged."""
        declared = self.declared if isinstance(self.declared, dict) else {}
        return {code for code, reason in declared.items() if self.is_reason(reason)}

    def note(self, code: str) -> str:
        """Return a sentence that says so if the script lists ``code`` with a placeholder, else an empty string."""
        reason = str(self.declared.get(code)).strip() if isinstance(self.declared, dict) else ""
        return f' In safety_assured, "{reason}" is a placeholder, not a reason.' if reason in PLACEHOLDERS else ""

    @staticmethod
    def is_reason(reason: object) -> bool:
        """Return True if ``reason`` is a string with a character other than a space, and not a placeholder."""
        return isinstance(reason, str) and reason.strip() not in ("", *PLACEHOLDERS)


def merged(reviews: Mapping[Facts, list[Finding]], order: list[str]) -> list[Finding]:
    """Merge the findings for several databases into one list without duplicates.

    A finding that applies to only some of the databases ends with their names: "..., on mysql." The list is sorted by
    ``order``, which has the revision ids in the order in which the revisions run, and then by line.
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
    """Return the findings as text, with one paragraph for each finding."""
    return "\n\n".join(finding.words for finding in findings)


def as_json(findings: Iterable[Finding]) -> str:
    """Return the findings as a JSON array of objects, whose keys are the names of a Finding's fields."""
    return json.dumps([asdict(finding) for finding in findings], indent=2)


def as_github(findings: Iterable[Finding]) -> str:
    """Return the findings as lines that GitHub Actions shows as annotations of a pull request.

    The format is described on docs.github.com, "Workflow commands for GitHub Actions".
    """
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
