"""Commands in processes that are forked from one that has imported the packages on which all of them build.

Importing these takes a command longer than all else that it does. Nothing of the project is imported before the fork.
"""

import atexit
import io
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = [
    "alembic.autogenerate",
    "alembic.command",
    "dotenv",
    "flask.cli",
    "flask_migrate",
    "flask_sqlalchemy",
    "mako.template",
    "psycopg",
    "pymysql",
    "sqlalchemy.dialects.mysql.pymysql",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
    "sqlglot",
]


def can_fork() -> bool:
    """Whether the system can, as Windows cannot."""
    return "forkserver" in multiprocessing.get_all_start_methods()


def run(arguments: list[str], folder: Path, environ: dict[str, str], seconds: float) -> tuple[int, str, str]:
    """``python -m ARGUMENTS`` in ``folder``: exit status, stdout and stderr, as subprocess has them.

    Raises subprocess.TimeoutExpired, when it has run for ``seconds``; it is killed then.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PACKAGES)
    with tempfile.TemporaryDirectory() as written:
        out, err = (Path(written) / name for name in ("out", "err"))
        for file in (out, err):  # the child may die before it gets that far
            file.touch()
        process = context.Process(target=_run_module, args=(arguments, folder, environ, out, err), daemon=True)
        process.start()
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(arguments, seconds, out.read_bytes(), err.read_bytes())
        status = process.exitcode
        process.close()
        assert status is not None
        return status, out.read_text(), err.read_text()


def _run_module(arguments: list[str], folder: Path, environ: dict[str, str], out: Path, err: Path) -> None:
    """Do what a new Python would do, as far as that can be seen from inside.

    sys.stdout and sys.stderr stay the objects that they are: packages imported before the fork have bound them.
    """
    write = os.O_WRONLY | os.O_CREAT
    for number, (file, flags) in enumerate([(Path(os.devnull), os.O_RDONLY), (out, write), (err, write)]):
        os.dup2(os.open(file, flags, 0o600), number)
    sys.stdin = os.fdopen(0, closefd=False)
    for stream, errors in ((sys.stdout, "strict"), (sys.stderr, "backslashreplace")):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(encoding="utf-8", errors=errors)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    root = str(Path(__file__).parents[1])
    sys.path[:] = [str(folder), *(path for path in sys.path if path not in ("", root))]
    sys.argv = arguments
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    finally:  # multiprocessing ends a child by os._exit(), which runs none of these
        atexit._run_exitfuncs()
