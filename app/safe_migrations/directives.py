"""What happens to a revision between autogenerate and the script that is written."""

import logging
from collections.abc import Iterable

from alembic.operations.ops import MigrationScript
from alembic.runtime.migration import MigrationContext

log = logging.getLogger("alembic.autogenerate")


def skip_empty(
    context: MigrationContext, _revision: str | Iterable[str | None] | Iterable[str], directives: list[MigrationScript]
) -> None:
    """Write no script where `flask db migrate` finds no difference; for Alembic's `process_revision_directives`."""
    # `flask db check` calls this too, and reads the directives afterwards.
    migrating = context.config is not None and getattr(context.config.cmd_opts, "autogenerate", False)
    if migrating and all(ops.is_empty() for ops in directives[0].upgrade_ops_list):
        directives.clear()
        log.info("No changes in schema detected.")
