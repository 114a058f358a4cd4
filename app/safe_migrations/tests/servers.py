"""Servers of a test's own, which it may kill, copy and promote: PostgreSQL's, and MariaDB's; and a proxy."""

import os
import random
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import OperationalError

from .support import DRIVERS, run_on_server, wait_until

# MariaDB's log has 96 MB by default, which each copy of a server would copy.
SMALL = "--innodb-log-file-size=4M"


def free_port() -> int:
    """Return a free port that no client gets: a system takes those of connections from 32768 on, or higher ones."""
    while True:
        port = random.randrange(20000, 32000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def owner_of(name: str) -> dict[str, Any]:
    """Return the option of subprocess.run() for the user ``name`` if root runs the tests: no server runs as root."""
    return {"user": name} if os.geteuid() == 0 else {}


def scalar(url: URL | str, query: str) -> Any:
    """Return the first value of a query."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            return connection.scalar(text(query))
    finally:
        engine.dispose()


class Proxy:
    """Passes on what a server and its clients say, until drop() closes all connections."""

    def __init__(self, server: URL) -> None:
        self.server, self.is_down = (str(server.host), server.port or 0), False
        self.ends: list[socket.socket] = []
        self.sent: dict[socket.socket, int] = {}
        """How many messages the client of each open connection has sent."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = server.set(host="127.0.0.1", port=self.listener.getsockname()[1])
        Thread(target=self._accept, daemon=True).start()

    def drop(self, is_down: bool = False) -> None:
        """Close all connections; if ``is_down``, also each one that comes, until drop() is called again."""
        self.is_down = is_down
        while self.ends:
            with suppress(OSError):  # it has ended
                self.ends.pop().shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop accepting connections."""
        self.drop()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the end of the test
            while True:
                client = self.listener.accept()[0]
                if self.is_down:
                    client.close()
                    continue
                pair = (client, socket.create_connection(self.server))
                self.ends += pair
                self.sent[client] = 0
                for one, other in (pair, pair[::-1]):
                    Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with one:
            with suppress(OSError):
                while data := one.recv(65536):
                    other.sendall(data)
                    if one in self.sent:
                        self.sent[one] += 1
            self.sent.pop(one, None)
            with suppress(OSError):
                other.shutdown(socket.SHUT_RDWR)


class PostgreSQLServers:
    """PostgreSQL servers whose data folders are in ``folder``."""

    def __init__(self, folder: Path) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
        path = str(found[-1]) if found else shutil.which("initdb")  # Debian keeps them out of PATH
        if path is None:
            pytest.skip("only where PostgreSQL's server programs are installed")
        self.programs, self.folder, self.owner = Path(path).parent, folder, owner_of("postgres")
        self.data: dict[int, Path] = {}
        """The data folder of each server that was started, by its port."""

    def run(self, program: str, *args: object) -> None:
        """Run one of the server programs."""
        command = [str(self.programs / program), *map(str, args)]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, **self.owner)

    def new(self, name: str = "data", *settings: str) -> URL:
        """Make a server with ``settings``, start it, and return its URL."""
        first, data = self.folder / "first", self.folder / name
        if not first.exists():
            self.make("first")
            self.run("initdb", "-D", first, "-U", "postgres", "-A", "trust", "--no-sync", "--wal-segsize=1")
        subprocess.run(["cp", "-a", first, data], check=True)
        with (data / "postgresql.conf").open("a") as file:
            file.write("\n".join(["", *settings, ""]))
        return self.start(data)

    def make(self, name: str) -> Path:
        """Make a data folder that belongs to the servers' user, and return it."""
        data = self.folder / name
        data.mkdir(mode=0o700)
        if self.owner:
            shutil.chown(data, "postgres")
        return data

    def start(self, data: Path) -> URL:
        """Start a server on a data folder, and return its URL."""
        if self.owner:
            subprocess.run(["chown", "-R", "postgres", data], check=True)
        port = free_port()
        options = (
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off -c shared_buffers=1MB"
        )
        self.data[port] = data
        self.run("pg_ctl", "start", "-w", "-s", "-D", data, "-l", data / "log", "-o", options)
        return URL.create(DRIVERS["postgresql"], "postgres", host="127.0.0.1", port=port, database="postgres")

    def standby(self, primary: URL, name: str) -> URL:
        """Start a standby of the server at ``primary``, and return its URL."""
        data = self.make(name)
        copy = ["-D", data, "-h", "127.0.0.1", "-p", primary.port, "-U", "postgres", "-c", "fast", "-R", "--no-sync"]
        self.run("pg_basebackup", *copy)
        url = self.start(data)
        streams = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        wait_until(lambda: scalar(primary, streams) == 1)
        return url

    def processes(self, url: URL) -> list[int]:
        """Return the numbers of the server's processes."""
        assert url.port is not None
        first = int((self.data[url.port] / "postmaster.pid").read_text().split()[0])
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(first)], capture_output=True, text=True)
        return [first, *map(int, children.stdout.split())]

    def stop(self) -> None:
        """Stop all servers, as pg_ctl's immediate mode does, but at once."""
        files = [data / "postmaster.pid" for data in self.data.values()]
        started = [int(file.read_text().split()[0]) for file in files if file.exists()]
        left = [each for each in started if self._is_running(each)]
        for each in left:
            os.kill(each, signal.SIGQUIT)
        wait_until(lambda: not any(map(self._is_running, left)))

    def _is_running(self, process: int) -> bool:
        """Return True if it is one of these servers, which the test has not killed."""
        found = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(process)], capture_output=True, text=True)
        return str(self.folder) in found.stdout


class MariaDBServers:
    """MariaDB servers whose data folders are in ``folder``."""

    def __init__(self, folder: Path) -> None:
        install, server = (
            shutil.which("mariadb-install-db"),
            shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin"),
        )
        if install is None or server is None:
            pytest.skip("only where MariaDB's server programs are installed")
        self.server, self.folder, self.owner = server, folder, owner_of("mysql")
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self.first = folder / "first"
        if self.owner:
            shutil.chown(folder, "mysql")
        made = [install, "--no-defaults", f"--datadir={self.first}", "--auth-root-authentication-method=normal"]
        made += [f"--tmpdir={self.first}", "--skip-test-db", "--skip-name-resolve", SMALL]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, **self.owner)

    def new(self, *options: str) -> URL:
        """Start a server with ``options``, and return its URL."""
        port = free_port()
        data = self.folder / str(port)
        subprocess.run(["cp", "-a", self.first, data], check=True)
        # A server that starts deletes the temporary tables in its folder for them, of other servers too.
        own = [f"--datadir={data}", f"--tmpdir={data}", f"--port={port}", f"--server-id={port}"]
        own.append(f"--socket={data}/socket")
        fast = ["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M", SMALL, f"--log-error={data}/log"]
        command = [self.server, "--no-defaults", *own, "--bind-address=127.0.0.1", "--log-bin=bin", *fast, *options]
        self.running[port] = subprocess.Popen(command, cwd="/", **self.owner)
        url = URL.create(DRIVERS["mysql"], "root", host="127.0.0.1", port=port, database="mysql")

        def answers() -> bool:
            with suppress(OperationalError):
                return bool(scalar(url, "SELECT 1"))
            return False

        wait_until(answers)
        return url

    def replica(self, primary: URL, *options: str) -> URL:
        """Start a read-only replica of the server at ``primary``, and return its URL."""
        url = self.new("--read-only", "--log-slave-updates", *options)
        to = f"master_host='127.0.0.1', master_port={primary.port}, master_user='root', master_use_gtid=slave_pos"
        run_on_server(url, f"CHANGE MASTER TO {to}", "START SLAVE")
        return url

    def process(self, url: URL) -> int:
        """Return the number of the server's process."""
        assert url.port is not None
        return self.running[url.port].pid

    def stop(self) -> None:
        """Kill all servers."""
        for process in self.running.values():
            process.kill()
            process.wait()
