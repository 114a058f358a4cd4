"""Sessions of a command while something else runs: servers, poolers and proxies close those that are idle too long."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine

from .. import lock
from ..adapters import base
from ..adapters.postgresql import adapter
from ..adapters.postgresql.lock import AdvisoryLock
from ..backups import external
from .servers import Proxy
from .support import (
    DUMPERS,
    FIRST,
    Project,
    on_postgresql,
    on_servers,
    revision,
    run_on_server,
    wait_until,
    with_programs,
)

LOADERS = ("mariadb", "mysql", "psql")
# Each that takes long says that it has begun, and ends when it may.
PROGRAM = "touch {0}/{1}; while [ ! -e {0}/{1}-may-end ]; do sleep 0.02; done"
STEP = (
    "import pathlib\nfrom time import sleep\nbegun = pathlib.Path({!r})\nbegun.touch()\n"
    "while not begun.with_name('step-may-end').exists():\n    op.execute('SELECT 1')\n    sleep(0.02)"
)
# What takes long in a command, and how many sessions the command has then at least: on MySQL, on PostgreSQL.
COMMANDS = {
    "upgrade": (("dump", "step"), (1, 2)),
    "upgrade with restore point": (("restore-point", "step"), (1, 2)),
    "restore --yes": (("load",), (1, 2)),
    "rehearse": (("dump", "load", "step"), (3, 4)),
}


@pytest.fixture
def proxy(upgraded: Project, engine: Engine) -> Iterator[Proxy]:
    """Yield a proxy in front of the server; a run makes a backup, because table user has a row."""
    quoted = engine.dialect.identifier_preparer.quote("user")
    run_on_server(engine.url, f"INSERT INTO {quoted} (id, username, email) VALUES (1, 'alice', 'a@b')")
    del upgraded.environ["MIGRATION_BACKUP"]
    with closing(Proxy(engine.url)) as proxy:
        yield proxy


@contextmanager
def ending(folder: Path, names: tuple[str, ...], may_end: Callable[[], object]) -> Iterator[None]:
    """Let each of ``names`` that runs in the block end when ``may_end`` returns; raise the error of that."""

    def watch() -> None:
        try:
            for name in names:
                wait_until((folder / name).exists)
                may_end()
                (folder / f"{name}-may-end").touch()
        finally:
            for name in names:
                (folder / f"{name}-may-end").touch()

    with ThreadPoolExecutor(1) as other:
        done = other.submit(watch)
        yield
        done.result()


@on_servers
@pytest.mark.parametrize("command", COMMANDS)
def test_idle_sessions(
    upgraded: Project, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """However long a program or a step takes, no session of the command is idle, and so none is closed."""
    for module in (base, adapter, external):
        monkeypatch.setattr(module, "KEEP_ALIVE", 0.05)
    names, least = COMMANDS[command]
    args = command.partition(" with ")[0].split()
    if command.startswith("restore"):
        args.append(upgraded.db("backup").stdout.strip())
    upgraded.write(*revision("a1", FIRST, STEP.format(str(tmp_path / "step")), "pass"))
    path = ""
    for name, programs in {"dump": DUMPERS, "load": LOADERS}.items():
        waits = f'{PROGRAM.format(tmp_path, name)}; exec {{real}} "$@"' if name in names else 'exec {real} "$@"'
        path = with_programs(tmp_path / "bin", waits, *programs)
    environ = {"DATABASE_URL": proxy.url.render_as_string(hide_password=False), "PATH": path}
    if "restore-point" in names:
        environ["MIGRATION_BACKUP_COMMAND"] = f"sh -c '{PROGRAM.format(tmp_path, 'restore-point')}; echo id'"

    with ending(tmp_path, names, lambda: each_is_used(proxy, least[proxy.url.get_backend_name() == "postgresql"])):
        upgraded.ok(*args, **environ)


def each_is_used(proxy: Proxy, least: int) -> None:
    """Wait until each open session has sent three messages; fail if there are fewer than ``least`` sessions."""
    before = dict(proxy.sent)
    assert len(before) >= least
    wait_until(lambda: all(proxy.sent.get(each, 0) > count + 2 for each, count in before.items()))


@on_postgresql
def test_waiting_for_the_lock(upgraded: Project, engine: Engine, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a run waits for the lock, which has a session of its own, the run's session is not idle."""
    monkeypatch.setattr(lock, "REPORT", 0.05)
    with engine.connect() as other, ThreadPoolExecutor(1) as thread:
        assert AdvisoryLock(other, "upgrade").take()

        def end() -> None:
            wait_until(lambda: len(proxy.sent) == 2)
            try:
                each_is_used(proxy, 2)
            finally:
                other.invalidate()

        done = thread.submit(end)
        upgraded.write(*revision("a1", FIRST, "op.execute('SELECT 1')"))
        upgraded.ok("upgrade", DATABASE_URL=proxy.url.render_as_string(hide_password=False))
        done.result()


@on_servers
def test_closed_session(upgraded: Project, proxy: Proxy, tmp_path: Path) -> None:
    """If the server closes the sessions all the same, the command fails after the program, and nothing has run."""
    upgraded.write(*revision("a1", FIRST, "op.drop_table('user')"))
    product = proxy.url.get_backend_name()
    option, limit = {
        "mysql": ("init_command", "SET SESSION wait_timeout = 2"),
        "postgresql": ("options", "-c idle_session_timeout=2000"),
    }[product]
    environ = {
        "DATABASE_URL": proxy.url.update_query_dict({option: limit}).render_as_string(hide_password=False),
        "MIGRATION_BACKUP_COMMAND": f"sh -c '{PROGRAM.format(tmp_path, 'program')}; echo id'",
    }
    with ending(tmp_path, ("program",), lambda: wait_until(lambda: not proxy.sent)):
        assert "the connection to the database was lost" in upgraded.fails("upgrade", **environ)
    assert f"{FIRST}\n" == upgraded.db("current").stdout
