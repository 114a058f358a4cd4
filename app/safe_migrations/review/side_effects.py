"""Protection from the side effects of a script while it is recorded, in the thread that records it alone."""

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from inspect import currentframe
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any

from flask import current_app

from ..internals import before_checkout

# For each audit event (docs.python.org, "Audit events table"): what happens, and which argument names its object; None
# where the argument may contain a password, as a shell command may.
EVENTS: dict[str, tuple[str, int | None]] = {
    "ctypes.dlopen": ("loads a library", 0),
    "os.chmod": ("changes a file", 0),
    "os.chown": ("changes a file", 0),
    "os.exec": ("starts a process", 0),
    "os.fork": ("starts a process", None),
    "os.forkpty": ("starts a process", None),
    "os.kill": ("sends a signal", None),
    "os.link": ("creates a link", 1),
    "os.mkdir": ("creates a folder", 0),
    "os.posix_spawn": ("starts a process", 0),
    "os.remove": ("deletes a file", 0),
    "os.rename": ("renames a file", 0),
    "os.removexattr": ("changes a file", 0),
    "os.rmdir": ("deletes a folder", 0),
    "os.setxattr": ("changes a file", 0),
    "os.spawn": ("starts a process", 1),
    "os.startfile": ("starts a process", 0),
    "os.symlink": ("creates a link", 1),
    "os.system": ("starts a process", None),
    "os.truncate": ("changes a file", 0),
    "os.utime": ("changes a file", 0),
    "shutil.rmtree": ("deletes a folder", 0),
    "socket.bind": ("uses the network", 1),
    "socket.connect": ("uses the network", 1),
    "socket.getaddrinfo": ("uses the network", 0),
    "socket.gethostbyaddr": ("uses the network", 0),
    "socket.gethostbyname": ("uses the network", 0),
    "socket.sendmsg": ("uses the network", 1),
    "socket.sendto": ("uses the network", 1),
    "sqlite3.connect": ("uses another connection than op.get_bind()", None),
    "subprocess.Popen": ("starts a process", 0),
}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
# The frame that compiles a module and writes its .pyc.
IMPORT = "<frozen importlib._bootstrap_external>"
# A script that imports only these two cannot sleep or start a thread. Watching for that doubles the time it takes.
ELSEWHERE = re.compile(rb"^\s*(?:from|import)\s+(?!alembic\b|sqlalchemy\b)|^\s*import\b.*,|__import__", re.MULTILINE)

_thread_local = threading.local()


@contextmanager
def refused(script: str, refuse: Callable[[str], object]) -> Iterator[None]:
    """Drop what this thread prints, and call ``refuse``, which raises, for each other side effect: "it sleeps".

    ``script`` is the path of the script that runs inside. It may read files and import modules, and ``db.session`` is a
    new one. What it sends over an open socket, and what a driver written in C does without SQLAlchemy, goes unnoticed.
    """
    _install()
    session = current_app.extensions["migrate"].db.session
    callers = session.registry() if session.registry.has() else None
    session.registry.clear()
    profile = sys.getprofile() is None and ELSEWHERE.search(Path(script).read_bytes()) is not None
    _thread_local.refuse = refuse
    try:
        with redirect_stdout(_Stdout(sys.stdout)):
            if profile:
                sys.setprofile(_profile)
            yield
    finally:
        if profile:
            sys.setprofile(None)
        session.remove()
        del _thread_local.refuse
        if callers is not None:
            session.registry.set(callers)


@cache
def _install() -> None:
    """Install the hooks that all threads share, once: an audit hook stays for the life of the process."""
    sys.addaudithook(_audit)
    before_checkout(_refuse_connection)


def _refuse_connection() -> None:
    if (refuse := getattr(_thread_local, "refuse", None)) is not None:
        refuse("it uses another connection than op.get_bind()")


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if (refuse := getattr(_thread_local, "refuse", None)) is None:
        return
    if event == "open":
        path, _mode, flags = args
        if not flags & WRITES or path == os.devnull:
            return
        what, name = "writes a file", path
    elif event in EVENTS:
        what, position = EVENTS[event]
        name = None if position is None else args[position]
    else:
        return
    frame = currentframe()
    if frame is None or frame.f_back is None or frame.f_back.f_code.co_filename != IMPORT:
        refuse(f"it {what}" + (f" ({_shown(name)})" if name is not None else ""))


def _shown(name: object) -> str:
    """Return a path, or the host of a (host, port)."""
    name = name[0] if isinstance(name, tuple) else name
    return os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else str(name)


def _profile(frame: FrameType, event: str, arg: Any) -> None:
    """Refuse what is not an audit event in every version of Python. A profile function belongs to one thread."""
    if event == "c_call" and arg is time.sleep:
        _thread_local.refuse("it sleeps")
    elif event == "call" and frame.f_code is threading.Thread.start.__code__:
        _thread_local.refuse("it starts a thread")


class _Stdout:
    """A stream that drops what the recorded script prints."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(StringIO() if hasattr(_thread_local, "refuse") else self._stream, name)
