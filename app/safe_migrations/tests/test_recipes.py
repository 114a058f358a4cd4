"""The scripts of LARGE.md: that for PostgreSQL on a server of its own, the others with stand-ins for their programs."""

import os
import re
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from .servers import PostgreSQLServers
from .support import FIRST, PACKAGE, Project, Sql, on_postgresql, on_sqlite, revision, rows, run_on_server, state

A1 = revision("a1", FIRST, "op.execute(sa.table('user').delete())")
SCRIPTS = {
    script.split()[3]: script
    for script in re.findall(
        r"^```sh\n(#!/bin/sh -e\n# .*?)^```$", (PACKAGE / "LARGE.md").read_text(), re.M | re.DOTALL
    )
}
TIME = "[0-9]*[tT][0-9]*[zZ]"
# For each recipe: its arguments, the program that it calls, and a shell pattern for the arguments of each call, with
# what the program prints; then the id. Sources: lvcreate(8), zfs-snapshot(8), the references of `aws` and `gcloud`.
RECIPES = {
    "lvm-snapshot": (
        "vg/data 10G",
        "lvcreate",
        {f"--snapshot --size 10G --name before-{TIME} vg/data": 'Logical volume "before" created.'},
        rf"vg/before-{TIME}",
    ),
    "zfs-snapshot": ("tank/db", "zfs", {f"snapshot tank/db@before-{TIME}": ""}, rf"tank/db@before-{TIME}"),
    "ebs-snapshot": (
        "vol-01",
        "aws",
        {
            "ec2 create-snapshot --volume-id vol-01 --description * --query SnapshotId --output text": "snap-02",
            "ec2 wait snapshot-completed --snapshot-ids snap-02": "",
        },
        "snap-02",
    ),
    "rds-snapshot": (
        "app",
        "aws",
        {
            f"rds create-db-snapshot --db-instance-identifier app --db-snapshot-identifier app-before-{TIME}": "{}",
            f"rds wait db-snapshot-available --db-snapshot-identifier app-before-{TIME}": "",
        },
        f"app-before-{TIME}",
    ),
    "cloudsql-backup": (
        "app",
        "gcloud",
        {
            f"sql backups create --instance app --description before-{TIME}": "",
            f"sql backups list --instance app --filter description=before-{TIME} --format value(id)": "1700000000000",
        },
        "1700000000000",
    ),
}


def written(project: Project, name: str, folder: Path, arguments: str) -> None:
    """Write the script of LARGE.md to ``folder``, and make it MIGRATION_BACKUP_COMMAND with ``arguments``."""
    (folder / name).write_text(SCRIPTS[name])
    (folder / name).chmod(0o755)
    project.environ["MIGRATION_BACKUP_COMMAND"] = f"{folder / name} {arguments}"
    project.environ.pop("MIGRATION_BACKUP")


def listed(project: Project) -> str:
    """Return the id of the only restore point that `flask db backups` lists."""
    (line,) = project.ok("backups").splitlines()
    return line.partition("external: ")[2].partition(", made by ")[0]


@on_sqlite
@pytest.mark.parametrize("name", RECIPES)
def test_recipe(project: Project, engine: Engine, sql: Sql, tmp_path: Path, name: str) -> None:
    """The script makes the calls in their order, before the first step, and its id is listed.

    If the first call fails, nothing runs, and the message has what the program says.
    """
    project.ok("upgrade")
    sql("INSERT INTO user (id, username, email) VALUES (1, 'ann', 'a@x')")
    arguments, program, calls, expected = RECIPES[name]
    patterns = {call.replace(" ", "\\ ").replace("(", "\\(").replace(")", "\\)"): said for call, said in calls.items()}
    cases = "\n".join(f"  {pattern}) echo '{said}';;" for pattern, said in patterns.items())
    stand_in = tmp_path / program
    stand_in.write_text(
        f'#!/bin/sh\ntest -z "$FAIL" || {{ echo "quota exceeded" >&2; exit 254; }}\ncp "$DB_NAME" {tmp_path}/$$.copy\n'
        f'echo "$*" >> {tmp_path}/calls\ncase "$*" in\n{cases}\n  *) echo "usage: $*" >&2; exit 2;;\nesac\n'
    )
    stand_in.chmod(0o755)
    written(project, name, tmp_path, arguments)
    project.write(*A1)
    before, path = state(engine), f"{tmp_path}:{os.environ['PATH']}"
    said = project.fails("upgrade", PATH=path, FAIL="yes")
    assert "there is no restore point:\n    quota exceeded\nFix: " in said
    assert before == state(engine)
    project.ok("upgrade", PATH=path)
    shapes = [re.compile(_regex(shape)) for shape in (*calls, expected)]
    found = [*(tmp_path / "calls").read_text().splitlines(), listed(project)]
    assert len(shapes) == len(found)
    assert [] == [line for shape, line in zip(shapes, found, strict=True) if not shape.fullmatch(line)]
    assert before != state(engine)
    for copy in tmp_path.glob("*.copy"):
        of_copy = create_engine(f"sqlite:///{copy}")
        assert before == state(of_copy)
        of_copy.dispose()


def _regex(shape: str) -> str:
    """Return a regular expression for a shell pattern with `*` and `[...]`."""
    parts = re.split(r"(\[[^]]+\]|\*)", shape)
    return "".join(".*" if part == "*" else part if part.startswith("[") else re.escape(part) for part in parts)


@on_postgresql
def test_base_backup(project: Project, backend: str, servers: PostgreSQLServers) -> None:
    """A server that starts from the restore point has the rows and the revision from before the run."""
    url = servers.new()
    project.environ["DATABASE_URL"] = url.render_as_string(hide_password=False)
    project.ok("upgrade")
    run_on_server(url, """INSERT INTO "user" (id, username, email) VALUES (1, 'ann', 'a@x'), (2, 'bob', 'b@x')""")
    project.write(*A1)
    written(project, "base-backup", servers.folder, str(servers.folder))
    project.ok("upgrade", PATH=f"{servers.programs}:{os.environ['PATH']}")
    assert "a1\n" == project.ok("current").splitlines(keepends=True)[-1].replace(" (head)", "")
    restored = create_engine(servers.start(Path(listed(project))))
    query = 'SELECT version_num, username, email FROM alembic_version, "user" ORDER BY id'
    assert [(FIRST, "ann", "a@x"), (FIRST, "bob", "b@x")] == rows(restored, query)
    restored.dispose()


def test_each_is_tested() -> None:
    """Each script of LARGE.md is one of those above."""
    assert {*RECIPES, "base-backup"} == set(SCRIPTS)
