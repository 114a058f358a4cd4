"""Bad inputs: one short message with `Fix:`, exit status 1 or 2, no traceback, no password, nothing changed."""

import errno
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import flask_migrate
import pytest
from flask import Flask
from sqlalchemy import URL, make_url
from sqlalchemy.exc import DBAPIError

from ..adapters.client_programs import _failure
from ..errors import summary
from ..plan import with_settings
from ..remedies import Situation, message
from .example.app.extensions import db
from .support import (
    DRIVERS,
    EXAMPLE,
    FIRST,
    SERVERS,
    Project,
    Sql,
    git,
    is_mariadb,
    mysql_user,
    on_mysql,
    on_postgresql,
    on_servers,
    on_sqlite,
    revision,
    run_on_server,
    server_url,
)

PASSWORD = "s3cr3t-Pa55"
NOWHERE = "u@127.0.0.1:1/d"

# Ids of cases, each with a URL, and parts of what is wrong and of its remedy.
URLS = {
    "folder-missing": ("sqlite:////nowhere/app.db", "unable to open database file", "mkdir -p /nowhere"),
    "is-a-folder": ("sqlite:////etc", "unable to open database file", "is a folder: add the name of the file"),
    "no-database": ("sqlite:///../config.py", "damaged: file is not a database", "DATABASE_URL; there is no backup"),
    "words-in-the-name": (f"mysql+pymysql://{NOWHERE}%20authentication%20failed", "refused", "start the server"),
    "password-behind": (f"mysql+pymysql://127.0.0.1:1/d?password={PASSWORD}", "refused", "start the server"),
    "charset": (f"mysql+pymysql://{NOWHERE}?charset=foo", "encoding", "after the ?"),
    "host": (f"postgresql+psycopg://u:{PASSWORD}@nohost.invalid/d", "nohost.invalid", "check the host"),
}
# The commands that are typed at head, parts of what is wrong and of its remedy, and the exit status.
COMMANDS = {
    "unknown": ("upgrade nope", "unknown revision nope.", "choose a revision of this list:\n    flask db history", 1),
    "unknown-in-range": ("review nope:head", "unknown revision nope", "flask db history", 1),
    "too-far": ("downgrade --revision -9", "Relative revision -9", "flask db history", 1),
    "twice": ("downgrade base --revision base", "not as both", "", 2),
    "empty": ("downgrade --revision ", "argument is an empty string. Fix: give a revision:", "flask db downgrade", 2),
    "empty-merge": ("merge -m x", "No revisions to merge.", 'merge -m "Merge heads" heads', 2),
    "merge-of-one": ("merge heads", f"two revisions, and {FIRST} is the only one.", "flask db heads", 1),
    "option": ("upgrade --nope", "No such option", "--help", 2),
    "behind": ("downgrade; migrate -m x", "Target database is not up to date", "flask db upgrade", 1),
    "no-migrations": ("-d app upgrade", "the folder app is not a migrations", "flask db -d migrations upgrade", 1),
    "no-backup": ("restore --yes missing", "missing", "of this list:\n    flask db backups", 1),
    "init-again": ("init", "migrations already exists", "flask db migrate", 1),
}


def script(body: str, down: str = "pass", parent: str = FIRST) -> str:
    """Return the text of a revision script."""
    return revision("a1", parent, body, down)[1]


def label(target: str) -> str:
    """Return models with a foreign key to ``target``."""
    tag = "class Tag(db.Model):\n    id = db.Column(db.Integer, primary_key=True)"
    return f"{(EXAMPLE / 'app' / 'models.py').read_text()}\n\n{tag}\n    label = db.Column(db.ForeignKey({target!r}))\n"


A1 = "migrations/versions/a1.py"
STRAY = "op.create_table('stray', sa.Column('id', sa.Integer()))"
# A file, its text (None: it is missing), the commands, and parts of what is wrong with the last one and of its remedy.
FILES: dict[str, tuple[str, str | None, str, str, str]] = {
    "syntax": (A1, script("op.create_table("), "upgrade", f"{A1}, line ", f":\n    python -m py_compile {A1}\n"),
    "zeros": (A1, script("pass") + "\0" * 64, "upgrade", "a1.py", "correct the script"),
    "empty-file": (A1, "", "upgrade", "module 'a1_py' has no attribute 'down_revision'", "git status"),
    "import": (A1, "import nowhere\n" + script("pass"), "upgrade", "a1.py, line 1: ModuleNotFoundError", "correct the"),
    "raises": (A1, script("pass") + "int('x')", "current", "line 14: ValueError: ", "Fix: correct the script.\n"),
    "exits": (A1, script("raise SystemExit(0)"), "upgrade", "line 9: SystemExit: 0", f"the database is at {FIRST}.\n"),
    "sql": (A1, script("op.execute('DROP TABLE no')"), "upgrade", "a1.py, line 9: no such table: no", "correct the"),
    "one-way": (A1, script("pass", "int('x')"), "upgrade; downgrade", "line 13: ValueError: invalid", "correct"),
    "no-downgrade": (A1, script("pass").split("def d")[0], "upgrade; downgrade", "no attribute 'downgrade'", "write"),
    "no-parent": (
        A1,
        script("pass", parent="gone"),
        "heads",
        "Revision gone referenced from gone -> a1",
        "restore the",
    ),
    "cycle": (A1, script("pass", parent="a1"), "heads", "loop is detected in revisions (a1)", "grep -rn"),
    "no-revision": (
        "migrations/versions/a_pet.py",
        "pass",
        "upgrade",
        "id from filename a_pet.py",
        "    mv migrations",
    ),
    "no-versions": ("migrations/versions", None, "upgrade", "folder migrations/versions is missing", "git checkout --"),
    "differs": (A1, script(STRAY), "upgrade; check", "detected: remove_table stray", "flask db -x drop=stray migrate"),
    "foreign-key": ("app/models.py", label("labl.id"), "migrate", "could not find table 'labl'", "    grep -rn "),
    "its-column": ("app/models.py", label("user.idd"), "migrate", "ForeignKey 'user.idd' on table", "    grep -rn "),
    "no-folder": ("migrations", None, "upgrade", "Path doesn't exist: migrations", "flask db init"),
    "no-env": ("migrations/env.py", None, "upgrade", "env.py", "cp "),
    "no-mako": ("migrations/script.py.mako", None, "revision -m x", "'migrations/script.py.mako'", "cp "),
    "bad-env": ("migrations/env.py", "import no  # for safe_migrations\n", "upgrade", "env.py, line 1", "correct"),
    "bad-ini": ("migrations/alembic.ini", "[alembic\nx", "heads", "alembic.ini", "cp "),
}


def state(project: Project) -> dict[str, str]:
    """Return a hash of every file of the copy, but for bytecode, the lock, and the empty file that SQLite opens."""
    return {
        str(path.relative_to(project.path)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in project.path.rglob("*")
        if path.is_file() and not path.name.endswith((".pyc", "-migration-lock")) and path.stat().st_size
    }


def problem_of(project: Project, commands: str, status: int = 1, **environ: str) -> str:
    """Return the message of the last command; assert that it is one, with a remedy, and changed no file."""
    *first, last = commands.split("; ")
    for command in first:
        project.ok(*command.split(" "))
    before = state(project)
    done = project.db(*last.split(" "), **environ)
    problem = done.stderr[done.stderr.index("Error: ") :] if status == 1 else done.stderr
    assert (status, 1) == (done.returncode, len(re.findall("^Error: ", done.stderr, re.MULTILINE))), done.stderr
    assert status == 2 or "Fix: " in problem
    assert len(problem.splitlines()) <= 5
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert before == state(project)
    return problem


@pytest.mark.parametrize(("url", "says", "fix"), URLS.values(), ids=URLS)
def test_bad_url(upgraded: Project, url: str, says: str, fix: str) -> None:
    """A database that cannot be reached: the message says what it is, and what to look at."""
    problem = problem_of(upgraded, "current", DATABASE_URL=url)
    assert (True, True) == (says in problem, fix in problem), problem


@pytest.mark.parametrize(("commands", "says", "fix", "status"), COMMANDS.values(), ids=COMMANDS)
def test_bad_command(upgraded: Project, commands: str, says: str, fix: str, status: int) -> None:
    """A command that cannot do what it is asked for: the message has the command to use."""
    problem = problem_of(upgraded, commands, status)
    assert (True, True) == (says in problem, fix in problem), problem


@pytest.mark.parametrize(("file", "content", "commands", "says", "fix"), FILES.values(), ids=FILES)
def test_bad_file(upgraded: Project, file: str, content: str | None, commands: str, says: str, fix: str) -> None:
    """A script, a model or a file of the migrations folder that is wrong or missing: the message names it."""
    if content is not None:
        upgraded.write(file, content)
    elif (path := upgraded.path / file).is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    problem = problem_of(upgraded, commands)
    assert (True, True) == (says in problem, fix in problem), problem


def test_zeros_before_python_3_11_4(project: Project) -> None:
    """The error of an earlier Python about a script with zeros is not a SyntaxError, and has no file and no line."""
    error = ValueError("source code string cannot contain null bytes")
    file = project.write(A1, script("pass") + "\0")
    said = str(message(error, Situation(URL.create("sqlite"), file.parents[1], frozenset())))
    assert f"{file}, line 1: ValueError: source code string" in said
    assert f"Fix: correct the script until this prints no error:\n    python -m py_compile {file}" in said


@pytest.mark.parametrize("name", ["versions", "alembic.ini"])
@pytest.mark.parametrize("command", ["upgrade", "heads"])
def test_unreadable(project: Project, name: str, command: str) -> None:
    """A folder of scripts that cannot be read is not an empty one, and an alembic.ini has to be read, too."""
    path = project.path / "migrations" / name
    path.chmod(0)
    try:
        said = project.without_rights(command)
    finally:
        path.chmod(0o755)
    assert f"Error: migrations/{name} cannot be read: Permission denied.\nFix: give this user the right." in said
    assert f"    ls -ld migrations migrations/{name}\n" in said


def test_unreadable_database(upgraded: Project) -> None:
    """If the database is in a folder that cannot be read, that folder need not be created."""
    folder = upgraded.path / "closed"
    folder.mkdir(mode=0)
    upgraded.environ["DATABASE_URL"] = f"sqlite:///{folder / 'app.db'}"
    said = upgraded.without_rights("upgrade")
    assert "unable to open database file\nFix: give this user the right to read and write the file and its" in said
    assert f"    ls -ld {folder} {folder / 'app.db'}\n" in said


def test_no_right_to_write(upgraded: Project) -> None:
    """A folder of scripts that cannot be written is named."""
    (upgraded.path / "migrations" / "versions").chmod(0o555)
    said = upgraded.without_rights("revision", "-m", "x")
    assert "Error: migrations/versions cannot be written: Permission denied.\n" in said


@on_sqlite
def test_unreadable_in_a_process(
    database: str, attempt: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does flask_migrate.upgrade() say."""

    def denied(path: Path) -> None:
        raise PermissionError(errno.EACCES, "no", str(path))

    monkeypatch.setattr("app.safe_migrations.folder.os.scandir", denied)
    assert "versions cannot be read: Permission denied." in attempt(flask_migrate.upgrade)[0]


def test_ahead(upgraded: Project) -> None:
    """A database at a revision that the code does not have is ahead of it: the message has the line that finds it."""
    upgraded.write(A1, script("pass"))
    upgraded.ok("upgrade")
    (upgraded.path / A1).unlink()
    problem = problem_of(upgraded, "upgrade")
    assert "the database is at revision a1, which migrations does not have" in problem
    assert "git log --all --oneline -- '*a1*'" in problem


def test_deleted(upgraded: Project) -> None:
    """A script that was deleted and is in no commit is in git's history neither: the lines do without it."""
    (upgraded.path / ".gitignore").write_text("*.db\n")
    for args in (["init", "-q"], ["add", "migrations"], ["commit", "-qm", "x"]):
        git(upgraded, *args)
    upgraded.write(*revision("gone1", FIRST, "pass"))
    upgraded.ok("upgrade")
    (upgraded.path / "migrations" / "versions" / "gone1.py").unlink()
    problem = problem_of(upgraded, "upgrade")
    assert "Error: the database is at revision gone1, which neither migrations nor a commit here has.\n" in problem
    assert "then `flask db stamp --purge head` and `flask db check`:\n    git fetch --all\n" in problem
    upgraded.ok("stamp", "--purge", "head")
    upgraded.ok("check")


def test_downgrade_at_base(upgraded: Project) -> None:
    """At base there is nothing to revert; the message does not count migrations."""
    problem = problem_of(upgraded, "downgrade; downgrade")
    assert problem.startswith("Error: the database is at base already: there is nothing to revert.\n")


def test_in_memory(project: Project) -> None:
    """An upgrade of a database in memory, which ends with the command, warns of that."""
    assert 1 == project.ok("upgrade", DATABASE_URL="sqlite://").count("The database is in memory, and ends with this")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("revision --rev-id x/y -m a", "Error: --rev-id x/y is not a revision id, which has letters, digits, dots and"),
        ("merge --rev-id head heads", "Error: --rev-id head is not a revision id"),
        (f"revision --rev-id {FIRST} -m a", f"add_user_model.py has the revision id {FIRST}.\nFix: choose another"),
    ],
)
def test_wrong_id(upgraded: Project, command: str, says: str) -> None:
    """An id that Alembic would not find again, or finds twice, is refused before a script has it."""
    assert says in problem_of(upgraded, command)


@pytest.mark.parametrize("words", ["Fix C:\\users path", 'say """', 'a \\""" b\\', '"quoted"'])
def test_message_with_quotes_and_backslashes(project: Project, words: str) -> None:
    """The message of a script is a Python string there, whatever is in it."""
    project.ok("revision", "-m", words)
    assert f"-> {project.scripts()[-1].name.split('_')[2]} (head), {words}\n" in project.ok("history")


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> URL:
    """Return the URL of a test server, without a database of the test's own."""
    return server_url(request.param)


def problem_at(project: Project, url: URL) -> str:
    """Return the message of `flask db upgrade` on ``url``, which has to fail."""
    done = project.db("upgrade", DATABASE_URL=url.render_as_string(hide_password=False))
    assert (1, 1, 0) == (done.returncode, done.stderr.count("Error: "), done.stderr.count("Traceback"))
    assert PASSWORD not in done.stdout + done.stderr
    return done.stderr


def test_unknown_user(project: Project, server: URL) -> None:
    """A user or a password that the server does not know."""
    problem = problem_at(project, server.set(username="nobody", password=PASSWORD))
    assert "check user and password" in problem


def test_unknown_database(project: Project, server: URL) -> None:
    """A database that is not there: the line that the message has makes it, on that server, whatever its name."""
    url = server.set(database=f"test-{uuid4().hex[:12]} x")
    problem = problem_at(project, url)
    assert "create the database:" in problem
    assert bool(url.password) == (" -p " in problem) or url.get_backend_name() == "postgresql"
    line = problem.splitlines()[-1].replace(" -p ", " ").replace("--user=USER", "--user=root")
    try:
        subprocess.run(line, shell=True, check=True, env={**os.environ, "MYSQL_PWD": server.password or ""})
        project.ok("upgrade", DATABASE_URL=url.render_as_string(hide_password=False))
    finally:
        quote = "`" if server.get_backend_name() == "mysql" else '"'
        run_on_server(server, f"DROP DATABASE {quote}{url.database}{quote}")


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_no_right_to_the_database(project: Project, server: URL) -> None:
    """A user who may log in to a MySQL server, and not to that database, gets the line that gives the right."""
    with mysql_user(server.set(database="mysql")) as url:
        problem = problem_at(project, url)
    assert f"GRANT ALL ON `mysql`.* TO '{url.username}'@" in problem


@on_mysql
def test_no_right_to_a_statement(project: Project, database: str, backend: str) -> None:
    """A MySQL user without the right to create a table: the line gives it to the account, and nothing had begun."""
    project.ok("upgrade")
    project.write(*revision("a1", FIRST, "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))"))
    url = make_url(database)
    with mysql_user(url, f"SELECT, INSERT, UPDATE, DELETE ON `{url.database}`.*") as limited:
        problem = problem_at(project, limited)
        (line,) = re.findall(r"^    (GRANT ALL .*);$", problem, re.M)
        assert f"TO '{limited.username}'@'%'" in line
        assert ("rolled back" in problem, f"The database is at {FIRST}." in problem) == (False, True)
        run_on_server(url, line)
        project.ok("upgrade", DATABASE_URL=limited.render_as_string(hide_password=False))


@pytest.mark.parametrize("server", ["postgresql"], indirect=True)
def test_no_right_to_create(project: Project, server: URL) -> None:
    """A user who may log in to a database, and not make a table there (PostgreSQL 15 and later)."""
    user, database = f"u{uuid4().hex[:12]}", f"test_{uuid4().hex}"
    run_on_server(server, f"CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'", f"CREATE DATABASE {database}")
    run_on_server(server.set(database=database), "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    try:
        problem = problem_at(project, server.set(username=user, password=PASSWORD, database=database))
    finally:
        run_on_server(server, f"DROP DATABASE {database}", f"DROP ROLE {user}")
    assert "permission denied for schema public" in problem
    assert f'GRANT ALL ON SCHEMA "public" TO {user};' in problem


@on_mysql
def test_wrong_product(project: Project, database: str, backend: str) -> None:
    """mariadb:// for a MySQL server is refused; a MariaDB server takes it, and mysql:// as well."""
    url = database.replace("mysql+", "mariadb+")
    if is_mariadb(server_url(backend)):
        project.ok("upgrade", DATABASE_URL=url)
    else:
        assert "write mysql:// in DATABASE_URL" in project.fails("upgrade", DATABASE_URL=url)


@pytest.mark.parametrize("dialect", ["mysql", "postgresql"])
def test_silent_server(
    monkeypatch: pytest.MonkeyPatch, app_on: Callable[[str], Flask], silent: int, dialect: str
) -> None:
    """Something that takes connections and says nothing, such as another service behind that port, is given up on."""
    monkeypatch.setattr("app.safe_migrations.database.LOGIN_WITHIN", 0.2)
    app = app_on(f"{DRIVERS[dialect]}://u:{PASSWORD}@127.0.0.1:{silent}/d")
    done = app.test_cli_runner().invoke(args=["db", "current"])
    assert (1, True) == (done.exit_code, f"no answer from a {dialect} server" in done.stderr)
    assert "check host, port and options" in done.stderr


# The session ends itself, as a KILL from another session or a restart would end it.
LOST = {
    "mysql": "op.get_bind().exec_driver_sql(f'KILL {op.get_bind().scalar(sa.text(\"SELECT CONNECTION_ID()\"))}')",
    "postgresql": "op.execute('SELECT pg_terminate_backend(pg_backend_pid())')",
}


@on_servers
def test_lost_connection(project: Project, database: str, backend: str) -> None:
    """If the connection is lost during a script, the message blames no script; the next run does all of it."""
    pet = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))"
    project.write(*revision("a1", FIRST, f"{pet}\n{LOST[backend]}\nop.execute('SELECT 1')"))
    errors = project.fails("upgrade")
    assert re.search(rf"^Error: {A1}, line 1[01]: the connection to the database was lost: ", errors, re.M)
    assert "Fix: as soon as the database can be reached, run the command again. " in errors
    project.write(*revision("a1", FIRST, pet))
    project.ok("upgrade")


def test_traceback_for_developers(project: Project) -> None:
    """With FLASK_DEBUG=1 the traceback comes before the message, and without the password."""
    done = project.db("current", FLASK_DEBUG="1", DATABASE_URL=f"mysql+pymysql://u:{PASSWORD}@127.0.0.1:1/d")
    assert (1, True) == (done.returncode, done.stderr.startswith("Traceback"))
    assert "Error: cannot reach mysql" in done.stderr
    assert PASSWORD not in done.stderr


def test_made_before_the_history(project: Project, database: str, app_on: Callable[[str], Flask], sql: Sql) -> None:
    """The message's line gives a database from db.create_all() its revision, and stamps one that is stamped too low."""
    with app_on(database).app_context():
        db.create_all()
    errors = project.fails("upgrade")
    assert "flask db adopt" == errors.strip().splitlines()[-2].strip()
    project.ok("adopt")
    project.ok("check")
    sql("CREATE TABLE pet (id INTEGER)")
    project.write(*revision("a1", FIRST, "op.create_table('pet', sa.Column('id', sa.Integer()))"))
    errors = project.fails("upgrade")
    line = errors.strip().splitlines()[-2].strip()
    assert (True, False) == ("already exists" in errors, "Could not be undone" in errors), errors
    assert "flask db stamp a1" == line
    project.ok(*line.split()[2:])
    assert "Nothing to do" in project.ok("upgrade")


@pytest.mark.parametrize("up", ["op.backfill('user', {'nosuch': 1})", "op.execute('UPDATE pet SET nosuch = 1')"])
def test_column_that_is_missing(project: Project, database: str, sql: Sql, up: str) -> None:
    """A typo in an UPDATE never leads to the advice to mark the revision as applied, which would skip it."""
    sql("CREATE TABLE pet (id INTEGER)")
    project.write(*revision("a1", FIRST, up))
    project.ok("upgrade", FIRST)
    with_row = "INSERT INTO {} (id, username, email) VALUES (1, 'a', 'b')"
    sql(with_row.format("`user`" if "mysql" in database else '"user"'))
    errors = project.fails("upgrade")
    assert (True, False) == ("nosuch" in errors, "stamp" in errors), errors


def test_place_after_a_failure(project: Project, database: str, backend: str) -> None:
    """The message about a run that fails ends with where the database is: SQLite rolls back a whole run."""
    create = "op.create_table('pet', sa.Column('id', sa.Integer()))"
    project.write(*revision("a1", FIRST, f"{create}\nop.execute('SELECT nope')"))
    place, undone = ("base", "whole run") if backend == "sqlite" else (FIRST, "failed revision")
    last = project.fails("upgrade").splitlines()[-1]
    assert f"The {undone} was rolled back; the database is at {place}." == last
    assert backend == "sqlite" or place in project.ok("current")


@on_postgresql
def test_cast_without_using(backend: str, database: str, project: Project) -> None:
    """The server's hint about a cast that it does not do by itself becomes the line to paste, which makes it run."""
    alter = "op.alter_column('user', 'email', existing_type=sa.String(120), type_=sa.Integer(){})"
    project.write(*revision("a1", FIRST, alter.format("")))
    assert (
        'cannot be cast automatically to type integer HINT:  You might need to specify "USING email::integer".\n'
        "Fix: tell op.alter_column() how to convert the existing values, by this argument:\n"
        "    postgresql_using='email::integer'\n"
    ) in project.fails("upgrade")
    project.write(*revision("a1", FIRST, alter.format(", postgresql_using='email::integer'")))
    project.ok("upgrade")


@on_postgresql
def test_error_that_the_script_catches(project: Project, database: str) -> None:
    """What follows it on PostgreSQL fails for that reason; in a savepoint, as the message says, it does not."""
    body = (
        "try:\n    {}op.execute('ALTER TABLE nothere ADD x INT')\nexcept Exception:\n    pass\nop.execute('SELECT 1')"
    )
    project.write(*revision("s1", FIRST, body.format("")))
    told = project.fails("upgrade", "head")
    assert "an earlier statement failed, and the script goes on after its error" in told
    (line,) = (line.strip() for line in told.splitlines() if line.startswith("    with "))
    project.write(*revision("s1", FIRST, body.format(f"{line}\n        ")))
    project.ok("upgrade")


def test_rows_that_exist(project: Project) -> None:
    """A row that a script inserts twice is a fault of the script: the message does not suggest a stamp."""
    text = "op.execute(\"INSERT INTO user VALUES (1, 'a', 'b')\")"
    project.write(*revision("a1", FIRST, f"{text}\n{text}"))
    assert "Fix: correct the script; see which" in project.fails("upgrade")


@on_servers
@pytest.mark.parametrize("constraint", ["CHECK (username <> 'dog')", "FOREIGN KEY (id) REFERENCES other (id)"])
def test_rows_that_violate(project: Project, database: str, backend: str, constraint: str) -> None:
    """If existing rows violate a constraint, the message says to correct the rows, not the script."""
    name = {"postgresql": '"user"'}.get(backend, "user")
    lines = (
        "CREATE TABLE other (id INTEGER PRIMARY KEY)",
        f"INSERT INTO {name} VALUES (1, 'dog', 'd@b')",
        f"ALTER TABLE {name} ADD CONSTRAINT new {constraint}",
    )
    project.write(*revision("a1", FIRST, "\n".join(f"op.execute({line!r})" for line in lines)))
    assert "Fix: correct or delete the rows that violate the constraint" in project.fails("upgrade")


@on_mysql
def test_rows_that_do_not_fit(project: Project, database: str, backend: str) -> None:
    """If the type of a column loses a value that a row has, the message has the query that shows all values."""
    insert = "op.execute(\"INSERT INTO user VALUES (1, 'dog', 'd@b')\")"
    project.write(*revision("a1", FIRST, f"{insert}\nop.execute(\"ALTER TABLE user MODIFY username ENUM('cat')\")"))
    errors = project.fails("upgrade")
    assert "Fix: change the values that do not fit the column's new type" in errors, errors
    assert "    SELECT `username`, COUNT(*) FROM user GROUP BY `username`;" in errors


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("op.get_bind().execute(sa.text('SELECT 1')).scalar()", "run the same command without --sql"),
        ("sa.inspect(op.get_bind()).get_table_names()", "run the same command without --sql"),
        ("with op.batch_alter_table('user') as batch:\n    batch.drop_column('email')", "run the same command without"),
        ("1 / 0", "correct the script"),
    ],
    ids=["result", "inspector", "batch", "other error"],
)
def test_sql_of_what_reads(project: Project, body: str, expected: str) -> None:
    """Under --sql, a script that reads the database gets a message about that; any other error is the script's."""
    project.write(*revision("a1", FIRST, body))
    assert f"Fix: {expected}" in project.fails("upgrade", "--sql")


def test_downgrade_that_raises(upgraded: Project) -> None:
    """A downgrade() that only raises is refused before the backup, and before later revisions are reverted, as stock
    Flask-Migrate does. One that raises under a condition stops where it is.
    """
    kept = "op.execute('CREATE TABLE kept AS SELECT 1 AS id')"
    upgraded.write(*revision("a1", FIRST, kept, "raise NotImplementedError('the names are gone')"))
    upgraded.write(*revision("b1", "a1", "pass"))
    upgraded.ok("upgrade")
    assert upgraded.fails("downgrade", FIRST, MIGRATION_BACKUP="always").endswith(
        "Error: migrations/versions/a1.py: the downgrade() of a1 only raises an error: the names are gone\n"
        "Fix: stay at this revision, or restore a backup that was made before it (list: `flask db backups`);"
        " this line reverts only what comes after it:\n    flask db downgrade a1\n"
        "Nothing was changed; the database is still at b1.\n"
    )
    assert not (upgraded.path / "instance" / "backups").exists()
    assert "Wrote backup" in upgraded.ok("downgrade", "a1", MIGRATION_BACKUP="always")
    upgraded.write(*revision("a1", FIRST, kept, "if True:\n    raise NotImplementedError('the names are gone')"))
    said = upgraded.fails("downgrade")
    assert "the names are gone\nFix: stay at this revision, or restore a backup" in said
    upgraded.ok("upgrade")
    upgraded.make_stock()
    upgraded.fails("downgrade", FIRST)
    assert "a1" in upgraded.ok("current")


@pytest.fixture
def branched(upgraded: Project) -> Project:
    """Return a project at the first revision, from which two branches begin: a1 and b1."""
    for name in ("a1", "b1"):
        upgraded.write(*revision(name, FIRST, "pass"))
    return upgraded


def test_downgrade_at_a_merge(branched: Project) -> None:
    """One step back from a merge could be either parent: the message names both, each with a line that runs."""
    branched.write(*revision("m1", ("a1", "b1"), "pass"))
    branched.ok("upgrade")
    expected = (
        "Error: m1 merges a1 and b1; one step back could be either.\n"
        "Fix: choose one:\n    flask db downgrade a1\n    flask db downgrade b1\n"
    )
    for step in ((), ("-1",), ("-2",)):
        assert expected == branched.db("downgrade", *step).stderr
    branched.ok("downgrade", "a1")


def test_upgrade_at_a_branch_point(branched: Project) -> None:
    """One step on from where two branches begin could be either of them."""
    expected = (
        f"Error: +1 is ambiguous: the database is at {FIRST}.\n"
        "Fix: choose one:\n    flask db upgrade a1\n    flask db upgrade b1\n"
    )
    assert expected == branched.db("upgrade", "+1").stderr


def test_downgrade_of_a_branch_at_its_base(upgraded: Project) -> None:
    """A branch that the database does not have, or that does not exist, is named in the message."""
    upgraded.write(*revision("p1", (), "pass", more="branch_labels = ('plugin',)"))
    what = f"Error: there is no revision plugin@-1 to go to from {FIRST}.\n"
    assert upgraded.db("downgrade", "plugin@-1").stderr.startswith(what)
    upgraded.ok("downgrade", "base")
    assert upgraded.db("downgrade", "nope@-1").stderr.startswith("Error: there is no revision nope@-1 to go to from")


GONE = "with op.batch_alter_table('gone') as batch:\n    batch.drop_column('x')"
UNNAMED = "op.drop_constraint(None, 'user', type_='unique')"


@pytest.mark.parametrize(
    ("backend", "body", "words"),
    [
        ("sqlite", GONE, "there is no table gone."),
        ("sqlite", GONE.replace("gone", "user"), "the batch changes 'x', which the table does not have\nFix: correct "),
        ("mysql", UNNAMED, "AssertionError in format_constraint(), at: assert name is not None"),
        ("sqlite", "{}['nope']", "KeyError: 'nope' in upgrade(), at: {}['nope']"),
        ("sqlite", "op.execute(sa.text('SELECT :a').bindparams(sa.bindparam('a', required=True)))", "parameter 'a'\nF"),
    ],
    indirect=["backend"],
    ids=["table", "column", "assertion", "key", "parameter"],
)
def test_no_message_is_empty_or_a_bare_name(database: str, project: Project, body: str, words: str) -> None:
    """An error message that would be empty or a bare name has the line that raised it."""
    extensions = (project.path / "app" / "extensions.py").read_text()
    project.write("app/extensions.py", extensions.replace("naming_convention=NAMING_CONVENTION", ""))
    project.write(*revision("a1", FIRST, body))
    errors = project.fails("upgrade")
    assert f"Error: {A1}, line 9: " in errors
    assert words in errors


def test_node_outside_of_its_cluster() -> None:
    """A node that Galera has cut off is like a lost connection, and no fault of the script."""
    refused = Exception(1047, "WSREP has not yet prepared node for application use")
    error = DBAPIError("UPDATE item SET n = 1", {}, refused)
    told = str(message(error, Situation(URL.create("mysql"), Path("migrations"), frozenset())))
    assert "the connection to the database was lost: WSREP has not yet prepared node" in told
    assert "Fix: as soon as the database can be reached, run the command again." in told


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("upgrade", "upgrade"),
        ("upgrade a1", "upgrade a1"),
        ("downgrade -1", "downgrade -1"),
        ("downgrade --revision base", "downgrade base"),
        ("-x review=warn upgrade -x lock_wait=9", "-x review=warn -x lock_wait=9 upgrade"),
    ],
)
def test_line_to_run_again(project: Project, command: str, line: str) -> None:
    """The message about a deadlock has the line that runs the same command again, with its settings."""
    error = "sa.exc.OperationalError('UPDATE item', {}, Exception(1213, 'Deadlock found when trying'))"
    fails = f"op.execute('SELECT 1')\nraise {error}"
    upgrades = "upgrade" in command
    project.write(*revision("a1", FIRST, *((fails, "pass") if upgrades else ("pass", fails))))
    if not upgrades:
        project.ok("upgrade")
    told = project.fails(*command.split())
    assert f"Fix: run the command again, when fewer sessions write to the same tables:\n    flask db {line}\n" in told


def test_settings_of_the_line_to_run_again() -> None:
    """A later setting replaces an earlier one; the line shows no password, and no URL, which may contain one."""
    given = ["review=warn", f"url=mysql://u:{PASSWORD}@h/d", f"DB_PASSWORD={PASSWORD}", "dry", "note=a token"]
    line = "flask db -x review=off -x url=... -x DB_PASSWORD=... -x dry -x 'note=a token' upgrade"
    assert line == with_settings("upgrade", given, review="off")


ROW = "INSERT INTO \"user\" (username, email) VALUES ('ann', 'ann@example.org')"


@on_postgresql
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (f"op.execute({ROW!r})", 'violates unique constraint "uq_user_email" (the row'),
        ("op.execute('INSERT INTO \"user\" (username) VALUES (8)')", "violates not-null constraint (the row"),
        ("op.execute('ALTER TABLE \"user\" ADD one INT UNIQUE DEFAULT 1')", '"user_one_key" (the row'),
        ("op.backfill('user', {'email': 'a'})", '"uq_user_email" (the row'),
    ],
)
def test_no_row(project: Project, sql: Sql, body: str, words: str) -> None:
    """A row, which may have personal data, is not in the message of a constraint that it violates."""
    project.ok("upgrade")
    sql(ROW, ROW.replace("ann", "bob"))
    project.write(*revision("a1", FIRST, body))
    told = project.fails("-x", "review=off", "upgrade")
    assert f"{words} is in the server's log, as DETAIL)" in told
    assert [False, False] == [each in told for each in ("DETAIL:", "ann")]


@on_mysql
def test_no_duplicate_value(project: Project, sql: Sql) -> None:
    """The duplicate value, which may have quotes and lines, is not in the messages of MySQL and MariaDB."""
    project.ok("upgrade")
    insert = """INSERT INTO user (username, email) VALUES ('{}', 'ann''\n'' for key''@example.org')"""
    sql(insert.format("ann"))
    project.write(*revision("a1", FIRST, f"op.execute({insert.format('bob')!r})"))
    told = project.fails("upgrade")
    assert "Duplicate entry '...' for key 'uq_user_email' (1062)" in told.replace("user.uq", "uq")
    assert "ann" not in told


def test_no_row_in_the_words_of_a_program() -> None:
    """Values of a row are not in the message of a program that loads a dump, either; each error names its own key."""
    failed = 'pg_restore: error: ERROR:  could not create unique index "x"\n'
    told = _failure("pg_restore", 1, f"{failed}DETAIL:  Key (a)=(ann) is duplicated.\nCONTEXT:  COPY t: ann\n", "")
    assert 'pg_restore failed: pg_restore: error: ERROR:  could not create unique index "x"' == told.what
    first = "ERROR 1062 (23000) at line 5: Duplicate entry 'ann\nERRORS' for key 'x'\n"
    told = _failure("mariadb", 1, first, "")
    assert "mariadb failed: ERROR 1062 (23000) at line 5: Duplicate entry '...' for key 'x'" == told.what
    told = _failure("mariadb", 1, f"{first}ERROR 1062 (23000) at line 6: Duplicate entry 'bob' for key 'y'\n", "")
    assert "mariadb failed: ERROR 1062 (23000) at line 6: Duplicate entry '...' for key 'y'" == told.what


def test_error_that_was_not_raised() -> None:
    """An error without a traceback has its class and text."""
    assert "KeyError: 'nope'" == summary(KeyError("nope"))
