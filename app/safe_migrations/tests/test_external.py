"""MIGRATION_BACKUP_COMMAND: a program that makes a restore point, instead of a dump."""

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Engine, make_url

from ..adapters.client_programs import sigterm_interrupts
from ..backups import external
from .support import (
    FIRST,
    Project,
    Sql,
    limited_user,
    on_postgresql,
    on_servers,
    on_sqlite,
    revision,
    state,
    wait_until,
)

A1 = revision("a1", FIRST, "op.add_column('user', sa.Column('age', sa.Integer()))", "op.drop_column('user', 'age')")
UNCHANGED = f"Nothing was changed; the database is still at {FIRST}.\n"
Tool = Callable[..., Path]


@pytest.fixture
def tool(upgraded: Project, sql: Sql, tmp_path: Path) -> Tool:
    """Return a function that sets MIGRATION_BACKUP_COMMAND to a shell script of that text, in a folder with a space.

    The database is at the first revision, and its table ``kept`` has a row.
    """
    del upgraded.environ["MIGRATION_BACKUP"]
    sql("CREATE TABLE kept AS SELECT 1 AS one")

    def make(script: str, name: str = "take-snapshot", mode: int = 0o755) -> Path:
        path = tmp_path / "my tools" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(mode)
        upgraded.environ["MIGRATION_BACKUP_COMMAND"] = f"{shlex.quote(str(path))} --tag 'of release 1'"
        return path

    return make


def files(project: Project) -> list[Path]:
    """Return all files in the backup folder, the oldest first."""
    return sorted((project.path / "instance" / "backups").glob("*"))


@on_sqlite
def test_restore_point(project: Project, engine: Engine, sql: Sql, tool: Tool, tmp_path: Path) -> None:
    """The program runs under the lock, before the first step, with its arguments; its last line is listed and shown."""
    copy, before = tmp_path / "copy.db", state(engine)
    is_free = 'flock -n "$DB_NAME-migration-lock" true && exit 9'
    tool(f'{is_free}\ncp "$DB_NAME" {copy}\necho "copied for $2"\nprintf "\\n  snap-0123  \\n\\n"')
    project.write(*A1)
    said = project.ok("upgrade")
    assert "take-snapshot has made restore point snap-0123\n" in said
    (entry,) = files(project)
    assert f"-{FIRST}-" in entry.name
    listed = f"{entry.relative_to(project.path)}{{}}external: snap-0123, made by take-snapshot\n"
    assert listed.format("  ") == project.ok("backups")
    assert f"backup    {listed.format(', ')}" in project.db("status").stdout
    assert before != state(engine)
    shutil.copy(copy, str(engine.url.database))
    assert before == state(engine)


@on_servers
def test_environment(project: Project, database: str, tool: Tool, tmp_path: Path) -> None:
    """A client program logs in with the parts in the environment, and none of them is printed, or on a command line."""
    program, login = {
        "mysql": (
            "MYSQL_PWD=$DB_PASSWORD $(command -v mariadb || command -v mysql) -N --protocol=tcp",
            "-P $DB_PORT -u",
        ),
        "postgresql": ("PGPASSWORD=$DB_PASSWORD psql -tA", "-p $DB_PORT -U"),
    }[make_url(database).get_backend_name()]
    ask = f"{program} -h $DB_HOST {login} $DB_USER $DB_NAME"
    tool(
        f'echo "SELECT version_num FROM alembic_version" | {ask} > {tmp_path}/answer || exit 1\n'
        f'tr "\\0" " " < /proc/$$/cmdline > {tmp_path}/seen\n'
        'test -n "$FAIL" && env | grep -e PASSWORD -e URL >&2 && exit 1\necho "made-$DB_DIALECT"'
    )
    with limited_user(make_url(database)) as user:
        environ = {"DATABASE_URL": user.render_as_string(hide_password=False), "DB_PASSWORD": "of another"}
        done = project.db("backup", **environ)
        assert (0, f"made-{user.get_backend_name()}\n") == (done.returncode, done.stdout), done.stderr
        failed = project.fails("backup", **environ, FAIL="yes")
    assert f"{FIRST}\n" == (tmp_path / "answer").read_text()
    assert "DB_PASSWORD=***" in failed
    shown = done.stderr + failed + (tmp_path / "seen").read_text() + "".join(map(str, files(project)))
    assert "secret" not in shown + files(project)[0].read_text()


@on_sqlite
@pytest.mark.parametrize(
    ("script", "told"),
    [
        (
            "for n in 1 2 3 4 5 6; do echo line $n >&2; done; echo snap; exit 3",
            "take-snapshot ended with exit status 3, so there is no restore point:\n    line 2\n    line 3\n",
        ),
        ("kill -9 $$", "take-snapshot was killed by signal 9, so there is no restore point.\n"),
        ("echo; echo made >&2", "the id, the last line that it prints, is missing.\nFix: "),
        ("echo '{'; echo '}'", "the id, the last line that it prints, is '}'.\nFix: "),
        ("printf 'a\\033[2Jb'", "the id, the last line that it prints, is 'a\\x1b[2Jb'.\nFix: "),
    ],
    ids=["fails", "killed", "prints nothing", "prints JSON", "prints controls"],
)
def test_failure(project: Project, engine: Engine, tool: Tool, script: str, told: str) -> None:
    """If the program fails or prints no id, nothing runs; the message has its last lines, and the way on without it."""
    tool(script)
    before = state(engine)
    project.write(*A1)
    said = project.fails("upgrade")
    assert told in said
    assert f"go on without one:\n    flask db -x backup=never upgrade\n{UNCHANGED}" in said
    assert ([], before) == (files(project), state(engine))


@on_sqlite
@pytest.mark.parametrize(("mode", "told"), [(0o644, "Permission denied"), (0, "No such file or directory")])
def test_not_a_program(project: Project, tool: Tool, mode: int, told: str) -> None:
    """If there is no such program, or it cannot be run, nothing runs; commands that need none work."""
    path = tool("echo snap", mode=mode)
    if not mode:
        path.unlink()
    project.write(*A1)
    said = project.fails("upgrade")
    assert f"Error: MIGRATION_BACKUP_COMMAND names {path}, which cannot be run: {told}.\nFix: " in said
    assert UNCHANGED in said
    project.ok("current")
    assert [] == files(project)


@on_sqlite
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ended(project: Project, tool: Tool, tmp_path: Path, number: int) -> None:
    """Ctrl-C and SIGTERM end the program and what it has started, and nothing runs; other commands do not wait."""
    pids = tmp_path / "pids"
    tool(f"sleep 100 & echo $! $$ > {pids}; wait")
    project.write(*A1)
    with project.start("flask", "db", "upgrade", **project.environ) as process:
        wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"))
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert (1, True) == (process.returncode, "Aborted!" in errors), errors
    running = [Path("/proc", pid) for pid in pids.read_text().split()]
    wait_until(lambda: not any(map(is_running, running)))
    assert [] == [path for path in running if is_running(path)]
    assert ([], f"{FIRST}\n") == (files(project), project.db("current").stdout)


@on_sqlite
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ended_as_it_starts(tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A signal that comes before Popen() has returned ends the program, too; then its handler is as before."""
    started = []

    class Interrupted(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            started.append(Path("/proc", str(self.pid)))
            os.kill(os.getpid(), number)

    path = tool("sleep 100")
    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), sigterm_interrupts():
        external.create([str(path)], make_url("sqlite:///app.db"), tmp_path / "entry", lambda: None)
    assert [False] == [*map(is_running, started)]
    assert (before, signal.SIG_DFL) == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))


def is_running(path: Path) -> bool:
    """Return True if the process of that folder of /proc exists, and not only its exit status."""
    try:
        return (path / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@on_sqlite
def test_killed_if_it_does_not_end(tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that ignores SIGTERM is killed after a while, with what it has started."""
    monkeypatch.setattr(external, "GRACE", 0.2)
    pid = tmp_path / "pid"
    path = tool(f"trap '' TERM\nsleep 100 & echo $! > {pid}; wait")

    def interrupt() -> None:
        wait_until(pid.exists)
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt), sigterm_interrupts():
        external.create([str(path)], make_url("sqlite:///app.db"), tmp_path / "entry", lambda: None)
    process = Path("/proc", pid.read_text().strip())
    wait_until(lambda: not is_running(process))
    assert not is_running(process)
    assert signal.SIG_DFL == signal.getsignal(signal.SIGTERM)


@on_postgresql
def test_lost_lock(project: Project, sql: Sql, tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the lock is lost while the program runs, that is ended, and nothing runs."""
    monkeypatch.setattr(external, "KEEP_ALIVE", 0.2)
    kill = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid"
    kill += " FROM pg_database WHERE datname = current_database())"
    ask = 'PGPASSWORD="$DB_PASSWORD" psql -h "$DB_HOST" -p "$DB_PORT" -U "$DB_USER" "$DB_NAME"'
    tool(f'{ask} -c "{kill}" >&2\nsleep 100\necho snap-1')
    project.write(*A1)
    begun = time.monotonic()
    said = project.fails("upgrade")
    assert "the lock of this database was lost during the run" in said
    assert UNCHANGED in said
    assert time.monotonic() - begun < 60
    assert [] == files(project)


@on_sqlite
def test_background(project: Project, tool: Tool) -> None:
    """A process that the program leaves in the background with its output open does not hold up the run."""
    tool("sleep 20 &\necho snap-1")
    begun = time.monotonic()
    project.ok("backup")
    assert time.monotonic() - begun < 15


@on_sqlite
def test_named_after_a_failure(project: Project, tool: Tool) -> None:
    """Where a message has the line that restores a backup, it names the restore point and the program that made it."""
    tool("echo snap-7")
    change = "with op.get_context().autocommit_block():\n    op.execute('UPDATE kept SET one = one + 1')"
    project.write(*revision("a1", FIRST, f"{change}\nraise SystemExit(0)"))
    said = project.fails("upgrade")
    assert (
        "To restore the last backup, which deletes what was written since:\n"
        "    restore point snap-7: restore it with the tool that made it, take-snapshot\n"
    ) in said


@on_sqlite
def test_restore(project: Project, engine: Engine, tool: Tool) -> None:
    """An external restore point is not restored, by id or by file: the message names the program. A dump still is.

    Before that, the program makes a restore point of the present state.
    """
    before = project.path / project.ok("backup").splitlines()[0]
    tool("echo db/main@1")
    assert "db/main@1\n" == project.db("backup").stdout
    (_, entry) = files(project)
    for given in ("db/main@1", str(entry)):
        assert (
            "Error: db/main@1 is an external restore point: `flask db restore` restores only its own backups.\n"
            "Fix: restore it with the tool that made it, take-snapshot; then see where the database is:\n"
            "    flask db status\n"
        ) in project.fails("restore", "--yes", given)
    assert "there is no file db/main@2" in project.fails("restore", "db/main@2")
    project.ok("restore", "--yes", str(before))
    assert [".external", ".external"] == [file.suffix for file in files(project)[1:]]


@on_sqlite
def test_keep(project: Project, tool: Tool) -> None:
    """The list keeps MIGRATION_BACKUP_KEEP restore points; the log says that what leaves it still exists."""
    tool('echo "snap-$(date +%N)"')
    project.ok("backup")
    project.write(*A1)
    project.environ["MIGRATION_BACKUP_KEEP"] = "1"
    _, name = [
        project.ok(command).partition("made restore point ")[2].split("\n")[0] for command in ("upgrade", "downgrade")
    ]
    said = project.ok("upgrade")
    assert f"The restore point {name} still exists: delete it with the tool that made it, take-snapshot\n" in said
    assert [True, False] == ["by-hand" in file.name for file in files(project)]


@on_sqlite
def test_when(project: Project, sql: Sql, tool: Tool) -> None:
    """MIGRATION_BACKUP decides when the program runs: never, before risky steps, or always if there are rows."""
    tool("exit 1")
    project.write(*A1)
    project.ok("-x", "backup=risky", "upgrade")
    assert "there is no restore point" in project.fails("-x", "backup=risky", "downgrade")
    project.ok("-x", "backup=never", "downgrade")
    sql("DELETE FROM kept")
    project.ok("upgrade")
    assert "there is no restore point" in project.fails("backup")


@on_sqlite
def test_of_a_bind(project: Project, tool: Tool, tmp_path: Path) -> None:
    """In the folder of a bind, the environment has that bind's database."""
    tool('echo "of $DB_NAME $DATABASE_URL"')
    other = tmp_path / "audit.db"
    config = (project.path / "config.py").read_text()
    project.write("config.py", f'{config}    SQLALCHEMY_BINDS = {{"audit": "sqlite:///{other}"}}\n')
    project.ok("init", "-d", "migrations/audit", "--bind", "audit")
    project.ok("-d", "migrations/audit", "backup")
    assert f"of {other} sqlite:///{other}\n" == project.db("-d", "migrations/audit", "backup").stdout
