"""Raw SQL as operations: what `op.execute()` is given, as Alembic's operations where one says the same."""

from app.safe_migrations.sql.ops import ChangeRowsOp, CommandOp, NamedType
from app.safe_migrations.sql.translation import translated

__all__ = ["ChangeRowsOp", "CommandOp", "NamedType", "translated"]
