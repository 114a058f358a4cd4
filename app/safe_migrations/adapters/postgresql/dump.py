"""The dump of a PostgreSQL database, written and read by the server's client programs."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection

from app.safe_migrations.adapters.base import SCRATCH, not_whole
from app.safe_migrations.adapters.tools import program, running, unnamed_file
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
       AND d.classid NOT IN ('pg_default_acl'::regclass, 'pg_extension'::regclass)
       AND o.identity <> 'public.{mark}' AND NOT EXISTS
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

# What a dump takes for granted, and says no word of: that the schema public is as initdb makes it (from version 15 on
# for its owner alone to create in), and that who makes an object has not said beforehand who else may use it.
AS_IN_A_NEW_DATABASE = """
DO $$ DECLARE statement text; BEGIN
  IF (SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'public') THEN
    FOR statement IN
      SELECT format('REVOKE ALL ON SCHEMA public FROM %s CASCADE',
                    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
        FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'public' AND grantee <> nspowner
    LOOP EXECUTE statement; END LOOP;
    IF current_setting('server_version_num')::int >= 150000 THEN
      IF pg_has_role('pg_database_owner', 'MEMBER') THEN
        ALTER SCHEMA public OWNER TO pg_database_owner;
      END IF;
      GRANT USAGE ON SCHEMA public TO PUBLIC;
    ELSE
      GRANT ALL ON SCHEMA public TO PUBLIC;
    END IF;
    COMMENT ON SCHEMA public IS 'standard public schema';
  END IF;
  FOR statement IN
    SELECT format('ALTER DEFAULT PRIVILEGES %s %s ON %s %s %s', 'IN SCHEMA ' || quote_ident(nspname), verb,
                  CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
                                     WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END,
                  preposition, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
      FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = defaclnamespace,
           LATERAL acldefault(CASE defaclobjtype WHEN 'S' THEN 's' ELSE defaclobjtype END, defaclrole) AS built_in,
           LATERAL (SELECT 1, 'REVOKE ALL', 'FROM', grantee FROM aclexplode(defaclacl) UNION
                    SELECT 2, 'GRANT ' || privilege_type, 'TO', grantee FROM aclexplode(built_in)
                     WHERE defaclnamespace = 0) AS a (turn, verb, preposition, grantee)
     WHERE defaclrole = (SELECT oid FROM pg_roles WHERE rolname = current_user) ORDER BY turn
  LOOP EXECUTE statement; END LOOP;
END $$;
"""

# In a dump these stand on a line of their own. pg_dump sorts by kind: schemas, collations, extensions, then types and
# functions, whose text is left alone (pg_dump_sort.c).
OF_EXTENSIONS = re.compile(rb"(?:CREATE EXTENSION IF NOT EXISTS|COMMENT ON EXTENSION) [^\n]*;\n")
BEFORE_THE_REST = tuple(
    b"%b %b" % (verb, kind)
    for verb in (b"CREATE", b"ALTER")
    for kind in (b"SCHEMA", b"COLLATION", b"EXTENSION", b"DATABASE", b"PROCEDURAL", b"LANGUAGE")
)


# What may stand on a command line, which all users of the machine can read. The rest goes into a file.
SHOWN = ("dbname", "user", "host", "hostaddr", "port")
# What the file cannot have in it; what a dump must not have, for it is in the encoding of its database; and what libpq
# fills in by itself from version 16 on, and older programs do not know.
LEFT_OUT = {"service": None, "client_encoding": None, "sslcertmode": "allow"}


class Dump:
    """A dump of the database behind ``connection``, made by programs that log in as that session did."""

    def __init__(self, connection: Connection) -> None:
        info = connection.connection.driver_connection.info  # type: ignore[union-attr]  # psycopg's
        parts: dict[str, str] = info.get_parameters()
        self.parts = {part: value for part, value in parts.items() if LEFT_OUT.get(part, "") not in (None, value)}
        self.password: str = info.password

    def write(self, file: Path, rows: bool = True) -> None:
        """Run ``pg_dump -Fc``: one snapshot. Raises MigrationError."""
        wanted = [] if rows else ["--schema-only"]
        args = ["--format=custom", *wanted, f"--file={file}"]
        with self._running("pg_dump", *args, stdin=subprocess.DEVNULL):
            pass

    def verify(self, file: Path) -> None:
        """Raise MigrationError unless it begins like one, and pg_restore can read it to its end."""
        with file.open("rb") as opened:
            if opened.read(5) != b"PGDMP":
                raise not_whole(file, "PostgreSQL", "it does not begin like one of pg_dump -Fc")
        try:
            read = [program("pg_restore", package=PACKAGE), f"--file={os.devnull}", str(file)]
            with running(read, PACKAGE, stdin=subprocess.DEVNULL):
                pass
        except MigrationError as error:
            raise not_whole(file, "PostgreSQL", str(error).partition("\n")[0].rstrip(".")) from error

    def run(self, file: Path, server: tuple[Any, ...], patience: Patience, extensions: list[str]) -> None:
        """Drop what there is and run what pg_restore says, in one transaction: all or nothing.

        ``server`` is the version of the server, and ``extensions`` what extensions() found in ``file``.
        """
        psql = ["psql", "-X", "-q", "-o", os.devnull, "-v", "ON_ERROR_STOP=1"]
        read = [program("pg_restore", package=PACKAGE), "--file=-", str(file)]
        with self._running(*psql, stdin=subprocess.PIPE) as target:
            assert target.stdin is not None
            timeout = f"SET LOCAL lock_timeout = '{patience.milliseconds}ms';\n"
            kept = f"SET LOCAL safe_migrations.kept = '{' '.join(extensions)}';\n"
            target.stdin.write(f"BEGIN;\n{timeout}{kept}{DROP_ALL}{AS_IN_A_NEW_DATABASE}".encode())
            with running(read, PACKAGE, stdout=subprocess.PIPE) as source:
                assert source.stdout is not None
                for line in _head(source.stdout):
                    if server < (17,) and b"transaction_timeout" in line:
                        continue  # a newer pg_dump sets what this server does not know
                    target.stdin.write(_if_allowed(line) if OF_EXTENSIONS.fullmatch(line) else line)
                shutil.copyfileobj(source.stdout, target.stdin)
            target.stdin.write(b"\nCOMMIT;\n")  # only behind the last line of a pg_restore that succeeded

    def extensions(self, file: Path) -> list[str]:
        """Those that the dump has, from its list: ``3; 3079 16385 EXTENSION - hstore``."""
        read = [program("pg_restore", package=PACKAGE), "--list", str(file)]
        with running(read, PACKAGE, stdout=subprocess.PIPE) as source:
            assert source.stdout is not None
            return re.findall(r" EXTENSION - (\S+)", source.stdout.read().decode(errors="replace"))

    @contextmanager
    def _running(self, name: str, *args: str, **pipes: int) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a program of libpq's on the database: it gets the parts of the login, of which none has to be quoted.

        Those that may not be SHOWN are in a service file, but for the password, which may end with a space.
        """
        path = program(name, package=PACKAGE)
        shown = make_conninfo("", **{part: self.parts[part] for part in SHOWN if part in self.parts})
        lines = [f"{part}={value}" for part, value in self.parts.items() if part not in SHOWN]
        with unnamed_file("\n".join(["[safe_migrations]", *lines, ""])) as (file, passed):
            environ = {"PGSERVICEFILE": file, "PGSERVICE": "safe_migrations", "PGPASSWORD": self.password}
            args = (path, *args, f"--dbname={shown}")
            with running([*args], PACKAGE, env=environ, pass_fds=passed, **pipes) as process:
                yield process


def _head(dump: IO[bytes]) -> Iterator[bytes]:
    """The lines up to the first object that comes after all extensions."""
    for line in dump:
        yield line
        if line.startswith((b"CREATE ", b"ALTER ", b"COPY ")) and not line.startswith(BEFORE_THE_REST):
            return


def _if_allowed(statement: bytes) -> bytes:
    """An extension that this user may not create, or comment on, is there already, or nothing may need it."""
    handled = b"EXCEPTION WHEN insufficient_privilege OR undefined_object THEN NULL"
    return b"DO $safe$ BEGIN %b %b; END $safe$;\n" % (statement.strip(), handled)
