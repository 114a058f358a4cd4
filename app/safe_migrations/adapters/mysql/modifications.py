"""What a MODIFY or CHANGE makes of a column, and whether an undo can change that back without a copy of its values.

Reviews ask other questions, by the types of a script: what becomes of values (adapters/casts.py), and whether the table
is copied (facts.py). Here each value has to come through the new type and back.
"""

import re
from dataclasses import dataclass

from .columns import Column

SAME_TYPE = {"INTEGER": "INT", "NUMERIC": "DECIMAL", "DEC": "DECIMAL", "BOOL": "TINYINT", "BOOLEAN": "TINYINT"}
SAME_CHARSET = {"utf8": "utf8mb3"}
WIDER = (
    ("TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT"),
    ("VARCHAR", "TEXT", "MEDIUMTEXT", "LONGTEXT"),
)


@dataclass(frozen=True)
class Modification:
    """What MODIFY or CHANGE says of a column: its type (``VARCHAR(80)``), and all its words in capitals."""

    type: str
    words: tuple[str, ...]

    @property
    def is_generated(self) -> bool:
        """Whether it is computed from now on."""
        return "AS" in self.words

    @property
    def charset(self) -> str:
        """The character set that it gets, or nothing if it is the table's."""
        for at, word in enumerate(self.words):
            if word == "CHARSET" or self.words[at - 1 : at + 1] == ("CHARACTER", "SET"):
                return "".join(self.words[at + 1 : at + 2]).lower() or "?"
        at = self.words.index("COLLATE") + 1 if "COLLATE" in self.words else len(self.words)
        return "".join(self.words[at : at + 1]).lower().partition("_")[0]

    @property
    def not_null(self) -> bool:
        """Whether it takes no NULL."""
        return ("NOT", "NULL") in zip(self.words, self.words[1:], strict=False) or "PRIMARY" in self.words


def loses(column: Column, now: Modification | None, charset: str, strict: bool) -> bool:
    """Whether the column goes, or is cast to what does not keep all its values.

    ``charset`` is that of the table; ``strict`` says whether the server refuses what a column cannot hold.
    """
    if now is None or now.is_generated or not keeps_values(column.type, now.type):
        return True
    if column.charset and not keeps_letters(column.charset, now.charset or charset):
        return True
    is_timestamp = column.type.lower().startswith("timestamp")  # MariaDB makes NULL the time, in its strict mode too
    if column.nullable and now.not_null and (is_timestamp or not strict):
        return True
    return not strict and column.type.lower().startswith(("enum", "set"))


def keeps_values(before: str, now: str) -> bool:
    """Whether each value of the type ``before`` comes through ``now`` and back: the same type or a wider one.

    Of ENUM and SET the server refuses, in its strict mode, to take a value away that a row has.
    """
    (old, old_sizes), (new, new_sizes) = (_parts(kind) for kind in (before, now))
    if any(ladder.index(old) < ladder.index(new) for ladder in WIDER if {old, new} <= set(ladder)):
        return True
    sizes_are_widths = old.removesuffix(" UNSIGNED") in WIDER[0]
    same = sizes_are_widths or old_sizes == new_sizes or (old != "BINARY" and _longer(old_sizes, new_sizes))
    return old == new and same


def keeps_letters(before: str, now: str) -> bool:
    """Whether each text of the character set ``before`` comes through ``now`` and back."""
    before, now = (SAME_CHARSET.get(charset, charset) for charset in (before, now))
    return before == now or (now == "utf8mb4" and before in {"ascii", "latin1", "utf8mb3"})


def _parts(kind: str) -> tuple[str, list[int]]:
    word = re.sub(r"\W.*", "", kind.upper(), flags=re.DOTALL)
    unsigned = " UNSIGNED" if "UNSIGNED" in kind.upper() else ""
    return SAME_TYPE.get(word, word) + unsigned, [] if "'" in kind else [int(size) for size in re.findall(r"\d+", kind)]


def _longer(old: list[int], new: list[int]) -> bool:
    return len(old) == len(new) == 1 and old <= new
