"""The definers of views, triggers and routines, and whether this user may create these again."""

from sqlalchemy.exc import DBAPIError

from ...errors import summary
from ..base import OWN_TABLES
from .catalog import quoted
from .session import Execute

Definer = tuple[str, bool]
"""A definer as SQL shows it, empty for this user; and whether it is one of a trigger or function, which are logged."""

ASKS = f"{OWN_TABLES}asks"
ER_NO_SUCH_TABLE, ER_VIEW_WRONG_LIST = 1146, 1353


def privilege_error(execute: Execute, asked_for: Definer) -> str:
    """Return the server's error if this user may not create objects of that definer, or an empty string.

    The privileges differ by product and version, and MySQL also checks the definer's. So run statements that always
    fail: the error shows whether the server rejected the privileges, which it checks first, or the statement.
    """
    definer, is_logged = asked_for
    ((user,),) = execute("SELECT CURRENT_USER()")
    asked = {}
    if definer and definer != "@".join(map(quoted, user.rsplit("@", 1))):
        asked[f"CREATE DEFINER={definer} VIEW {ASKS} (a, b) AS SELECT 1"] = ER_VIEW_WRONG_LIST
    if is_logged:
        asked[f"CREATE TRIGGER {ASKS} BEFORE INSERT ON {ASKS} FOR EACH ROW SET @a = 1"] = ER_NO_SUCH_TABLE
    for statement, expected in asked.items():
        try:
            execute(statement)
        except DBAPIError as error:
            if error.orig is None or error.orig.args[0] != expected:
                return summary(error)
    return ""
