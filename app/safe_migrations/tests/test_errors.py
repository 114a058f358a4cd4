"""Bad inputs: one short message with `Fix:`, exit status 1 or 2, no traceback, no password, nothing changed."""

import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import URL

from .example.app.extensions import db
from .support import (
    DRIVERS,
    EXAMPLE,
    FIRST,
    SERVERS,
    Project,
    copied,
    is_mariadb,
    on_mysql,
    on_postgresql,
    on_servers,
    revision,
    run_on_server,
    server_url,
)

PASSWORD = "s3cr3t-Pa55"


def script(body: str, down: str = "pass", name: str = "a1", parent: str = FIRST) -> str:
    """Return the text of a revision script."""
    return revision(name, parent, body, down)[1]


@dataclass
class Case:
    """A bad input: what is arranged, what is typed, and what has to be said about it."""

    says: str
    fix: str
    args: str = "upgrade"
    environ: dict[str, str] = field(default_factory=dict)
    files: dict[str, str | None] = field(default_factory=dict)
    first: tuple[str, ...] = ()
    status: int = 1


def script_file(name: str) -> str:
    """The file of a revision script."""
    return f"migrations/versions/{name}.py"


def at_url(value: str, says: str, fix: str) -> Case:
    """The database is named by a URL."""
    return Case(says, fix, "current", {"DATABASE_URL": value})


def broken(
    text: str | None, says: str, fix: str = "correct the script", args: str = "upgrade", first: str = ""
) -> Case:
    """There is a revision script with this text."""
    return Case(says, fix, args, files={script_file("a1"): text}, first=tuple(first.split(";")) if first else ())


LABELS = (
    (EXAMPLE / "app" / "models.py").read_text()
    + """

class Tag(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    label_id = db.Column(db.ForeignKey("TARGET"))
"""
)

CASES = {
    # Files that are no databases
    "folder-missing": at_url("sqlite:////nowhere/app.db", "unable to open database file", "mkdir -p /nowhere"),
    "no-database": at_url(
        "sqlite:///../config.py", "file is not a database", "is not a SQLite database, or it is damaged"
    ),
    # Servers that are not there
    "password-behind": at_url(
        f"mysql+pymysql://127.0.0.1:1/d?password={PASSWORD}", "Connection refused", "start the server"
    ),
    "words-in-the-name": at_url(
        "mysql+pymysql://u@127.0.0.1:1/authentication%20failed", "Connection refused", "start the server"
    ),
    "charset": at_url("mysql+pymysql://u@127.0.0.1:1/d?charset=foo", "encoding", "after the ?"),
    "postgresql-refused": at_url(
        f"postgresql+psycopg://u:{PASSWORD}@127.0.0.1:1/d", "Connection refused", "start the server"
    ),
    "postgresql-host": at_url(
        f"postgresql+psycopg://u:{PASSWORD}@nohost.invalid/d", "nohost.invalid", "check the host"
    ),
    # Revisions
    "unknown": Case("unknown revision nope", "flask db history", "upgrade nope"),
    "unknown-review": Case("unknown revision nope", "flask db history", "review nope:head"),
    "empty": Case(
        "The revision argument is an empty string. Fix: give a revision:",
        "flask db downgrade",
        "downgrade --revision ",
        status=2,
    ),
    "empty-merge": Case("No revisions to merge.", 'merge -m "Merge heads" heads', "merge -m x", status=2),
    "merge-of-one": Case(
        f"nothing to merge: a merge takes two revisions, and {FIRST} is the only one.", "flask db heads", "merge heads"
    ),
    "multidb": Case(
        "--multidb is not supported",
        "leave --multidb out: flask db init",
        "init --multidb -d other",
        status=2,
    ),
    "no-versions": Case(
        "the folder migrations/versions is missing",
        "git checkout -- migrations/versions",
        files={"migrations/versions": None},
    ),
    "too-far": Case("Relative revision -9", "flask db history", "downgrade --revision -9"),
    "nothing-to-downgrade": Case("Relative revision -1", "flask db history", "downgrade", first=("downgrade",)),
    "ahead": Case(
        "the database is at revision a1, which migrations does not have",
        "git log --all --oneline -- '*a1*'",
        files={script_file("a1"): script("pass")},
        first=("upgrade", "rm a1"),
    ),
    "behind-migrate": Case(
        "Target database is not up to date", "flask db upgrade", "migrate -m x", first=("downgrade",)
    ),
    "differs": Case(
        "New upgrade operations detected: remove_table stray",
        "flask db -x drop=stray migrate",
        "check",
        files={script_file("a1"): script("op.create_table('stray', sa.Column('id', sa.Integer()))")},
        first=("upgrade",),
    ),
    "option": Case("No such option", "--help", "upgrade --nope", status=2),
    "command": Case("No such command", "--help", "upgrad", status=2),
    # Scripts
    "syntax": broken(
        script("op.create_table("),
        "migrations/versions/a1.py, line ",
        "correct the script until this prints no error:\n    python -m py_compile migrations/versions/a1.py\n",
    ),
    "zeros": broken(script("pass") + "\0" * 64, "a1.py"),
    "empty-file": broken("", "module 'a1_py' has no attribute 'down_revision'", "git checkout"),
    "no-revision": Case(
        "Could not determine revision id from filename add_pet.py",
        "move it out of the folder:\n    mv migrations/versions/add_pet.py .\n",
        files={script_file("add_pet"): "pass"},
    ),
    "import": broken(
        "import nowhere\n" + script("pass"), "a1.py, line 1: ModuleNotFoundError: No module named 'nowhere'"
    ),
    "raises": broken(script("raise RuntimeError('no pets')"), "a1.py, line 9: RuntimeError: no pets"),
    "exits": broken(script("raise SystemExit(0)"), "a1.py, line 9: SystemExit: 0"),
    "sql": broken(script("op.execute('DROP TABLE nope')"), "a1.py, line 9: no such table: nope"),
    "one-way": broken(
        script("pass", "raise NotImplementedError('rows were merged')"),
        "a1.py, line 13: NotImplementedError: rows were merged",
        args="downgrade",
        first="upgrade",
    ),
    "no-downgrade": broken(
        script("pass").split("def downgrade")[0],
        "module 'a1_py' has no attribute 'downgrade'",
        "write the missing function into the script",
        "downgrade",
        "upgrade",
    ),
    "no-parent": broken(
        script("pass", parent="gone"),
        "Revision gone referenced from gone -> a1",
        "restore the missing script",
        "heads",
    ),
    "cycle": broken(script("pass", parent="a1"), "loop is detected in revisions (a1)", "grep -rn", "heads"),
    "twice": Case(
        "Revision a1 is present more than once",
        "grep -rn",
        "heads",
        files={script_file("a1"): script("pass"), script_file("b1"): script("pass")},
    ),
    # The models
    "foreign-key": Case(
        "Foreign key associated with column 'tag.label_id' could not find table 'labl'",
        "correct the name of the table or column in the model's ForeignKey. Find the line:\n    grep -rn ",
        "migrate -m x",
        files={"app/models.py": LABELS.replace("TARGET", "labl.id")},
    ),
    "foreign-key-column": Case(
        "Could not initialize target column for ForeignKey 'user.idd' on table 'tag'",
        "correct the name of the table or column in the model's ForeignKey. Find the line:\n    grep -rn ",
        "migrate -m x",
        files={"app/models.py": LABELS.replace("TARGET", "user.idd")},
    ),
    # The migrations folder
    "no-folder": Case("Path doesn't exist: migrations", "flask db init", files={"migrations": None}),
    "no-env": Case("env.py", "cp ", files={"migrations/env.py": None}),
    "no-mako": Case(
        "No such file or directory: 'migrations/script.py.mako'",
        "cp ",
        "revision -m x",
        files={"migrations/script.py.mako": None},
    ),
    "bad-env": Case(
        "migrations/env.py, line 1", "correct", files={"migrations/env.py": "import nowhere  # for safe_migrations\n"}
    ),
    "bad-ini": Case("alembic.ini", "cp ", "heads", files={"migrations/alembic.ini": "[alembic\nx"}),
    "init-again": Case("migrations already exists", "flask db migrate", "init"),
}


def state(project: Project) -> dict[str, str]:
    """Return a hash of every file of the copy, but for bytecode, the lock, and the empty file that SQLite opens."""
    return {
        str(path.relative_to(project.path)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in project.path.rglob("*")
        if path.is_file() and not path.name.endswith((".pyc", "-migration-lock")) and path.stat().st_size
    }


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project whose database is at head and holds a user."""
    project = copied(tmp_path_factory.mktemp("upgraded"))
    project.ok("upgrade")
    with closing(sqlite3.connect(project.path / "instance" / "app.db")) as connection, connection:
        connection.execute("INSERT INTO user (username, email) VALUES ('alice', 'alice@example.com')")
    return project


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_bad_input(upgraded: Project, tmp_path: Path, case: Case) -> None:
    """An error is one message, with what is wrong and how to fix it; all files, the database's too, stay as before."""
    project = replace(upgraded, path=tmp_path / "project")
    shutil.copytree(upgraded.path, project.path, symlinks=True)
    for name, content in case.files.items():
        if content is not None:
            project.write(name, content)
        elif (project.path / name).is_dir():
            shutil.rmtree(project.path / name)
        else:
            (project.path / name).unlink()
    for command in case.first:
        if command.startswith("rm "):
            (project.path / script_file(command[3:])).unlink()
        else:
            project.ok(*command.split())
    before = state(project)
    done = project.db(*case.args.split(" "), **case.environ)
    print(done.stderr)
    problem = done.stderr[done.stderr.index("Error: ") :] if case.status == 1 else done.stderr
    assert case.says in problem
    assert case.fix in problem
    assert (case.status, 1) == (done.returncode, len(re.findall("^Error: ", done.stderr, re.MULTILINE)))
    assert case.status == 2 or "Fix: " in problem
    assert len(problem.splitlines()) <= 5
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert before == state(project)


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> URL:
    """The URL of a test server, without a database of the test's own."""
    return server_url(request.param)


def problem_at(project: Project, url: URL) -> str:
    """The message of `flask db upgrade` on ``url``, which has to fail within a few seconds."""
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
    name = f"test-{uuid4().hex[:12]} x"
    problem = problem_at(project, server.set(database=name))
    assert "create the database:" in problem
    line = problem.splitlines()[-1].replace(" -p ", " ").replace("--user=USER", "--user=root")
    try:
        subprocess.run(line, shell=True, check=True, env={**os.environ, "MYSQL_PWD": server.password or ""})
        assert "Running upgrade" in project.ok(
            "upgrade", DATABASE_URL=server.set(database=name).render_as_string(False)
        )
    finally:
        quote = "`" if server.get_backend_name() == "mysql" else '"'
        run_on_server(server, f"DROP DATABASE {quote}{name}{quote}")


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
@pytest.mark.parametrize(
    ("password", "expected"),
    [("right", "check user and password"), (PASSWORD, "GRANT ALL ON `mysql`.* TO 'USER'@")],
)
def test_login(project: Project, server: URL, password: str, expected: str) -> None:
    """A wrong password is not shown; a user who may log in, and not to that database, needs a right.

    (The PostgreSQL of a test machine may trust everybody.)
    """
    user = f"u{uuid4().hex[:12]}"
    run_on_server(server, f"CREATE USER {user} IDENTIFIED BY '{password}'")
    try:
        problem = problem_at(project, server.set(username=user, password=PASSWORD, database="mysql"))
    finally:
        run_on_server(server, f"DROP USER {user}")
    assert expected in problem.replace(user, "USER")


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


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_wrong_product(project: Project, server: URL) -> None:
    """mariadb:// for a MySQL server is refused; a MariaDB server takes it, and mysql:// as well."""
    database = f"test_{uuid4().hex}"
    run_on_server(server, f"CREATE DATABASE {database}")
    mariadb = server.set(drivername="mariadb+pymysql", database=database)
    try:
        if is_mariadb(server):
            assert "Running upgrade" in project.ok("upgrade", DATABASE_URL=mariadb.render_as_string(False))
        else:
            assert "write mysql:// in DATABASE_URL" in problem_at(project, mariadb)
    finally:
        run_on_server(server, f"DROP DATABASE {database}")


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
    project.ok("upgrade")
    pet = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))"
    project.write(*revision("a1", FIRST, f"{pet}\n{LOST[backend]}\nop.execute('SELECT 1')"))
    errors = project.db("upgrade").stderr
    assert re.search(
        r"^Error: migrations/versions/a1\.py, line 1[01]: the connection to the database was lost: ", errors, re.M
    )
    assert "Fix: as soon as the database can be reached, run the command again. " in errors
    assert "correct the script" not in errors
    project.write(*revision("a1", FIRST, pet))
    project.ok("upgrade")
    assert "a1 (head)" in project.ok("current")


def test_fix_and_instead(project: Project) -> None:
    """`Fix:` stands before what corrects a fault of the user's, `Instead:` before what to do in place of a risk."""
    project.ok("upgrade")
    backup = project.db("backup").stdout.strip()
    wrong, risky = project.db("upgrade", "nope").stderr, project.db("restore", backup).stderr
    assert (True, False) == ("\nFix: choose a revision of this list:\n    flask db" in wrong, "Instead: " in wrong)
    assert (True, False) == ("\nInstead: add --yes:\n    flask db restore " in risky, "Fix: " in risky), risky


def test_traceback_for_developers(project: Project) -> None:
    """With FLASK_DEBUG=1 the traceback comes before the message, and without the password."""
    done = project.db("current", FLASK_DEBUG="1", DATABASE_URL=f"mysql+pymysql://u:{PASSWORD}@127.0.0.1:1/d")
    assert (1, True) == (done.returncode, done.stderr.startswith("Traceback"))
    assert "Error: cannot reach mysql" in done.stderr
    assert PASSWORD not in done.stderr


def test_made_before_the_history(project: Project, database: str, app_on: Callable[[str], Flask]) -> None:
    """If db.create_all() has made a table, the message's line stamps its revision, and the table stays."""
    with app_on(database).app_context():
        db.create_all()
    done = project.db("upgrade")
    line = done.stderr.strip().splitlines()[-2].strip()
    assert (1, f"flask db stamp {FIRST}") == (done.returncode, line)
    assert (True, False) == ("already exists" in done.stderr, "Could not be undone" in done.stderr), done.stderr
    project.ok(*line.split()[2:])
    assert "Nothing to do" in project.ok("upgrade")
    project.ok("check")


@pytest.mark.parametrize(
    ("body", "before", "after"),
    [
        ("op.execute('SELECT nope')", FIRST, FIRST),
        ("raise SystemExit(0)", FIRST, FIRST),
        ("op.execute('SELECT nope')", "base", {"sqlite": "base", "mysql": FIRST, "postgresql": FIRST}),
    ],
)
def test_place_after_a_failure(
    project: Project, database: str, backend: str, body: str, before: str, after: str | dict[str, str]
) -> None:
    """The message about a run that fails ends with where the database is: SQLite rolls back a whole run."""
    project.ok("upgrade", FIRST)
    project.ok("downgrade", before)
    project.write(*revision("a1", FIRST, f"op.create_table('pet', sa.Column('id', sa.Integer()))\n{body}"))
    done = project.db("upgrade")
    place = after if isinstance(after, str) else after[backend]
    assert (1, f"The failed revision was rolled back; the database is at {place}.") == (
        done.returncode,
        done.stderr.splitlines()[-1],
    )
    assert place in project.ok("current") or place == "base"


@on_postgresql
def test_cast_without_using(backend: str, database: str, project: Project) -> None:
    """The server's hint about a cast that it does not do by itself becomes the line to paste, which makes it run."""
    project.ok("upgrade", FIRST)
    alter = "op.alter_column('user', 'email', existing_type=sa.String(120), type_=sa.Integer(){})"
    project.write(*revision("a1", FIRST, alter.format("")))
    done = project.db("upgrade")
    assert (
        'cannot be cast automatically to type integer HINT:  You might need to specify "USING email::integer".\n'
        "Fix: tell op.alter_column() how to convert the existing values, by this argument:\n"
        "    postgresql_using='email::integer'\n"
    ) in done.stderr
    project.write(*revision("a1", FIRST, alter.format(", postgresql_using='email::integer'")))
    project.ok("upgrade")


def test_rows_that_exist(project: Project) -> None:
    """A row that a script inserts twice is a fault of the script: the message does not suggest a stamp."""
    text = "op.execute(\"INSERT INTO user VALUES (1, 'a', 'b')\")"
    project.write(*revision("a1", FIRST, f"{text}\n{text}"))
    assert "Fix: correct the script; see which" in project.db("upgrade").stderr


@on_mysql
def test_rows_that_do_not_fit(project: Project, database: str, backend: str) -> None:
    """If the type of a column loses a value that a row has, the message has the query that shows all values."""
    kinds = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('kind', sa.String(9)))"
    project.write(*revision("a1", FIRST, f"{kinds}\nop.execute(\"INSERT INTO pet VALUES (1, 'dog')\")"))
    project.ok("upgrade")
    alter = "op.execute(\"ALTER TABLE pet MODIFY kind ENUM('cat')\")"
    project.write(*revision("b1", "a1", alter))
    errors = project.db("-x", "review=off", "upgrade").stderr
    assert "Fix: change the values that do not fit the column's new type" in errors, errors
    assert "    SELECT `kind`, COUNT(*) FROM pet GROUP BY `kind`;" in errors


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("op.get_bind().execute(sa.text('SELECT 1')).scalar()", "run the same command without --sql"),
        ("for row in op.get_bind().execute(sa.text('SELECT 1')):\n    pass", "run the same command without --sql"),
        ("sa.inspect(op.get_bind()).get_table_names()", "run the same command without --sql"),
        (
            "with op.batch_alter_table('user') as batch:\n    batch.alter_column('email', type_=sa.Text())",
            "run the same command without --sql",
        ),
        ("1 / 0", "correct the script"),
    ],
)
def test_sql_of_what_reads(project: Project, body: str, expected: str) -> None:
    """Under --sql, a script that reads the database gets a message about that; any other error is the script's."""
    project.write(*revision("a1", FIRST, body))
    done = project.db("upgrade", "--sql")
    assert (1, True) == (done.returncode, f"Fix: {expected}" in done.stderr), done.stderr


def test_downgrade_at_a_merge(project: Project) -> None:
    """One step back from a merge could be either parent: the message names both, each with a line that runs."""
    project.write(*revision("a1", FIRST, "pass"))
    project.write(*revision("b1", FIRST, "pass"))
    project.write(*revision("m1", ("a1", "b1"), "pass"))
    project.ok("upgrade")
    expected = (
        "Error: m1 merges a1 and b1; one step back could be either.\n"
        "Fix: choose one:\n    flask db downgrade a1\n    flask db downgrade b1\n"
    )
    assert expected == project.db("downgrade").stderr
    project.ok("downgrade", "a1")


def test_upgrade_at_a_branch_point(project: Project) -> None:
    """One step on from where two branches begin could be either of them."""
    project.ok("upgrade")
    project.write(*revision("a1", FIRST, "pass"))
    project.write(*revision("b1", FIRST, "pass"))
    expected = (
        "Error: +1 is ambiguous: 2 revisions can come next: a1, b1.\n"
        "Fix: choose one:\n    flask db upgrade a1\n    flask db upgrade b1\n"
    )
    assert expected == project.db("upgrade", "+1").stderr


def test_downgrade_of_a_branch_at_its_base(project: Project) -> None:
    """A branch that the database does not have, or that does not exist, is named in the message."""
    project.ok("upgrade")
    project.write(*revision("p1", (), "pass", more="branch_labels = ('plugin',)"))
    what = f"Error: there is no revision plugin@-1 to go back to from {FIRST}.\n"
    assert project.db("downgrade", "plugin@-1").stderr.startswith(what)
    project.ok("downgrade", "base")
    assert project.db("downgrade", "nope@-1").stderr.startswith("Error: there is no branch nope.\n")


def test_two_heads(project: Project) -> None:
    """With several heads, migrate, check and review say to merge them, as upgrade does."""
    project.ok("upgrade")
    project.write(*revision("a1", FIRST, "pass"))
    project.write(*revision("b1", FIRST, "pass"))
    what = (
        "there are 2 heads: a1, b1.\n"
        "Fix: merge them with this line; then read the script that it writes, and run the command again:\n"
        '    flask db merge -m "Merge heads" heads\n'
    )
    for command in ("upgrade", "migrate", "check"):
        assert f"Error: {what}" == project.db(command).stderr
    assert f"An upgrade would stop: {what}" in project.db("review").stderr
    project.write(*revision("b1", FIRST, "pass", more="branch_labels = ('plugin',)"))
    assert "heads" not in project.db("review").stderr


GONE = "with op.batch_alter_table('gone') as batch:\n    batch.drop_column('x')"
UNNAMED = "op.drop_constraint(None, 'pet', type_='unique')"


@pytest.mark.parametrize(
    ("backend", "body", "words"),
    [
        ("sqlite", GONE, "there is no table gone."),
        ("mysql", GONE, "gone' doesn't exist (1146)"),
        ("sqlite", UNNAMED, "NotImplementedError: No support for ALTER of constraints"),
        ("mysql", UNNAMED, "AssertionError in format_constraint(), at: assert name is not None"),
        ("sqlite", "assert False", "AssertionError in upgrade(), at: assert False"),
        ("sqlite", "{}['nope']", "KeyError: 'nope' in upgrade(), at: {}['nope']"),
        (
            "sqlite",
            "op.execute(sa.text('SELECT :a').bindparams(sa.bindparam('a', required=True)))",
            "A value is required for bind parameter 'a'\nFix: ",
        ),
    ],
    indirect=["backend"],
)
def test_no_message_is_empty_or_a_bare_name(database: str, project: Project, body: str, words: str) -> None:
    """An error message that would be empty or a bare name has the line that raised it."""
    extensions = (project.path / "app" / "extensions.py").read_text()
    project.write(
        "app/extensions.py", extensions.replace("MetaData(naming_convention=NAMING_CONVENTION)", "MetaData()")
    )
    pet = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))"
    project.write(*revision("a1", FIRST, pet))
    project.ok("upgrade")
    project.write(*revision("b1", "a1", body))
    done = project.db("upgrade")
    assert 1 == done.returncode
    assert "Error: migrations/versions/b1.py, line 9: " in done.stderr
    assert words in done.stderr
