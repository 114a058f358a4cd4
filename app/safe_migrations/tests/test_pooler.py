"""PgBouncer in front of PostgreSQL: refused if locks do not hold, accepted if they do.

These run where `pgbouncer` is installed (`.ci/run` installs it); elsewhere they are not collected.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import URL, make_url

from .support import Project

pytestmark = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@pytest.fixture
def pooled(database: str, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Yield a function that starts a pooler with a pool_mode and returns the URL of the database behind it."""
    running: list[subprocess.Popen[bytes]] = []

    def start(mode: str) -> str:
        server, port = make_url(database), free_port()
        users = tmp_path / "users.txt"
        users.write_text(f'"{server.username}" "{server.password or ""}"\n')
        settings = tmp_path / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host={server.host} port={server.port or 5432}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nauth_type = any\nauth_file = {users}\npool_mode = {mode}\nunix_socket_dir =\n"
            "ignore_startup_parameters = extra_float_digits\n"
        )
        settings.write_text(settings.read_text().replace("* = ", f"{server.database} = user={server.username} "))
        assert PGBOUNCER is not None
        command = [PGBOUNCER, "-q", str(settings)]
        if os.geteuid() == 0:  # which it refuses to run as
            command[1:1] = ["-u", "nobody"]
            for path in (tmp_path, users, settings):
                shutil.chown(path, "nobody")
        running.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        wait_for(port)
        return URL.create(
            server.drivername, server.username, server.password, "127.0.0.1", port, server.database
        ).render_as_string(hide_password=False)

    yield start
    for process in running:
        process.terminate()
        process.wait()


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Wait until a process listens on the port."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    pytest.fail("pgbouncer does not start")


if PGBOUNCER:

    def test_transaction_mode(project: Project, pooled: Callable[[str], str]) -> None:
        """Where each transaction gets another session, the run is refused before it changes anything."""
        done = project.db("upgrade", DATABASE_URL=pooled("transaction"))
        assert (1, True) == (done.returncode, "as PgBouncer does in transaction mode" in done.stderr)
        assert "user" not in project.ok("current")
        assert "pending" in project.db("status").stdout

    def test_session_mode(project: Project, pooled: Callable[[str], str]) -> None:
        """Where a session is kept together, nothing stands in the way."""
        project.ok("upgrade", DATABASE_URL=pooled("session"))
        assert "(head)" in project.ok("current")
