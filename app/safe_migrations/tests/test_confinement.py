"""A rehearsal changes nothing outside of its copy: the server refuses it to the user of the copy."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import URL, Engine, create_engine, text

from ..adapters import SCRATCH, adapter_of
from ..adapters.snapshot import Snapshot
from ..backups.files import name_of
from ..errors import MigrationError
from .support import (
    FIRST,
    Project,
    is_mariadb,
    on_mysql,
    on_postgresql,
    on_servers,
    revision,
    run_on_server,
    server_url,
)

TOY = [
    "CREATE TABLE toy (id INTEGER NOT NULL PRIMARY KEY, note VARCHAR(80))",
    "INSERT INTO toy VALUES (1, 'a'), (2, 'b')",
]
OTHER = [statement.replace("toy", "t") for statement in TOY]
# What each does: statements before the rehearsal, and those of the revision. {other} and {real} are databases.
Way = tuple[list[str], list[str]]
AUDIT = "CREATE TRIGGER audit AFTER DELETE ON toy FOR EACH ROW INSERT INTO {other}.t VALUES (OLD.id + 9, 'gone')"
BUILT = "BEGIN SET @s = CONCAT('DELETE FROM ', '{other}', '.t'); PREPARE s FROM @s; EXECUTE s; END"
IN_MYSQL: dict[str, Way] = {
    "DELETE": ([], ["DELETE FROM {other}.t"]),
    "the real database": ([], ["DELETE FROM {real}.toy"]),
    "USE": ([], ["USE {other}", "DELETE FROM t", "USE {real}"]),
    "RENAME TABLE": ([], ["RENAME TABLE toy TO {other}.toy2"]),
    "DROP TABLE": ([], ["DROP TABLE {other}.t"]),
    "CREATE TRIGGER": ([], ["CREATE TRIGGER {other}.tr BEFORE INSERT ON {other}.t FOR EACH ROW SET NEW.note = 'x'"]),
    "trigger": ([AUDIT], ["DELETE FROM toy"]),
    "trigger made by the revision": ([], [AUDIT, "DELETE FROM toy"]),
    "routine": ([f"CREATE PROCEDURE p() {BUILT}"], ["CALL p()"]),
    "routine made by the revision": ([], [f"CREATE PROCEDURE p() {BUILT}", "CALL p()"]),
    "routine elsewhere": (["CREATE PROCEDURE {other}.p() DELETE FROM t"], ["CALL {other}.p()"]),
    "PREPARE": ([], ["SET @s = CONCAT('DELETE FROM ', '{other}.t')", "PREPARE s FROM @s", "EXECUTE s"]),
    "MERGE table": (
        [],
        ["CREATE TABLE m (id INTEGER) ENGINE=MERGE UNION=({other}.u) INSERT_METHOD=LAST", "INSERT INTO m VALUES (9)"],
    ),
}
AROUND_MYSQL = {
    "CREATE USER": ["CREATE USER {role}"],
    "GRANT": ["GRANT ALL ON *.* TO CURRENT_USER"],
    "DROP USER": ["DROP USER root@127.0.0.1"],
    "DROP DATABASE": ["DROP DATABASE {other}"],
    "CREATE DATABASE": ["CREATE DATABASE {role}"],
    "INTO OUTFILE": ["SELECT 1 INTO OUTFILE '{file}'"],
    "SET GLOBAL": ["SET @@GLOBAL.max_connections = 152"],
    "definer": ["CREATE DEFINER = root@127.0.0.1 PROCEDURE p() DELETE FROM {other}.t", "CALL p()"],
    "foreign key": ["ALTER TABLE toy ADD CONSTRAINT fk FOREIGN KEY (id) REFERENCES {other}.t (id) ON DELETE CASCADE"],
}
ENCODED = "EXECUTE convert_from(decode('435245415445','hex'),'utf8') || ' ROLE {role}'"
AROUND_POSTGRESQL = {
    "CREATE ROLE": ["DO $$ BEGIN " + ENCODED + "; END $$"],
    "routine": [
        "CREATE FUNCTION make() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN " + ENCODED + "; END $$",
        "SELECT make()",
    ],
    "trigger": [
        "CREATE FUNCTION make() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN " + ENCODED + "; RETURN NULL; END $$",
        "CREATE TRIGGER make AFTER DELETE ON toy FOR EACH ROW EXECUTE FUNCTION make()",
        "DELETE FROM toy",
    ],
    "the app's user": ["SET SESSION AUTHORIZATION {user}", "CREATE ROLE {role}"],
    "after RESET": ["RESET SESSION AUTHORIZATION", "RESET ROLE", "CREATE ROLE {role}"],
    "DROP ROLE": ["DROP ROLE {user}"],
    "DROP DATABASE": ["DROP DATABASE {other}"],
    "real database": ["ALTER DATABASE {real} SET work_mem = '5MB'"],
    "ALTER SYSTEM": ["ALTER SYSTEM SET work_mem = '5MB'"],
    "COPY TO a file": ["COPY toy TO '{file}'"],
    "COPY TO PROGRAM": ["COPY toy TO PROGRAM 'touch {file}'"],
    "lo_export": ["SELECT lo_export(lo_from_bytea(0, 'x'), '{file}')"],
    "configuration": ["SELECT pg_reload_conf()"],
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
    ],
    "postgresql": [
        "DO $$ BEGIN EXECUTE 'ALTER TABLE ' || quote_ident('toy') || ' ADD COLUMN n INTEGER'; END $$",
        "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := 'x'; RETURN NEW; END $$",
        "CREATE TRIGGER stamp BEFORE INSERT ON toy FOR EACH ROW EXECUTE FUNCTION stamp()",
        "GRANT SELECT ON toy TO PUBLIC",
        "CREATE SCHEMA other",
        "CREATE EXTENSION pgcrypto",
        'CREATE EXTENSION IF NOT EXISTS "uuid-ossp"',
    ],
}
LINK = "dblink_exec('host=127.0.0.1 dbname={other} user={user} port={port}', 'DELETE FROM t')"
FOREIGN = [
    "CREATE EXTENSION postgres_fdw",
    "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{port}', dbname '{other}')",
    "CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (user '{user}')",
    "CREATE FOREIGN TABLE f (id INTEGER NOT NULL, note VARCHAR(80)) SERVER s OPTIONS (table_name 't')",
]


class Place:
    """The app's database with toys, and another one on its server."""

    def __init__(self, app: Flask, real: str, server: URL, folder: Path) -> None:
        self.app, self.engine, self.server = app, create_engine(real), server
        self.other = create_engine(server.set(database=f"other_{uuid4().hex}"))
        self.file = folder / "out"
        self.names = {
            "other": str(self.other.url.database),
            "real": str(self.engine.url.database),
            "user": server.username or "",
            "port": str(server.port or 5432),
            "role": f"rehearsed_{os.getpid()}",
            "file": str(self.file),
        }

    def filled(self, statement: str) -> str:
        """Return the statement with the names filled in, for text()."""
        for name, value in self.names.items():
            statement = statement.replace("{" + name + "}", value)
        return re.sub(r":(?=\w)", r"\\:", statement)

    def run(self, engine: Engine, *statements: str) -> None:
        """Run the statements and commit."""
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(self.filled(statement)))

    def script(self, *statements: str) -> tuple[str, str]:
        """Return a revision that runs the statements, and whose downgrade() raises."""
        lines = [f"    op.execute(sa.text({self.filled(statement)!r}))" for statement in statements]
        if any("SYSTEM" in statement or "DROP DATABASE" in statement for statement in statements):
            lines.insert(0, "with op.get_context().autocommit_block():")
        else:
            lines.insert(0, "if True:")
        return revision("b1", FIRST, "\n".join(lines), "raise NotImplementedError")

    def states(self) -> list[Snapshot]:
        """Return snapshots of the two databases."""
        found = []
        for engine in (self.engine, self.other):
            with self.app.app_context(), engine.connect() as connection:
                found.append(adapter_of(engine).snapshot(connection))
        return found


@pytest.fixture
def place(
    project: Project, backend: str, database: str, app_on: Callable[[str], Flask], tmp_path: Path
) -> Iterator[Place]:
    """Yield the databases, with the app's at its first revision."""
    app = app_on(database)
    with app.app_context():
        upgrade()
    place = Place(app, database, server_url(backend), tmp_path)
    run_on_server(place.server, f"CREATE DATABASE {place.names['other']}")
    try:
        place.run(place.engine, *TOY)
        place.run(place.other, *OTHER)
        if backend == "mysql":
            place.run(place.other, "CREATE TABLE u (id INTEGER) ENGINE=MyISAM")
        yield place
    finally:
        place.engine.dispose()
        place.other.dispose()
        force = " WITH (FORCE)" if backend == "postgresql" else ""
        run_on_server(place.server, f"DROP DATABASE {place.names['other']}{force}")


WAY_OUT = "rehearse on a separate server, from which nothing else can be reached:\n    export MIGRATION_REHEARSAL_URL="


def rehearse(project: Project, place: Place, setup: list[str], statements: list[str]) -> str:
    """Rehearse the statements, assert that nothing outside the copy changed, and return the output."""
    place.run(place.engine, *setup)
    before = place.states()
    project.write(*place.script(*statements))
    done = project.db("rehearse")
    assert before == place.states(), done.stdout + done.stderr
    assert not place.file.exists()
    assert (1, False) == (done.returncode, "Traceback" in done.stderr), done.stdout + done.stderr
    return done.stdout + done.stderr


@on_mysql
@pytest.mark.parametrize("way", [pytest.param(way, id=name) for name, way in IN_MYSQL.items()])
def test_other_database_of_mysql(project: Project, place: Place, way: Way) -> None:
    """The server lets no statement, trigger or routine reach another database, or the real one; stock reaches it."""
    said = rehearse(project, place, *way)
    assert WAY_OUT in said, said
    before = place.states()
    project.make_stock()
    project.ok("upgrade")
    real, other = place.states()
    assert before[1] != other or before[0].tables["toy"] != real.tables.get("toy")


@pytest.mark.parametrize(
    ("backend", "statements"),
    [
        pytest.param(backend, statements, id=f"{backend}-{name}")
        for backend, ways in (("mysql", AROUND_MYSQL), ("postgresql", AROUND_POSTGRESQL))
        for name, statements in ways.items()
    ],
    indirect=["backend"],
)
def test_server(project: Project, place: Place, statements: list[str]) -> None:
    """The server lets no statement change roles, settings, files, sessions or databases."""
    said = rehearse(project, place, [], statements)
    assert WAY_OUT in said, said


@on_postgresql
def test_other_database_of_postgresql(project: Project, place: Place) -> None:
    """A copy has no extension that reaches out, so a trigger finds no dblink, and foreign tables cannot be copied."""
    body = f"BEGIN PERFORM {LINK}; RETURN NULL; END"
    setup = [
        "CREATE EXTENSION dblink",
        f"CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
        "CREATE TRIGGER audit AFTER DELETE ON toy FOR EACH ROW EXECUTE FUNCTION audit()",
    ]
    said = rehearse(project, place, setup, ["DELETE FROM toy"])
    assert "function dblink_exec(unknown, unknown) does not exist" in said, said
    said = rehearse(project, place, FOREIGN, ["DELETE FROM f"])
    assert WAY_OUT in said, said
    before = place.states()[1]
    project.make_stock()
    project.ok("upgrade")
    assert before != place.states()[1]


@on_servers
def test_ordinary_statements(project: Project, place: Place, backend: str) -> None:
    """Statements that stay inside the copy run: dynamic SQL, triggers, routines, trusted extensions.

    A MySQL server with a binary log lets only an administrator create triggers.
    """
    before = place.states()
    project.write(*place.script(*INSIDE[backend]))
    done = project.db("rehearse")
    with place.engine.connect() as connection:
        logs = backend == "mysql" and connection.scalar(text("SELECT @@log_bin > @@log_bin_trust_function_creators"))
    assert (WAY_OUT if logs else " ok, irreversible") in done.stdout, done.stdout + done.stderr
    assert before == place.states()


@on_postgresql
def test_search_path(project: Project, place: Place) -> None:
    """The user of the copy finds the tables of the app's user: in the schema of that name, or of a search path."""
    place.run(place.engine, 'CREATE SCHEMA "{user}"', 'CREATE TABLE "{user}".doll (id INTEGER)')
    project.write(*place.script("ALTER TABLE doll ADD COLUMN name TEXT"))
    said = project.db("rehearse")
    assert " ok, irreversible" in said.stdout, said.stdout + said.stderr


def users(place: Place, backend: str) -> list[str]:
    """Return the users that rehearsals of this database have left."""
    query = {"mysql": "SELECT user FROM mysql.user", "postgresql": "SELECT rolname FROM pg_roles"}[backend]
    with place.engine.connect() as connection:
        names = connection.scalars(text(query)).all()
    with place.app.app_context():
        name = name_of(place.engine.url)
    return [found for found in names if found.startswith(SCRATCH) and found.endswith(name[-8:])]


@on_servers
def test_user_of_the_copy(project: Project, place: Place, backend: str) -> None:
    """The user of the copy exists during a rehearsal only; one that a killed rehearsal left is replaced."""
    project.write(*revision("b1", FIRST, "import os; os.kill(os.getpid(), 9)"))
    project.run("flask", "db", "rehearse", PYTHONUTF8="1")
    assert 1 == len(users(place, backend))
    project.write(*place.script("UPDATE toy SET note = note"))
    said = project.db("rehearse")
    assert " ok, irreversible" in said.stdout, said.stdout + said.stderr
    assert [] == users(place, backend)


@on_servers
def test_user_with_rights_elsewhere(place: Place, backend: str) -> None:
    """A user with rights outside of the database is refused, and on PostgreSQL so is a database with a foreign data
    wrapper; a user with rights there only is accepted.
    """
    user, password = f"u{uuid4().hex[:8]}", "secret"
    account = user if backend == "postgresql" else f"'{user}'@'%'"
    made = {"mysql": f"CREATE USER {account} IDENTIFIED BY '{password}'"}
    run_on_server(place.server, made.get(backend, f"CREATE ROLE {user} LOGIN PASSWORD '{password}'"))
    own = "GRANT ALL ON {other}.* TO " if backend == "mysql" else "ALTER DATABASE {other} OWNER TO "
    place.run(place.other, own + account)
    engine = create_engine(place.other.url.set(username=user, password=password))
    databases = adapter_of(engine).databases
    rights = {
        "mysql": [
            ("GRANT SELECT ON {real}.toy TO ", "REVOKE SELECT ON {real}.toy FROM "),
            ("GRANT PROCESS ON *.* TO ", "REVOKE PROCESS ON *.* FROM "),
        ],
        "postgresql": [
            ("GRANT SELECT ON toy TO ", "REVOKE SELECT ON toy FROM "),
            ("GRANT CONNECT ON DATABASE {real} TO ", "REVOKE CONNECT ON DATABASE {real} FROM "),
            ("GRANT pg_monitor TO ", "REVOKE pg_monitor FROM "),
        ],
    }[backend]
    try:
        for grant, revoke in rights:
            place.run(place.engine, grant + account)
            with engine.connect() as connection, pytest.raises(MigrationError, match="has rights outside of"):
                databases.confine(connection)
            engine.dispose()
            place.run(place.engine, revoke + account)
        with engine.connect() as connection:
            databases.confine(connection)
        if backend == "postgresql":
            place.run(place.other, "CREATE EXTENSION postgres_fdw")
            with engine.connect() as connection, pytest.raises(MigrationError, match="has a foreign data wrapper"):
                databases.confine(connection)
    finally:
        engine.dispose()
        if backend == "postgresql":
            place.run(place.other, "DROP EXTENSION IF EXISTS postgres_fdw")
            place.run(place.other, "ALTER DATABASE {other} OWNER TO {user}")
        run_on_server(place.server, f"DROP {'USER' if backend == 'mysql' else 'ROLE'} {account}")


@on_mysql
def test_sequence(project: Project, place: Place) -> None:
    """On MariaDB a column whose default is a sequence's next value uses the sequence of the copy."""
    if not is_mariadb(place.server):
        pytest.skip("MySQL has no sequences")
    place.run(place.engine, "CREATE SEQUENCE sq", "ALTER TABLE toy ADD COLUMN n INTEGER DEFAULT (NEXTVAL(sq))")
    before = place.states()
    project.write(*place.script("INSERT INTO toy (id) VALUES (5)"))
    done = project.db("rehearse")
    assert " ok, irreversible" in done.stdout, done.stdout + done.stderr
    assert before == place.states()


@on_mysql
def test_foreign_keys_across_databases(project: Project, place: Place) -> None:
    """A foreign key from another database lets a rehearsal run, and deletes nothing there; one to it stops the copy."""
    place.run(
        place.other,
        "CREATE TABLE child (id INTEGER PRIMARY KEY,"
        " CONSTRAINT fk_child FOREIGN KEY (id) REFERENCES {real}.toy (id) ON DELETE CASCADE)",
        "INSERT INTO child VALUES (1), (2)",
    )
    before = place.states()
    project.write(*place.script("DELETE FROM toy"))
    done = project.db("rehearse")
    assert "deletes 2 of the 2 rows of toy" in done.stdout, done.stdout + done.stderr
    assert before == place.states()
    place.run(
        place.engine,
        "ALTER TABLE toy ADD CONSTRAINT fk_toy FOREIGN KEY (id) REFERENCES {other}.t (id) ON DELETE CASCADE",
    )
    assert WAY_OUT in rehearse(project, place, [], ["DELETE FROM toy"])
    project.make_stock()
    project.ok("upgrade")
    assert 0 == place.states()[1].tables["child"].count
    place.run(place.engine, "ALTER TABLE toy DROP FOREIGN KEY fk_toy")
    place.run(place.other, "DROP TABLE child")


@on_mysql
def test_definers(project: Project, place: Place) -> None:
    """Views of the copy have the rights of its user, not of their definers; one on another database is not copied."""
    place.run(place.engine, "CREATE SQL SECURITY DEFINER VIEW w AS SELECT id FROM toy")
    said = rehearse(project, place, [], ["DELETE FROM w"])
    assert "deletes 2 of the 2 rows of toy" in said, said
    said = rehearse(project, place, ["CREATE VIEW v AS SELECT id FROM {other}.t"], ["DELETE FROM v"])
    assert WAY_OUT in said, said


@on_servers
def test_engine_of_the_script(project: Project, place: Place) -> None:
    """A script that connects to another database by itself is refused."""
    before = place.states()
    url = place.other.url.render_as_string(hide_password=False)
    lines = [
        f"with sa.create_engine({url!r}).begin() as connection:",
        "    connection.execute(sa.text('DELETE FROM t'))",
    ]
    administrator = f"sa.make_url({url!r}).set(database=op.get_bind().engine.url.database)"
    project.write(*revision("b1", FIRST, f"sa.create_engine({administrator}).connect()"))
    said = project.db("rehearse").stdout
    assert "or as another user" in said, said
    project.write(*revision("b1", FIRST, "\n".join(lines)))
    said = project.db("rehearse").stdout
    assert "the script connects to another database" in said, said
    assert before == place.states()
    project.make_stock()
    project.ok("upgrade")
    assert before != place.states()


@pytest.mark.parametrize(
    ("backend", "call"),
    [
        ("mysql", "execute('DELETE FROM {other}.t')"),
        ("mysql", "executemany('INSERT INTO {other}.t VALUES (%s, %s)', [(8, 'x'), (9, 'y')])"),
        ("postgresql", "execute(b'COPY toy TO PROGRAM $$touch {file}$$')"),
        ("postgresql", "copy('COPY toy TO $${file}$$').__enter__()"),
    ],
    indirect=["backend"],
)
def test_cursor_of_the_driver(project: Project, place: Place, call: str) -> None:
    """Statements on a cursor of the driver are refused too."""
    before = place.states()
    project.write(*revision("b1", FIRST, f"op.get_bind().connection.cursor().{place.filled(call)}"))
    done = project.db("rehearse")
    assert WAY_OUT in done.stdout, done.stdout + done.stderr
    assert (before, False) == (place.states(), place.file.exists())


@on_servers
@pytest.mark.parametrize("host", ["localhost", "0.0.0.0"])
def test_name_of_the_server(project: Project, place: Place, backend: str, host: str) -> None:
    """A server counts as the app's own under any name in MIGRATION_REHEARSAL_URL, even if the app's user does not see
    the database that is made there.
    """
    server = place.server
    url = URL.create(server.drivername, server.username, server.password, host, server.port)
    project.environ["MIGRATION_REHEARSAL_URL"] = url.render_as_string(hide_password=False)
    user = f"u{uuid4().hex[:8]}"
    if backend == "mysql":
        place.run(place.engine, f"CREATE USER '{user}'@'%' IDENTIFIED BY 'secret'")
        place.run(place.engine, f"GRANT ALL ON {{real}}.* TO '{user}'@'%'")
        app = place.engine.url.set(username=user, password="secret")
        project.environ["DATABASE_URL"] = app.render_as_string(hide_password=False)
    assert WAY_OUT in rehearse(project, place, [], ["CREATE ROLE {role}"])
    if backend == "mysql":
        run_on_server(server, f"DROP USER '{user}'@'%'")


@pytest.mark.parametrize("sql", ["ATTACH '{file}' AS o; DELETE FROM o.t", "VACUUM INTO '{file}.copy'"])
def test_other_file_of_sqlite(project: Project, tmp_path: Path, sql: str) -> None:
    """SQLite itself refuses another file in a script that the driver runs unseen; a plain VACUUM passes."""
    file = tmp_path / "other.db"
    other = create_engine(f"sqlite:///{file}")
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
