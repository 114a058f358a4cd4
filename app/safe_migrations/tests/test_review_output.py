"""What a review prints: blocking findings first, one line for an acknowledged one, and a summary at the end."""

import json
import os
import re
from pathlib import Path

import pytest

from .support import MODELS, USERS, Project, git, revision

DROP = "with op.batch_alter_table('user') as batch:\n    batch.drop_column('email')"
RENAME = "op.rename_table('user', 'person')"
WARN = "op.execute('CALL tidy()')"
NO_WAY_BACK = "raise NotImplementedError"
ASSURED = 'safety_assured = {"drop-column": "nobody reads it"}'
ONCE = "to run it once all the same: flask db -x review=warn upgrade"


def test_blocking_first(reviewed: Project) -> None:
    """The text has what blocks, then what warns, then what is acknowledged on one line, and ends with a summary."""
    reviewed.write(*revision("a1", "r0", DROP, NO_WAY_BACK, ASSURED))
    reviewed.write(*revision("b1", "a1", WARN, NO_WAY_BACK))
    reviewed.write(*revision("c1", "b1", RENAME, NO_WAY_BACK))
    done = reviewed.db("review")
    heads = [line.split(":")[0] for line in done.stdout.splitlines() if ", line " in line]
    assert 1 == done.returncode
    assert [
        "migrations/versions/c1.py, line 9, blocks",
        "migrations/versions/b1.py, line 9, warns",
        "migrations/versions/a1.py, line 10, acknowledged",
    ] == heads
    assert (
        "migrations/versions/a1.py, line 10, acknowledged: revision a1 drops column user.email, which running code "
        f"still reads (drop-column).\n\n1 revision warns: raw-sql\n1 revision blocks: rename-table; {ONCE}\n"
    ) == "\n".join(["", *done.stdout.splitlines()[-4:], ""])[1:]


def test_summary_where_nothing_blocks(reviewed: Project) -> None:
    """Without a finding that blocks, the summary says so and names no way around the review."""
    reviewed.write(*revision("a1", "r0", WARN, NO_WAY_BACK))
    assert "1 revision warns: raw-sql; nothing blocks" == reviewed.ok("review").splitlines()[-1]
    reviewed.write(*revision("a1", "r0", DROP, NO_WAY_BACK, ASSURED))
    assert "Nothing blocks" == reviewed.ok("review").splitlines()[-1]


def test_summary_beside_json(reviewed: Project) -> None:
    """Beside JSON and GitHub's annotations, the summary is on stderr; an acknowledged finding is a notice."""
    reviewed.write(*revision("a1", "r0", DROP, NO_WAY_BACK))
    done = reviewed.db("review", "--format", "json")
    assert ["drop-column"] == [each["code"] for each in json.loads(done.stdout)]
    assert f"1 revision blocks: drop-column; {ONCE}\n" == done.stderr
    reviewed.write(*revision("a1", "r0", DROP, NO_WAY_BACK, ASSURED))
    done = reviewed.db("review", "--format", "github")
    assert done.stdout.startswith("::notice file=migrations/versions/a1.py,line=10,title=drop-column::")


def test_refusal(reviewed: Project) -> None:
    """A refused upgrade lists what blocks with what to do, then each warning on a line, and the summary."""
    reviewed.write(*revision("a1", "r0", "pass", NO_WAY_BACK, "safety_assured = {'no-such': 'x'}"))
    reviewed.write(*revision("b1", "a1", DROP, NO_WAY_BACK))
    reviewed.write(*revision("c1", "b1", "pass"))
    lines = reviewed.db("upgrade", "b1").stderr.splitlines()
    assert "Error: revision b1 drops column user.email, which running code still reads (drop-column)." in lines
    assert [
        '    safety_assured = {"drop-column": "why it is safe"}',
        "migrations/versions/a1.py, line 1, warns: revision a1 lists 'no-such' in safety_assured, but there is no such "
        "rule (safety-assured).",
        "1 revision warns: safety-assured",
        f"1 revision blocks: drop-column; {ONCE} b1",
        "Nothing was changed; the database is still at r0.",
    ] == lines[-5:]
    assert "b1" in reviewed.ok("-x", "review=warn", "upgrade", "b1")


def test_refusal_of_a_long_history(reviewed: Project) -> None:
    """The refused first upgrade of a history of 30 revisions is short: what blocks first, the summary, both ways on."""
    below = "r0"
    for number in range(30):
        name = f"h{number:02}"
        reviewed.write(*revision(name, below, f"{WARN}\n{DROP.replace('email', f'a{number}')}\n{RENAME}"))
        below = name
    done = reviewed.db("upgrade")
    lines = done.stderr.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("Error: "))
    assert 1 == done.returncode
    assert len(lines) <= 25, done.stderr
    assert "Error: migrations/versions/h00.py, line 11, blocks: revision h00 drops column user.a0" in lines[start]
    assert " blocks: " in lines[start + 11]
    assert re.fullmatch(r"\.\.\. and \d+ more findings: flask db review", lines[start + 12])
    assert f"30 revisions block: drop-column, rename-table; {ONCE}" == lines[-4]
    assert "    flask db review --accept h29" == lines[-2]
    assert "Nothing was changed; the database is still at r0." == lines[-1]


PET = """

class Pet(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
"""


def models(project: Project, *parts: str) -> Path:
    """Write the models of ``project``."""
    return project.write("app/models.py", "".join([MODELS, USERS, *parts]))


def test_nothing_about_new_models(database: str, reviewed: Project) -> None:
    """Neither `migrate` nor `upgrade` warns of the README's model, or of the scaffold's own, on any target."""
    reviewed.environ["MIGRATION_TARGETS"] = "sqlite,mysql,mariadb,postgresql"
    models(reviewed, PET)
    said = reviewed.ok("migrate", "-m", "Add Pet") + reviewed.ok("upgrade")
    assert " warns: " not in said
    said = reviewed.ok("review", "--all", "--target", "mysql,mariadb,postgresql")
    assert "small-key" not in said


def test_nothing_about_generated_steps(database: str, reviewed: Project) -> None:
    """Neither `migrate` nor `upgrade` warns of the steps that `migrate` itself writes for new columns with a value."""
    reviewed.environ["MIGRATION_TARGETS"] = "mysql,mariadb,postgresql"
    models(reviewed, "    age: Mapped[int]\n    city: Mapped[str] = mapped_column(String(40), index=True)\n")
    answers = ("-x", "default=user.age:0", "-x", "default=user.city:Rome")
    said = reviewed.ok(*answers, "migrate", "-m", "Add age and city") + reviewed.ok("upgrade")
    assert " warns: " not in said


def test_nothing_about_a_filled_column(database: str, reviewed: Project) -> None:
    """Neither `migrate` nor `upgrade` warns of NOT NULL for a column that a revision by `migrate` has filled."""
    reviewed.environ["MIGRATION_TARGETS"] = "sqlite,mysql,mariadb,postgresql"
    nick = "    nick: Mapped[str | None] = mapped_column(String(20))\n"
    models(reviewed, nick)
    reviewed.ok("migrate", "-m", "Add nick")
    reviewed.ok("upgrade")
    models(reviewed, nick.replace(" | None", ""))
    said = reviewed.ok("-x", "default=user.nick:ally", "migrate", "-m", "Require nick") + reviewed.ok("upgrade")
    assert "Running upgrade" in said
    assert " warns: " not in said
    assert " warns: " not in reviewed.ok("review", "r0:head")


def test_migrate_ends_with_a_summary(reviewed: Project) -> None:
    """What `migrate` prints about the new script follows what Alembic prints, also in one file, up to the summary."""
    text = models(reviewed).read_text().replace("unique=True)", 'server_default="x", unique=True)', 1)
    models(reviewed).write_text(text.replace("    email: Mapped[str] = mapped_column(String(120), unique=True)\n", ""))
    said = reviewed.printed("migrate", "-m", "Drop email")
    assert " Detected server default on column 'user.username'\n" in said
    assert re.search(r"_drop_email.py ...  done\nmigrations/versions/.*_drop_email.py, line \d+, blocks: ", said), said
    assert f"1 revision blocks: drop-column; {ONCE}" == said.splitlines()[-1]


def reviews(project: Project, *args: str) -> set[str]:
    """Return the revisions in which `flask db review ARGS` finds something."""
    return {each["revision"] for each in json.loads(project.db("review", *args, "--format", "json").stdout)}


def test_accepted_history(reviewed: Project) -> None:
    """Revisions that are accepted once are not reviewed, unless they are asked for; later ones are."""
    reviewed.write(*revision("a1", "r0", DROP, NO_WAY_BACK))
    reviewed.write(*revision("b1", "a1", "op.create_table('pet', sa.Column('id', sa.Integer()))", NO_WAY_BACK))
    reviewed.write(*revision("c1", "b1", "op.drop_table('pet')", NO_WAY_BACK))
    ini = reviewed.path / "migrations" / "alembic.ini"
    before = ini.read_text()
    assert "Wrote reviewed = b1 into migrations/alembic.ini. " in reviewed.ok("review", "--accept", "b1")
    assert before.replace("[alembic]\n", "[alembic]\nreviewed = b1\n") == ini.read_text()
    assert {"c1"} == reviews(reviewed)
    assert {"c1"} == reviews(reviewed, "--target", "postgresql")
    assert "2 revisions accepted up to b1: not reviewed\n" in reviewed.db("review").stderr
    assert {"a1", "c1"} <= reviews(reviewed, "--all")
    assert {"a1"} == reviews(reviewed, "a1")
    said = reviewed.db("status").stdout
    assert (False, True) == ("drop-column" in said, "2 revisions accepted up to b1: not reviewed\n" in said)
    done = reviewed.db("upgrade", "b1")
    assert (0, False) == (done.returncode, "blocks" in done.stderr)
    assert "drops table pet" in reviewed.db("upgrade").stderr
    assert "2 revisions" not in reviewed.db("review").stderr
    assert "Wrote reviewed = c1 into " in reviewed.ok("review", "--accept", "head")
    assert before.replace("[alembic]\n", "[alembic]\nreviewed = c1\n") == ini.read_text()
    reviewed.ok("upgrade")
    assert "There is no revision to review\n" == reviewed.db("review").stderr


def test_accepted_branches(reviewed: Project) -> None:
    """In a history with several heads, several revisions are accepted."""
    reviewed.write(*revision("a1", "r0", DROP, NO_WAY_BACK))
    reviewed.write(*revision("b1", "r0", RENAME, NO_WAY_BACK))
    reviewed.ok("review", "--accept", "a1")
    assert {"b1"} == reviews(reviewed)
    reviewed.ok("review", "--accept", "a1", "--accept", "b1")
    assert "\nreviewed = a1 b1\n" in (reviewed.path / "migrations" / "alembic.ini").read_text()
    assert set() == reviews(reviewed)


def test_accept_keeps_the_file(reviewed: Project) -> None:
    """The rest of the file stays as it is, with its ends of lines; a line without a value is replaced."""
    ini = reviewed.path / "migrations" / "alembic.ini"
    ini.write_bytes(b"# \xc3\xbc\r\n[other]\r\nx = 1\r\n[alembic]\r\nreviewed =\r\ntimezone = UTC\r\n")
    reviewed.ok("review", "--accept", "r0")
    assert b"# \xc3\xbc\r\n[other]\r\nx = 1\r\n[alembic]\r\nreviewed = r0\r\ntimezone = UTC\r\n" == ini.read_bytes()


def test_accept_is_killed(reviewed: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the command is killed while it writes the file, the old one is there, whole; if it may not, it says so."""
    ini = reviewed.path / "migrations" / "alembic.ini"
    before = ini.read_bytes()

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", kill)
        assert 0 != reviewed.db("review", "--accept", "r0").returncode
    assert before == ini.read_bytes()
    ini.chmod(0o444)
    said = reviewed.fails("review", "--accept", "r0")
    assert "Error: migrations/alembic.ini cannot be written: Permission denied.\n" in said
    assert before == ini.read_bytes()


def test_accept_what_is_not_there(reviewed: Project) -> None:
    """An unknown revision is an error that says how to list them, and changes nothing; so is one in the file."""
    ini = reviewed.path / "migrations" / "alembic.ini"
    before = ini.read_text()
    done = reviewed.db("review", "--accept", "nope")
    assert (1, True, True) == (done.returncode, "nope" in done.stderr, "flask db history" in done.stderr), done.stderr
    assert "Fix: " in done.stderr
    assert "base is not a revision.\nFix: " in reviewed.db("review", "--accept", "base").stderr
    assert before == ini.read_text()
    assert 2 == reviewed.db("review", "--accept", "r0", "--all").returncode
    reviewed.write(*revision("a1", "r0", "pass"))
    for wrong in ("nope", "head"):
        ini.write_text(before.replace("[alembic]\n", f"[alembic]\nreviewed = {wrong}\n"))
        for command in ("review", "upgrade", "status"):
            done = reviewed.db(command)
            assert 1 == done.returncode
            assert (
                f"Error: migrations/alembic.ini has reviewed = {wrong}, but {wrong} is not the id of a revision.\n"
                "Fix: accept the revisions again, up to one of this list, or remove that line:\n"
                "    flask db heads\n    flask db review --accept REV\n"
            ) in done.stderr


@pytest.fixture
def committed(reviewed: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose scripts so far are on the branch main of a git repository."""
    for name in ("GIT_DIR", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    reviewed.write(*revision("a1", "r0", DROP, NO_WAY_BACK))
    git(reviewed, "init", "-q", "-b", "main")
    git(reviewed, "add", "migrations")
    git(reviewed, "commit", "-q", "-m", "Begin")
    reviewed.environ["DATABASE_URL"] = "mysql+pymysql://root@127.0.0.1:1/none"
    return reviewed


def test_since(committed: Project) -> None:
    """Without a database, --since reviews the revisions that a commit does not have, for the configured databases."""
    assert "There is no revision to review\n" == committed.ok("review", "--since", "main")
    up = "op.create_index('ix', 'user', ['email'])\nop.drop_table('user')"
    committed.write(*revision("b1", "a1", up, NO_WAY_BACK))
    done = committed.db("review", "--since", "main", "--format", "github", MIGRATION_TARGETS="postgresql")
    assert [
        "::error file=migrations/versions/b1.py,line=9,title=create-index-blocks-writes",
        "::error file=migrations/versions/b1.py,line=10,title=drop-table",
    ] == [line.split("::revision")[0] for line in done.stdout.splitlines()]
    assert ["create-index-blocks-writes"] == re.findall(r"\(([a-z-]+)\), on postgresql\.", done.stdout)
    assert 1 == done.returncode
    done = committed.db("review", "--since", "main", "--target", "sqlite", "--format", "json")
    assert {("b1", "drop-table")} == {(each["revision"], each["code"]) for each in json.loads(done.stdout)}
    committed.ok("review", "--accept", "b1")  # in the same change as the script, so it does not count here
    assert {"b1"} == reviews(committed, "--since", "main")
    committed.write(*revision("b1", "a1", "pass"))
    assert "The review of 1 revision found nothing dangerous\n" == committed.ok("review", "--since", "main")


def test_annotations_in_a_part_of_a_repository(committed: Project) -> None:
    """The annotations have paths from the repository's folder, also if the project is below it."""
    above = str(committed.path.parent)
    done = committed.db("review", "a1", "--target", "sqlite", "--format", "github", GITHUB_WORKSPACE=above)
    assert (
        "::error file=project/migrations/versions/a1.py,line=10,title=drop-column" == done.stdout.split("::revision")[0]
    )


def test_since_in_a_hook(committed: Project) -> None:
    """In a hook of git, whose variables name the repository, the revisions are the same."""
    hook = {"GIT_DIR": ".git", "GIT_INDEX_FILE": ".git/index"}
    assert 0 == committed.db("review", "--since", "main", **hook).returncode


@pytest.mark.parametrize(
    ("ref", "fetch"), [("origin/no/pe", "origin no/pe"), ("-nope", "--all --tags"), ("", "--all --tags")]
)
def test_since_an_unknown_commit(committed: Project, ref: str, fetch: str) -> None:
    """A commit that git does not know is an error that says how to fetch it."""
    git(committed, "remote", "add", "origin", ".")
    done = committed.db("review", f"--since={ref}")
    assert 1 == done.returncode
    assert f"Fix: correct the name, or fetch it first:\n    git fetch {fetch}\n" in done.stderr


def test_since_without_git(committed: Project, tmp_path: Path) -> None:
    """Without git, or outside of a repository, the error says to name the revisions."""
    done = committed.db("review", "--since", "main", PATH=str(tmp_path))
    assert (1, True) == (done.returncode, "git is not installed" in done.stderr)
    assert "Fix: install git, or review pending revisions:\n    flask db review\n" in done.stderr
    (committed.path / ".git").rename(tmp_path / "moved")
    done = committed.db("review", "--since", "main")
    assert (
        "Error: migrations/versions is not in a git repository, so the new revisions cannot be determined.\n"
        "Fix: review pending revisions:\n    flask db review\n"
    ) == done.stderr


def test_accept_nothing(project: Project) -> None:
    """An empty argument, as of an unset variable, is wrong usage."""
    done = project.db("review", "--accept", "")
    assert (2, True) == (done.returncode, "The argument of --accept is an empty string. Fix: " in done.stderr)
