"""The dump of a PostgreSQL database, written and read by the server's client programs."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from app.safe_migrations.adapters.base import SCRATCH, not_whole
from app.safe_migrations.adapters.tools import program, running
from app.safe_migrations.errors import MigrationError
from app.safe_migrations.patience import Patience

PACKAGE = "postgresql-client"

# What the restore of a dump would find in its way; what belongs to an extension stays with it.
DROP_ALL = """
DO $$ DECLARE found text; BEGIN
  FOR found IN
    SELECT format('DROP SCHEMA %I CASCADE', nspname) FROM pg_namespace n
     WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public') AND NOT EXISTS
       (SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
    UNION ALL
    SELECT format('DROP %s IF EXISTS public.%I CASCADE', CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN
           'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'c' THEN 'TYPE'
           ELSE 'TABLE' END, relname)
      FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm', 'S', 'f', 'c', 'r', 'p')
       AND relname <> '{mark}'
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                                                 AND d.deptype IN ('e', 'i'))
  LOOP EXECUTE found; END LOOP;
  FOR found IN
    SELECT format('DROP ROUTINE IF EXISTS %s CASCADE', oid::regprocedure) FROM pg_proc p
     WHERE pronamespace = 'public'::regnamespace AND NOT EXISTS
       (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype IN ('e', 'i'))
  LOOP EXECUTE found; END LOOP;
  FOR found IN
    SELECT format('DROP TYPE IF EXISTS public.%I CASCADE', typname) FROM pg_type t
     WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd', 'r') AND NOT EXISTS
       (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
  LOOP EXECUTE found; END LOOP;
  PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;
END $$;
""".replace("{mark}", SCRATCH)


class Dump:
    """A dump of the database at ``url``."""

    def __init__(self, url: URL) -> None:
        self.url = url

    def write(self, file: Path, rows: bool = True) -> None:
        """Run ``pg_dump -Fc``: one snapshot. Raises MigrationError."""
        wanted = [] if rows else ["--schema-only"]
        self._run("pg_dump", "--format=custom", *wanted, f"--file={file}", self._database())

    def verify(self, file: Path) -> None:
        """Raise MigrationError unless it begins like one, and pg_restore can read it to its end."""
        with file.open("rb") as opened:
            if opened.read(5) != b"PGDMP":
                raise not_whole(file, "PostgreSQL", "it does not begin like one of pg_dump -Fc")
        try:
            self._run("pg_restore", f"--file={os.devnull}", str(file))
        except MigrationError as error:
            raise not_whole(file, "PostgreSQL", str(error).partition("\n")[0].rstrip(".")) from error

    def run(self, file: Path, server: tuple[Any, ...], patience: Patience) -> None:
        """Drop what there is and run what pg_restore says, in one transaction: all or nothing.

        ``server`` is the version of the server.
        """
        psql = [program("psql", package=PACKAGE), "-X", "-q", "-o", os.devnull, "-v", "ON_ERROR_STOP=1", "-d"]
        read = [program("pg_restore", package=PACKAGE), "--file=-", str(file)]
        with running([*psql, self._database()], PACKAGE, env=self._environ(), stdin=subprocess.PIPE) as target:
            assert target.stdin is not None
            timeout = f"SET LOCAL lock_timeout = '{int(patience.seconds * 1000)}ms';\n"
            target.stdin.write(f"BEGIN;\n{timeout}{DROP_ALL}".encode())
            with running(read, PACKAGE, stdout=subprocess.PIPE) as source:
                assert source.stdout is not None
                if server < (17,):  # a newer pg_dump sets what this server does not know
                    for line in source.stdout:
                        if line.startswith((b"CREATE ", b"COPY ", b"ALTER ")):
                            target.stdin.write(line)
                            break
                        if b"transaction_timeout" not in line:
                            target.stdin.write(line)
                shutil.copyfileobj(source.stdout, target.stdin)
            target.stdin.write(b"\nCOMMIT;\n")  # only behind the last line of a pg_restore that succeeded

    def _run(self, name: str, *args: str) -> None:
        with running([program(name, package=PACKAGE), *args], PACKAGE, env=self._environ(), stdin=subprocess.DEVNULL):
            pass

    def _database(self) -> str:
        """The URL without the password, which must not stand on a command line."""
        url = self.url.set(drivername="postgresql")
        query = {name: value for name, value in url.query.items() if name != "password"}
        url = URL.create("postgresql", url.username, None, url.host, url.port, url.database, query)
        return url.render_as_string(hide_password=False)

    def _environ(self) -> dict[str, str]:
        password = self.url.password or self.url.query.get("password")
        return {"PGPASSWORD": str(password)} if password else {}
