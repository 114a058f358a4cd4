"""The settings of one run: the app's, or what `-x name=value` says instead."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from alembic import context
from flask import current_app

from app.safe_migrations.errors import MigrationError
from app.safe_migrations.patience import Patience
from app.safe_migrations.progress import log

BACKUP = ("always", "risky", "never")
REVIEW = ("enforce", "warn", "off")

# Seconds: as milliseconds, PostgreSQL's lock_timeout has to be an int32.
LARGEST = 2_000_000

# What `-x` may name: these, and the answers that `flask db migrate` takes.
NAMES = (
    *("lock_wait", "lock_timeout", "lock_retries", "backup", "backup_dir", "backup_keep", "rehearsal_url"),
    *("review", "targets", "rename", "default", "drop"),
)


@dataclass(frozen=True)
class Settings:
    """Seconds and counts, as the README tells; ``-x lock_wait=10`` is MIGRATION_LOCK_WAIT for one run."""

    lock_wait: float
    patience: Patience
    backup: str
    backup_folder: Path
    backup_keep: int
    rehearsal_url: str | None
    review: str
    targets: tuple[str, ...]
    """Beside the configured database."""


def settings() -> Settings:
    """The settings of this run. Raises MigrationError for one that is no number."""
    for name in context.get_x_argument(as_dictionary=True):
        _tell_if_misspelt(name)
    patience = Patience(_number("lock_timeout", 5, least=0.001), int(_number("lock_retries", 10, least=1)))
    backup, review = _one_of("backup", BACKUP), _one_of("review", REVIEW)
    folder = Path(current_app.instance_path) / str(_given("backup_dir", "backups")).strip()
    keep = int(_number("backup_keep", 5, least=1))
    url = _given("rehearsal_url", None)
    targets = tuple(target.strip() for target in str(_given("targets", "") or "").split(",") if target.strip())
    wait = _number("lock_wait", 300)
    return Settings(wait, patience, backup, folder, keep, str(url) if url else None, review, targets)


@cache
def _tell_if_misspelt(name: str) -> None:
    """An env.py may read names of its own, so that none is refused."""
    if name in NAMES:
        return
    from difflib import get_close_matches  # hardly any run needs it

    if close := get_close_matches(name, NAMES, 1, cutoff=0.75):
        log.warning("-x %s=... does nothing here. Instead: -x %s=...", name, close[0])


def _given(name: str, default: object) -> Any:
    """What a rehearsal says, else -x, else the app."""
    configured = current_app.config.get(f"MIGRATION_{name.upper()}", default)
    typed = context.get_x_argument(as_dictionary=True).get(name, configured)
    return context.config.attributes.get("settings", {}).get(name, typed)


def _one_of(name: str, values: tuple[str, ...]) -> str:
    """The first of ``values`` is the default."""
    given = str(_given(name, values[0])).lower()
    if given not in values:
        key = f"MIGRATION_{name.upper()}"
        raise MigrationError(
            f"{key} (or -x {name}=...) is {given!r}, which is none of its values.",
            f"set one of {', '.join(values)}:",
            f"export {key}={values[0]}",
        )
    return given


def _number(name: str, default: float, least: float = 0) -> float:
    key = f"MIGRATION_{name.upper()}"
    given = _given(name, default)
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = -1.0
    if not least <= value <= LARGEST:
        what = f"{key} (or -x {name}=...) is {given!r}; it has to be a number from {least:g} to {LARGEST}."
        raise MigrationError(what, "give one:", f"export {key}={default:g}")
    return value
