"""Views, triggers, routines and events, "stored objects" in the manual, and sequences: how an undo restores them."""

import re
from contextlib import nullcontext

from .definers import Definer, privilege_error
from .journal_table import Entry
from .session import Execute, temporary_settings

DEFINER = re.compile(r"CREATE DEFINER=(`(?:[^`]|``)*`@`(?:[^`]|``)*`)")


class StoredObjects:
    """The stored objects among the journal's entries; what cannot be restored with one goes into ``lost``."""

    def __init__(self, execute: Execute, entries: list[Entry]) -> None:
        self.execute = execute
        self.entries = entries
        self.lost: list[str] = []
        self.errors: dict[Definer, str] = {}

    def out_of_the_way(self) -> list[Entry]:
        """Return the triggers to drop before rows come back: new ones, and those that we may create again.

        The journal has all triggers of a table, in the order in which they fire: created again so, they fire so again.
        """
        return [entry for entry in self.entries if entry.kind == "TRIGGER" and self._may_create(entry)]

    def _may_create(self, entry: Entry) -> bool:
        """Return True if we may create the trigger again: what another user defined needs more rights."""
        if entry.text is None:
            return True
        found = DEFINER.match(entry.text)
        definer = (found[1] if found else "CURRENT_USER", True)
        if definer not in self.errors:
            self.errors[definer] = privilege_error(self.execute, definer)
        return not self.errors[definer]

    def put_back(self, entry: Entry) -> None:
        """Drop what is new; create again what differs, with the settings that it had."""
        if entry.text is None:
            entry.drop(self.execute)
            return
        if entry.is_as_before(self.execute):
            return
        entry.drop(self.execute)
        settings = dict(entry.settings)
        if not (entry.text.isascii() or settings.get("character_set_client", "").startswith("utf8")):
            settings.pop("character_set_client", None)  # what we send is UTF-8; a sequence has no settings
        with temporary_settings(self.execute, settings) if settings else nullcontext():
            self.execute(entry.text)
        if entry.kind == "SEQUENCE":
            self.lost.append(f"the current value of the sequence {entry.name}")
