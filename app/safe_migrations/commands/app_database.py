"""What the commands that do not run env.py work with: the settings of this run, and the app's database."""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from ..adapters import adapter_of
from ..backups.files import Backups
from ..console import log_on_stderr
from ..database import app_engine, connected
from ..settings import Settings, settings


def settings_of(config: Config) -> Settings:
    """Return the settings of this run, as they are while env.py runs."""
    with EnvironmentContext(config, ScriptDirectory.from_config(config)):
        return settings()


@contextmanager
def opened(config: Config) -> Iterator[tuple[Backups, Connection, Settings]]:
    """Connect to the app's database; yield its backups, the connection and the settings."""
    using, adapter = settings_of(config), adapter_of(app_engine())
    with log_on_stderr(), connected(adapter) as connection:
        yield Backups(adapter, using.backup_folder, using.backup_keep), connection, using
