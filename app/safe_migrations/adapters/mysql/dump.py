"""The dump of a MySQL or MariaDB database: SQL, written and run by the client programs of either product."""

import gzip
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL

from app.safe_migrations.adapters.base import Part, not_whole
from app.safe_migrations.adapters.tools import program, running

PACKAGES = {"mariadb": "mariadb-client", "mysql": "mysql-client (or mariadb-client)"}
# Names of PyMySQL's options, and those of the programs.
OPTIONS = {"unix_socket": "socket", "ssl_ca": "ssl-ca", "ssl_cert": "ssl-cert", "ssl_key": "ssl-key"}
PIECE = 1 << 18


class Dump:
    """A dump of the database at ``url``, whose server is of ``product``: mysql or mariadb."""

    def __init__(self, url: URL, product: str) -> None:
        self.url = url
        self.product = product
        self.package = PACKAGES[product]

    def write(self, file: Path, part: Part) -> None:
        """Run mysqldump or mariadb-dump. Raises MigrationError, and OSError where the disk is full."""
        path = self._program("mariadb-dump", "mysqldump")
        wanted = ["--single-transaction", "--quick", "--routines", "--triggers", "--hex-blob", "--no-tablespaces"]
        wanted += ["--default-character-set=utf8mb4", "--max-allowed-packet=1G"]
        # "loose": only programs of MySQL have these, of some versions.
        wanted += ["--loose-set-gtid-purged=OFF", "--loose-column-statistics=0"]
        wanted += ["--events"] if part is Part.ALL else []
        wanted += ["--no-data"] if part is Part.SCHEMA else []
        with (
            self._logged_in() as login,
            running([path, login, *wanted, self._database()], self.package, stdout=subprocess.PIPE) as source,
            file.open("wb") as raw,
            gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1) as target,
        ):
            assert source.stdout is not None
            shutil.copyfileobj(source.stdout, target, PIECE)

    def verify(self, file: Path) -> None:
        """Raise MigrationError unless it is whole, and of a server of this product."""
        product = {"mariadb": "MariaDB", "mysql": "MySQL"}[self.product]
        tail, head = b"", b""
        try:
            with gzip.open(file) as opened:
                head = opened.read(1000)
                tail = head
                while piece := opened.read(PIECE):
                    tail = (tail + piece)[-200:]
        except (OSError, EOFError, zlib.error) as error:
            raise not_whole(file, product, str(error)) from error
        server = next((line for line in head.splitlines() if line.startswith(b"-- Server version")), b"")
        if not server:
            raise not_whole(file, product, "it does not begin like one of mysqldump")
        if (b"MariaDB" in server) != (self.product == "mariadb"):
            raise not_whole(file, product, server.decode(errors="replace").removeprefix("-- ").replace("\t", " "))
        if b"-- Dump completed" not in tail:
            raise not_whole(file, product, "its last line is missing")

    def run(self, file: Path) -> None:
        """Run it with mariadb or mysql."""
        path = self._program("mariadb", "mysql")
        wanted = ["--binary-mode", "--default-character-set=utf8mb4", "--max-allowed-packet=1G"]
        with (
            gzip.open(file) as source,
            self._logged_in() as login,
            running([path, login, *wanted, self._database()], self.package, stdin=subprocess.PIPE) as target,
        ):
            assert target.stdin is not None
            first = source.readline()
            # MariaDB's client switches itself into a mode by it that other clients take for an error.
            target.stdin.write(b"" if b"sandbox" in first else first)
            shutil.copyfileobj(source, target.stdin, PIECE)

    def _program(self, of_mariadb: str, of_mysql: str) -> str:
        names = (of_mariadb, of_mysql) if self.product == "mariadb" else (of_mysql, of_mariadb)
        return program(*names, package=self.package)

    def _database(self) -> str:
        return str(self.url.database)

    @contextmanager
    def _logged_in(self) -> Iterator[str]:
        """The option that names a file with host, user and password, which only we can read."""
        given = {
            "host": self.url.host or "localhost",
            "port": self.url.port,
            "user": self.url.username,
            "password": self.url.password or self.url.query.get("password"),
            **{option: self.url.query.get(name) for name, option in OPTIONS.items()},
        }
        escaped = str.maketrans({"\\": "\\\\", '"': '\\"'})
        lines = [f'{name}="{str(value).translate(escaped)}"' for name, value in given.items() if value]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "login.cnf"
            file.touch(mode=0o600)
            file.write_text("\n".join(["[client]", *lines, ""]), encoding="utf-8")
            yield f"--defaults-extra-file={file}"
