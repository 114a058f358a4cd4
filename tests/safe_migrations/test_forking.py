"""Commands that the tests fork end as those of a new Python do."""

import subprocess

import pytest

from tests import forking
from tests.conftest import Project, revision

pytestmark = pytest.mark.skipif(not forking.can_fork(), reason="only where processes fork")
ENDS = {
    "good": "print('out')\nimport sys\nprint('err é', file=sys.stderr)",
    "exit": "import sys\nsys.exit(3)",
    "raises": "raise RuntimeError('no')",
    "killed": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "at the end": "import atexit\natexit.register(print, 'at the end')",
    "child": "import subprocess\nsubprocess.run(['echo', 'child'], check=True)",
}


@pytest.mark.parametrize("body", ENDS.values(), ids=ENDS)
def test_same_end(project: Project, body: str) -> None:
    """Status, stdout and stderr; but for the folder of Python itself in a traceback."""
    project.write(*revision("a1", "fb3704abff84", body))
    project.ok("upgrade", "fb3704abff84")
    ends = []
    for forks in (True, False):
        project.forks = forks
        done = project.db("upgrade", "--sql", "fb3704abff84:a1")
        ends.append((done.returncode, done.stdout, done.stderr))
    assert ends[0] == ends[1]


def test_too_long(project: Project) -> None:
    """It is killed."""
    project.write("slow.py", "import time\ntime.sleep(60)\n")
    with pytest.raises(subprocess.TimeoutExpired):
        forking.run(["slow"], project.path, {}, seconds=0.5)
