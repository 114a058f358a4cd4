"""The dump of a PostgreSQL database, written and read by the server's client programs."""

import os
import re
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

# What the restore of a dump would find in its way, and what it would leave. What belongs to an extension goes with it;
# an extension stays if the dump has it, for the user may not be one who may create it.
DROP_ALL = """
CREATE SCHEMA IF NOT EXISTS public;
DO $$ DECLARE statement text; BEGIN
  FOR statement IN
    SELECT format('DROP SCHEMA %I CASCADE', nspname) FROM pg_namespace n
     WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public') AND NOT EXISTS
       (SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
  LOOP EXECUTE statement; END LOOP;
  FOR statement IN
    SELECT format('DROP EXTENSION %I CASCADE', extname) FROM pg_extension
     WHERE extname <> 'plpgsql' AND pg_has_role(extowner, 'USAGE')
       AND extname <> ALL (string_to_array(current_setting('safe_migrations.kept', true), ' '))
  LOOP EXECUTE statement; END LOOP;
  LOOP -- one by one: others go with it
    SELECT format('DROP %s %s CASCADE', replace(o.type, ' object', ''), o.identity) INTO statement
      FROM pg_depend d, pg_identify_object(d.classid, d.objid, 0) o
     WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = 'public'::regnamespace AND d.deptype = 'n'
       AND d.classid <> 'pg_default_acl'::regclass AND o.identity <> 'public.{mark}' AND NOT EXISTS
       (SELECT FROM pg_depend e WHERE e.classid = d.classid AND e.objid = d.objid AND e.objsubid = 0
                               AND e.deptype IN ('e', 'i'))
     LIMIT 1;
    EXIT WHEN NOT FOUND;
    EXECUTE statement;
  END LOOP;
  FOR statement IN
    SELECT format('DROP PUBLICATION %I', pubname) FROM pg_publication WHERE pg_has_role(pubowner, 'USAGE') UNION ALL
    SELECT format('DROP EVENT TRIGGER %I', evtname) FROM pg_event_trigger t WHERE pg_has_role(evtowner, 'USAGE')
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = t.oid AND d.deptype = 'e') UNION ALL
    SELECT format('DROP FOREIGN DATA WRAPPER %I CASCADE', fdwname) FROM pg_foreign_data_wrapper f
     WHERE pg_has_role(fdwowner, 'USAGE')
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = f.oid AND d.deptype = 'e')
  LOOP EXECUTE statement; END LOOP;
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
            timeout = f"SET LOCAL lock_timeout = '{patience.milliseconds}ms';\n"
            kept = f"SET LOCAL safe_migrations.kept = '{' '.join(self._extensions(file))}';\n"
            target.stdin.write(f"BEGIN;\n{timeout}{kept}{DROP_ALL}".encode())
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

    def _extensions(self, file: Path) -> list[str]:
        """Those that the dump has, from its list: ``3; 3079 16385 EXTENSION - hstore``."""
        read = [program("pg_restore", package=PACKAGE), "--list", str(file)]
        with running(read, PACKAGE, stdout=subprocess.PIPE) as source:
            assert source.stdout is not None
            return re.findall(r" EXTENSION - (\S+)", source.stdout.read().decode(errors="replace"))

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
