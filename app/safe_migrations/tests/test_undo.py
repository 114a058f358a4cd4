"""MySQL and MariaDB: what a revision changed before it failed or was killed is put back, in the server's own words.

The folder undo/ has the schema and the cases: under each name, changes of the schema; or tables of the case's own, an
arrow, and changes of these. A case whose name begins with a product is for that one only.
"""

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import flask_migrate
import pytest
from sqlalchemy import create_engine, inspect

from ..adapters.mysql.undo import undo
from .example.app.extensions import db
from .support import (
    FIRST,
    LOG,
    Project,
    Sql,
    copied,
    is_mariadb,
    make_app,
    mysql_user,
    revision,
    run_on_server,
    server_url,
    told_by,
    wait_until,
)

pytestmark = pytest.mark.parametrize("backend", ["mysql"], indirect=True)

UNDONE = (
    "An earlier run failed, was killed or lost its connection. Its unfinished revision was undone;"
    " restored to their state before it: "
)
STOP = "raise RuntimeError('stop')"
A = "CREATE TABLE a (id INT PRIMARY KEY, v INT, w INT); INSERT INTO a VALUES (1, 10, 20)"

FOLDER = Path(__file__).with_name("undo")
SCHEMA = (FOLDER / "schema.sql").read_text()


def cases(file: str) -> dict[str, str]:
    """Return the cases of a file, by name."""
    return dict(re.findall(r"^-- (.+)\n((?:(?!-- ).*\n)+)", (FOLDER / file).read_text(), re.MULTILINE))


# All texts and rows are restored.
RESTORED = cases("restored.sql")
# They are restored too, but the app may have written rows that no key finds, or that are in a new table of an old name:
# these are saved in a table that is named.
SAVED = cases("saved.sql")
# MariaDB stored the time when it cast a column: the rows are saved unless that is the same second.
PERHAPS_SAVED = cases("perhaps_saved.sql")
# Existing rows change before a DDL statement: `backfill-with-ddl` stops such a revision.
ROWS_FIRST = cases("rows_first.sql")
# The rows are not restored, as the README says; the message names a statement.
NOT_RESTORED = cases("not_restored.sql")
CASES = RESTORED | SAVED | PERHAPS_SAVED | ROWS_FIRST | NOT_RESTORED

State = dict[str, object]


def split(statements: str) -> list[str]:
    """Return the statements between the semicolons."""
    return [" ".join(statement.split()) for statement in statements.split(";") if statement.strip()]


class Home:
    """A project, and a database of its own at the first revision, which tests use one after the other."""

    def __init__(self, folder: Path) -> None:
        self.project = copied(folder)
        self.server = server_url("mysql")
        self.is_mariadb = is_mariadb(self.server)
        self.name = f"test_{uuid4().hex}"
        url = self.server.set(database=self.name).render_as_string(hide_password=False)
        self.project.environ["DATABASE_URL"] = url
        self.app = make_app(url)
        self.engine = create_engine(url)
        self.tables, self.before = "", State()
        run_on_server(self.server, f"CREATE DATABASE {self.name}")
        assert [] == self.upgrade("pass", FIRST)
        self.first = [self.rows(f"SHOW CREATE TABLE {name}")[0][1] for name in ("user", "alembic_version")]

    def write(self, body: str, name: str = "a1", parent: str = FIRST, more: str = "") -> None:
        """Write a revision whose upgrade() is this Python."""
        self.project.write(*revision(name, parent, body, more=more))

    def upgrade(self, body: str, target: str = "head") -> list[str]:
        """Run a revision whose upgrade() is this Python; return the error's message and notes if it fails."""
        self.write(body)
        with self.app.app_context():
            try:
                flask_migrate.upgrade(str(self.project.path / "migrations"), target)
            except (Exception, SystemExit) as raised:
                return told_by(raised)
            finally:
                db.engine.dispose()
        return []

    def killed(self, body: str) -> None:
        """Run a revision that ends in STOP, and undo nothing, as if the process were killed there."""
        with patch("app.safe_migrations.adapters.mysql.journaling._undo"):
            assert ["stop"] == self.upgrade(body)

    def run(self, *statements: str) -> None:
        """Run these statements as they stand, and commit."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement.replace("%", "%%"))

    def rows(self, query: str) -> list[Any]:
        """Return the rows of a query."""
        with self.engine.connect() as connection:
            return list(connection.exec_driver_sql(query.replace("%", "%%")))

    def clean(self, tables: str) -> None:
        """Create the database again, with these tables, unless the last test left it like that."""
        for script in self.project.scripts():
            if FIRST not in script.name:
                script.unlink()
        if not self.before or (tables, self.before) != (self.tables, self.state()):
            self.drop()
            run_on_server(self.server, f"CREATE DATABASE {self.name}")
            self.run(*self.first, f"INSERT INTO alembic_version VALUES ('{FIRST}')", *split(tables))
            self.tables, self.before = tables, self.state()

    def drop(self) -> None:
        """Drop the database."""
        self.engine.dispose()
        run_on_server(self.server, f"DROP DATABASE IF EXISTS {self.name}")

    def state(self) -> State:
        """Return the SHOW CREATE of each object, without the next AUTO_INCREMENT value, and the rows of each table."""
        found: State = {}
        for name, kind in self.rows("SHOW FULL TABLES"):
            if name == LOG:
                continue
            _, shown, *charset = self.rows(f"SHOW CREATE TABLE `{name}`")[0]
            found[name] = re.sub(r" AUTO_INCREMENT=\d+", "", shown), charset
            if kind == "BASE TABLE":
                found[f"rows of {name}"] = sorted(map(repr, self.rows(f"SELECT * FROM `{name}`")))
        for kind in ("PROCEDURE", "FUNCTION"):
            for _, name, *_ in self.rows(f"SHOW {kind} STATUS WHERE db = DATABASE()"):
                found[name] = self.rows(f"SHOW CREATE {kind} `{name}`")[0][1:5]
        for name, *_ in self.rows("SHOW TRIGGERS"):
            found[name] = self.rows(f"SHOW CREATE TRIGGER `{name}`")[0][1:5]
        for _, name, *_ in self.rows("SHOW EVENTS"):
            found[name] = self.rows(f"SHOW CREATE EVENT `{name}`")[0][1:6]
        order = "SELECT trigger_name, action_order FROM information_schema.triggers WHERE trigger_schema = DATABASE()"
        found["order of triggers"] = sorted(self.rows(order))
        return found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Yield the home that all tests use."""
    home = Home(tmp_path_factory.mktemp("home"))
    yield home
    home.drop()


@pytest.fixture
def home(shared: Home, backend: str) -> Home:
    """Return a home whose database has SCHEMA."""
    shared.clean(SCHEMA)
    return shared


@pytest.fixture
def bare(shared: Home, backend: str) -> Home:
    """Return a home whose database is at the first revision; clean() adds tables."""
    return shared


def skip_other_product(home: Home, name: str) -> None:
    """Skip the test if this name begins with the other product."""
    if name.startswith("MySQL:" if home.is_mariadb else "MariaDB:"):
        pytest.skip("only for the other product")


def prepared(home: Home, name: str) -> list[str]:
    """Create the tables of this case; return its changes. Skip the test if it is for the other product."""
    skip_other_product(home, name)
    tables, _, changes = CASES[name].rpartition("=>")
    home.clean(tables or SCHEMA)
    return split(changes)


def texts_of(found: State) -> State:
    """Return a state without rows."""
    return {name: what for name, what in found.items() if not name.startswith("rows of ")}


def upgraded(before: State) -> State:
    """Return a state after the revision a1, which did nothing."""
    return {**before, "rows of alembic_version": ["('a1',)"]}


def script(statements: list[str], end: str = STOP) -> str:
    """Return Python that runs these statements, and ``end``."""
    calls = [f"op.get_bind().exec_driver_sql({statement.replace('%', '%%')!r})" for statement in statements]
    return "\n".join([*calls, end])


def in_thread(statements: list[str]) -> str:
    """Return Python that commits these statements in another session, as the app may: not as the script's own."""
    calls = [f"        other.exec_driver_sql({statement!r})" for statement in statements]
    head = ["import threading", "def write():", "    with op.get_bind().engine.begin() as other:"]
    return "\n".join([*head, *calls, "thread = threading.Thread(target=write)", "thread.start()", "thread.join()"])


def elsewhere(statements: list[str]) -> str:
    """Return Python that commits these statements in another session, and fails."""
    return f"{in_thread(statements)}\n{STOP}"


def saved_tables(told: list[str]) -> dict[str, str]:
    """Return the tables in which rows are saved, by these messages, and the tables whose rows they have."""
    pattern = r"(?:rows written to the new table|by other sessions to) (\w+); .+ in the table (_migration_saved_\w+)"
    return {saved: table for table, saved in re.findall(pattern, "\n".join(told))}


def drop_saved(home: Home, told: list[str]) -> set[str]:
    """Drop the saved tables, which all have to be named; return the tables whose rows they have."""
    named = saved_tables(told)
    found = [name for name in inspect(home.engine).get_table_names() if "_migration_saved_" in name]
    assert sorted(named) == sorted(found), told
    home.run(*[f"DROP TABLE {name}" for name in found])
    return set(named.values())


@pytest.mark.parametrize("name", RESTORED | SAVED | PERHAPS_SAVED)
def test_restored(bare: Home, name: str) -> None:
    """If a revision fails, all texts and rows are restored, and nothing of the journal remains; nor if it succeeds."""
    changes = prepared(bare, name)
    stop, *told = bare.upgrade(script(changes))
    saved = drop_saved(bare, told)
    assert ("stop", len(saved)) == (stop, len(told)), told
    assert name in PERHAPS_SAVED or bool(saved) == (name in SAVED), told
    assert bare.before == bare.state()
    if bare.tables != SCHEMA:  # many cases use that: it stays as it was
        assert [] == bare.upgrade(script(changes, ""))
        assert [] == [found for found in bare.state() if "_migration_" in found]


def test_named_once(project: Project, database: str, sql: Sql) -> None:
    """The log names an object once that the undo has changed twice, as a dropped table whose name a new one has."""
    project.ok("upgrade")
    sql("CREATE TABLE gone (id INT PRIMARY KEY)")
    project.write(
        *revision("a1", FIRST, f"op.execute('DROP TABLE gone')\nop.execute('CREATE TABLE gone (n INT)')\n{STOP}")
    )
    assert "Rolled back: table gone; the database is as it was" in project.fails("upgrade")


@pytest.mark.parametrize("name", ROWS_FIRST | NOT_RESTORED)
def test_rows_before_ddl(bare: Home, name: str) -> None:
    """Rows that change before a DDL statement stop an upgrade. If the review is off, their statements are named, and
    all texts are restored.
    """
    changes = prepared(bare, name)
    if name in ROWS_FIRST:
        bare.app.config["MIGRATION_REVIEW"] = "enforce"
        (error,) = bare.upgrade(script(changes))
        bare.app.config["MIGRATION_REVIEW"] = "off"
        assert "(backfill-with-ddl)" in error
        assert bare.before == bare.state()
    stop, *told = bare.upgrade(script(changes))
    rows = [line for line in told if line.startswith("Could not be restored: rows changed by this statement: ")]
    assert ("stop", True) == (stop, bool(told))
    assert len(told) == len(rows) + len(drop_saved(bare, told))
    assert texts_of(bare.before) == texts_of(bare.state())


def test_a_table_that_is_made_at_the_second_try(home: Home) -> None:
    """A table that a script creates after a first CREATE TABLE failed is dropped by the undo."""
    bad, good = "CREATE TABLE fresh (id INT, id INT)", "CREATE TABLE fresh (id INT)"
    body = f"try:\n    op.execute({bad!r})\nexcept sa.exc.DBAPIError:\n    pass\n"
    assert ["stop"] == home.upgrade(body + script([good, "ALTER TABLE fresh ADD COLUMN a INT"]))
    assert home.before == home.state()


def test_inspector(home: Home) -> None:
    """A script may change every table that an inspector lists, also those of the run, and is undone."""
    names = sorted({*inspect(home.engine).get_table_names()} - {LOG})
    body = (
        "op.drop_column('gift', 'n')\n"
        "names = sorted(sa.inspect(op.get_bind()).get_table_names())\n"
        "sa.MetaData().reflect(op.get_bind())\n"
        f"assert {names!r} == [name for name in names if not name.startswith('_migration_')]\n"
        "for name in names:\n    op.add_column(name, sa.Column('tenant', sa.Integer()))\n"
    )
    assert ["stop"] == home.upgrade(body + STOP)
    assert home.before == home.state()
    assert [] == home.upgrade(body)
    assert {"tenant"} <= {column["name"] for column in inspect(home.engine).get_columns("log")}


@pytest.mark.parametrize(
    ("changes", "writes", "query", "rows", "saved_query", "saved_rows"),
    [
        pytest.param(
            "ALTER TABLE pet DROP CONSTRAINT ck_price, MODIFY price DECIMAL(9, 1), DROP COLUMN notes",
            """UPDATE pet SET name = 'other', price = 7 WHERE id = 1;
            INSERT INTO pet (id, name, price) VALUES (9, 'Zoe', 3); DELETE FROM pet WHERE id = 2""",
            "SELECT id, CAST(price AS CHAR), name, notes FROM pet ORDER BY id",
            [(1, "1.2345", "other", "good"), (5, "9999.9999", "tom", "%s %% {x}"), (9, "3.0000", "Zoe", None)],
            "SELECT id, price FROM {} ORDER BY id",
            [(1, 7), (5, 10000), (9, 3)],
            id="a cast column",
        ),
        pytest.param(
            "ALTER TABLE coded MODIFY id INT",
            "UPDATE coded SET v = 20 WHERE id = 2; INSERT INTO coded VALUES (9, 9)",
            "SELECT id, v FROM coded ORDER BY v",
            [("01", 1), ("02", 2), ("003", 3)],
            "SELECT id, v FROM {} ORDER BY v",
            [(1, 1), (3, 3), (9, 9), (2, 20)],
            id="a cast key",
        ),
        pytest.param(
            "DROP TABLE measure; CREATE TABLE measure (n INT)",
            "INSERT INTO measure VALUES (7)",
            "SELECT id, day, n FROM measure ORDER BY n",
            [(1, 1, 10), (1, 2, 20)],
            "SELECT n FROM {}",
            [(7,)],
            id="a table that was replaced",
        ),
    ],
)
def test_what_others_write(
    home: Home, changes: str, writes: str, query: str, rows: list[Any], saved_query: str, saved_rows: list[Any]
) -> None:
    """What the app writes before the revision fails remains, or is in a saved table which the message names."""
    stop, *told = home.upgrade(script(split(changes), elsewhere(split(writes))))
    ((name, _),) = saved_tables(told).items()
    assert ("stop", 1) == (stop, len(told))
    assert rows == home.rows(query)
    assert saved_rows == home.rows(saved_query.format(name))
    drop_saved(home, told)
    assert texts_of(home.before) == texts_of(home.state())


def test_saved_tables_remain(home: Home) -> None:
    """A later undo leaves the saved table of an earlier one."""
    body = script(["ALTER TABLE log DROP COLUMN what, ADD COLUMN n INT"], elsewhere(["INSERT INTO log VALUES (1)"]))
    told = [*home.upgrade(body), *home.upgrade(body)]
    assert 2 == len(saved_tables(told))
    assert {"log"} == drop_saved(home, told)


def test_concurrent_writers(home: Home) -> None:
    """Sessions that write all the time, while the revision runs and while it is undone, lose nothing."""
    stop, written, errors = threading.Event(), [0] * 3, []

    def write(number: int) -> None:
        row = 100 + number
        while not stop.is_set():
            try:
                home.run(f"INSERT INTO pet (id, price) VALUES ({row}, {number + 1})")
                written[number] += 1
                row += 3
            except Exception as error:
                if not re.search("1205|1412|1213", str(error)):
                    errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(len(written))]
    for thread in threads:
        thread.start()
    changes = """
        ALTER TABLE pet ADD age INT; ALTER TABLE pet DROP CONSTRAINT ck_price, MODIFY price DECIMAL(9, 1);
        ALTER TABLE pet DROP COLUMN notes; DO SLEEP(0.5)"""
    told = home.upgrade(script(split(changes)))
    stop.set()
    for thread in threads:
        thread.join()
    assert (["stop"], []) == (told, errors)
    rows = home.rows("SELECT id, CAST(price AS CHAR), notes FROM pet WHERE id < 100 ORDER BY id")
    assert [(1, "1.2345", "good"), (2, None, None), (5, "9999.9999", "%s %% {x}")] == rows
    ((count,),) = home.rows("SELECT COUNT(*) FROM pet WHERE id >= 100 AND price IN (1, 2, 3)")
    assert (True, sum(written)) == (sum(written) > 0, count)


def test_what_cannot_be_undone(home: Home) -> None:
    """If an object is not as it was, the run says which and why, and no run goes on before it is. The messages end with
    the line that restores the backup. What could be undone is not undone again: the app has written there since.
    """
    changes = ["DELETE FROM audit WHERE id = 2", "ALTER TABLE gift DROP COLUMN n", "CREATE TABLE t (id INT)"]
    body = script(
        [*changes, "ALTER TABLE pet DROP KEY uq_tag"], elsewhere(["INSERT INTO pet (id, tag) VALUES (8, 'r')"])
    )
    home.write(body)
    error = home.project.fails("upgrade", MIGRATION_BACKUP="always")
    assert "\nCould not be undone: changes to table pet (Duplicate entry '...' for key" in error
    assert "Could not be restored: rows changed by this statement: DELETE FROM audit WHERE id = 2" in error
    line = error.splitlines()[-1]
    assert line.startswith("    flask db restore instance/backups/")
    home.run("UPDATE gift SET n = 70 WHERE id = 1", "CREATE TABLE t (of_others INT)")
    again = home.project.fails("upgrade")
    assert ("DELETE FROM audit" in again, line) == (False, again.splitlines()[-1])
    assert "SELECT kind, name, text FROM _migration_journal" in again
    assert [(70,), (8,)] == home.rows("SELECT n FROM gift ORDER BY id")
    assert [] == home.rows("SELECT of_others FROM t")
    assert "half-way" in home.project.db("status").stdout
    home.run("DELETE FROM pet WHERE id = 8")
    assert [] == home.upgrade("op.drop_index('ix_name', 'pet')")


def test_rows_and_the_backup(bare: Home) -> None:
    """If acknowledged row changes before DDL cannot be restored, the message names the statement and the backup."""
    bare.clean(A)
    update = "UPDATE a SET v = v + 1 WHERE id = 1"
    body = script([update, "ALTER TABLE a ADD COLUMN m INT"])
    bare.write(body, more="safety_assured = {'backfill-with-ddl': 'a test'}")
    told = bare.project.fails("upgrade", MIGRATION_REVIEW="enforce", MIGRATION_BACKUP="always")
    assert f"Could not be restored: rows changed by this statement: {update}." in told
    assert re.search(r"flask db restore instance/backups/\S+", told), told


WAIT = "SELECT * FROM item FOR UPDATE"


@contextmanager
def stopped_while_waiting(home: Home, number: int) -> Iterator[list[str]]:
    """Send an upgrade the signal ``number`` while the server runs WAIT for it, and let that end after the block.

    Yield the messages of the upgrade.
    """
    waiting = f"SELECT 1 FROM information_schema.processlist WHERE db = DATABASE() AND info = '{WAIT}'"
    with home.engine.connect() as holder:
        holder.exec_driver_sql(WAIT)
        with home.project.start("flask", "db", "upgrade", MIGRATION_LOCK_TIMEOUT="60") as process:
            wait_until(lambda: home.rows(waiting))
            os.kill(process.pid, number)
            _, errors = process.communicate()
        yield errors.splitlines()
        holder.rollback()


def test_killed(home: Home) -> None:
    """After kill -9 the lock is held while the server still runs the last statement. The next run undoes the rest.

    Until then `status` reports it, and `check` and `rehearse` refuse. Afterwards `check` sees no table of this package.
    """
    before, project = home.before, home.project
    home.write(script(["ALTER TABLE pet DROP COLUMN notes", "DROP TABLE measure", WAIT], ""))
    with stopped_while_waiting(home, signal.SIGKILL):
        assert "another command holds the lock of this database" in project.fails("-x", "lock_wait=0", "upgrade")
        assert "half-way  an upgrade or downgrade is in progress" in project.fails("status")
        for command in ("check", "migrate", "rehearse"):
            assert "Error: an upgrade or downgrade is " in project.fails(command)
    home.write("pass")
    assert re.search(rf"{UNDONE}.*table pet, table measure", project.ok("upgrade"))
    assert upgraded(before) == home.state()
    home.run("CREATE TABLE _migration_saved_a (id INT PRIMARY KEY)")
    told = project.db("check").stderr
    assert (True, False) == ("New upgrade operations detected" in told, "_migration_" in told)


def test_killed_later(home: Home) -> None:
    """A run that is killed in its second revision keeps the first: what the journal had of that holds no more."""
    home.write(script(["ALTER TABLE pet DROP COLUMN notes", "CREATE TABLE t (a INT)"], ""))
    home.write(script([WAIT], ""), "b1", "a1")
    with stopped_while_waiting(home, signal.SIGKILL):
        pass
    before = home.state()
    assert ["('a1',)"] == before["rows of alembic_version"]
    home.write("pass", "b1", "a1")
    assert "lost its connection. It left nothing to undo" in home.project.ok("upgrade")
    kept = {name: what for name, what in before.items() if "_migration_" not in name}
    assert {**kept, "rows of alembic_version": ["('b1',)"]} == home.state()


def test_lost(home: Home) -> None:
    """If the session is lost while the server runs a statement, that is not overtaken: the next run undoes it all."""
    home.write(script(["DROP TABLE measure", WAIT, "DROP TABLE log"], ""))
    with stopped_while_waiting(home, signal.SIGINT) as errors:
        assert any("the next upgrade or downgrade rolls them back" in line for line in errors)
    home.write("pass")
    assert f"{UNDONE}table measure" in home.project.ok("upgrade")
    assert upgraded(home.before) == home.state()


# Cases, and statements of their undo: one for each place in the code that changes the database.
KILLED_UNDOS = {
    "tables that swap names in one statement": """
        DROP TABLE IF EXISTS `c`; CREATE TABLE IF NOT EXISTS _migration_renames; RENAME TABLE;
        DELETE FROM _migration_journal WHERE id =; DROP TABLE _migration_renamed;
        DELETE FROM _migration_journal WHERE id >""",
    "table that is swapped for a new one like it": """
        RENAME TABLE; DROP TABLE _migration_renamed; CREATE TABLE `a`; INSERT INTO `a`;
        DELETE FROM _migration_journal WHERE id >; DROP TABLE IF EXISTS _migration_copy_1;
        DROP TABLE IF EXISTS _migration_journal""",
    "primary key of two columns cast": """
        DROP TABLE IF EXISTS _migration_saved; CREATE TABLE _migration_saved; DELETE FROM `a`; ALTER TABLE `a`;
        INSERT INTO `a`; DELETE FROM _migration_journal WHERE id >""",
    "columns renamed and cast": """
        CREATE TABLE _migration_copy_1_again; INSERT INTO _migration_copy_1_again; ALTER TABLE `a` RENAME;
        ALTER TABLE `a` CHANGE; UPDATE `a`""",
    "columns that swap names": "after ALTER TABLE `gift` RENAME",
    "column dropped, cast, and then its table dropped": """
        DROP TABLE IF EXISTS `t`; CREATE TABLE `t`; INSERT INTO `t`; UPDATE `t` t JOIN _migration_copy_2;
        ALTER TABLE `t`; DELETE FROM _migration_journal WHERE id >""",
    "column dropped, and its name used again": "ALTER TABLE `t` ADD; ALTER TABLE `t` CHANGE; UPDATE `t`",
}


@pytest.mark.parametrize(
    ("name", "statement"), [(name, statement) for name in KILLED_UNDOS for statement in split(KILLED_UNDOS[name])]
)
def test_killed_undo(bare: Home, monkeypatch: pytest.MonkeyPatch, name: str, statement: str) -> None:
    """An undo that is killed too, before or after this statement, is finished by the next run."""

    class Killed(BaseException):
        """An end of the process, for which no code is prepared."""

    def killed(execute: Callable[..., Any], heads: str) -> Any:
        def stopping(*args: Any) -> Any:
            if args[0].startswith(statement.removeprefix("after ")):
                if statement.startswith("after "):
                    execute(*args)
                raise Killed
            return execute(*args)

        return undo(stopping, heads)

    changes = [change for change in prepared(bare, name) if not change.startswith(("UPDATE", "INSERT"))]
    monkeypatch.setattr("app.safe_migrations.adapters.mysql.journaling.undo", killed)
    with pytest.raises(Killed):
        bare.upgrade(script(changes))
    monkeypatch.undo()
    told = bare.upgrade(STOP)
    if told != ["stop"]:  # rows are saved: that stops one run
        assert (name in SAVED, {"a"}) == (True, drop_saved(bare, told))
        told = bare.upgrade(STOP)
    saved = [table for table in bare.state() if table.startswith("_migration_saved_")]
    assert ["stop"] == told
    assert not saved or "WHERE id > " in statement  # killed when all was done: no later run can name the table
    bare.run(*[f"DROP TABLE {table}" for table in saved])
    assert bare.before == bare.state()


def test_undo_killed_by_a_signal(bare: Home) -> None:
    """The next run finishes an undo whose process was killed before its ninth statement that changes something."""
    changes = prepared(bare, "column dropped, cast, and then its table dropped")
    kill = """
        import os
        from app.safe_migrations.adapters.mysql import journaling
        undo, left = journaling.undo, 9
        def killed(execute, heads):
            def counted(*args):
                nonlocal left
                left -= not args[0].startswith(("SELECT", "SHOW", "SET"))
                return execute(*args) if left else os.kill(os.getpid(), 9)
            return undo(counted, heads)
        journaling.undo = killed
    """
    bare.write(f"{dedent(kill)}\n{script(changes)}")
    assert -signal.SIGKILL == bare.project.run("flask", "db", "upgrade").returncode
    assert bare.before != bare.state()
    assert ["stop"] == bare.upgrade(STOP)
    assert bare.before == bare.state()


KILLED_STATEMENTS = """
    RENAME TABLE a TO tmp, b TO a, tmp TO b; RENAME TABLE a TO old, b TO a;
    ALTER TABLE a RENAME TO c, ADD COLUMN n INT; ALTER TABLE a DROP COLUMN v;
    ALTER TABLE a CONVERT TO CHARACTER SET latin1; DROP TABLE a; TRUNCATE a; CREATE TABLE c (n INT);
    MariaDB: CREATE OR REPLACE TABLE a (n INT);
    MariaDB: CREATE OR REPLACE TABLE a (id INT PRIMARY KEY, v INT, w INT)"""


@pytest.mark.parametrize("has_run", [True, False])
@pytest.mark.parametrize("statement", split(KILLED_STATEMENTS))
def test_killed_statement(bare: Home, statement: str, has_run: bool) -> None:
    """The next run finds out whether the statement that was under way when the process was killed has run."""
    skip_other_product(bare, statement)
    statement = statement.removeprefix("MariaDB: ")
    bare.clean(f"{A}; CREATE TABLE b (v INT); INSERT INTO b VALUES (5)")
    stop = (
        "from sqlalchemy import event\n"
        "@event.listens_for(op.get_bind(), 'before_cursor_execute')\n"
        "def stop(_connection, cursor, statement, *_args):\n"
        f"    if statement == {statement!r}:\n"
        f"        cursor.execute({statement if has_run else 'COMMIT'!r})\n"
        f"        {STOP}\n"
    )
    bare.killed(stop + script([statement]))
    left = bare.state()
    assert left["rows of _migration_journal"]
    assert (bare.before != {name: what for name, what in left.items() if "_migration_" not in name}) == has_run
    told = bare.upgrade(STOP)
    if told != ["stop"]:
        assert ("REPLACE" in statement, drop_saved(bare, told)) == (True, {"a"})
        told = bare.upgrade(STOP)
    assert (["stop"], bare.before) == (told, bare.state())


def test_table_of_others(home: Home) -> None:
    """An undo keeps a table that another session creates under the name of one that the revision is about to create."""
    create = "CREATE TABLE report AS SELECT 1 AS one"
    body = (
        f"{in_thread([create])}\n"
        "try:\n    op.create_table('report', sa.Column('two', sa.Integer()))\n"
        "except sa.exc.OperationalError:\n    pass\n"
    )
    assert ["stop"] == home.upgrade(body + script(["DROP INDEX ix_name ON pet"]))
    assert [(1,)] == home.rows("SELECT one FROM report")
    home.run("DROP TABLE report")
    assert home.before == home.state()


@pytest.mark.parametrize(
    "statement",
    split("RENAME TABLE missing TO log; ALTER TABLE missing RENAME TO log; RENAME TABLE log TO old, missing TO log"),
)
def test_failed_rename(home: Home, statement: str) -> None:
    """A renaming that the server refuses has renamed nothing: the table of the new name stays what it is."""
    (error,) = home.upgrade(script([statement]))
    assert re.search("missing' doesn't exist|'log' already exists", error)  # MySQL looks at the new name first
    assert home.before == home.state()


def test_sequence(bare: Home) -> None:
    """A table whose default is the next number of a sequence is restored after it; a message names the lost value."""
    skip_other_product(bare, "MariaDB: sequences")
    bare.clean("CREATE SEQUENCE año; CREATE TABLE a (id INT PRIMARY KEY, v INT DEFAULT NEXTVAL(año))")
    told = bare.upgrade(script(["DROP TABLE a", "DROP SEQUENCE año"]))
    assert ["stop", "Could not be restored: the current value of the sequence año; set it with ALTER SEQUENCE."] == told
    assert bare.before == bare.state()


def test_trigger_of_an_administrator(bare: Home) -> None:
    """A trigger of another user is out of the way of rows that come back, if it can be made again; if not, it stays."""
    bare.clean(f"{A}; CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.v = NEW.v + 1")
    bare.write(script(["TRUNCATE a", "CREATE TABLE b (n INT)"]))
    rights = "SUPER" if bare.is_mariadb else "SET_ANY_DEFINER, ALLOW_NONEXISTENT_DEFINER"
    with mysql_user(bare.engine.url, f"{rights} ON *.*", f"ALL ON `{bare.name}`.*") as url:
        told = bare.project.fails("upgrade", DATABASE_URL=url.render_as_string(hide_password=False))
    assert ("stop" in told, "Could not" in told) == (True, False), told
    assert {**bare.before, "rows of a": ["(1, 10, 20)" if bare.is_mariadb else "(1, 11, 20)"]} == bare.state()


@pytest.mark.parametrize(
    ("changes", "written", "is_told_after_a_kill"),
    [
        (["UPDATE old SET v = v + 1"], 0, False),
        (["UPDATE old SET v = v + 1", "CREATE TABLE t (n INT)"], 0, True),
        (["ALTER TABLE a ENGINE=MyISAM", "UPDATE a SET v = v + 1"], 1, False),
    ],
)
def test_without_transactions(bare: Home, changes: list[str], written: int, is_told_after_a_kill: bool) -> None:
    """Of a table that cannot roll back, the statements are named; after a kill only if a later one committed."""
    bare.clean(f"{A}; CREATE TABLE old (v INT) ENGINE=MyISAM; INSERT INTO old VALUES (10)")
    what = f"Could not be restored: rows changed by this statement: {changes[written]}."
    assert ["stop", what] == bare.upgrade(script(changes))
    bare.killed(script(changes))
    assert is_told_after_a_kill == (what in "\n".join(bare.upgrade("pass")))


@pytest.mark.parametrize(
    ("first", "statement"),
    [
        ("", "CALL count_pets()"),
        ("", "SET SESSION autocommit = 1"),
        ("", "MariaDB: BEGIN NOT ATOMIC UPDATE audit SET id = 1; COMMIT; END"),
        ("", "MariaDB: IF 1 THEN UPDATE audit SET id = 1; COMMIT; END IF"),
        (
            "with op.get_context().autocommit_block():\n    op.execute('UPDATE audit SET id = 1')\n",
            "UPDATE audit SET id = 1",
        ),
    ],
)
def test_out_of_sight(home: Home, first: str, statement: str) -> None:
    """The message names what a routine or an autocommit block may have changed; the next revision runs all the same."""
    skip_other_product(home, statement)
    statement = statement.removeprefix("MariaDB: ")
    body = first + script([statement, "ALTER TABLE log ADD COLUMN n INT"], "")
    stop, *told = home.upgrade(f"{body}\n{STOP}")
    assert ("stop", True) == (stop, any(f"rows changed by this statement: {statement}" in line for line in told))
    assert home.before == home.state()
    assert [] == home.upgrade(body)
    assert "_migration_journal" not in home.state()


@pytest.mark.parametrize(
    ("statement", "remedy"),
    [
        ("ANALYZE FORMAT=JSON DELETE FROM gift", "remove ANALYZE or SET STATEMENT"),
        ("SET STATEMENT max_statement_time = 9 FOR DROP TABLE gift", "remove ANALYZE or SET STATEMENT"),
        ("LOCK TABLES log WRITE, alembic_version WRITE", "remove the LOCK statement"),
        ("SELECT RELEASE_ALL_LOCKS()", "release only your own lock"),
    ],
)
def test_refused_statement(home: Home, statement: str, remedy: str) -> None:
    """It is refused before it runs, and what the revision did before is undone."""
    (error,) = home.upgrade(script(["DROP TABLE measure", statement]))
    assert f"because a failed revision could not be undone after it: {statement}" in error
    assert f"Instead: {remedy}" in error
    assert home.before == home.state()


def test_failure_in_another_schema(bare: Home) -> None:
    """A statement on another schema is reported only if it succeeded."""
    other = f"other_{uuid4().hex}"
    bare.clean("")
    bare.run(f"CREATE DATABASE {other}")
    try:
        (error,) = bare.upgrade(script([f"CREATE TABLE {other}.made (id INTEGER, id INTEGER)"]))
        assert "Duplicate column name 'id'" in error
        create = f"CREATE TABLE {other}.made (id INTEGER PRIMARY KEY, note VARCHAR(400) DEFAULT {'x' * 300!r})"
        (error, told) = bare.upgrade(script([create]))
        assert ("stop", True, True) == (error, told.startswith("Could not be restored: "), len(told) < 300)
    finally:
        bare.run(f"DROP DATABASE {other}")


def test_waiting_for_itself(bare: Home) -> None:
    """MariaDB waits for its own session in EXCHANGE PARTITION: the message says so, and gives a line that runs. A
    transaction in another database of the server is not blamed.
    """
    skip_other_product(bare, "MariaDB: waits")
    _, exchange, _ = prepared(bare, "exchanged partition")
    bare.write(f"op.execute({exchange!r})")
    elsewhere = create_engine(bare.server)
    with elsewhere.connect() as other:
        other.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        told = bare.project.fails("upgrade", MIGRATION_LOCK_TIMEOUT="1", MIGRATION_LOCK_RETRIES="1")
    elsewhere.dispose()
    line = "with op.get_context().autocommit_block():"
    assert (True, True) == ("no other session holds a lock" in told, line in told), told
    bare.write(f"{line}\n    op.execute({exchange!r})")
    bare.project.ok("upgrade")
    assert [(1,), (3,)] == bare.rows("SELECT id FROM a WHERE id < 10 ORDER BY id")
