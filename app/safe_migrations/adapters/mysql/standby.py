"""The error for a MySQL or MariaDB server that refuses writes, or on which they would break its replication."""

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from ...errors import MigrationError, masked
from .session import error_number

# innodb_read_only is on at a reader of Amazon Aurora; the last two are settings of the session.
SETTINGS = "('read_only', 'super_read_only', 'innodb_read_only', 'transaction_read_only', 'tx_read_only')"
ER_OPTION_PREVENTS_STATEMENT = 1290


def require_writable(connection: Connection) -> None:
    """Raise MigrationError if the server is read-only for this user, or if it is a read-only replica.

    A user with the privilege to write to a read-only server may do so if the server is not a replica.
    """
    query = f"SHOW VARIABLES WHERE Variable_name IN {SETTINGS} AND Value <> 'OFF'"
    settings = sorted(name for name, _ in connection.execute(text(query)))
    if not settings:
        return
    source, is_privileged = _source(connection), settings == ["read_only"] and _may_write(connection)
    if is_privileged and not source:
        return
    url = connection.engine.url
    what = f"a standby (read-only): it replicates {source}" if source else "a standby, or was made read-only"
    warning = ". This user may write to it all the same, which would stop the replication" if is_privileged else ""
    shown = url.set(
        drivername=url.get_backend_name(), password=url.password and "PASSWORD", host="PRIMARY", port=3306, query={}
    )
    raise MigrationError(
        f"{masked(url)} is {what} ({', '.join(settings)}){warning}.",
        "connect to the primary:",
        f"export DATABASE_URL='{shown.render_as_string(hide_password=False)}'",
    )


def _may_write(connection: Connection) -> bool:
    """Return True if the user has the privilege to write to a read-only server. Begin and end a transaction."""
    try:
        connection.exec_driver_sql("START TRANSACTION READ WRITE")
    except DBAPIError as error:
        if error_number(error.orig) != ER_OPTION_PREVENTS_STATEMENT:
            raise
        return False
    finally:
        connection.rollback()
    return True


def _source(connection: Connection) -> str:
    """Return host and port of the server that this one replicates; empty if none, or if the user may not see it."""
    is_mariadb = getattr(connection.dialect, "is_mariadb", False)
    for query in ["SHOW ALL SLAVES STATUS"] if is_mariadb else ["SHOW REPLICA STATUS", "SHOW SLAVE STATUS"]:
        try:
            found = connection.execute(text(query)).mappings().first()
        except DBAPIError:  # the user lacks the privilege, or the version does not know the statement
            connection.rollback()
            continue
        if found:
            name = "Master" if "Master_Host" in found else "Source"
            return f"{found[f'{name}_Host']}:{found[f'{name}_Port']}"
    return ""
