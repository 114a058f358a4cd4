"""The error for a PostgreSQL server that refuses writes: a standby, or one that was made read-only."""

from sqlalchemy import URL, Connection, text

from ...errors import MigrationError, masked

STATE = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')"
# Empty for users without pg_read_all_stats.
PRIMARY = "SELECT sender_host || ':' || sender_port FROM pg_stat_wal_receiver WHERE sender_host NOT LIKE '/%'"


def require_writable(connection: Connection, command: str) -> None:
    """Raise MigrationError if the server is a standby, or new transactions of this session are read-only.

    The last line of the second error runs ``command`` all the same.
    """
    is_standby, read_only = connection.execute(text(STATE)).one()
    url = connection.engine.url
    if is_standby:
        has_sender = (connection.dialect.server_version_info or ()) >= (11,)  # sender_host is new there
        primary = connection.scalar(text(PRIMARY)) if has_sender else None
        raise MigrationError(
            f"{masked(url)} is a standby (read-only).",
            "connect to the primary. This URL has both servers, and finds the one that is the primary at the time:",
            f"export DATABASE_URL='{url_of_both(url, primary or 'PRIMARY:5432')}'",
        )
    if read_only == "on":
        raise MigrationError(
            f"{masked(url)} is read-only: default_transaction_read_only is on.",
            "find out who has set it, and why: a full disk, or a switch to another server? If that is over, turn it off"
            " for one command:",
            f"PGOPTIONS='-c default_transaction_read_only=off' {command}",
        )


def url_of_both(url: URL, primary: str) -> str:
    """Return ``url`` with the host and port of the ``primary`` too, and the option that chooses the primary.

    The password is hidden. A URL that has several hosts already only gets the option.
    """
    named = url.query.get("host") or [*([f"{url.host}:{url.port or 5432}"] if url.host else []), primary]
    hosts = [named] if isinstance(named, str) else named
    left_out = {"host", "target_session_attrs"}
    options = {name: value for name, value in url.query.items() if name not in left_out and "password" not in name}
    password = "PASSWORD" if url.password else None
    start = URL.create("postgresql", url.username, password, database=url.database, query=options)
    shown = start.render_as_string(hide_password=False)
    named_hosts = "".join(f"host={host}&" for host in hosts)
    return f"{shown}{'&' if options else '?'}{named_hosts}target_session_attrs=read-write"
