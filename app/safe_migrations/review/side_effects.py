"""Protection from side effects of a script that is being recorded, such as written files, processes and network use.

Only the thread that records the script is affected.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from inspect import currentframe
from io import StringIO
from typing import Any

from flask import current_app

from ..internals import before_checkout, before_psycopg_connects, instead_of_connecting

# Audit events of what changes something outside of Python (docs.python.org, "Audit events table"), and those among them
# that only read, or change the environment of the process.
EFFECTS = ("os.", "shutil.", "socket.", "sqlite3.", "subprocess.", "ctypes.dlopen")
HARMLESS = {
    *("os.fwalk", "os.getxattr", "os.listdir", "os.listxattr", "os.putenv", "os.scandir", "os.unsetenv", "os.walk"),
    *("socket.__new__", "socket.gethostname"),
}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
OTHER_CONNECTION = "the script uses another connection than op.get_bind()"
# The frame that compiles a module and writes its .pyc.
IMPORT = "<frozen importlib._bootstrap_external>"

_thread_local = threading.local()


@contextmanager
def refused(refuse: Callable[[str], object], connect: Callable[[], object]) -> Iterator[None]:
    """Call ``refuse`` for each side effect of the code inside this block, and discard what the code prints.

    ``refuse`` gets the reason, e.g. "the script calls os.remove, ...", and has to raise. The code may read files and
    import modules, and gets a new ``db.session``. ``connect`` returns the stand-in for a connection of an engine. Three
    things are not noticed: data sent over a socket that was open before, threads that the code starts, and drivers
    written in C that are used without SQLAlchemy, except psycopg if it is loaded, as in an app that uses PostgreSQL.
    """
    _install()
    if "psycopg" in sys.modules:
        _install_for_psycopg()
    session = current_app.extensions["migrate"].db.session
    callers = session.registry() if session.registry.has() else None
    session.registry.clear()
    _thread_local.refuse, _thread_local.connect = refuse, connect
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        session.remove()
        del _thread_local.refuse, _thread_local.connect
        if callers is not None:
            session.registry.set(callers)


@cache
def _install() -> None:
    """Install the hooks for audit events and connections, once: they serve all threads until the process ends."""
    sys.addaudithook(_audit)
    before_checkout(_refuse_connection)
    instead_of_connecting(lambda: getattr(_thread_local, "connect", lambda: None)())


@cache
def _install_for_psycopg() -> None:
    before_psycopg_connects(sys.modules["psycopg"], _refuse_connection)


def _refuse_connection() -> None:
    if (refuse := getattr(_thread_local, "refuse", None)) is not None:
        refuse(f"{OTHER_CONNECTION}, which the review does not allow")


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if (refuse := getattr(_thread_local, "refuse", None)) is None:
        return
    if event == "open":
        path, _mode, flags = args
        if not flags & WRITES or path == os.devnull:
            return
        what = f"the script writes the file {path}, which the review does not allow"
    elif event.startswith(EFFECTS) and event not in HARMLESS:
        what = f"the script calls {event}, which the review does not allow"
    else:
        return
    frame = currentframe()
    if frame is None or frame.f_back is None or frame.f_back.f_code.co_filename != IMPORT:
        refuse(what)
