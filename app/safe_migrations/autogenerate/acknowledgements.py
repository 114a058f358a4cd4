"""Reasons why a new script is safe, typed on the terminal or passed with -x, and written into it as safety_assured."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import click
from flask import g

from ..console import log
from ..histories.editing import insert_below_identifiers
from ..review.findings import Assurances, Finding, placeholder_error
from ..review.rules import RULES
from .questions import given_pairs, has_terminal, wrong_answer

LONGEST_LINE = 120


def begin_reasons() -> None:
    """Forget the reasons of an earlier run, and take those that the user passes with `-x safe=CODE:REASON`.

    Raise UsageError if one has an unknown code or no reason.
    """
    given, codes = given_pairs("safe"), sorted({rule.code for rule in RULES.values()})
    for code, reason in given.items():
        value = f"{code}:{reason}"
        if code not in codes:
            fitting = (f"{each}:{reason}" for each in get_close_matches(code, codes) or ("drop-table", "rename-column"))
            raise wrong_answer("safe", value, f"no rule has the code {code!r}", fitting)
        if not Assurances.is_reason(reason):
            why = placeholder_error(reason) if reason.strip() else "the reason is missing"
            raise wrong_answer("safe", value, why, (f"{code}:unused since May",))
    g.safety_assured = {code: [reason] for code, reason in given.items()}


def acknowledge(code: str, reason: str) -> None:
    """Add a reason why findings with ``code`` are safe, unless `-x safe=...` gives one.

    If ``reason`` is empty, the user decides later, and no finding with this code is acknowledged.
    """
    if code not in given_pairs("safe"):
        g.safety_assured.setdefault(code, []).append(reason)


def ask_why(code: str, change: str = "") -> None:
    """Ask on the terminal why a change is safe, and add the answer as a reason for ``code``.

    ``change`` is a sentence about the change; it is empty if the user has just confirmed it. Do not ask without
    a terminal, or if `-x safe=...` gives a reason.
    """
    if not has_terminal() or code in given_pairs("safe"):
        return

    def read(reason: str) -> str:
        if reason.strip() and not Assurances.is_reason(reason):
            raise click.UsageError(f"{placeholder_error(reason)}.")
        return reason.strip()

    question = f"{change} Why is it safe? (Enter to decide later)".strip()
    acknowledge(code, click.prompt(question, default="", value_proc=read, show_default=False, err=True))


def reasons() -> dict[str, str]:
    """Return the reasons of this run by code, without codes about which the user decides later."""
    found = g.get("safety_assured", {})
    return {code: "; ".join(dict.fromkeys(each)) for code, each in found.items() if all(each)}


def write_reasons(findings: Iterable[Finding], scripts: Iterable[Path]) -> list[Finding]:
    """Write into each of ``scripts`` the reasons of this run for its findings, and return all ``findings``.

    Those with a reason are acknowledged. Log a warning about each reason for which there is no finding.
    """
    given, new = reasons(), {script.resolve() for script in scripts}
    result, written = [], dict[Path, dict[str, str]]()
    for finding in findings:
        script = Path(finding.file).resolve()
        is_answered = script in new and finding.code in given
        if is_answered:
            written.setdefault(script, {})[finding.code] = given[finding.code]
        result.append(replace(finding, acknowledged=finding.acknowledged or is_answered))
    for script, codes in written.items():
        at, added = write_acknowledgements(script, codes)
        result = [
            replace(each, line=each.line + added) if Path(each.file).resolve() == script and each.line > at else each
            for each in result
        ]
    for code in given.keys() - {code for codes in written.values() for code in codes}:
        log.warning("The new scripts have no finding with code %s; this reason is not written: %s", code, given[code])
    return result


def write_acknowledgements(script: Path, given: Mapping[str, str]) -> tuple[int, int]:
    """Write ``given`` as safety_assured into the script. Return below which line, and the number of lines."""
    code = _code(given)
    return insert_below_identifiers(script, code), code.count("\n")


def _code(given: Mapping[str, str]) -> str:
    entries = [f"{json.dumps(code)}: {json.dumps(reason, ensure_ascii=False)}" for code, reason in given.items()]
    line = f"safety_assured = {{{', '.join(entries)}}}\n"
    if len(line) <= LONGEST_LINE:
        return line
    return "\n".join(["safety_assured = {", *(f"    {entry}," for entry in entries), "}\n"])
