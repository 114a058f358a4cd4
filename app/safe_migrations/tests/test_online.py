"""MIGRATION_ONLINE=off: plain scripts, and rules about locks only warn."""

import pytest

from .support import FIRST, Project, on_postgresql, revision


@on_postgresql
def test_scripts(project: Project, database: str) -> None:
    """By default an index of an existing table has a revision of its own, and one line says why; off, it has none."""
    project.ok("upgrade")
    models = (project.path / "app" / "models.py").read_text()
    project.write("app/models.py", models.replace("String(120), unique=True)", "String(120), index=True)"))
    plain = project.ok("-x", "online=off", "migrate", "-m", "Plain")
    assert (2, False) == (len(project.scripts()), "none blocks" in plain)
    project.scripts()[1].unlink()
    said = project.ok("migrate", "-m", "Online")
    count = len(project.scripts()) - 1
    logged = (
        f"Writing {count} revisions, so that none blocks PostgreSQL. For a plain one, set MIGRATION_ONLINE=off: here, "
    )
    assert (True, True) == (count > 1, logged in said), said


@pytest.mark.parametrize(("online", "level"), [("on", "blocks"), ("off", "warns")])
@on_postgresql
def test_locks(project: Project, database: str, online: str, level: str) -> None:
    """A finding about a lock blocks, the first one names the setting, and off it only warns; in an upgrade too."""
    project.write(*revision("a1", FIRST, "op.execute(\"INSERT INTO \\\"user\\\" VALUES (1, 'a', 'a@b')\")"))
    project.ok("upgrade")
    both = "op.create_index('ix', 'user', ['email'])\nop.create_index('ix2', 'user', ['email'])"
    project.write(*revision("b1", "a1", both, "op.drop_index('ix')\nop.drop_index('ix2')"))
    project.environ |= {"MIGRATION_REVIEW": "enforce", "MIGRATION_ONLINE": online}
    ends = project.fails if online == "on" else project.ok
    reviewed = ends("review")
    assert f", {level}: revision b1 creates" in reviewed
    for said in (reviewed, ends("upgrade")):
        assert (online == "on") == said.count("\n    export MIGRATION_ONLINE=off\n")


def test_data_loss_still_blocks(project: Project) -> None:
    """MIGRATION_ONLINE=off does not relax rules about lost data."""
    project.write(*revision("a1", FIRST, "op.drop_column('user', 'email')"))
    project.fails("review", "--target", "postgresql", "a1", MIGRATION_ONLINE="off")
