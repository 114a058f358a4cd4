"""The rules on revisions not written for them: the harmful are caught, and none of the harmless is blocked."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from flask import Flask
from flask_migrate import downgrade, upgrade

from ..adapters.products import FACTS
from ..review.findings import Finding
from ..review.recorder import Recordings
from ..review.reviewer import review_revisions
from .example.app.extensions import migrate
from .outside import ALL, HARMFUL, HARMLESS, MYSQL, WARNINGS, Outside
from .support import Project, is_mariadb

USER = sa.table("user", *map(sa.column, ("id", "username", "email")))
ACCOUNT = sa.table("account", *map(sa.column, ("id", "user_id", "balance", "status", "created_at")))
NOTE = sa.table("note", *map(sa.column, ("id", "title", "body", "account_id")))
Miss = tuple[Outside, str, list[Finding]]  # the revision, the database, and what was found there
RUNS = [
    pytest.param(outside, backend, id=f"{outside.name}-{backend}")
    for outside in HARMLESS
    for backend in ("sqlite", "mysql", "postgresql")
    if backend in outside.databases or (backend == "mysql" and "mariadb" in outside.databases)
]


@pytest.fixture
def reviews(project: Project, app_on: Callable[[str], Flask]) -> Callable[[Outside], dict[str, list[Finding]]]:
    """What is found in a revision, by the databases that it is for."""
    app = app_on("sqlite:////nowhere/at/all.db")

    def run(outside: Outside) -> dict[str, list[Finding]]:
        paths = [project.write(*script) for script in outside.scripts()]
        with app.app_context():
            script = ScriptDirectory.from_config(migrate.get_config())
            history = list(script.walk_revisions())[::-1]
            found = {
                name: review_revisions(history, {outside.name}, FACTS[name](), Recordings())
                for name in outside.databases
            }
        for path in paths:
            path.unlink()
        return found

    return run


def caught(outside: Outside, findings: list[Finding]) -> bool:
    """Whether a code that fits was found, at a level that the catalogue has for it."""
    return any(found.code in outside.codes and (found.stops or found.code in WARNINGS) for found in findings)


def named(misses: list[Miss]) -> set[str]:
    """The revisions that are missed; one database of those that it names is enough."""
    return {outside.name for outside, _, _ in misses}


def listed(misses: list[Miss]) -> str:
    """A line for each: what was found, what was wanted, and why."""
    lines = []
    for outside, database, findings in misses:
        found = ", ".join(f"{finding.code} ({finding.level})" for finding in findings) or "nothing"
        wanted = " or ".join(outside.codes) or "nothing that blocks"
        lines.append(f"{outside.name} on {database}: found {found}, wanted {wanted}: {outside.why}")
    return "\n".join(lines)


def test_harmful_are_caught(reviews: Callable[[Outside], dict[str, list[Finding]]]) -> None:
    """All of the harmful, on every database that they name, with a code that fits."""
    misses = [
        (outside, database, findings)
        for outside in HARMFUL
        for database, findings in reviews(outside).items()
        if not caught(outside, findings)
    ]
    assert set() == named(misses), f"harmful, and not caught:\n{listed(misses)}"


def test_harmless_pass(reviews: Callable[[Outside], dict[str, list[Finding]]]) -> None:
    """None of the harmless is blocked, on any database that it names; a warning blocks nothing."""
    misses = [
        (outside, database, findings)
        for outside in HARMLESS
        for database, findings in reviews(outside).items()
        if any(found.stops for found in findings)
    ]
    assert set() == named(misses), f"harmless, and blocked:\n{listed(misses)}"


def test_corpus() -> None:
    """Half of the revisions hurt; no two have a name in common, and the names fit into alembic_version."""
    assert (32, 32, 64) == (len(HARMFUL), len(HARMLESS), len({outside.name for outside in HARMFUL + HARMLESS}))
    names = [Path(path).stem for outside in HARMFUL + HARMLESS for path, _ in outside.scripts()]
    assert [] == [name for name in names if len(name) > 32]
    assert all(outside.codes for outside in HARMFUL)
    assert not any(outside.codes for outside in HARMLESS)
    assert set(ALL) == {database for outside in HARMFUL + HARMLESS for database in outside.databases}


@pytest.mark.parametrize(("outside", "backend"), RUNS, indirect=["backend"])
def test_harmless_run(
    outside: Outside, backend: str, database: str, project: Project, attempt: Callable[..., list[str]]
) -> None:
    """The harmless take no row, and code that was running before goes on; they can be taken back where they say how."""
    product = backend if backend != "mysql" else MYSQL[is_mariadb(sa.make_url(database))]
    if product not in outside.databases:
        pytest.skip(f"only on {', '.join(outside.databases)}")
    *before, _ = [project.write(*script).stem for script in outside.scripts()]
    assert [] == attempt(upgrade, revision=before[-1])
    rows = used(database)
    assert [] == attempt(upgrade, revision=outside.name)
    assert [] == [ids for ids, after in zip(rows, used(database), strict=True) if not ids <= after]
    if outside.downgrade:
        assert [] == attempt(downgrade, revision=before[-1])
        assert [] == [ids for ids, after in zip(rows, used(database), strict=True) if not ids <= after]


def used(database: str) -> list[set[int]]:
    """The keys of the rows. Inserts, reads and changes some, as code does that knows the base, and takes it back."""
    engine = sa.create_engine(database, poolclass=sa.NullPool)
    with engine.connect() as connection:
        rows = [{row.id for row in connection.execute(sa.select(table))} for table in (USER, ACCOUNT, NOTE)]
        connection.execute(USER.insert().values(username="carol", email="carol@example.com"))
        connection.execute(ACCOUNT.insert().values(user_id=min(rows[0]), balance=1, status="active"))
        connection.execute(NOTE.insert().values(title="Hi", body="there", account_id=min(rows[1])))
        connection.execute(ACCOUNT.update().where(ACCOUNT.c.id == min(rows[1])).values(balance=2, status=None))
        connection.execute(NOTE.delete().where(NOTE.c.title == "Hi"))
        connection.rollback()
    return rows
