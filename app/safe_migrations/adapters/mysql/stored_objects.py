"""The restore of views, triggers, routines and events ("stored objects" in the manual), and of sequences."""

import re
from contextlib import nullcontext

from .definers import Definer, privilege_error
from .journal_table import Entry
from .session import Execute, temporary_settings

DEFINER = re.compile(r"CREATE DEFINER=(`(?:[^`]|``)*`@`(?:[^`]|``)*`)")


class StoredObjects:
    """The stored objects and sequences that the journal has recorded, to be restored when a revision is undone.

    ``lost`` lists what could not be restored, in words for the user.
    """

    def __init__(self, execute: Execute, entries: list[Entry]) -> None:
        self.execute = execute
        self.entries = entries
        self.lost: list[str] = []
        self.errors: dict[Definer, str] = {}

    def triggers_to_drop(self) -> list[Entry]:
        """Return the triggers to drop before rows are restored, so that they do not fire.

        These are new triggers, and old ones that this user may create again. The journal has all triggers of a table in
        the order in which they fire, and put_back() creates them in that order.
        """
        return [entry for entry in self.entries if entry.kind == "TRIGGER" and self._may_create(entry)]

    def _may_create(self, entry: Entry) -> bool:
        """Return True if the trigger is new, or if this user has the privileges to create it again for its definer."""
        if entry.text is None:
            return True
        found = DEFINER.match(entry.text)
        definer = (found[1] if found else "CURRENT_USER", True)
        if definer not in self.errors:
            self.errors[definer] = privilege_error(self.execute, definer)
        return not self.errors[definer]

    def put_back(self, entry: Entry) -> None:
        """Drop the object if the revision created it; if it is gone or differs, create it again as before the revision.

        That uses the session settings that the server had stored with it, such as ``sql_mode``. A sequence that is
        created again has lost its current value: add that to ``lost``.
        """
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
            self.lost.append(f"the current value of the sequence {entry.name}; set it with ALTER SEQUENCE")
