"""A history runs with the naming convention that it was written for: none before `convention_since`."""

import shlex

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from .support import FIRST, Models, Project, on_postgresql, on_servers, on_sqlite, revision

UNIQUE = "with op.batch_alter_table('t') as batch:\n    batch.create_unique_constraint({!r}, [{!r}])"
DROP = "with op.batch_alter_table('t') as batch:\n    batch.drop_constraint({!r}, type_='unique')"
TABLE = (
    "op.create_table('t', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('email', sa.String(80)),"
    " sa.Column('age', sa.Integer()), sa.UniqueConstraint('email'))"
)
CHECK = "op.create_table('c', sa.Column('age', sa.Integer()), sa.CheckConstraint('age >= 0'))"
# The names that servers choose.
GIVEN = {"mysql": "email", "postgresql": "t_email_key"}


@pytest.fixture
def old(project: Project, backend: str, engine: Engine) -> Project:
    """Return a project on an empty database, whose revisions n1 and n2 were written before its naming convention."""
    up, down = "op.drop_table('c')", CHECK
    if name := GIVEN.get(backend):
        up, down = f"{up}\n{DROP.format(name)}", f"{UNIQUE.format(name, 'email')}\n{down}"
    project.write(*revision("n1", FIRST, f"{TABLE}\n{CHECK}", "op.drop_table('c')\nop.drop_table('t')"))
    project.write(*revision("n2", "n1", up, down))
    project.write(*revision("n3", "n2", UNIQUE.format(None, "age"), DROP.format("uq_t_age")))
    return project


def since(project: Project, name: str) -> None:
    """Write `convention_since` into alembic.ini."""
    file = project.path / "migrations" / "alembic.ini"
    file.write_text(file.read_text().replace("[alembic]", f"[alembic]\nconvention_since = {name}"))


def uniques(engine: Engine) -> set[str | None]:
    """Return the names of the unique constraints of the table t."""
    return {each["name"] for each in sa.inspect(engine).get_unique_constraints("t")}


def test_runs(old: Project, engine: Engine) -> None:
    """Earlier revisions run without the convention, up, down, in a rehearsal and as SQL; REV and later ones with it."""
    since(old, "n3")
    old.ok("upgrade", "n1")
    assert ["ok", "ok"] == [line.split()[-1] for line in old.db("rehearse", "n3").stdout.splitlines()[1:3]]
    old.ok("upgrade", "n3")
    name = GIVEN.get(engine.dialect.name)
    assert {"uq_t_age", *([] if name else [None])} == uniques(engine)
    old.ok("downgrade", "n1")
    assert {name} == uniques(engine)
    assert "CHECK (age >= 0)" in old.ok("upgrade", f"{FIRST}:n1", "--sql", DATABASE_URL="postgresql://nowhere/app")


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"], indirect=True)
def test_stock(old: Project, engine: Engine) -> None:
    """Stock runs the history with the convention of today: a CHECK without a name raises an error."""
    old.make_stock()
    assert "explicitly named" in old.fails("upgrade")


BATCH = "with op.batch_alter_table('t', naming_convention={'uq': 'old_%(column_0_name)s'}) as batch:\n    "


@pytest.mark.parametrize(("what", "is_newest"), [("CHECK", True), ("drop", False)])
def test_message(project: Project, engine: Engine, backend: str, what: str, is_newest: bool) -> None:
    """An error about a name that the convention has changed has the lines to paste, and they help."""
    drop = DROP.format(GIVEN[backend]) if backend in GIVEN else f"{BATCH}batch.drop_constraint('old_email')"
    project.write(*revision("n1", FIRST, TABLE, "op.drop_table('t')"))
    project.write(*revision("n2", "n1", CHECK if what == "CHECK" else drop))
    if not is_newest:
        project.write(*revision("n3", "n2", "pass"))
    said = project.fails("upgrade").splitlines()
    (at,) = (number for number, line in enumerate(said) if line.startswith("Fix: "))
    assert "if the script was written before the models had their naming convention, upgrade an empty" in said[at]
    lines = [line.strip() for line in said[at + 1 : at + 2 + is_newest]]
    if is_newest:
        project.ok(*shlex.split(lines[0])[2:])
    since(project, lines[-1].removeprefix("convention_since = "))
    project.ok("downgrade", "base")
    project.ok("upgrade")


def test_right_name_that_gets_a_prefix(project: Project, engine: Engine, backend: str) -> None:
    """A CHECK that is called as the script says, without the convention, is dropped by op.f(), as the message says."""
    table = "op.create_table('t', sa.Column('a', sa.Integer), sa.CheckConstraint('a > 0', name=op.f('ck_b')))"
    drop = "op.drop_constraint('ck_b', 't', type_='check')"
    if backend == "sqlite":
        drop = "with op.batch_alter_table('t') as batch:\n    batch.drop_constraint('ck_b', type_='check')"
    project.write(*revision("n1", FIRST, table, "op.drop_table('t')"))
    project.write(*revision("n2", "n1", drop))
    assert "Fix: correct the name in the script (op.f('NAME') keeps it as it is);" in project.fails("upgrade")
    project.write(*revision("n2", "n1", drop.replace("'ck_b'", "op.f('ck_b')")))
    project.ok("upgrade")
    assert [] == sa.inspect(engine).get_check_constraints("t")


@on_postgresql
def test_raw_sql_has_its_own_names(project: Project, engine: Engine) -> None:
    """SQL that validates a constraint is not about the convention."""
    project.write(*revision("n1", FIRST, "op.execute('ALTER TABLE \"user\" VALIDATE CONSTRAINT nope')"))
    said = project.fails("upgrade")
    assert ('constraint "nope" of relation "user" does not exist\n' in said, "convention" in said) == (True, False)


@on_sqlite
def test_review(old: Project, engine: Engine) -> None:
    """The review judges each revision by its own convention."""
    found = "creates a CHECK constraint of c without a name; "
    said = old.fails("review", "n1", "--target", "postgresql")
    assert f"{found}the naming convention requires a name for it" in said
    since(old, "n3")
    said = old.ok("review", "n1", "--target", "postgresql")
    assert f"{found}each database chooses another name" in said


@on_sqlite
def test_unknown_revision(old: Project, engine: Engine) -> None:
    """A name that is not that of a revision is refused, with the line to correct, before anything runs."""
    since(old, "n9")
    said = old.fails("upgrade")
    assert "migrations/alembic.ini has convention_since = n9, but n9 is not the id of a revision.\nFix: " in said
    assert not sa.inspect(engine).has_table("user")


# As stock named the constraints, and what renames each in place.
STOCK = {
    "mysql": (
        "ALTER TABLE pet RENAME INDEX uq_pet_name TO name",
        "ALTER TABLE pet DROP CONSTRAINT ck_pet_age_not_negative, ADD CONSTRAINT pet_age CHECK (age >= 0)",
    ),
    "postgresql": (
        "ALTER TABLE pet RENAME CONSTRAINT uq_pet_name TO pet_name_key",
        "ALTER TABLE pet RENAME CONSTRAINT ck_pet_age_not_negative TO pet_age",
    ),
}
RENAMES = {
    "mysql": ["ALTER TABLE pet RENAME INDEX name TO uq_pet_name"],
    "postgresql": [
        "ALTER TABLE pet RENAME CONSTRAINT pet_name_key TO uq_pet_name",
        "ALTER TABLE pet RENAME CONSTRAINT pet_age TO ck_pet_age_not_negative",
    ],
}


@on_servers
def test_renamed_in_place(pets: Models, backend: str) -> None:
    """`migrate` renames constraints to the convention's names; MySQL creates the new CHECK before it drops the old."""
    pets.execute(*STOCK[backend])
    (script,) = (pets.migrate(),)
    upgrade = script.partition("def downgrade")[0]
    assert all(line in upgrade for line in RENAMES[backend])
    mine = upgrade[upgrade.index("('mysql', 'mariadb')") : upgrade.index("'postgresql'")]
    assert mine.index("create_check_constraint") < mine.index("drop_constraint")
    assert upgrade.count("drop_constraint") == 1 + 2  # and those of SQLite
    pets.there_and_back()
