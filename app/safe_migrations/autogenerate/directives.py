"""Alembic's options for autogenerate, with those of an app: generation.py writes revisions for `flask db migrate`."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from alembic.operations.ops import MigrationScript
from alembic.runtime.migration import MigrationContext
from sqlalchemy.sql.functions import now

from .comparison import PLUGIN, compare_server_default, include_name

log = logging.getLogger("alembic.autogenerate")


def autogenerate_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``options`` of `context.configure()` with those of this package, which ask the app's own first."""
    return {
        "process_revision_directives": process_revision_directives,
        **options,
        "autogenerate_plugins": [*(options.get("autogenerate_plugins") or ["alembic.autogenerate.*"]), PLUGIN],
        "include_name": include_name(options.get("include_name")),
        "compare_server_default": compare_server_default(options.get("compare_server_default", False)),
        "render_item": render_item(options.get("render_item")),
    }


def process_revision_directives(
    context: MigrationContext, _revision: str | Iterable[str | None] | Iterable[str], directives: list[MigrationScript]
) -> None:
    """Write no script where nothing differs, and several for what has to be done in steps.

    `flask db check` calls this too, and reads the directives afterwards.
    """
    if context.config is not None and getattr(context.config.cmd_opts, "autogenerate", False):
        from .generation import generate

        directives[:] = generate(context, directives[0])
        if not directives:
            log.info("No changes in schema detected.")


def render_item(theirs: Callable[..., Any] | None) -> Callable[..., Any]:
    """Return Alembic's option of this name: what ``theirs`` writes, if there is one, else what can be read again, and
    runs on every database.

    Alembic writes the types of an app with their module, and does not import it; types inside of types bare; and
    func.now() as the database at hand spells it, `now()`, which SQLite does not know.
    """

    def render(kind: str, item: Any, autogen: Any) -> Any:
        if theirs is not None and (rendered := theirs(kind, item, autogen)) is not False:
            return rendered
        if kind == "server_default":
            is_now = isinstance(getattr(item, "arg", None), now)
            return "sa.text('CURRENT_TIMESTAMP')" if is_now else getattr(item, "code", False)
        if kind == "column":
            from .sequences import render_column

            return render_column(item, autogen)
        if kind == "type":
            from .rendering import render_type

            return render_type(item, autogen)
        return False

    return render
