"""A rehearsal says no to what would go wrong, yes to everything else, and only reads the real database."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import URL, Engine, create_engine, make_url, text

from ..adapters import adapter_of
from ..adapters.base import SCRATCH
from ..adapters.postgresql.dump import DROP_ALL
from ..backups.files import name_of
from ..commands.app_database import opened
from ..database import Database, replaced_by
from ..lock import locked
from ..rehearsal.differences import differences
from ..rehearsal.runner import Rehearsal, Report
from ..rehearsal.scratch import scratch_database
from .example.app.extensions import db, migrate
from .support import (
    FIRST,
    SERVERS,
    USER,
    Project,
    empty_database,
    limited_user,
    make_app,
    on_mysql,
    on_postgresql,
    on_servers,
    on_sqlite,
    revision,
    run_on_server,
    state,
    wait_until,
)

ONE_WAY = '"""Why."""\nraise NotImplementedError(\'the old values are gone\')'
ID = "sa.Column('id', sa.Integer(), primary_key=True)"


def batch(table: str, *calls: str) -> str:
    """Return a batch block of a script."""
    return "\n    ".join([f"with op.batch_alter_table('{table}') as batch:", *(f"batch.{call}" for call in calls)])


def table(name: str, *columns: str) -> tuple[str, str]:
    """Return the lines that create a table and drop it."""
    return f"op.create_table('{name}', {', '.join([ID, *columns])})", f"op.drop_table('{name}')"


def execute(*statements: str) -> str:
    """Return the lines that run SQL statements."""
    return "\n".join(f"op.execute({statement!r})" for statement in statements)


LONGER = batch("toy", "alter_column('note', type_=sa.String(120), existing_type=sa.String(80))")
SHORTER = batch("toy", "alter_column('note', type_=sa.String(80), existing_type=sa.String(120))")
CAR = table("car", "sa.Column('kind', sa.Enum('a', 'b', name='kind'))")
GOOD = {
    "table": table("pet", "sa.Column('name', sa.String(80))", "sa.Column('owner_id', sa.Integer())"),
    "type": (LONGER, SHORTER),
    "name": (
        batch("toy", "alter_column('note', new_column_name='remark', existing_type=sa.String(120))"),
        batch("toy", "alter_column('remark', new_column_name='note', existing_type=sa.String(120))"),
    ),
    "constraints": (
        batch("pet", "create_unique_constraint('uq', ['name'])", "create_check_constraint('ck', 'owner_id > 0')"),
        batch("pet", "drop_constraint('uq', type_='unique')", "drop_constraint('ck', type_='check')"),
    ),
    "foreign key": (  # as autogenerate writes it; MySQL's servers leave the index
        batch("pet", "create_foreign_key('fk', 'user', ['owner_id'], ['id'])"),
        batch("pet", "drop_constraint('fk', type_='foreignkey')"),
    ),
    "renamed with a new column": (
        "op.rename_table('toy', 'thing')\nop.add_column('thing', sa.Column('c', sa.Integer()))",
        "op.drop_column('thing', 'c')\nop.rename_table('thing', 'toy')",
    ),
    "column with values": (
        "op.add_column('user', sa.Column('rank', sa.Integer(), server_default='1', nullable=False))",
        batch("user", "drop_column('rank')"),
    ),
    "view": (execute("CREATE VIEW names AS SELECT name FROM pet"), execute("DROP VIEW names")),
    "irreversible": (execute("DELETE FROM pet WHERE id < 0"), ONE_WAY),
    "enum": (CAR[0], f"{CAR[1]}\nsa.Enum(name='kind').drop(op.get_bind())"),
    "new rows": (execute("INSERT INTO pet (id, name) VALUES (1, 'Rex')"), execute("DELETE FROM pet")),
    "rows brought back": (
        execute("CREATE TABLE aside AS SELECT * FROM thing WHERE id > 1", "DELETE FROM thing WHERE id > 1"),
        execute("INSERT INTO thing SELECT * FROM aside", "DROP TABLE aside"),
    ),
}
# What a downgrade that does nothing leaves, as each database's snapshots have to show it.
FORGOTTEN = [
    batch("toy", "create_check_constraint('ck', 'id > 0')"),
    LONGER,
    "op.create_index('ix', 'user', ['email', 'id'])",
    table("pet")[0],
    execute(
        "UPDATE toy SET note = 'x' WHERE id = 1", "UPDATE toy SET number = -2 WHERE number = -1"
    ),  # -1's hash is -2
    execute("UPDATE loose SET b = 3 - b"),
]
FORGOTTEN_ON = {
    "sqlite": [batch("toy", "alter_column('number', type_=sa.Text(collation='NOCASE'))")],
    "mysql": [execute("CREATE TRIGGER t BEFORE INSERT ON toy FOR EACH ROW SET NEW.note = 1")],
    "postgresql": [
        CAR[0],
        execute("CREATE SEQUENCE numbers", "SELECT setval('user_id_seq', 1)", "REVOKE SELECT ON toy FROM PUBLIC"),
        execute("DROP POLICY p ON toy", "CREATE POLICY p ON toy"),
    ],
}
VALUES = {
    "toy.note has other values than before",
    "toy.number has other values than before",
    "loose has the same values as before, but in other rows",
}
LEFT = {
    "sqlite": {
        "CHECK (ID > 0) of toy is new",
        "column note of toy is 'VARCHAR(120)' instead of 'VARCHAR(80)'",
        "column number of toy is 'TEXT COLLATE NOCASE' instead of 'INTEGER'",
        "constraint ck_toy_ck of toy is new",
        "index ix of user is new",
        "table pet is new",
    },
    "mysql": {
        "column note of toy is '`note` varchar(120) DEFAULT NULL' instead of '`note` varchar(80) DEFAULT NULL'",
        "constraint ck_toy_ck of toy is new",
        "key ix of user is new",
        "table pet is new",
        "trigger t is new",
    },
    "postgresql": {
        "column note of toy is 'character varying(120)' instead of 'character varying(80)'",
        "constraint ck_toy_ck of toy is new",
        'index ix of "user" is new',
        "policy p of toy is '* t {-}' instead of '* f {-}'",
        *(f"sequence {name} is new" for name in ("car_id_seq", "numbers", "pet_id_seq")),
        "table car is new",
        "table pet is new",
        "table toy is 'r p {A=arwdDxt/A} A' instead of 'r p {A=arwdDxt/A,=r/A} A'",
        "type kind is new",
        'the counter of "user".id is at 1 instead of 3, so its numbers would be reused',
    },
}
# Up, down, and what it says.
BAD = {
    "downgrade that crashes": (table("pet")[0], "op.drop_table('cat')", r"its downgrade fails: .*b1.py, line 13"),
    "downgrade that nothing can do": (
        batch("toy", "drop_column('number')"),
        batch("toy", "add_column(sa.Column('number', sa.Integer(), nullable=False))"),
        r"let the script say why, in .*b1.py:\n    def downgrade\(\):\n        raise NotImplementedError",
    ),
    "fails on existing rows": (
        batch("toy", "create_unique_constraint('uq', ['number'])"),
        batch("toy", "drop_constraint('uq', type_='unique')"),
        "its upgrade fails: ",
    ),
    "table lost": ("op.drop_table('toy')", ONE_WAY, r"drops toy, which has 2 rows \(drop-table\)"),
    "column lost": ("op.drop_column('toy', 'note')", ONE_WAY, r"drops toy.note, which has 1 value \(drop-column\)"),
    "column lost in a rename": (
        "op.rename_table('toy', 'thing')\nop.drop_column('thing', 'note')",
        ONE_WAY,
        r"drops toy.note, which has 1 value \(drop-column\)",
    ),
    "rows lost": (execute("DELETE FROM toy WHERE id = 1"), "pass", "deletes 1 of 2 rows of toy"),
    "values lost": (execute("UPDATE toy SET note = NULL"), "pass", "deletes 1 of 1 value of toy.note"),
    "values of a one-way revision": (
        execute("UPDATE toy SET note = 'x' WHERE id = 1"),
        ONE_WAY,
        r"overwrites values of toy.note \(unbounded-data-change\)",
    ),
    "rows not taken back": (execute("INSERT INTO toy (id) VALUES (7)"), "pass", "toy has 3 rows instead of 2"),
    "column comes back as another one": (
        "op.drop_column('toy', 'note')",
        "op.add_column('toy', sa.Column('note', sa.String(9)))",
        "column note of toy is 'VARCHAR.9.' instead of",
    ),
}

TOY = """

class Loose(db.Model):
    __table__ = db.Table("loose", db.Column("a", db.Integer), db.Column("b", db.Integer))
    __mapper_args__ = {"primary_key": [__table__.c.a]}


class Toy(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str | None] = mapped_column(String(80))
    number: Mapped[int | None]
"""
ROWS = [
    "CREATE TABLE toy (id INTEGER NOT NULL PRIMARY KEY, note VARCHAR(80), number INTEGER)",
    "INSERT INTO toy VALUES (1, 'red', -1), (2, NULL, -1)",
    "CREATE TABLE loose (a INTEGER, b INTEGER)",
    "INSERT INTO loose VALUES (1, 1), (2, 2)",
]
Rehearsed = Callable[[], list[Report]]


@pytest.fixture
def engine(upgraded: Project, database: str) -> Iterator[Engine]:
    """Yield an engine for the database, which has users and toys, as the models do, and is at the first revision."""
    models = upgraded.path / "app" / "models.py"
    models.write_text(models.read_text() + TOY)
    engine = create_engine(database)
    policy = ["GRANT SELECT ON toy TO PUBLIC", "CREATE POLICY p ON toy AS RESTRICTIVE"]
    with engine.begin() as connection:
        connection.execute(USER.insert(), [{"username": f"u{n}", "email": f"u{n}@example.com"} for n in range(3)])
        for statement in ROWS + (policy if engine.dialect.name == "postgresql" else []):
            connection.execute(text(statement))
    yield engine
    engine.dispose()


@pytest.fixture
def rehearsed(project: Project, app_on: Callable[[str], Flask]) -> Rehearsed:
    """Return a function that rehearses on the database itself, in this process."""

    def run() -> list[Report]:
        with app_on(project.environ["DATABASE_URL"]).app_context():
            config = migrate.get_config()
            rehearsal = Rehearsal(config, adapter_of(db.engine))
            return list(rehearsal.run(rehearsal.steps()))

    return run


@on_sqlite
@pytest.mark.parametrize(("up", "down", "says"), BAD.values(), ids=BAD)
def test_faults(project: Project, engine: Engine, rehearsed: Rehearsed, up: str, down: str, says: str) -> None:
    """The report names what would go wrong, now or at the next downgrade."""
    project.write(*revision("b1", FIRST, up, down))
    (report,) = rehearsed()
    assert "no" == report.verdict
    assert re.search(says, "\n".join(report.faults))


def test_downgrade_that_does_nothing(project: Project, engine: Engine, rehearsed: Rehearsed, backend: str) -> None:
    """The report names all that remains of an upgrade: objects, their definitions, rights, values, rows, counters."""
    project.write(*revision("b1", FIRST, "\n".join(FORGOTTEN + FORGOTTEN_ON[backend])))
    (report,) = rehearsed()
    left = re.findall(r"^after its downgrade (.+?)(?: \(missing-downgrade\)\.)?$", "\n".join(report.faults), re.M)
    user = engine.url.username or "nobody"
    assert LEFT[backend] | VALUES == {line.replace(user, "A") if "arwd" in line else line for line in left}


@on_mysql
def test_index_of_a_foreign_key(project: Project, engine: Engine, rehearsed: Rehearsed) -> None:
    """A downgrade fails that drops the index of a foreign key before the key."""
    up = "op.create_index('ix', 'toy', ['number'])\nop.create_foreign_key('fk', 'toy', 'user', ['number'], ['id'])"
    run_on_server(engine.url, "UPDATE toy SET number = NULL")
    project.write(*revision("b1", FIRST, up, "op.drop_index('ix', 'toy')"))
    (report,) = rehearsed()
    assert re.search("its downgrade fails: .*1553", report.faults[0])


@on_sqlite
def test_no_downgrade_at_all(project: Project, engine: Engine, rehearsed: Rehearsed) -> None:
    """A script without downgrade() is irreversible, and the scripts after it are rehearsed."""
    name, text_of = revision("b1", FIRST, table("pet")[0])
    project.write(name, text_of.partition("def downgrade")[0])
    project.write(*revision("c1", "b1", *table("cat")))
    assert ["ok, irreversible: it has no downgrade()", "ok"] == [report.verdict for report in rehearsed()]


@on_sqlite
def test_lost_on_stock(project: Project, engine: Engine) -> None:
    """The damage: on stock such a revision runs, and its downgrade does not bring the rows back."""
    project.make_stock()
    before = state(engine)
    project.write(*revision("b1", FIRST, *BAD["rows lost"][:2]))
    project.ok("upgrade")
    project.ok("downgrade")
    assert before[-1]["toy"] != state(engine)[-1]["toy"]


@on_sqlite
@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("moved to tag", "ok, its upgrade drops toy.note, which has 1 value (drop-column: moved to tag), irre"),
        (" ", "no"),
    ],
)
def test_acknowledged(project: Project, engine: Engine, rehearsed: Rehearsed, reason: str, expected: str) -> None:
    """A loss that the script acknowledges is a note, not a fault; a blank reason acknowledges nothing."""
    up, down, _ = BAD["column lost"]
    project.write(*revision("b1", FIRST, up, down, f'safety_assured = {{"drop-column": "{reason}"}}'))
    (report,) = rehearsed()
    assert report.verdict.startswith(expected)


@on_postgresql
def test_validated_constraint(project: Project, engine: Engine, rehearsed: Rehearsed) -> None:
    """A downgrade need not make a validated constraint unvalidated: nothing can."""
    run_on_server(engine.url, "ALTER TABLE toy ADD CONSTRAINT c CHECK (id > 0) NOT VALID")
    project.write(*revision("a1", FIRST, execute("ALTER TABLE toy VALIDATE CONSTRAINT c"), "pass"))
    assert [[]] == [report.faults for report in rehearsed()]


@on_postgresql
def test_dropped_counter(project: Project, engine: Engine, rehearsed: Rehearsed) -> None:
    """The counter of a dropped table is lost with it: that is not a fault if the loss of the rows is acknowledged."""
    create = "CREATE TABLE car (id SERIAL NOT NULL, n INTEGER, CONSTRAINT pk_car PRIMARY KEY (id))"
    run_on_server(engine.url, create, "INSERT INTO car (n) VALUES (1), (2)")
    more = 'safety_assured = {"drop-table": "nobody has a car"}'
    project.write(*revision("a1", FIRST, execute("DROP TABLE car"), execute(create), more=more))
    assert [[]] == [report.faults for report in rehearsed()]


@on_postgresql
def test_copy_that_cannot_be_loaded(project: Project, engine: Engine) -> None:
    """The error says what the server says, and has one Fix: a CHECK may read rows that the copy does not have yet."""
    run_on_server(
        engine.url,
        "CREATE TABLE z AS SELECT 1 AS id",
        "CREATE FUNCTION has_z() RETURNS boolean LANGUAGE sql AS 'SELECT count(*) > 0 FROM public.z'",
        "CREATE TABLE a AS SELECT 1 AS id",
        "ALTER TABLE a ADD CHECK (has_z())",
    )
    project.write(*revision("a1", FIRST, "pass"))
    said = project.fails("rehearse")
    assert re.search(r'^Error: .*"a_check"(.*\n)+?Fix: if the cause is that', said, re.MULTILINE), said
    assert 1 == said.count("Fix: ")


def leftovers(engine: Engine, backend: str, project: Project) -> list[str]:
    """Return the scratch databases of this one, and their users."""
    if backend == "sqlite":
        folder = Path(str(make_url(project.environ["DATABASE_URL"]).database)).parent
        return sorted(file.name for file in folder.glob("_migration_rehearsal*.db"))
    query = {
        "mysql": "SELECT schema_name FROM information_schema.schemata UNION ALL SELECT user FROM mysql.user",
        "postgresql": "SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles",
    }[backend]
    with make_app(project.environ["DATABASE_URL"]).app_context(), engine.connect() as connection:
        ending = name_of(engine.url)[-8:]
        found = connection.scalars(text(query)).all()
    return sorted((name for name in found if name.startswith(SCRATCH) and name.endswith(ending)), key=len)


def test_yes(project: Project, engine: Engine, backend: str) -> None:
    """Good revisions pass, with a line for each; the real database is unchanged, and the copy is gone."""
    names = [FIRST, *(f"g{number:02}" for number in range(len(GOOD)))]
    for name, parent, (up, down) in zip(names[1:], names, GOOD.values(), strict=False):
        project.write(*revision(name, parent, up, down))
    project.write(*revision("last", names[-1], "raise RuntimeError('not rehearsed')"))
    before = state(engine)
    said = project.ok("rehearse", names[-1])
    assert names[1:] == re.findall(r"^(g\d\d) .* ok\b", said, re.MULTILINE), said
    assert "irreversible: the old values are gone" in said
    assert before == state(engine)
    assert [] == leftovers(engine, backend, project)
    assert [] == list((project.path / "instance").glob("backups/*"))


def test_columns_in_another_order(project: Project, engine: Engine, rehearsed: Rehearsed) -> None:
    """A table without a key has the same rows if a column comes back in another place."""
    run_on_server(engine.url, "UPDATE loose SET b = 7 - a")
    up = "op.execute('CREATE TABLE kept AS SELECT a, b FROM loose')\nop.drop_column('loose', 'a')"
    down = "op.add_column('loose', sa.Column('a', sa.Integer()))\nop.execute('UPDATE loose SET a = 7 - b')"
    assured = 'safety_assured = {"drop-column": "it is kept"}'
    project.write(*revision("b1", FIRST, up, f"{down}\nop.drop_table('kept')", more=assured))
    assert ["ok"] == [report.verdict for report in rehearsed()]


def test_schema_only(project: Project, engine: Engine, backend: str) -> None:
    """Without rows the schema alone is rehearsed; a difference at head between models and database is a fault."""
    project.write(*revision("b1", FIRST, *BAD["fails on existing rows"][:2]))
    done = project.db("rehearse", "--schema-only")
    assert " 0 -> 0  ok\n" in done.stdout, done.stdout + done.stderr
    assert (1, True) == (done.returncode, "the models differ from the database at head: " in done.stdout)
    assert [] == leftovers(engine, backend, project)


@on_sqlite
def test_nothing_to_rehearse(project: Project, engine: Engine) -> None:
    """At head there is nothing to do, and an unknown revision is an error."""
    done = project.db("rehearse")
    assert (0, f"Nothing to rehearse: the database is at {FIRST}\n") == (done.returncode, done.stdout)
    done = project.db("rehearse", "nowhere")
    assert (1, True) == (done.returncode, "Fix: " in done.stderr)
    done = project.db("rehearse", "base")
    says = "A rehearsal upgrades the copy to REVISION, and no upgrade leads to base. Fix: leave REVISION out"
    assert (2, True) == (done.returncode, says in done.stderr)


OWN_ENGINE = (
    "from flask import current_app\nengine = sa.create_engine(current_app.config['SQLALCHEMY_DATABASE_URI'])\n"
    "with engine.begin() as connection:\n    connection.execute(sa.text('DELETE FROM toy'))"
)
SESSION = "from app.extensions import db\ndb.session.execute(sa.text('DELETE FROM toy'))\ndb.session.commit()"


@pytest.mark.parametrize(
    ("backend", "body", "says"),
    [
        ("sqlite", OWN_ENGINE, "the script connects to another database"),
        ("postgresql", SESSION, "deletes 2 of 2 rows of toy"),
    ],
    indirect=["backend"],
)
def test_connections(project: Project, engine: Engine, body: str, says: str) -> None:
    """A script that uses the app's session reaches the copy; one that makes an engine does not reach the database."""
    before = state(engine)
    project.write(*revision("b1", FIRST, body))
    done = project.db("rehearse")
    assert (1, True) == (done.returncode, says in done.stdout), done.stdout + done.stderr
    assert before == state(engine)


@on_mysql
@pytest.mark.parametrize("key", ["CONSTRAINT fk_pet_user_id", ""])
def test_index_that_innodb_made(project: Project, engine: Engine, key: str) -> None:
    """A copy has no more indexes of its own than the database: InnoDB drops the one it made for a foreign key when
    another one can serve, and then refuses to drop that.
    """
    create = "CREATE TABLE pet (id INTEGER PRIMARY KEY, user_id INTEGER, k INTEGER)"
    run_on_server(engine.url, create, f"ALTER TABLE pet ADD {key} FOREIGN KEY (user_id) REFERENCES user (id)")
    project.write(
        *revision("b1", FIRST, "op.create_index('ix', 'pet', ['user_id', 'k'])", "op.drop_index('ix', 'pet')")
    )
    done = project.db("rehearse")
    assert (1, True) == (done.returncode, "its downgrade fails: " in done.stdout and "1553" in done.stdout), done.stdout
    project.ok("upgrade")
    assert "1553" in project.db("downgrade").stderr


@pytest.mark.parametrize(
    ("backend", "number"),
    [("sqlite", signal.SIGINT), *((backend, signal.SIGKILL) for backend in ("sqlite", *SERVERS))],
    indirect=["backend"],
)
def test_interrupted(project: Project, engine: Engine, backend: str, number: int) -> None:
    """After Ctrl-C the copy is gone; after kill -9 the next rehearsal names it, and removes it and its user."""
    before = state(engine)
    project.write(*revision("b1", FIRST, "import time, pathlib; pathlib.Path('begun').touch(); time.sleep(20)"))
    with project.start("flask", "db", "rehearse") as process:
        wait_until((project.path / "begun").exists)
        os.kill(process.pid, number)
        _, errors = process.communicate()
    left = leftovers(engine, backend, project)
    if number == signal.SIGINT:
        assert (1, False, []) == (process.returncode, "Traceback" in errors, left)
    else:
        project.write(*revision("b1", FIRST, "pass"))
        assert f"Removed the copy {left[-1].removesuffix('.db')}, " in project.ok("rehearse")
        assert (1 if backend == "sqlite" else 2, []) == (len(left), leftovers(engine, backend, project))
    assert before == state(engine)


@on_servers
def test_rights(project: Project, engine: Engine, backend: str) -> None:
    """A user who may not create databases is told what an administrator has to create, once, and may name that."""
    project.write(*revision("b1", FIRST, "pass"))
    with (
        empty_database(backend, project.path) as other,
        limited_user(engine.url) as user,
        limited_user(make_url(other)) as named,
    ):
        project.environ["DATABASE_URL"] = user.render_as_string(hide_password=False)
        right = "GRANT ALL ON rehearsal.*" if backend == "mysql" else "CREATE DATABASE rehearsal OWNER rehearsal;"
        said = project.fails("rehearse")
        assert (True, True, False) == (right in said, "Fix: " in said, "secret" in said), said
        assert "Nothing to rehearse" in project.ok("rehearse", FIRST)
        url = named.set(drivername=backend, query={}).render_as_string(hide_password=False)
        project.environ["MIGRATION_REHEARSAL_URL"] = url
        assert "b1 " in project.ok("rehearse")
        run_on_server(named, "CREATE TABLE mine (id INTEGER)")
        assert "which is not empty" in project.fails("rehearse")
        run_on_server(named, f"CREATE TABLE {SCRATCH} (id INTEGER)")  # as a killed rehearsal leaves it
        assert "in which a killed rehearsal had left its copy" in project.ok("rehearse")
        assert "has rights outside of " in project.fails("rehearse", MIGRATION_REHEARSAL_URL=other)


def test_another_server(project: Project, engine: Engine, backend: str, tmp_path: Path) -> None:
    """MIGRATION_REHEARSAL_URL may name just a server; not the app's own database."""
    project.write(*revision("b1", FIRST, "pass"))
    url = make_url(project.environ["DATABASE_URL"])
    other = str(tmp_path / "other.db") if backend == "sqlite" else None
    server = URL.create(url.drivername, url.username, url.password, url.host, url.port, other, url.query)
    project.environ["MIGRATION_REHEARSAL_URL"] = server.render_as_string(hide_password=False)
    assert "b1 " in project.ok("rehearse")
    project.environ["MIGRATION_REHEARSAL_URL"] = url.render_as_string(hide_password=False)
    assert "the app's own database" in project.db("rehearse").stderr


@pytest.mark.parametrize(
    ("backend", "wrong", "example"),
    [("sqlite", "nonsense", ""), ("postgresql", "oracle://somewhere", "postgresql://USER:PASSWORD@SERVER")],
    indirect=["backend"],
)
def test_wrong_server(project: Project, engine: Engine, wrong: str, example: str) -> None:
    """A MIGRATION_REHEARSAL_URL that is not a URL, or another product's, is an error with an example."""
    project.write(*revision("b1", FIRST, "pass"))
    done = project.db("rehearse", MIGRATION_REHEARSAL_URL=wrong)
    assert (1, True) == (done.returncode, "MIGRATION_REHEARSAL_URL does not name a" in done.stderr)
    assert f"    export MIGRATION_REHEARSAL_URL={example}\n" in done.stderr


def test_tables_that_are_not_dropped() -> None:
    """Emptying a PostgreSQL database keeps the table that marks it as a copy."""
    assert [f"public.{SCRATCH}"] == re.findall(r"'(public\._\w+)'", DROP_ALL.read_text())


@on_sqlite
def test_two_at_once(project: Project, engine: Engine) -> None:
    """A second rehearsal of the same database waits for the first one."""
    project.write(*revision("b1", FIRST, "pass"))
    with (
        make_app(project.environ["DATABASE_URL"]).app_context(),
        engine.connect() as connection,
        locked(Database(connection), 0, "rehearsal"),
    ):
        assert "another command holds the lock" in project.fails("-x", "lock_wait=0", "rehearse")
    project.ok("rehearse")


def test_build(project: Project, engine: Engine, backend: str, app_on: Callable[[str], Flask]) -> None:
    """The history runs on an empty scratch database, revision by revision, until one fails; the real one stays."""
    before = state(engine)
    project.write(*revision("b1", FIRST, table("pet", "sa.Column('name', sa.String(80))")[0]))
    project.write(*revision("b2", "b1", "op.drop_table('missing')"))
    built = []
    with (
        app_on(project.environ["DATABASE_URL"]).app_context(),
        opened(migrate.get_config()) as (database, using),
        scratch_database(database, using) as scratch,
        replaced_by(scratch.engine),
    ):
        rehearsal = Rehearsal(migrate.get_config(), scratch)
        for report in rehearsal.build():
            built.append((report.revision, len(report.faults), rehearsal.snapshot().objects))
    assert [(FIRST, 0), ("b1", 0), ("b2", 1)] == [each[:2] for each in built]
    (first, second, _) = (each[2] for each in built)
    assert "table pet is new" in list(differences(first, second))
    assert (before, []) == (state(engine), leftovers(engine, backend, project))


@pytest.mark.parametrize(("reason", "status"), [("", 1), ("the old names are of no use", 0)])
def test_backfill_that_nothing_reverts(project: Project, reason: str, status: int) -> None:
    """A backfill whose downgrade does nothing is refused with the line that accepts this, and passes with that line."""
    project.write(*revision("a1", FIRST, "op.execute(\"INSERT INTO user (username, email) VALUES ('a', 'a@b')\")"))
    project.ok("upgrade")
    more = f'safety_assured = {{"missing-downgrade": "{reason}"}}'
    project.write(
        *revision("b1", "a1", "op.execute(\"UPDATE user SET username = 'b' WHERE username = 'a'\")", more=more)
    )
    done = project.db("rehearse")
    assert (status, True) == (done.returncode, "after its downgrade user.username has other" in done.stdout), (
        done.stdout
    )
    assert bool(status) == ('safety_assured = {"missing-downgrade": "why it is safe"}' in done.stdout), done.stdout


@pytest.mark.parametrize(("where", "verdict"), [("n IS NULL", "ok"), ("n IS NULL OR id = 2", "no")])
def test_backfill_of_null(project: Project, where: str, verdict: str) -> None:
    """A downgrade need not bring back NULL where op.backfill() has written a value, but it has to restore a value."""
    item = "op.create_table('item', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('n', sa.Integer()))"
    project.write(*revision("a1", FIRST, f"{item}\nop.execute('INSERT INTO item VALUES (1, NULL), (2, 7)')"))
    project.ok("upgrade")
    project.write(*revision("b1", "a1", f"op.backfill('item', {{'n': 0}}, where='{where}')"))
    said = project.db("rehearse").stdout
    assert re.search(rf"^b1 .* {verdict}$", said, re.MULTILINE), said
    assert (verdict == "no") == ("after its downgrade item.n has other values than before" in said), said
