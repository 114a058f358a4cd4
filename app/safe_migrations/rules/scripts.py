"""Rules about whole scripts."""

from collections.abc import Iterator
from pathlib import Path

from app.safe_migrations.operations import Revision, one_way
from app.safe_migrations.rules.registry import RULES, WARNS, Assurances, Case, Problem, rule


@rule(WARNS, Revision)
def not_inspectable(revision: Revision, _case: Case) -> Iterator[Problem]:
    """What cannot be recorded cannot be reviewed, and nothing is guessed."""
    for way, reason in revision.not_inspectable.items():
        if way == "downgrade" and one_way(Path(revision.script.path)) is not None:
            continue
        yield Problem(
            f"has a {way}() that cannot be reviewed, for it does not run without a database: {reason}",
            "change the schema in a revision that reads nothing, and rows in one of their own.",
        )


@rule(WARNS, Assurances)
def safety_assured(assurances: Assurances, _case: Case) -> Iterator[Problem]:
    """An assurance that assures nothing hides the next thing that hurts."""
    if not isinstance(assurances.declared, dict):
        yield Problem(
            "declares a safety_assured that is no dict, and acknowledges nothing",
            'write codes and reasons:\n    safety_assured = {"drop-column": "why it is safe"}',
        )
        return
    for code, reason in assurances.declared.items():
        if code not in RULES:
            yield Problem(
                f"acknowledges {code!r}, and there is no such rule",
                "take it out of safety_assured, or correct it to a code that `flask db review` shows.",
            )
        elif not assurances.is_reason(reason):
            yield Problem(
                f"acknowledges {code} without a reason, which does not count",
                f'say why it is safe:\n    safety_assured = {{"{code}": "why it is safe"}}',
            )
        elif code not in assurances.found:
            yield Problem(
                f"acknowledges {code}, and has nothing of that kind any more",
                f"take {code} out of safety_assured.",
            )
