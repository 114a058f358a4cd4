"""The rules on revisions not written for them: the harmful are caught, and none of the harmless is blocked.

They are the scripts in revisions/, one case each, written from the catalogue of codes and from public histories, not
from the rules: if a rule misses one, mend the rule. A new case is a new file in harmful/ or harmless/ that follows
base0, or a revision in before/. Its docstring says how it hurts, or why it does not; ``databases`` are those on which
that is so, and ``codes`` those that say what hurts, each of them alone.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.script import Script, ScriptDirectory
from flask import Flask
from flask_migrate import downgrade, upgrade

from ..adapters.products import FACTS
from ..review.findings import Finding
from ..review.reviewer import review_revisions
from ..review.rules import RULES
from .example.app.extensions import db
from .support import EXAMPLE, SERVERS, copied, empty_database, is_mariadb, make_app

REVISIONS = Path(__file__).with_name("revisions")
SCRIPTS = ScriptDirectory(
    str(REVISIONS),
    version_locations=[str(EXAMPLE / "migrations" / "versions"), str(REVISIONS)],
    recursive_version_locations=True,
)
# Codes of warnings, some of them only where the rows cannot be read.
WARNINGS = {
    "add-foreign-key",
    "add-foreign-key-blocks",
    "add-unique",
    "enum-outlives-table",
    "missing-downgrade",
    "not-inspectable",
    "set-not-null",
}
USER = sa.table("user", *map(sa.column, ("id", "username", "email")))
ACCOUNT = sa.table("account", *map(sa.column, ("id", "user_id", "balance", "status", "created_at")))
NOTE = sa.table("note", *map(sa.column, ("id", "title", "body", "account_id")))
Review = Callable[[Script, str], list[Finding]]


def cases(folder: str) -> list[Script]:
    """Return the scripts in the folder."""
    scripts = (script for script in SCRIPTS.walk_revisions() if Path(script.path).parent.name == folder)
    return sorted(scripts, key=lambda script: script.revision)


def on_each(products: dict[str, set[str]], cases: list[Script], argument: str) -> pytest.MarkDecorator:
    """Run a test for each case, and each key of ``products`` of which the case names a product."""
    found = [
        pytest.param(case, key, id=f"{case.revision}-{key}")
        for key, names in products.items()
        for case in cases
        if names & set(case.module.databases)
    ]
    return pytest.mark.parametrize(("case", argument), found)


HARMFUL, HARMLESS = cases("harmful"), cases("harmless")
PRODUCTS = {product: {product} for product in FACTS}
BACKENDS = {backend: {"mysql", "mariadb"} if backend == "mysql" else {backend} for backend in ("sqlite", *SERVERS)}


@pytest.fixture(scope="module")
def review(in_any_app: None) -> Review:
    """Return a function that returns the findings in a case on a product, without a database."""

    def run(case: Script, product: str) -> list[Finding]:
        history = list(SCRIPTS.iterate_revisions(case.revision, "base"))[::-1]
        return review_revisions(history, {case.revision}, FACTS[product]())

    return run


@on_each(PRODUCTS, HARMFUL, "product")
def test_harmful_is_caught(review: Review, case: Script, product: str) -> None:
    """A harmful revision is caught on each database that it names, with a code that fits."""
    findings = review(case, product)
    caught = {each.code for each in findings if each.stops or each.code in WARNINGS}
    assert caught & set(case.module.codes), [case.doc, *(each.words for each in findings)]


@on_each(PRODUCTS, HARMLESS, "product")
def test_harmless_passes(review: Review, case: Script, product: str) -> None:
    """A harmless revision is not blocked on any database that it names; a warning blocks nothing."""
    assert [] == [each.words for each in review(case, product) if each.stops], case.doc


@pytest.mark.parametrize("case", HARMFUL + HARMLESS, ids=lambda case: case.revision)
def test_headers(case: Script) -> None:
    """A case is named like its file, in a name that fits into alembic_version, and only the harmful have codes."""
    assert Path(case.path).stem == case.revision[:32]
    assert (case in HARMFUL) == bool(codes := set(getattr(case.module, "codes", ())))
    assert set() == codes - RULES.keys()
    assert set() == set(case.module.databases) - FACTS.keys()


def test_half_of_the_cases_are_harmful() -> None:
    """There are at least 32 harmful revisions, and as many harmless ones, and each database has some of both."""
    assert 32 <= len(HARMFUL) == len(HARMLESS)
    for scripts in (HARMFUL, HARMLESS):
        assert FACTS.keys() == {database for case in scripts for database in case.module.databases}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a migrations folder with the base."""
    folder = copied(tmp_path_factory.mktemp("outside")).path / "migrations"
    shutil.copy(REVISIONS / "base.py", folder / "versions")
    return folder


@pytest.fixture(scope="module")
def at_base(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Flask]]:
    """Yield a function that returns an app on a new database at base0."""
    with ExitStack() as databases:

        def create(backend: str) -> Flask:
            app = make_app(databases.enter_context(empty_database(backend, tmp_path_factory.mktemp(backend))))
            with app.app_context():
                databases.callback(db.engine.dispose)
                upgrade(directory=str(folder), revision="base0")
            return app

        yield create


@pytest.fixture(scope="module")
def unused() -> dict[str, Flask]:
    """Return the apps whose databases earlier tests have left at base0."""
    return {}


@pytest.fixture
def migrations(
    folder: Path, at_base: Callable[[str], Flask], unused: dict[str, Flask], case: Script, backend: str
) -> Iterator[str]:
    """Yield a migrations folder with the case, and push the context of an app on a database at base0."""
    app = unused.pop(backend, None) or at_base(backend)
    scripts = [
        Path(shutil.copy(script.path, folder / "versions"))
        for script in SCRIPTS.iterate_revisions(case.revision, "base0")
    ]
    try:
        with app.app_context():
            product = "mariadb" if backend == "mysql" and is_mariadb(db.engine.url) else backend
            if product not in case.module.databases:
                pytest.skip(f"only on {', '.join(case.module.databases)}")
            yield str(folder)
            if case.down_revision != "base0":
                downgrade(directory=str(folder), revision="base0")
        unused[backend] = app
    finally:
        for script in scripts:
            script.unlink()


@on_each(BACKENDS, HARMLESS, "backend")
def test_harmless_run(case: Script, backend: str, migrations: str) -> None:
    """A harmless revision deletes no row, nor does its downgrade, and code that was running before still works."""
    if case.down_revision != "base0":
        upgrade(directory=migrations, revision=case.down_revision)
    rows = used()
    for command, revision in ((upgrade, case.revision), (downgrade, case.down_revision)):
        command(directory=migrations, revision=revision)
        assert [] == [ids - after for ids, after in zip(rows, used(), strict=True) if ids - after]


def used() -> list[set[int]]:
    """Return the ids of the rows, after code that knows the base has inserted, updated and deleted some in vain."""
    with db.engine.connect() as connection:
        rows = [{row.id for row in connection.execute(sa.select(table))} for table in (USER, ACCOUNT, NOTE)]
        connection.execute(USER.insert().values(username="carol", email="carol@example.com"))
        connection.execute(ACCOUNT.insert().values(user_id=min(rows[0]), balance=1, status="active"))
        connection.execute(NOTE.insert().values(title="Hi", body="there", account_id=min(rows[1])))
        connection.execute(ACCOUNT.update().where(ACCOUNT.c.id == min(rows[1])).values(balance=2, status=None))
        connection.execute(NOTE.delete().where(NOTE.c.title == "Hi"))
        connection.rollback()
    return rows
