"""PgBouncer in front of PostgreSQL: refused if locks do not hold, accepted if they do.

These run where `pgbouncer` is installed (`.ci/run` installs it); elsewhere they are not collected.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, make_url

from .servers import free_port
from .support import Project, wait_until

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
        wait_until(lambda: is_open(port))
        return URL.create(
            server.drivername, server.username, server.password, "127.0.0.1", port, server.database
        ).render_as_string(hide_password=False)

    yield start
    for process in running:
        process.terminate()
        process.wait()


def is_open(port: int) -> bool:
    """Return True if a process listens on the port."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


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
