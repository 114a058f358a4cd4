"""The settings of one command: from `-x name=value`, else from the app's config, else from the environment."""

import os
import shlex
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from alembic import context
from flask import current_app
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from .adapters import product_and_version
from .database import app_engine
from .errors import MigrationError, UsageError
from .plan import changes_revisions
from .retry import RetryPolicy

BACKUP = ("always", "risky", "never")
REVIEW = ("enforce", "warn", "off")
ONLINE = ("on", "off")

# Seconds: as milliseconds, PostgreSQL's lock_timeout has to be an int32.
LARGEST = 2_000_000

# By the name after `-x`; MIGRATION_LOCK_WAIT is "lock_wait". The README explains them.
DEFAULTS: dict[str, Any] = {
    "lock_wait": 300,
    "lock_timeout": 5,
    "lock_retries": 10,
    "backup": "always",
    "backup_dir": "backups",
    "backup_keep": 5,
    "backup_command": "",
    "rehearsal_url": None,
    "review": "enforce",
    "online": "on",
    "targets": "",
}
# For `flask db migrate`, `-x` also takes the answers to its questions.
ANSWERS = ("rename", "default", "drop", "safe")

Values = ChainMap[str, Any]
"""The values of -x, then those of the app's config, the environment, and the defaults."""


@dataclass(frozen=True)
class Settings:
    """The validated MIGRATION_... settings of the README; ``retry`` is LOCK_TIMEOUT and LOCK_RETRIES."""

    lock_wait: float
    retry: RetryPolicy
    backup: str
    backup_folder: Path
    backup_keep: int
    backup_command: tuple[str, ...]
    rehearsal_url: URL | None
    review: str
    online: bool
    targets: tuple[tuple[str, tuple[int, ...]], ...]
    """The other databases on which scripts must be safe, with their lowest versions: ``(("mysql", (8, 0)),)``."""


def settings() -> Settings:
    """Return the settings of the current command. Call this while env.py runs. Raise MigrationError if one is wrong."""
    given = context.get_x_argument(as_dictionary=True)
    return read(given, Path(context.script.dir), answers=not changes_revisions())


def read(given: Mapping[str, Any], directory: Path, *, answers: bool = True) -> Settings:
    """Return the settings: from ``given`` (the values of -x), else the app's config, else the environment.

    Raise MigrationError for a wrong value, and UsageError for a name in ``given`` that neither the command nor
    a script in ``directory`` reads. The answers to questions of `flask db migrate` are such names, too, if ``answers``
    is False.
    """
    _require_known(given, directory, answers)
    _require_no_typo(os.environ)
    values = ChainMap(dict(given), _set_in(current_app.config), _set_in(os.environ), DEFAULTS)
    backup_dir = str(values["backup_dir"] or "").strip()
    if not backup_dir:  # it would mix the backups with everything else in instance/
        raise _wrong(values, "backup_dir", "empty", "name a folder, below instance/ unless it is a full path")
    targets = (target.strip() for target in str(values["targets"] or "").split(","))
    return Settings(
        lock_wait=_number(values, "lock_wait"),
        retry=RetryPolicy(_number(values, "lock_timeout", 0.001), int(_number(values, "lock_retries", 1, whole=True))),
        backup=_one_of(values, "backup", BACKUP),
        backup_folder=Path(current_app.instance_path) / backup_dir,
        backup_keep=int(_number(values, "backup_keep", 1, whole=True)),
        backup_command=_words(values, "backup_command"),
        rehearsal_url=_rehearsal_url(str(values["rehearsal_url"] or ""), "rehearsal_url" in given),
        review=_one_of(values, "review", REVIEW),
        online=_one_of(values, "online", ONLINE) == "on",
        targets=tuple(product_and_version(target) for target in targets if target),
    )


def _set_in(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that ``source`` has, such as ``{"lock_wait": "10"}`` for MIGRATION_LOCK_WAIT.

    The value None counts as not set: a config.py may use os.environ.get().
    """
    return {name: source[_key(name)] for name in DEFAULTS if source.get(_key(name)) is not None}


def _require_known(given: Mapping[str, Any], directory: Path, answers: bool) -> None:
    """Raise UsageError for a name after -x that neither the command nor a script in ``directory`` reads.

    A script or an env.py that contains the name in quotes counts as reading it, by `context.get_x_argument()`.
    """
    for name in given:
        if name in DEFAULTS or (answers and name in ANSWERS):
            continue
        quoted = (f'"{name}"', f"'{name}'")
        texts = [script.read_text(encoding="utf-8") for script in directory.rglob("*.py")] if name else []
        if any(each in text for text in texts for each in quoted):
            continue
        if name in ANSWERS:
            raise UsageError(
                f"-x {name}=... is an answer for `flask db migrate`; no other command reads it.",
                "leave it out, or pass it to `migrate`; a finding in a script that exists is acknowledged there, as"
                " this shows:",
                "flask db review",
            )
        known = [*DEFAULTS, *(ANSWERS if answers else ())]
        close = get_close_matches(name, known, 1)
        raise UsageError(
            f"Unknown setting -x {name or 'without a name'}.{f' Did you mean {close[0]}?' if close else ''}",
            f"use one of {', '.join(known)}, or a name that env.py or a script reads.",
        )


def _require_no_typo(environ: Mapping[str, str]) -> None:
    """Raise MigrationError for an environment variable that looks like a misspelled setting: MIGRATION_BAKUP.

    Other names that begin with MIGRATION_ are accepted, because the app may read them.
    """
    for key, value in environ.items():
        name = key.removeprefix("MIGRATION_").lower()
        if not key.startswith("MIGRATION_") or name in DEFAULTS:
            continue
        if close := get_close_matches(name, DEFAULTS, 1, 0.8):
            shown = "..." if "://" in value else shlex.quote(value)  # a URL may contain a password
            raise MigrationError(
                f"{key} is not a setting. Did you mean {_key(close[0])}?",
                "correct its name, where it is set (in the environment or in .env):",
                f"export {_key(close[0])}={shown}",
            )


def _key(name: str) -> str:
    return f"MIGRATION_{name.upper()}"


def _one_of(values: Values, name: str, allowed: tuple[str, ...]) -> str:
    given = str(values[name]).lower()
    if given not in allowed:
        raise _wrong(values, name, repr(given), f"be one of {', '.join(allowed)}")
    return given


def _number(values: Values, name: str, least: float = 0, whole: bool = False) -> float:
    try:
        value = float(values[name])
    except (TypeError, ValueError):
        value = -1.0
    if not least <= value <= LARGEST or (whole and value != int(value)):
        number = "a whole number" if whole else "a number"
        raise _wrong(values, name, repr(values[name]), f"be {number} from {least:g} to {LARGEST}")
    return value


def _words(values: Values, name: str) -> tuple[str, ...]:
    """Return program and arguments, split as a shell does; on Windows a backslash only separates folders."""
    try:
        words = shlex.split(str(values[name] or ""), posix=os.name == "posix")
    except ValueError as error:
        raise _wrong(
            values, name, f"not a command line ({error})", "be a program and its arguments, each quote closed"
        ) from error
    return tuple(words if os.name == "posix" else (word.strip('"') for word in words))


def _wrong(values: Values, name: str, given: str, wanted: str) -> MigrationError:
    typed, configured, *_ = values.maps
    where, line = "", f"export {_key(name)}={DEFAULTS[name]}"
    if name in typed:  # which overrides the others
        line = f"-x {name}={DEFAULTS[name]}"
    elif name in configured:
        where, line = " in the app's config", f"{_key(name)} = {DEFAULTS[name]!r}"
    return MigrationError(
        f"{_key(name)} (or -x {name}=...) is {given}; it must {wanted}.",
        f"correct the value{where}, for example to the default:",
        line,
    )


def _rehearsal_url(given: str, for_this_run: bool) -> URL | None:
    """Return ``given`` (MIGRATION_REHEARSAL_URL) with driver and options of the app's URL; None if it is empty.

    An option that ``given`` has itself stays. Raise MigrationError if it has several @, or is not a URL of the product
    that the app uses. If another database of the app is of its product, the setting is for that one: return None,
    unless ``given`` is for this run (-x).
    """
    if not given.strip():
        return None
    real = app_engine().url
    try:
        url = make_url(given.strip())
    except (ArgumentError, ValueError):
        url = make_url("none://")
    if "@" in f"{url.host}{url.database}":
        raise MigrationError(
            "MIGRATION_REHEARSAL_URL has more than one @.", "in the password, write @ as %40 and / as %2F."
        )
    product, wanted = _product(url), _product(real)
    engines = current_app.extensions["migrate"].db.engines
    if product != wanted and not for_this_run and product in {_product(each.url) for each in engines.values()}:
        return None
    if product != wanted and wanted == "sqlite":
        raise MigrationError(
            "MIGRATION_REHEARSAL_URL does not name a sqlite file.",
            "the app uses sqlite, so name a file (sqlite:////path), or set nothing, to rehearse in a temporary file:",
            "export MIGRATION_REHEARSAL_URL=",
        )
    if product != wanted:
        raise MigrationError(
            f"MIGRATION_REHEARSAL_URL does not name a {wanted} server.",
            f"the app uses {wanted}, so name a {wanted} server, or an empty database on one:",
            f"export MIGRATION_REHEARSAL_URL={wanted}://USER:PASSWORD@SERVER",
        )
    return url.set(drivername=real.drivername, query={**real.query, **url.query})


def _product(url: URL) -> str:
    name = url.get_backend_name()
    return {"mariadb": "mysql", "postgres": "postgresql"}.get(name, name)
