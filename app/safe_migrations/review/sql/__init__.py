"""Raw SQL as operations: translate() turns what `op.execute()` gets into the operations that do the same."""

from .ops import ChangeRowsOp, CommandOp, NamedType, Translation
from .translation import translate

__all__ = ["ChangeRowsOp", "CommandOp", "NamedType", "Translation", "translate"]
