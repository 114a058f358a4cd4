"""What revisions declare that they need, looked at before the first one runs."""

import pytest

from .support import FIRST, Project, revision

pytestmark = pytest.mark.usefixtures("database")

REQUIRES = "requires = dict.fromkeys(['sqlite', 'mysql', 'mariadb', 'postgresql'], {!r})"


def test_new_enough(project: Project) -> None:
    """A version in the range, and databases that are not this one."""
    project.write(*revision("a1", FIRST, "pass", more=REQUIRES.format(">=1")))
    project.ok("upgrade")
    assert "a1 (head)" in project.ok("current")


def test_too_old(project: Project) -> None:
    """The last of the pending revisions needs another version: the first does not run."""
    project.write(*revision("a1", FIRST, "pass"))
    project.write(*revision("b1", "a1", "pass", more=REQUIRES.format("<1")))
    told = project.fails("upgrade")
    assert "revision b1 needs " in told
    assert "<1, but the server has version " in told
    assert told.endswith("\nNothing was changed; the database is still at base.\n")
    assert "Running" not in told
    assert FIRST not in project.ok("current")


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_extension(project: Project) -> None:
    """An extension that the database does not have: the line that makes it."""
    project.write(*revision("a1", FIRST, "pass", more="requires = {'extension:pgcrypto': ''}"))
    assert 'CREATE EXTENSION "pgcrypto";' in project.fails("upgrade")
    project.write(*revision("a1", FIRST, "pass", more="requires = {'extension:plpgsql': ''}"))
    project.ok("upgrade")


@pytest.mark.parametrize("declared", ["{'mysqll': '>=8'}", "{'sqlite': 'new'}", "'sqlite>=3'"])
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_nonsense(project: Project, declared: str) -> None:
    """A name or a range that cannot be read is refused, not passed over."""
    project.write(*revision("a1", FIRST, "pass", more=f"requires = {declared}"))
    assert "revision a1 has an invalid value in its `requires`" in project.fails("upgrade")
