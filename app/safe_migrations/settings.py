"""The settings of one run: the app's, or what `-x name=value` says instead."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import context
from flask import current_app

from .database import app_engine
from .errors import MigrationError
from .retry import RetryPolicy

BACKUP = ("always", "risky", "never")
REVIEW = ("enforce", "warn", "off")

# Seconds: as milliseconds, PostgreSQL's lock_timeout has to be an int32.
LARGEST = 2_000_000

# By the name behind `-x`; MIGRATION_LOCK_WAIT is "lock_wait". The README tells what they mean.
DEFAULTS: dict[str, Any] = {
    "lock_wait": 300,
    "lock_timeout": 5,
    "lock_retries": 10,
    "backup": "always",
    "backup_dir": "backups",
    "backup_keep": 5,
    "rehearsal_url": None,
    "review": "enforce",
    "targets": "",
}
# What `-x` may name, too: the answers that `flask db migrate` takes.
ANSWERS = ("rename", "default", "drop")


class UnknownSettingError(MigrationError):
    """A name behind ``-x`` that nothing reads."""


@dataclass(frozen=True)
class Settings:
    """Seconds and counts, as the README tells; ``-x lock_wait=10`` is MIGRATION_LOCK_WAIT for one run."""

    lock_wait: float
    retry: RetryPolicy
    backup: str
    backup_folder: Path
    backup_keep: int
    rehearsal_url: str | None
    review: str
    targets: tuple[str, ...]
    """Beside the configured database."""


def settings() -> Settings:
    """Return the settings of this run, in which a rehearsal overrides ``-x``. Raises what read() raises."""
    typed = context.get_x_argument(as_dictionary=True)
    return read({**typed, **context.config.attributes.get("settings", {})}, Path(context.script.dir))


def read(given: Mapping[str, Any], directory: Path) -> Settings:
    """Return the app's settings, except for what is ``given`` by name.

    Raises MigrationError for a wrong value, and UnknownSettingError for a name that neither this package nor the
    migrations in ``directory`` read.
    """
    _require_known(given, directory)
    configured = {name: current_app.config.get(_key(name), default) for name, default in DEFAULTS.items()}
    values = {**configured, **given}
    if url := values["rehearsal_url"]:
        from .rehearsal.scratch import completed

        completed(str(url), app_engine().url)
    backup_dir = str(values["backup_dir"] or "").strip()
    if not backup_dir:  # it would mix the backups with all else in instance/
        raise MigrationError(
            f"{_key('backup_dir')} (or -x backup_dir=...) is empty; it has to name a folder.",
            "set one, below instance/ unless it is a full path; or leave the setting out:",
            f"export {_key('backup_dir')}={DEFAULTS['backup_dir']}",
        )
    targets = tuple(target.strip() for target in str(values["targets"] or "").split(",") if target.strip())
    if targets:
        from .adapters.products import facts_of

        for target in targets:
            facts_of(target)
    return Settings(
        lock_wait=_number(values, "lock_wait"),
        retry=RetryPolicy(_number(values, "lock_timeout", 0.001), _count(values, "lock_retries")),
        backup=_one_of(values, "backup", BACKUP),
        backup_folder=Path(current_app.instance_path) / backup_dir,
        backup_keep=_count(values, "backup_keep"),
        rehearsal_url=str(url) if url else None,
        review=_one_of(values, "review", REVIEW),
        targets=targets,
    )


def _require_known(names: Iterable[str], directory: Path) -> None:
    """Raise UnknownSettingError for a name that nothing reads. A name that env.py or a script quotes counts as read:
    by `context.get_x_argument()`.
    """
    for name in names:
        if name in DEFAULTS or name in ANSWERS:
            continue
        if not name:
            raise UnknownSettingError(
                "-x names no setting.", "write -x NAME=VALUE:", "flask db -x backup=never upgrade"
            )
        quoted = (f'"{name}"', f"'{name}'")
        if any(each in script.read_text(encoding="utf-8") for script in directory.rglob("*.py") for each in quoted):
            continue
        from difflib import get_close_matches  # hardly any run needs it

        known = [*DEFAULTS, *ANSWERS]
        close = get_close_matches(name, known, 1)
        raise UnknownSettingError(
            f"Unknown setting -x {name}.{f' Did you mean {close[0]}?' if close else ''}",
            f"name one of {', '.join(known)}, or one that env.py or a script reads.",
        )


def _key(name: str) -> str:
    return f"MIGRATION_{name.upper()}"


def _one_of(values: Mapping[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    given = str(values[name]).lower()
    if given not in allowed:
        raise MigrationError(
            f"{_key(name)} (or -x {name}=...) is {given!r}, which is not one of its values.",
            f"set one of {', '.join(allowed)}:",
            f"export {_key(name)}={allowed[0]}",
        )
    return given


def _count(values: Mapping[str, Any], name: str) -> int:
    value = _number(values, name, 1)
    if value != int(value):
        raise _wrong_number(values, name, "a whole number", 1)
    return int(value)


def _number(values: Mapping[str, Any], name: str, least: float = 0) -> float:
    try:
        value = float(values[name])
    except (TypeError, ValueError):
        value = -1.0
    if not least <= value <= LARGEST:
        raise _wrong_number(values, name, "a number", least)
    return value


def _wrong_number(values: Mapping[str, Any], name: str, wanted: str, least: float) -> MigrationError:
    return MigrationError(
        f"{_key(name)} (or -x {name}=...) is {values[name]!r}; it has to be {wanted} from {least:g} to {LARGEST}.",
        "set one:",
        f"export {_key(name)}={DEFAULTS[name]}",
    )
