"""The settings of this run and the app's database, for commands that do not run env.py."""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext

from ..console import log_on_stderr
from ..database import Database, app_engine, connected
from ..folder import scripts
from ..settings import Settings, settings


def settings_of(config: Config) -> Settings:
    """Return the settings of the current command. Raise MigrationError if one is wrong."""
    with EnvironmentContext(config, scripts()):
        return settings()


@contextmanager
def opened(config: Config) -> Iterator[tuple[Database, Settings]]:
    """Connect to the app's database, and yield it with the settings of the current command."""
    using = settings_of(config)
    with log_on_stderr(), connected(app_engine()) as database:
        yield database, using
