"""A rehearsal changes nothing outside of its copy: each way out is refused, or does no harm."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import URL, Engine, create_engine, text

from app.safe_migrations.adapters import adapter_of
from app.safe_migrations.adapters.products import FACTS
from app.safe_migrations.adapters.snapshot import Snapshot
from app.safe_migrations.rehearsal.confinement import Outside, Reach
from tests.conftest import FIRST, Project, is_mariadb, revision, run_on_server, server_url
from tests.safe_migrations.conftest import on_mysql, on_postgresql, on_servers

TOY = [
    "CREATE TABLE toy (id INTEGER NOT NULL PRIMARY KEY, note VARCHAR(80))",
    "INSERT INTO toy VALUES (1, 'a'), (2, 'b')",
]
OTHER = [statement.replace("toy", "t") for statement in TOY]
# What each does: statements before the rehearsal, and those of the revision. {other} and {real} are databases.
Way = tuple[list[str], list[str]]
IN_MYSQL: dict[str, Way] = {
    "DELETE": ([], ["DELETE FROM {other}.t"]),
    "DELETE with quotes and a comment": ([], ["DELETE FROM /*!50000 `{other}` */ . `t`"]),
    "DELETE under ANSI_QUOTES": ([], ["SET SESSION sql_mode = 'ANSI_QUOTES'", 'DELETE FROM "{other}"."t"']),
    "DELETE of several tables": ([], ["DELETE x FROM {other}.t AS x JOIN toy ON toy.id = x.id"]),
    "DELETE with an alias of the same name": (
        [],
        ["DELETE FROM {other}.t WHERE id IN (SELECT {other}.id FROM toy AS {other})"],
    ),
    "INSERT": ([], ["INSERT INTO {other}.t VALUES (3, 'c')"]),
    "INSERT SELECT": ([], ["INSERT INTO {other}.t SELECT id + 5, note FROM toy"]),
    "UPDATE": ([], ["UPDATE {other}.t SET note = 'x'"]),
    "UPDATE of several tables": ([], ["UPDATE toy JOIN {other}.t AS x ON x.id = toy.id SET x.note = 'x'"]),
    "REPLACE": ([], ["REPLACE INTO {other}.t VALUES (1, 'x')"]),
    "the real database": ([], ["DELETE FROM {real}.toy"]),
    "view": (["CREATE VIEW v AS SELECT * FROM {other}.t"], ["DELETE FROM v"]),
    "view of a view": (
        ["CREATE VIEW v AS SELECT * FROM {other}.t", "CREATE VIEW w AS SELECT * FROM v"],
        ["UPDATE w SET note = 'x'"],
    ),
    "view made by the revision": ([], ["CREATE VIEW v AS SELECT * FROM {other}.t", "DELETE FROM v"]),
    "trigger": (
        ["CREATE TRIGGER audit AFTER DELETE ON toy FOR EACH ROW INSERT INTO {other}.t VALUES (OLD.id + 9, 'gone')"],
        ["DELETE FROM toy"],
    ),
    "trigger through a view": (
        [
            "CREATE VIEW v AS SELECT * FROM {other}.t",
            "CREATE TRIGGER audit AFTER DELETE ON toy FOR EACH ROW INSERT INTO v VALUES (OLD.id + 9, 'gone')",
        ],
        ["DELETE FROM toy"],
    ),
    "trigger made by the revision": (
        [],
        [
            "CREATE TRIGGER audit AFTER DELETE ON toy FOR EACH ROW INSERT INTO {other}.t VALUES (OLD.id + 9, 'gone')",
            "DELETE FROM toy",
        ],
    ),
    "CALL of a routine of the copy": (["CREATE PROCEDURE p() DELETE FROM {other}.t"], ["CALL p()"]),
    "CALL of a routine with PREPARE": (
        [
            "CREATE PROCEDURE p() BEGIN SET @s = CONCAT('DELETE FROM ', '{other}', '.t');"
            " PREPARE s FROM @s; EXECUTE s; END"
        ],
        ["CALL p()"],
    ),
    "CALL of a routine elsewhere": (["CREATE PROCEDURE {other}.p() DELETE FROM t"], ["CALL {other}.p()"]),
    "RENAME TABLE": ([], ["RENAME TABLE toy TO {other}.toy2"]),
    "ALTER TABLE RENAME": ([], ["ALTER TABLE toy RENAME TO {other}.toy2"]),
    "CREATE TABLE": ([], ["CREATE TABLE {other}.made (id INTEGER)"]),
    "CREATE TABLE LIKE": ([], ["CREATE TABLE {other}.made LIKE toy"]),
    "CREATE TABLE SELECT": ([], ["CREATE TABLE {other}.made AS SELECT * FROM toy"]),
    "DROP TABLE": ([], ["DROP TABLE {other}.t"]),
    "TRUNCATE": ([], ["TRUNCATE {other}.t"]),
    "ALTER TABLE": ([], ["ALTER TABLE {other}.t ADD COLUMN n INTEGER"]),
    "CREATE INDEX": ([], ["CREATE INDEX ix ON {other}.t (note)"]),
    "CREATE TRIGGER": ([], ["CREATE TRIGGER {other}.tr BEFORE INSERT ON {other}.t FOR EACH ROW SET NEW.note = 'x'"]),
    "CREATE VIEW": ([], ["CREATE VIEW {other}.v AS SELECT 1"]),
    "CREATE EVENT": ([], ["CREATE EVENT {other}.e ON SCHEDULE EVERY 1 YEAR DO DELETE FROM t"]),
    "CREATE PROCEDURE": ([], ["CREATE PROCEDURE {other}.p() SELECT 1"]),
    "PREPARE": ([], ["PREPARE s FROM 'DELETE FROM {other}.t'", "EXECUTE s"]),
    "PREPARE of a variable": ([], ["SET @s = 'DELETE FROM {other}.t'", "PREPARE s FROM @s", "EXECUTE s"]),
    "USE": ([], ["USE {other}", "DELETE FROM t", "USE {real}"]),
    "MERGE table": (
        [],
        ["CREATE TABLE m (id INTEGER) ENGINE=MERGE UNION=({other}.u) INSERT_METHOD=LAST", "INSERT INTO m VALUES (9)"],
    ),
    "MERGE table of the copy": (
        ["CREATE TABLE m (id INTEGER) ENGINE=MERGE UNION=({other}.u) INSERT_METHOD=LAST"],
        ["INSERT INTO m VALUES (9)"],
    ),
}
IN_MARIADB: dict[str, Way] = {
    "EXECUTE IMMEDIATE": ([], ["EXECUTE IMMEDIATE 'DELETE FROM {other}.t'"]),
    "EXECUTE IMMEDIATE of an expression": ([], ["EXECUTE IMMEDIATE CONCAT('DELETE FROM ', '{other}.t')"]),
    "EXECUTE IMMEDIATE of two strings": ([], ["EXECUTE IMMEDIATE 'DELETE FROM {other}' '.t'"]),
    "block": ([], ["BEGIN NOT ATOMIC DELETE FROM {other}.t; END"]),
    "nextval elsewhere": (["CREATE SEQUENCE {other}.sq"], ["SELECT NEXTVAL({other}.sq)"]),
}
AROUND_MYSQL = {
    "LOAD DATA": ["LOAD DATA INFILE '/nowhere' INTO TABLE {other}.t"],
    "INTO OUTFILE": ["SELECT 1 INTO OUTFILE '{file}'"],
    "INTO DUMPFILE": ["SELECT 1 FROM toy LIMIT 1 INTO DUMPFILE '{file}'"],
    "SET GLOBAL": ["SET @@GLOBAL.max_connections = 152"],
    "FEDERATED": ["CREATE TABLE f (id INTEGER) ENGINE=FEDERATED CONNECTION='mysql://root@127.0.0.1/{other}/t'"],
    "ALTER DATABASE": ["ALTER DATABASE {other} CHARACTER SET latin1"],
    "foreign key": [
        "ALTER TABLE toy ADD CONSTRAINT fk FOREIGN KEY (id) REFERENCES {other}.t (id) ON DELETE CASCADE",
        "DELETE FROM toy",
    ],
}
SERVER = "host=127.0.0.1 dbname={other} user={user} port={port}"
FOREIGN = [
    "CREATE EXTENSION postgres_fdw",
    "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{port}', dbname '{other}')",
    "CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (user '{user}')",
    "CREATE FOREIGN TABLE f (id INTEGER NOT NULL, note VARCHAR(80)) SERVER s OPTIONS (table_name 't')",
]
LINK = "SELECT dblink_exec('" + SERVER + "', 'DELETE FROM t')"
FUNCTION = "CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NULL; END $$"
TRIGGER = "CREATE TRIGGER audit AFTER DELETE ON toy FOR EACH ROW EXECUTE FUNCTION audit()"
INTO_FOREIGN = FUNCTION.replace("{body}", "INSERT INTO f VALUES (OLD.id + 9, 'gone')")
INTO_LINK = FUNCTION.replace("{body}", LINK.replace("SELECT", "PERFORM"))
IN_POSTGRESQL: dict[str, Way] = {
    "foreign table": (FOREIGN, ["DELETE FROM f"]),
    "view of a foreign table": ([*FOREIGN, "CREATE VIEW v AS SELECT * FROM f"], ["UPDATE v SET note = 'x'"]),
    "trigger into a foreign table": ([*FOREIGN, INTO_FOREIGN, TRIGGER], ["DELETE FROM toy"]),
    "partition that is foreign": (
        [
            *FOREIGN,
            "CREATE TABLE parted (id INTEGER NOT NULL, note VARCHAR(80)) PARTITION BY LIST (id)",
            "ALTER TABLE parted ATTACH PARTITION f FOR VALUES IN (7)",
        ],
        ["INSERT INTO parted VALUES (7, 'x')"],
    ),
    "user mapping of the revision": (
        [statement for statement in FOREIGN if "MAPPING" not in statement],
        [FOREIGN[2], "DELETE FROM f"],
    ),
    "user mapping in DO": (
        [statement for statement in FOREIGN if "MAPPING" not in statement],
        [f"DO $$ BEGIN {FOREIGN[2]}; END $$", "DELETE FROM f"],
    ),
    "dblink_exec": (["CREATE EXTENSION dblink"], [LINK]),
    "dblink": (
        ["CREATE EXTENSION dblink"],
        [
            LINK.replace("_exec", "").replace("FROM t", "FROM t RETURNING id").replace("SELECT", "SELECT * FROM")
            + " AS (id INTEGER)"
        ],
    ),
    "dblink by a name with quotes": (
        ["CREATE EXTENSION dblink"],
        [LINK.replace("dblink_exec", 'public."dblink_exec"')],
    ),
    "trigger with dblink": (["CREATE EXTENSION dblink", INTO_LINK, TRIGGER], ["DELETE FROM toy"]),
    "trigger with dblink of the revision": (["CREATE EXTENSION dblink"], [INTO_LINK, TRIGGER, "DELETE FROM toy"]),
    "dblink in DO": (["CREATE EXTENSION dblink"], [f"DO $$ BEGIN {LINK.replace('SELECT', 'PERFORM')}; END $$"]),
    "dblink in EXECUTE": (
        ["CREATE EXTENSION dblink"],
        [
            "DO $$ BEGIN EXECUTE 'SELECT dblink_exec(' || quote_literal('"
            + SERVER
            + "') || ', ''DELETE FROM t'')'; END $$"
        ],
    ),
    "dblink of an extension of the revision": ([], ["CREATE EXTENSION dblink", LINK]),
    "dblink of an extension that DO makes": (
        [],
        ['DO $$ BEGIN CREATE EXTENSION IF NOT EXISTS "dblink"; END $$', LINK.replace("dblink_exec", '"dblink_exec"')],
    ),
    "dblink by a name with escapes": (
        ["CREATE EXTENSION dblink"],
        [LINK.replace("dblink_exec", 'U&"\\0064blink_exec"')],
    ),
    "dblink in query_to_xml": (
        ["CREATE EXTENSION dblink", "CREATE TABLE todo AS SELECT $$" + LINK + "$$ AS line"],
        ["SELECT query_to_xml(line, true, true, '') FROM todo"],
    ),
    "dblink in crosstab": (
        ["CREATE EXTENSION dblink", "CREATE EXTENSION tablefunc"],
        [
            "SELECT * FROM crosstab($$"
            + LINK.replace("SELECT", "SELECT 'a'::text, 'b'::text,")
            + "$$) AS c (n text, m text)"
        ],
    ),
    "COPY TO PROGRAM": (
        [],
        ["COPY toy TO PROGRAM 'psql -h 127.0.0.1 -p {port} -U {user} -c \"DELETE FROM t\" {other}'"],
    ),
    "EXECUTE of what is in a table": (
        ["CREATE EXTENSION dblink", "CREATE TABLE todo AS SELECT $$" + LINK + "$$ AS line"],
        ["DO $$ DECLARE r record; BEGIN FOR r IN SELECT line FROM todo LOOP EXECUTE r.line; END LOOP; END $$"],
    ),
}
AROUND_POSTGRESQL = {
    "role in EXECUTE": ["DO $$ BEGIN EXECUTE 'CREATE ROLE {role}'; END $$"],
    "role in two pieces": ["DO $$ BEGIN EXECUTE format('CREATE %s', 'ROLE ' || '{role}'); END $$"],
    "COPY in format": ["DO $$ BEGIN EXECUTE format('COPY %I TO %L', 'toy', '{file}'); END $$"],
    "COPY in pieces": [
        "DO $$ BEGIN EXECUTE 'COPY ' || quote_ident('toy') || ' TO ' || quote_literal('{file}'); END $$"
    ],
    "program in pieces": [
        "DO $$ BEGIN EXECUTE 'COPY ' || quote_ident('toy') || ' TO PROGRAM ''touch {file}'''; END $$"
    ],
    "UPDATE in pieces": ["DO $$ BEGIN EXECUTE 'UPDATE toy SET id = id WHERE id = ' || quote_literal(7); END $$"],
    "schema of a function in format": ["DO $$ BEGIN EXECUTE format('SELECT %I.%I()', 'public', 'f'); END $$"],
    "COPY as the second statement": ["DO $$ BEGIN EXECUTE format('SELECT 1; %I toy TO %L', 'copy', '{file}'); END $$"],
    "COPY in a variable": [
        "DO $$ DECLARE x text := 'toy; CO' || 'PY toy TO ''{file}'''; BEGIN EXECUTE 'SELECT 1 FROM ' || x; END $$"
    ],
    "COPY with escapes": ["DO $$ BEGIN EXECUTE E'\\103OPY toy TO ''{file}'''; END $$"],
    "kind of object in format": ["DO $$ BEGIN EXECUTE format('CREATE %I {role}', 'role'); END $$"],
    "name out of its quotes": [
        """DO $$ BEGIN EXECUTE 'SELECT 1 AS "x' || quote_ident('; CO' || 'PY toy TO ''{file}'' --') || '"'; END $$"""
    ],
    "name behind a comment": [
        r"DO $$ BEGIN EXECUTE 'SELECT 1 -- ' || quote_ident(E'\n; CO' || 'PY toy TO ''{file}'' --'); END $$"
    ],
    "function in format": ["DO $$ BEGIN EXECUTE format('SELECT %I(0)', 'pg_terminate_backend'); END $$"],
    "role that is encoded": [
        "DO $$ BEGIN EXECUTE convert_from(decode('435245415445','hex'),'utf8') || ' ROLE {role}'; END $$"
    ],
    "role that a function has encoded": [
        "CREATE FUNCTION make() RETURNS void LANGUAGE plpgsql AS $$ BEGIN"
        " EXECUTE convert_from(decode('435245415445','hex'),'utf8') || ' ROLE {role}'; END $$",
        "SELECT make()",
    ],
    "role by a function that DO creates": [
        "DO $$ BEGIN CREATE FUNCTION make() RETURNS void LANGUAGE plpgsql AS $f$ BEGIN CREATE ROLE {role}; END $f$;"
        " END $$",
        "SELECT make()",
    ],
    "role in DO": ["DO $$ BEGIN IF true THEN CREATE ROLE {role}; END IF; END $$"],
    "role by a function": [
        "CREATE FUNCTION make() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'CREATE ROLE {role}'; END $$",
        "SELECT make()",
    ],
    "COPY TO a file": ["COPY toy TO '{file}'"],
    "COPY FROM PROGRAM": ["COPY toy (note) FROM PROGRAM 'touch {file}'"],
    "COPY in DO": ["DO $$ BEGIN COPY toy TO '{file}'; END $$"],
    "adminpack": ["CREATE EXTENSION adminpack", "SELECT pg_file_write('{file}', 'x', false)"],
    "lo_export": ["SELECT lo_export(lo_from_bytea(0, 'x'), '{file}')"],
    "ALTER SYSTEM": ["ALTER SYSTEM SET work_mem = '5MB'"],
    "configuration": ["SELECT pg_reload_conf()"],
    "sessions of others": ["SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{other}'"],
    "language that can do anything": ["CREATE FUNCTION x() RETURNS int LANGUAGE internal AS 'pg_backend_pid'"],
    "real database": ["DO $$ BEGIN ALTER DATABASE {real} SET work_mem = '5MB'; END $$"],
}
# What ordinary revisions do, and a rehearsal has to run.
INSIDE = {
    "mysql": [
        "UPDATE toy AS x JOIN toy AS y ON x.id = y.id SET x.note = 'other.t; CREATE USER x'",
        "CREATE TRIGGER before_toy BEFORE INSERT ON toy FOR EACH ROW SET NEW.note = UPPER(NEW.note)",
        "CREATE TRIGGER stop BEFORE DELETE ON toy FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'it''s kept'",
        "CREATE TRIGGER quote BEFORE UPDATE ON toy FOR EACH ROW SET NEW.note = 'DROP USER x; cannot EXECUTE IMMEDIATE'",
        "CREATE PROCEDURE cleared() BEGIN DECLARE n INTEGER; SELECT COUNT(*) INTO n FROM toy; END",
        "PREPARE s FROM 'UPDATE toy SET note = ? WHERE id = 1'",
        "INSERT INTO toy (id) SELECT COUNT(*) + 40 FROM information_schema.columns WHERE table_name = 'toy'",
        "CREATE TABLE other (t INTEGER)",
        "UPDATE other SET other.t = 1",
    ],
    "postgresql": [
        "DO $$ BEGIN EXECUTE format('ALTER TABLE %I ADD COLUMN n INTEGER', 'toy'); END $$",
        "DO $$ BEGIN EXECUTE 'UPDATE toy SET n = $1 WHERE id = 7' USING 1; END $$",
        "DO $$ BEGIN FOR i IN 1..2 LOOP EXECUTE format('UPDATE %1$I SET n = %2$L', 'toy', i); END LOOP; END $$",
        "DO $$ BEGIN EXECUTE format('INSERT INTO public.%I (%I) SELECT 1 WHERE %L = 1', 'toy', 'id', 0); END $$",
        "DO $$ BEGIN EXECUTE format('CREATE INDEX %I ON %I (%I)', 'i', 'toy', 'n'); EXECUTE 'DROP INDEX i'; END $$",
        "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := 'x'; RETURN NEW; END $$",
        "DO $$ BEGIN RAISE NOTICE 'cannot execute what was built; DROP ROLE x'; END $$",
        "CREATE TRIGGER stamp BEFORE INSERT ON toy FOR EACH ROW EXECUTE FUNCTION stamp()",
        "GRANT EXECUTE ON FUNCTION stamp() TO PUBLIC",
        "CREATE EXTENSION pgcrypto",
        'CREATE EXTENSION IF NOT EXISTS "uuid-ossp"',
        "COMMENT ON TABLE toy IS 'CREATE ROLE x; dblink_exec(1)'",
    ],
}


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
        lines = [f"op.execute(sa.text({self.filled(statement)!r}))" for statement in statements]
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


def expect_refusal(project: Project, place: Place, way: Way) -> None:
    """Assert that a rehearsal refuses the statements, and that they do damage without this package."""
    said = rehearse(project, place, *way)
    assert re.search("can change more than the copy|doesn't exist|is restricted|user mapping not found", said), said
    before = place.states()
    project.make_stock()
    project.ok("upgrade")
    real, other = place.states()
    assert before[1] != other or before[0].tables["toy"] != real.tables.get("toy")


@on_mysql
@pytest.mark.parametrize("way", [pytest.param(way, id=name) for name, way in IN_MYSQL.items()])
def test_other_database_of_mysql(project: Project, place: Place, way: Way) -> None:
    """No statement, view, trigger or routine reaches another database of the server, or the real one."""
    expect_refusal(project, place, way)


@on_mysql
@pytest.mark.parametrize("way", [pytest.param(way, id=name) for name, way in IN_MARIADB.items()])
def test_other_database_of_mariadb(project: Project, place: Place, way: Way) -> None:
    """No statement that only MariaDB has reaches another database of the server."""
    if not is_mariadb(place.server):
        pytest.skip("MySQL does not have it")
    expect_refusal(project, place, way)


@on_postgresql
@pytest.mark.parametrize("way", [pytest.param(way, id=name) for name, way in IN_POSTGRESQL.items()])
def test_other_database_of_postgresql(project: Project, place: Place, way: Way) -> None:
    """No foreign table, dblink, program or dynamic SQL reaches another database of PostgreSQL."""
    expect_refusal(project, place, way)


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
    """No statement changes roles, settings, files or sessions of the server."""
    said = rehearse(project, place, [], statements)
    assert "can change more than the copy" in said, said


@on_servers
def test_ordinary_statements(project: Project, place: Place, backend: str) -> None:
    """Statements that stay inside the copy run: readable dynamic SQL, triggers, routines, and harmless lookalikes."""
    before = place.states()
    project.write(*place.script(*INSIDE[backend]))
    done = project.db("rehearse")
    assert " ok, one-way" in done.stdout, done.stdout + done.stderr
    assert before == place.states()


@on_mysql
def test_sequence(project: Project, place: Place) -> None:
    """On MariaDB a column whose default is a sequence's next value uses the sequence of the copy."""
    if not is_mariadb(place.server):
        pytest.skip("MySQL has no sequences")
    place.run(place.engine, "CREATE SEQUENCE sq", "ALTER TABLE toy ADD COLUMN n INTEGER DEFAULT (NEXTVAL(sq))")
    before = place.states()
    project.write(*place.script("INSERT INTO toy (id) VALUES (5)"))
    done = project.db("rehearse")
    assert " ok, one-way" in done.stdout, done.stdout + done.stderr
    assert before == place.states()


@on_mysql
def test_foreign_keys_across_databases(project: Project, place: Place) -> None:
    """Foreign keys from and to another database let a rehearsal run, and delete nothing there."""
    place.run(
        place.other,
        "CREATE TABLE child (id INTEGER PRIMARY KEY,"
        " CONSTRAINT fk_child FOREIGN KEY (id) REFERENCES {real}.toy (id) ON DELETE CASCADE)",
        "INSERT INTO child VALUES (1), (2)",
    )
    place.run(
        place.engine,
        "ALTER TABLE toy ADD CONSTRAINT fk_toy FOREIGN KEY (id) REFERENCES {other}.t (id) ON DELETE CASCADE",
    )
    before = place.states()
    project.write(*place.script("DELETE FROM toy"))
    done = project.db("rehearse")
    assert "deletes 2 of the 2 rows of toy" in done.stdout, done.stdout + done.stderr
    assert before == place.states()
    project.make_stock()
    project.ok("upgrade")
    assert 0 == place.states()[1].tables["child"].count
    place.run(place.engine, "ALTER TABLE toy DROP FOREIGN KEY fk_toy")
    place.run(place.other, "DROP TABLE child")


@on_mysql
def test_definers(project: Project, place: Place) -> None:
    """Triggers and views of the copy have the rights of the app's user, not those of their definers."""
    user = f"u{uuid4().hex[:8]}"
    scratch = "`\\_migration\\_rehearsal%`"
    grants = [f"GRANT ALL ON {name}.* TO '{user}'@'%'" for name in ("{real}", scratch)]
    place.run(
        place.engine,
        "CREATE VIEW v AS SELECT id FROM {other}.t",
        "CREATE SQL SECURITY DEFINER VIEW w AS SELECT id FROM toy",
        f"CREATE USER '{user}'@'%' IDENTIFIED BY 'secret'",
        *grants,
    )
    try:
        project.environ["DATABASE_URL"] = place.engine.url.set(username=user, password="secret").render_as_string(False)
        before = place.states()
        project.write(*place.script("DELETE FROM v"))
        said = project.db("rehearse")
        assert (1, before) == (said.returncode, place.states()), said.stdout + said.stderr
        place.run(place.engine, "DROP VIEW v")
        project.write(*place.script("DELETE FROM w"))
        said = project.db("rehearse")
        assert "deletes 2 of the 2 rows of toy" in said.stdout, said.stdout + said.stderr
    finally:
        place.run(place.engine, f"DROP USER '{user}'@'%'")


@on_servers
def test_engine_of_the_script(project: Project, place: Place) -> None:
    """A script that connects to another database by itself is refused."""
    before = place.states()
    url = place.other.url.render_as_string(hide_password=False)
    lines = [
        f"with sa.create_engine({url!r}).begin() as connection:",
        "    connection.execute(sa.text('DELETE FROM t'))",
    ]
    project.write(*revision("b1", FIRST, "\n".join(lines)))
    said = project.db("rehearse").stdout
    assert "the script connects to a database other than the copy" in said, said
    assert before == place.states()
    project.make_stock()
    project.ok("upgrade")
    assert before != place.states()


@pytest.mark.parametrize(
    ("backend", "call"),
    [
        ("mysql", "execute('DELETE FROM {other}.t')"),
        ("mysql", "executemany('INSERT INTO {other}.t VALUES (%s, %s)', [(8, 'x'), (9, 'y')])"),
        ("mysql", "callproc('{other}.p')"),
        ("postgresql", "execute(b'COPY toy TO PROGRAM $$touch {file}$$')"),
        ("postgresql", "executemany('ALTER DATABASE {real} SET work_mem = %s', [('5MB',)])"),
        ("postgresql", "copy('COPY toy TO $${file}$$').__enter__()"),
    ],
    indirect=["backend"],
)
def test_cursor_of_the_driver(project: Project, place: Place, call: str) -> None:
    """Statements on a cursor of the driver are refused too."""
    before = place.states()
    project.write(*revision("b1", FIRST, f"op.get_bind().connection.cursor().{place.filled(call)}"))
    done = project.db("rehearse")
    assert "can change more than the copy" in done.stdout, done.stdout + done.stderr
    assert (before, False) == (place.states(), place.file.exists())
    project.write(*revision("b1", FIRST, "op.get_bind().connection.cursor().execute('UPDATE toy SET note = note')"))
    assert " ok" in (said := project.db("rehearse").stdout), said


@on_servers
def test_name_of_the_server(project: Project, place: Place, backend: str) -> None:
    """A server counts as the app's own under any name in MIGRATION_REHEARSAL_URL: its databases are compared."""
    statement = {"mysql": "CREATE USER rehearsed", "postgresql": "CREATE ROLE rehearsed"}[backend]
    server = place.server
    url = URL.create(server.drivername, server.username, server.password, "0.0.0.0", server.port)
    project.environ["MIGRATION_REHEARSAL_URL"] = url.render_as_string(hide_password=False)
    assert "can change more than the copy" in rehearse(project, place, [], [statement])


@pytest.mark.parametrize("product", ["mysql", "postgresql", "sqlite"])
def test_unreadable(product: str) -> None:
    """A statement that cannot be read as SQL is refused."""
    reach = Reach(FACTS[product](), Outside(), is_shared=True)
    with pytest.raises(Exception, match="cannot be read"):
        reach.refuse("SELECT 'open", "this")


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
