"""What PostgreSQL does with an operation."""

from math import inf
from typing import Any

from sqlalchemy.types import TypeEngine

from app.safe_migrations.adapters.casts import Cast
from app.safe_migrations.adapters.facts import Facts

GROW_IN_PLACE = ("text", "decimal", "datetime", "time")
"""Families whose sizes are no more than a limit on values ("ALTER TABLE", Notes)."""


class PostgreSQLFacts(Facts):
    """By the manual, chapters "ALTER TABLE" and "Explicit Locking"."""

    product = dialect = "postgresql"
    oldest = (12,)
    grammar = "postgres"
    folds_names = True
    default_schema = "public"
    ddl_commits = False
    concurrent_indexes = True
    json_is_text = True

    def rewrites(self, old: TypeEngine[Any] | None, new: TypeEngine[Any]) -> bool:
        """Not if the new type stores values as the old one does, and none has to be looked at."""
        was, becomes = self.kind(old), self.kind(new)
        if was is None or becomes is None or was == becomes:
            return was is None or becomes is None
        if was.family not in GROW_IN_PLACE or (was.family, was.stored) != (becomes.family, becomes.stored):
            return True
        same_scale = was.family != "decimal" or becomes.scale in (was.scale, inf)
        return self.cast(old, new) is not Cast.KEEPS or was.stored == "padded" or not same_scale
