"""The findings of a review, the ``safety_assured`` that acknowledges them, and their formats (text, JSON, GitHub)."""

import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from ..adapters.facts import Facts
from ..errors import counted

PLACEHOLDER = "why it is safe"
"""The text that messages print in place of a reason, such as in ``assurance_line()``."""
EXAMPLE_REASON = "rehearsed on a copy of production"
"""A reason that is accepted."""
PLACEHOLDERS = (PLACEHOLDER, "...")


class Level(StrEnum):
    """The level of a finding: BLOCKS stops an upgrade until the script acknowledges it, WARNS is only printed."""

    BLOCKS = "blocks"
    WARNS = "warns"


@dataclass(frozen=True)
class Finding:
    """A dangerous operation that a rule found in a revision script.

    ``code`` names the rule, ``message`` says what is dangerous, and ``instead`` says what to do in its place. ``fails``
    is True if the operation is certain to fail, because of its arguments or of rows, which only an upgrade reads.
    """

    revision: str
    file: str
    line: int
    code: str
    level: Level
    message: str
    instead: str
    acknowledged: bool = False
    fails: bool = False

    @property
    def stops(self) -> bool:
        """Return True if this finding stops an upgrade: its level is BLOCKS, and the script does not acknowledge it."""
        return self.level is Level.BLOCKS and not self.acknowledged

    @property
    def headline(self) -> str:
        """Return the finding as one line: file, line, level and message."""
        return f"{self.file}, line {self.line}, {'acknowledged' if self.acknowledged else self.level}: {self.message}"

    @property
    def words(self) -> str:
        """Return the finding as text: the headline and, if the script does not acknowledge it, what to do instead."""
        return self.headline if self.acknowledged else f"{self.headline}\nInstead: {self.instead}"


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
        """Return a sentence to add to a message if the reason for ``code`` is a placeholder, else an empty string."""
        reason = str(self.declared.get(code)).strip() if isinstance(self.declared, dict) else ""
        if reason not in PLACEHOLDERS:
            return ""
        return f' In safety_assured, {placeholder_error(reason)}; write what makes it safe, such as "{EXAMPLE_REASON}".'

    @staticmethod
    def is_reason(reason: object) -> bool:
        """Return True if ``reason`` is a string with a character other than a space, and not a placeholder."""
        return isinstance(reason, str) and reason.strip() not in ("", *PLACEHOLDERS)


def assurance_line(*codes: str, reason: str = PLACEHOLDER) -> str:
    """Return the line to paste that acknowledges findings with ``codes``, each with ``reason``."""
    entries = ", ".join(f'"{code}": "{reason}"' for code in dict.fromkeys(codes))
    return f"safety_assured = {{{entries}}}"


def placeholder_error(reason: str) -> str:
    """Return the words for a ``reason`` that is only a placeholder."""
    return f'"{reason.strip()}" is a placeholder, not a reason'


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


def ranked(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that stop an upgrade first, then those that warn, and last the acknowledged ones."""
    return sorted(findings, key=lambda finding: (not finding.stops, finding.acknowledged))


def as_text(findings: Iterable[Finding]) -> str:
    """Return the findings as text, with one paragraph for each finding, those that stop an upgrade first."""
    return "\n\n".join(finding.words for finding in ranked(findings))


def closing(findings: Collection[Finding], command: str = "upgrade") -> str:
    """Return the lines that close a review: how many revisions warn and block, by which codes.

    If one blocks, the last line has the command (``command``, such as "upgrade a1") that runs once all the same, unless
    that is certain to fail.
    """
    blocking = [finding for finding in findings if finding.stops]
    warning = [finding for finding in findings if not finding.stops and not finding.acknowledged]
    lines = [_counted(warning, "warn")] if warning else []
    if blocking:
        in_vain = any(finding.fails for finding in blocking)
        once = "" if in_vain else f"; to run it once all the same: flask db -x review=warn {command}"
        lines.append(f"{_counted(blocking, 'block')}{once}")
    else:
        lines = [f"{line}; nothing blocks" for line in lines] or ["Nothing blocks"]
    return "\n".join(lines)


def _counted(findings: list[Finding], verb: str) -> str:
    count = len({finding.revision for finding in findings})
    codes = ", ".join(dict.fromkeys(finding.code for finding in findings))
    return f"{counted(count, 'revision')} {verb if count > 1 else f'{verb}s'}: {codes}"


def as_json(findings: Iterable[Finding]) -> str:
    """Return the findings as a JSON array of objects, whose keys are a Finding's fields, except ``fails``."""
    fields = [asdict(finding) for finding in findings]
    return json.dumps([{name: each[name] for name in each if name != "fails"} for each in fields], indent=2)


def as_github(findings: Iterable[Finding]) -> str:
    """Return the findings as lines that GitHub Actions shows as annotations of a pull request.

    The format is described on docs.github.com, "Workflow commands for GitHub Actions". Paths are relative to the folder
    of the repository, which GitHub has in GITHUB_WORKSPACE.
    """
    root = os.environ.get("GITHUB_WORKSPACE", ".")

    def line(finding: Finding) -> str:
        kind = "error" if finding.stops else "notice" if finding.acknowledged else "warning"
        file, title = (_escaped(each, ",:") for each in (os.path.relpath(finding.file, root), finding.code))
        message = f"{finding.message} Instead: {finding.instead}"
        return annotation(kind, f"file={file},line={finding.line},title={title}", message)

    return "\n".join(map(line, findings))


def annotation(kind: str, properties: str, message: str) -> str:
    """Return the line of an annotation, such as ``::error title=heads::there are 2 heads``."""
    return f"::{kind} {properties}::{_escaped(message)}"


def _escaped(text: str, also: str = "") -> str:
    for character in "%\r\n" + also:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


FORMATS = {"text": as_text, "json": as_json, "github": as_github}
