"""A rehearsal changes nothing outside of its copy: the server refuses it to the user of the copy."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import URL, Engine, NullPool, create_engine, text

from ..adapters import Adapter, adapter_of
from ..adapters.snapshot import Snapshot
from ..database import Database, replaced_by
from ..errors import MigrationError
from ..rehearsal.runner import Rehearsal, Report
from ..rehearsal.scratch import scratch_copy
from ..settings import read
from .example.app.extensions import migrate
from .support import (
    FIRST,
    Project,
    copied,
    empty_database,
    is_mariadb,
    limited_user,
    make_app,
    on_mysql,
    on_postgresql,
    on_servers,
    revision,
    server_url,
)

TOY = [
    "CREATE TABLE toy (id INTEGER NOT NULL PRIMARY KEY, note VARCHAR(80))",
    "INSERT INTO toy VALUES (1, 'a'), (2, 'b')",
]
OTHER = {
    "mysql": [*(statement.replace("toy", "t") for statement in TOY), "CREATE TABLE u (id INTEGER) ENGINE=MyISAM"],
    "postgresql": [statement.replace("toy", "t") for statement in TOY],
}
# The statements of revisions. {other} and {real} are databases.
AUDIT = "CREATE TRIGGER audit AFTER DELETE ON toy FOR EACH ROW INSERT INTO {other}.t VALUES (OLD.id + 9, 'gone')"
BUILT = "BEGIN SET @s = CONCAT('DELETE FROM ', '{other}', '.t'); PREPARE s FROM @s; EXECUTE s; END"
OUT_OF_MYSQL = {
    "DELETE": ["DELETE FROM {other}.t"],
    "USE": ["USE {other}", "DELETE FROM t", "USE {real}"],
    "RENAME TABLE": ["RENAME TABLE toy TO {other}.toy2"],
    "trigger": [AUDIT, "DELETE FROM toy"],
    "routine": [f"CREATE PROCEDURE p() {BUILT}", "CALL p()"],
    "routine elsewhere": ["CREATE PROCEDURE {other}.p() DELETE FROM t", "CALL {other}.p()"],
    "MERGE table": [
        "CREATE TABLE m (id INTEGER) ENGINE=MERGE UNION=({other}.u) INSERT_METHOD=LAST",
        "INSERT INTO m VALUES (9)",
    ],
    "CREATE USER": ["CREATE USER {new}"],
    "GRANT": ["GRANT ALL ON *.* TO CURRENT_USER"],
    "DROP DATABASE": ["DROP DATABASE {other}"],
    "INTO OUTFILE": ["SELECT 1 INTO OUTFILE '{file}'"],
    "SET GLOBAL": ["SET @@GLOBAL.max_connections = 152"],
    "definer": ["CREATE DEFINER = root@127.0.0.1 PROCEDURE p() DELETE FROM {other}.t", "CALL p()"],
    "foreign key": ["ALTER TABLE toy ADD CONSTRAINT fk FOREIGN KEY (id) REFERENCES {other}.t (id) ON DELETE CASCADE"],
}
ENCODED = "EXECUTE convert_from(decode('435245415445','hex'),'utf8') || ' ROLE {new}'"
OUT_OF_POSTGRESQL = {
    "CREATE ROLE": ["DO $$ BEGIN " + ENCODED + "; END $$"],
    "routine": [
        "CREATE FUNCTION make() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN " + ENCODED + "; END $$",
        "SELECT make()",
    ],
    "the app's user": ["SET SESSION AUTHORIZATION {user}", "CREATE ROLE {new}"],
    "DROP DATABASE": ["DROP DATABASE {other}"],
    "ALTER SYSTEM": ["ALTER SYSTEM SET work_mem = '5MB'"],
    "COPY TO PROGRAM": ["COPY toy TO PROGRAM 'touch {file}'"],
    "lo_export": ["SELECT lo_export(lo_from_bytea(0, 'x'), '{file}')"],
    "sessions of others": ["SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'"],
    "dblink": ["CREATE EXTENSION dblink"],
    "foreign tables": ["CREATE EXTENSION postgres_fdw"],
    "language that can do anything": ["CREATE FUNCTION x() RETURNS int LANGUAGE internal AS 'pg_backend_pid'"],
}
# What ordinary revisions do, and a rehearsal has to run.
INSIDE = {
    "mysql": [
        "CREATE TRIGGER before_toy BEFORE INSERT ON toy FOR EACH ROW SET NEW.note = UPPER(NEW.note)",
        "CREATE PROCEDURE cleared() BEGIN SET @s = CONCAT('DELETE FROM ', 'toy'); PREPARE s FROM @s; EXECUTE s; END",
        "INSERT INTO toy (id) SELECT COUNT(*) + 40 FROM information_schema.columns WHERE table_name = 'toy'",
        "CREATE TABLE other (t INTEGER)",
        "CREATE VIEW v AS SELECT * FROM toy",
        "INSERT INTO doll VALUES (DEFAULT)",
    ],
    "postgresql": [
        "DO $$ BEGIN EXECUTE 'ALTER TABLE ' || quote_ident('toy') || ' ADD COLUMN n INTEGER'; END $$",
        "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := 'x'; RETURN NEW; END $$",
        "CREATE TRIGGER stamp BEFORE INSERT ON toy FOR EACH ROW EXECUTE FUNCTION stamp()",
        "GRANT SELECT ON toy TO PUBLIC",
        "CREATE SCHEMA other",
        "CREATE EXTENSION pgcrypto",
        'CREATE EXTENSION IF NOT EXISTS "uuid-ossp"',
        "ALTER TABLE doll ADD COLUMN name TEXT",
    ],
}
# A table that is found by the search path of the app's user; or that uses a sequence of the copy.
DOLL = {
    "postgresql": ['CREATE SCHEMA "{user}"', 'CREATE TABLE "{user}".doll (id INTEGER)'],
    "mariadb": ["CREATE SEQUENCE sq", "CREATE TABLE doll (id INTEGER DEFAULT (NEXTVAL(sq)))"],
    "mysql": ["CREATE TABLE doll (id INTEGER DEFAULT 1)"],
}
LINK = "dblink_exec('host=127.0.0.1 dbname={other} user={user} port={port}', 'DELETE FROM t')"
FOREIGN = [
    "CREATE EXTENSION postgres_fdw",
    "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{port}', dbname '{other}')",
    "CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (user '{user}')",
    "CREATE FOREIGN TABLE f (id INTEGER NOT NULL, note VARCHAR(80)) SERVER s OPTIONS (table_name 't')",
]


class Place:
    """The app's database, with toys, and another one on its server; ``copy`` is a rehearsal's copy of the first."""

    copy: Adapter

    def __init__(self, backend: str, project: Project, other: str) -> None:
        self.project, self.app = project, make_app(project.environ["DATABASE_URL"])
        self.engine, self.other = create_engine(project.environ["DATABASE_URL"]), create_engine(other)
        self.server = server_url(backend)
        self.file = project.path / "out"
        self.names = {
            "other": str(self.other.url.database),
            "real": str(self.engine.url.database),
            "url": other,
            "user": self.server.username or "",
            "port": str(self.server.port or 5432),
            "new": f"u{uuid4().hex[:8]}",
            "file": str(self.file),
        }
        self.run(self.engine, *TOY, f"CREATE TABLE alembic_version AS SELECT '{FIRST}' AS version_num")
        self.run(self.other, *OTHER[backend])

    def filled(self, statement: str) -> str:
        """Return the statement, or a script's line, with the names filled in."""
        for name, value in self.names.items():
            statement = statement.replace("{" + name + "}", value)
        return statement

    def run(self, engine: Engine, *statements: str) -> None:
        """Run the statements and commit."""
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(self.filled(statement)))

    def script(self, *statements: str) -> tuple[str, str]:
        """Return a revision that runs the statements, and whose downgrade() raises."""
        autocommit = any("SYSTEM" in statement or "DROP DATABASE" in statement for statement in statements)
        head = "with op.get_context().autocommit_block():" if autocommit else "if True:"
        lines = [f"    op.execute({self.filled(statement)!r})" for statement in statements]
        return revision("b1", FIRST, "\n".join([head, *lines]), "raise NotImplementedError")

    def states(self) -> list[Snapshot]:
        """Return snapshots of the two databases."""
        found = []
        for engine in (self.engine, self.other):
            with self.app.app_context(), engine.connect() as connection:
                found.append(adapter_of(engine).snapshot(connection))
        return found

    def rehearse(self, script: tuple[str, str]) -> Report:
        """Rehearse a script on ``copy``, assert that nothing else changed, and return the report."""
        before = self.states()
        self.project.write(*script)
        with self.app.app_context(), replaced_by(self.copy.engine):
            rehearsal = Rehearsal(migrate.get_config(str(self.project.path / "migrations")), self.copy)
            (report,) = rehearsal.run(rehearsal.steps())
        self.run(self.copy.engine, f"UPDATE alembic_version SET version_num = '{FIRST}'")
        assert before == self.states(), report
        assert not self.file.exists()
        return report

    def output(self, setup: list[str], statement: str) -> str:
        """Return what a rehearsal of the statement prints, and assert that nothing outside of its copy changed."""
        self.run(self.engine, *setup)
        before = self.states()
        self.project.write(*self.script(statement))
        done = self.project.db("rehearse")
        assert before == self.states(), done.stdout + done.stderr
        assert (1, False) == (done.returncode, "Traceback" in done.stderr), done.stdout + done.stderr
        return done.stdout + done.stderr


@contextmanager
def placed(backend: str, folder: Path) -> Iterator[Place]:
    """Create the two databases, and drop them at the end."""
    project = copied(folder)
    with empty_database(backend, folder) as real, empty_database(backend, folder) as other:
        project.environ["DATABASE_URL"] = real
        place = Place(backend, project, other)
        yield place
        place.engine.dispose()
        place.other.dispose()


@pytest.fixture
def place(backend: str, tmp_path: Path) -> Iterator[Place]:
    """Yield databases of this test's own."""
    with placed(backend, tmp_path) as place:
        yield place


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Place]]:
    """Yield a function that returns a backend's databases, with a copy that its tests share."""
    with ExitStack() as stack:

        @cache
        def of(backend: str) -> Place:
            folder = tmp_path_factory.mktemp(backend)
            place = stack.enter_context(placed(backend, folder))
            place.run(place.engine, *DOLL["mariadb" if is_mariadb(place.server) else backend])
            with place.app.app_context():
                database = Database(stack.enter_context(place.engine.connect()))
                using = read({"backup_dir": str(folder)}, folder)
                place.copy = stack.enter_context(scratch_copy(database, using, rows=True))
            return place

        yield of


@pytest.fixture
def common(copies: Callable[[str], Place], backend: str) -> Place:
    """Return the databases, and the copy, that the tests of a backend share."""
    return copies(backend)


WAY_OUT = "rehearse on a separate server, from which nothing else can be reached:\n    export MIGRATION_REHEARSAL_URL="


@pytest.mark.parametrize(
    ("backend", "statements"),
    [
        pytest.param(backend, statements, id=f"{backend}-{name}")
        for backend, ways in (("mysql", OUT_OF_MYSQL), ("postgresql", OUT_OF_POSTGRESQL))
        for name, statements in ways.items()
    ],
    indirect=["backend"],
)
def test_refused(common: Place, statements: list[str]) -> None:
    """The server lets a revision change no other database, the real one, roles, settings, files or sessions."""
    assert WAY_OUT in "".join(common.rehearse(common.script(*statements)).faults)


@on_mysql
@pytest.mark.parametrize("way", ["trigger", "routine"])
def test_made_before(place: Place, way: str) -> None:
    """A trigger or routine that exists before a rehearsal reaches no other database either."""
    made, statement = OUT_OF_MYSQL[way]
    assert WAY_OUT in place.output([made], statement)


@on_postgresql
def test_other_database_of_postgresql(place: Place) -> None:
    """A copy has no extension that reaches out, so a trigger finds no dblink, and foreign tables cannot be copied."""
    body = f"BEGIN PERFORM {LINK}; RETURN NULL; END"
    setup = [
        "CREATE EXTENSION dblink",
        f"CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
        "CREATE TRIGGER audit AFTER DELETE ON toy FOR EACH ROW EXECUTE FUNCTION audit()",
    ]
    said = place.output(setup, "DELETE FROM toy")
    assert "function dblink_exec(unknown, unknown) does not exist" in said, said
    assert WAY_OUT in place.output(FOREIGN, "DELETE FROM f")
    before = place.states()[1]
    place.project.make_stock()
    place.project.ok("upgrade")
    assert before != place.states()[1]


@on_servers
def test_ordinary_statements(common: Place, backend: str) -> None:
    """Statements that stay inside the copy run: dynamic SQL, triggers, routines, trusted extensions.

    A MySQL server with a binary log lets only an administrator create triggers.
    """
    report = common.rehearse(common.script(*INSIDE[backend]))
    with common.engine.connect() as connection:
        logs = backend == "mysql" and connection.scalar(text("SELECT @@log_bin > @@log_bin_trust_function_creators"))
    assert (WAY_OUT if logs else "ok, irreversible") in "".join([report.verdict, *report.faults])


@pytest.fixture
def limited(common: Place) -> Iterator[Engine]:
    """Yield an engine for the other database, of a user who has rights only there."""
    with limited_user(common.other.url) as url:
        common.names["new"] = url.username or ""
        engine = create_engine(url)
        yield engine
        engine.dispose()


@pytest.mark.parametrize(
    ("backend", "right"),
    [
        ("mysql", "PROCESS ON *.*"),
        ("postgresql", "SELECT ON toy"),
        ("postgresql", "CONNECT ON DATABASE {real}"),
        ("postgresql", "pg_monitor"),
    ],
    indirect=["backend"],
)
def test_user_with_rights_elsewhere(common: Place, limited: Engine, right: str) -> None:
    """A user with rights outside of the database is refused; a user with rights there only is accepted."""
    confine = adapter_of(limited).databases.confine
    common.run(common.engine, f"GRANT {right} TO {{new}}")
    with limited.connect() as connection, pytest.raises(MigrationError, match="has rights outside of"):
        confine(connection)
    limited.dispose()
    common.run(common.engine, f"REVOKE {right} FROM {{new}}")
    with limited.connect() as connection:
        confine(connection)


@on_postgresql
def test_foreign_data_wrapper(common: Place, limited: Engine) -> None:
    """A database with a foreign data wrapper is refused."""
    common.run(common.other, "CREATE EXTENSION postgres_fdw")
    with limited.connect() as connection, pytest.raises(MigrationError, match="has a foreign data wrapper"):
        adapter_of(limited).databases.confine(connection)
    common.run(common.other, "DROP EXTENSION postgres_fdw")


@on_mysql
def test_foreign_keys_across_databases(place: Place) -> None:
    """A foreign key from another database lets a rehearsal run, and deletes nothing there; one to it stops the copy."""
    place.run(
        place.other,
        "CREATE TABLE child (id INTEGER PRIMARY KEY,"
        " CONSTRAINT fk_child FOREIGN KEY (id) REFERENCES {real}.toy (id) ON DELETE CASCADE)",
        "INSERT INTO child VALUES (1), (2)",
    )
    assert "deletes 2 of 2 rows of toy" in place.output([], "DELETE FROM toy")
    key = "ALTER TABLE toy ADD CONSTRAINT fk_toy FOREIGN KEY (id) REFERENCES {other}.t (id) ON DELETE CASCADE"
    assert WAY_OUT in place.output([key], "DELETE FROM toy")
    place.project.make_stock()
    place.project.ok("upgrade")
    assert 0 == place.states()[1].tables["child"].count
    place.run(place.engine, "ALTER TABLE toy DROP FOREIGN KEY fk_toy")


@on_mysql
def test_definers(place: Place) -> None:
    """Views of the copy have the rights of its user, not of their definers; one on another database is not copied."""
    said = place.output(["CREATE SQL SECURITY DEFINER VIEW w AS SELECT id FROM toy"], "DELETE FROM w")
    assert "deletes 2 of 2 rows of toy" in said, said
    assert WAY_OUT in place.output(["CREATE VIEW v AS SELECT id FROM {other}.t"], "DELETE FROM v")


ELSEWHERE = "with sa.create_engine('{url}').begin() as connection:\n    connection.execute(sa.text('DELETE FROM t'))"
AS_ANOTHER_USER = "sa.create_engine(sa.make_url('{url}').set(database=op.get_bind().engine.url.database)).connect()"
CURSOR = "op.get_bind().connection.cursor()"


@pytest.mark.parametrize(
    ("backend", "body", "expected"),
    [
        ("mysql", ELSEWHERE, "the script connects to another database"),
        ("postgresql", AS_ANOTHER_USER, "or as another user"),
        ("mysql", f"{CURSOR}.executemany('INSERT INTO {{other}}.t VALUES (%s, %s)', [(8, 'x'), (9, 'y')])", WAY_OUT),
        ("postgresql", f"{CURSOR}.copy('COPY toy TO $${{file}}$$').__enter__()", WAY_OUT),
    ],
    indirect=["backend"],
)
def test_connections(common: Place, body: str, expected: str) -> None:
    """A script's own connection to another database, or as another user, is refused; so are statements on a cursor of
    the driver.
    """
    report = common.rehearse(revision("b1", FIRST, common.filled(body)))
    assert expected in "".join(report.faults)


@on_mysql
def test_connection_on_stock(place: Place) -> None:
    """The damage: on stock a script that connects to another database changes it."""
    before = place.states()[1]
    place.project.write(*revision("b1", FIRST, place.filled(ELSEWHERE)))
    place.project.make_stock()
    place.project.ok("upgrade")
    assert before != place.states()[1]


@on_servers
def test_name_of_the_server(place: Place, backend: str) -> None:
    """A server counts as the app's own under any name in MIGRATION_REHEARSAL_URL, even if the app's user does not see
    the database that is made there.
    """
    server = place.server
    url = URL.create(server.drivername, server.username, server.password, "localhost", server.port)
    place.project.environ["MIGRATION_REHEARSAL_URL"] = url.render_as_string(hide_password=False)
    with limited_user(place.engine.url) if backend == "mysql" else nullcontext(place.engine.url) as app:
        place.project.environ["DATABASE_URL"] = app.render_as_string(hide_password=False)
        assert WAY_OUT in place.output([], "CREATE ROLE {new}x")


@pytest.mark.parametrize("sql", ["ATTACH '{file}' AS o; DELETE FROM o.t", "VACUUM INTO '{file}.copy'"])
def test_other_file_of_sqlite(project: Project, tmp_path: Path, sql: str) -> None:
    """SQLite itself refuses another file in a script that the driver runs unseen; a plain VACUUM passes."""
    file = tmp_path / "other.db"
    other = create_engine(f"sqlite:///{file}", poolclass=NullPool)
    with other.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t AS SELECT 1 AS id")
    lines = "op.get_bind().connection.dbapi_connection.executescript({!r})".format
    project.ok("upgrade")
    project.write(*revision("b1", FIRST, lines(sql.replace("{file}", str(file)))))
    done = project.db("rehearse")
    assert (1, False) == (done.returncode, "Traceback" in done.stderr), done.stdout + done.stderr
    assert re.search("not authorized|authorization denied", done.stdout), done.stdout
    with other.connect() as connection:
        assert 1 == connection.exec_driver_sql("SELECT count(*) FROM t").scalar()
    assert not Path(f"{file}.copy").exists()
    vacuum = "with op.get_context().autocommit_block():\n    op.execute('VACUUM')"
    project.write(*revision("b1", FIRST, vacuum, "raise NotImplementedError"))
    assert " ok" in (said := project.db("rehearse").stdout), said
