"""Every command validates all settings, whether or not it has something to do."""

from collections.abc import Callable

import flask_migrate
import pytest
from flask import Flask

from ..settings import DEFAULTS, read
from .support import FIRST, Project, revision


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MIGRATION_LOCK_WAIT", "1e9"),
        ("MIGRATION_LOCK_TIMEOUT", "0"),
        ("MIGRATION_LOCK_RETRIES", "many"),
        ("MIGRATION_BACKUP", "maybe"),
        ("MIGRATION_BACKUP_DIR", " "),
        ("MIGRATION_BACKUP_KEEP", "1.5"),
        ("MIGRATION_BACKUP_COMMAND", "'take snapshot --token=secret"),
        ("MIGRATION_REVIEW", "no"),
        ("MIGRATION_TARGETS", "oracle"),
        ("MIGRATION_REHEARSAL_URL", "http://root:secret@127.0.0.1"),
    ],
)
def test_wrong_setting(project: Project, name: str, value: str) -> None:
    """A wrong setting stops a command by its name with exit status 1, before it opens the database."""
    said = project.fails("upgrade", **{name: value})
    assert (True, False) == (f"Error: {name} " in said, "secret" in said)
    assert [] == list(project.path.rglob("*.db"))


def test_every_command(project: Project) -> None:
    """Commands that read no setting validate all of them too."""
    scripts = project.scripts()
    names = "migrate revision current history heads show branches check status review backups"
    for command in names.split(" "):
        assert "Error: MIGRATION_BACKUP (or -x backup=...) is 'maybe'" in project.fails("-x", "backup=maybe", command)
    assert scripts == project.scripts()


@pytest.mark.parametrize(("name", "value"), [("backup", "sometimes"), ("review", "no"), ("lock_wait", "x")])
def test_line_for_what_was_typed(project: Project, name: str, value: str) -> None:
    """The line to paste corrects a value where it was set: after -x, which overrides the environment, or there."""
    key = f"MIGRATION_{name.upper()}"
    assert f"    -x {name}={DEFAULTS[name]}\n" in project.fails("-x", f"{name}={value}", "upgrade")
    assert f"    export {key}={DEFAULTS[name]}\n" in project.fails("upgrade", **{key: value})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("-x revew=off upgrade", "Unknown setting -x revew. Did you mean review?\nFix: use one of lock_wait, "),
        ("upgrade -x bakcup=off", "Unknown setting -x bakcup. Did you mean backup?\n"),
        ("-x xyz history", "Unknown setting -x xyz.\n"),
        ("-x =never upgrade", "Unknown setting -x without a name.\nFix: use one of lock_wait, "),
    ],
)
def test_unknown_name(project: Project, arguments: str, told: str) -> None:
    """An unknown or a missing name is wrong usage, before or after the command's name."""
    done = project.db(*arguments.split())
    assert (2, True) == (done.returncode, f"Error: {told}" in done.stderr)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("MIGRATION_BAKUP", "never", "export MIGRATION_BACKUP=never"),
        ("MIGRATION_REHEARSALURL", "mysql://u:s3cr3t@h", "export MIGRATION_REHEARSAL_URL=..."),
    ],
)
def test_misspelled_variable(project: Project, name: str, value: str, line: str) -> None:
    """A variable that is almost a setting's stops every command, also in .env; one that the app may read does not."""
    project.ok("current", MIGRATION_TENANT="a", MIGRATION_EMAIL="b")
    expected = (
        f"Error: {name} is not a setting. Did you mean {line.split()[1].partition('=')[0]}?\n"
        f"Fix: correct its name, where it is set (in the environment or in .env):\n    {line}\n"
    )
    assert (1, expected) == ((done := project.db("current", **{name: value})).returncode, done.stderr)
    project.write(".env", f"{name}={value}")
    assert expected == project.db("upgrade").stderr


@pytest.mark.parametrize("answer", ["safe=drop-column:unused", "drop=pet"])
def test_answer_in_the_wrong_place(project: Project, answer: str) -> None:
    """An answer for `flask db migrate` stops any other command, which would ignore it."""
    expected = (
        f"Error: -x {answer.partition('=')[0]}=... is an answer for `flask db migrate`; no other command reads it.\n"
        "Fix: leave it out, or pass it to `migrate`; a finding in a script that exists is acknowledged there, as this"
        " shows:\n    flask db review\n"
    )
    for command in ("upgrade", "review", "revision"):
        done = project.db("-x", answer, command)
        assert (2, True) == (done.returncode, done.stderr.endswith(expected)), done.stderr


def test_help(project: Project) -> None:
    """The help of -x says what it takes, for the group and its commands; Flask-Migrate's names only env.py scripts."""
    for command in ((), ("upgrade",), ("migrate",)):
        assert "NAME=VALUE  A setting for this run, such as backup=never" in project.ok(*command, "--help")


def test_name_of_its_own(project: Project) -> None:
    """A name that a script or env.py reads by Alembic's get_x_argument() is accepted."""
    body = "from alembic import context\nassert 'a' == context.get_x_argument(as_dictionary=True)['tenant']"
    project.write(*revision("a1", FIRST, body))
    project.ok("-x", "tenant=a", "upgrade")


@pytest.mark.parametrize(
    ("config", "options", "told"),
    [
        ({"MIGRATION_BACKUP": "maybe"}, {}, "MIGRATION_BACKUP (or -x backup=...) is 'maybe'"),
        ({}, {"x_arg": "revew=off"}, "Unknown setting -x revew. Did you mean review?"),
        ({}, {"x_arg": "drop=pet"}, "-x drop=... is an answer for `flask db migrate`"),
    ],
)
def test_from_python(
    project: Project, app_on: Callable[[str], Flask], config: dict[str, str], options: dict[str, str], told: str
) -> None:
    """flask_migrate.upgrade() validates the settings as the command does, also with nothing to do."""
    app = app_on(f"sqlite:///{project.path / 'test.db'}")
    directory = str(project.path / "migrations")
    with app.app_context():
        flask_migrate.upgrade(directory=directory)
        app.config.update(config)
        with pytest.raises(SystemExit) as ended:
            flask_migrate.upgrade(directory=directory, **options)
    assert told in str(ended.value.__context__)


def test_none(app_on: Callable[[str], Flask], project: Project) -> None:
    """None in the app's config, as os.environ.get() gives it, leaves the default."""
    app = app_on(f"sqlite:///{project.path / 'test.db'}")
    with app.app_context():
        app.config.update({f"MIGRATION_{name.upper()}": None for name in DEFAULTS})
        assert read(DEFAULTS, project.path) == read({}, project.path)
