"""The right to create objects of another definer.

A definer is the account with whose rights a view, trigger, routine or event runs.
"""

from sqlalchemy.exc import DBAPIError

from ...errors import summary
from ..base import OWN_TABLES
from .catalog import quoted
from .session import ER_NO_SUCH_TABLE, Execute, error_number

Definer = tuple[str, bool]
"""An account as SQL shows it (empty for the current user), and True if it defines a trigger or a function.

A server with a binary log requires further rights to create triggers and functions.
"""

ASKS = f"{OWN_TABLES}asks"
ER_VIEW_WRONG_LIST = 1353


def privilege_error(execute: Execute, definer: Definer) -> str:
    """Return the server's error message if the current user may not create objects with this definer.

    Return an empty string if the user may. The rights differ by product and version, so run statements that always
    fail: the server checks rights first, so its error is about rights or, if these suffice, about the statement.
    """
    account, is_logged = definer
    ((user,),) = execute("SELECT CURRENT_USER()")
    asked = {}
    if account and account != "@".join(map(quoted, user.rsplit("@", 1))):
        asked[f"CREATE DEFINER={account} VIEW {ASKS} (a, b) AS SELECT 1"] = ER_VIEW_WRONG_LIST
    if is_logged:
        asked[f"CREATE TRIGGER {ASKS} BEFORE INSERT ON {ASKS} FOR EACH ROW SET @a = 1"] = ER_NO_SUCH_TABLE
    for statement, expected in asked.items():
        try:
            execute(statement)
        except DBAPIError as error:
            if error_number(error.orig) != expected:
                return summary(error)
    return ""
