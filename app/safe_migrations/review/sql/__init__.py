"""Raw SQL as operations: what `op.execute()` is given, as Alembic's operations where one says the same."""

from .ops import ChangeRowsOp, CommandOp, NamedType
from .translation import translated

__all__ = ["ChangeRowsOp", "CommandOp", "NamedType", "translated"]
