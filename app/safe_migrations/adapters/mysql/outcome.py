"""What became of an undo: what is as it was, what is not, and what that means for the person at the terminal."""

from dataclasses import dataclass, field

from ...errors import HalfDoneError
from .catalog import JOURNAL


@dataclass
class Outcome:
    """What is as it was; what is not, with the reason; and which rows could not be brought back."""

    restored: list[str] = field(default_factory=list)
    different: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    def lose(self, rows: str) -> None:
        """Take note of ``rows`` that could not be brought back, if there are any."""
        if rows:
            self.lost.append(rows)

    def lines(self) -> list[str]:
        """What is not as it was, in words."""
        lines = [f"Could not be undone: {name} ({reason})." for name, reason in self.different.items()]
        return lines + [f"Could not be brought back: {rows}." for rows in self.lost]

    def require_whole(self) -> None:
        """Raise HalfDoneError if something is not as it was."""
        if self.different:
            raise HalfDoneError(
                "\n".join(["a revision failed half-way.", *self.lines()]),
                f"make them what the table {JOURNAL} says, and run the command again:",
                f"SELECT kind, name, text FROM {JOURNAL} ORDER BY id;",
            )
        if self.lost:
            raise HalfDoneError(
                "\n".join(["a revision failed half-way. Its changes are undone but for these rows.", *self.lines()]),
                "bring them back from a backup; the next run goes on from here:",
                "flask db upgrade",
            )
