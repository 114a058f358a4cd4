"""What a review prints: blocking findings first, one line for an acknowledged one, and a summary at the end."""

import json
import re
from pathlib import Path

from .support import Project, revision

DROP = "with op.batch_alter_table('user') as batch:\n    batch.drop_column('email')"
RENAME = "op.rename_table('user', 'person')"
WARN = "op.execute('CALL tidy()')"
NO_WAY_BACK = "raise NotImplementedError"
ASSURED = 'safety_assured = {"drop-column": "nobody reads it"}'
ONCE = "to run once without: flask db -x review=warn upgrade"


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


def test_summary_counts_revisions(reviewed: Project) -> None:
    """The summary counts revisions, and names each code once."""
    reviewed.write(*revision("a1", "r0", f"{DROP}\n{DROP.replace('email', 'username')}", NO_WAY_BACK))
    reviewed.write(*revision("b1", "a1", RENAME, NO_WAY_BACK))
    last = reviewed.db("review").stdout.splitlines()[-1]
    assert f"2 revisions block: drop-column, rename-table; {ONCE}" == last


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


def test_refusal(database: str, reviewed: Project) -> None:
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


def test_refusal_of_a_long_history(database: str, reviewed: Project) -> None:
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
    assert lines[-4].startswith("30 revisions block: drop-column, rename-table")
    assert lines[-4].endswith(f"; {ONCE}")
    assert "    flask db review --accept h29" == lines[-2]
    assert "Nothing was changed; the database is still at r0." == lines[-1]


MODELS = """from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from .extensions import db


class User(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(80), unique=True)
    email: Mapped[str] = mapped_column(String(120), unique=True)
"""
PET = """

class Pet(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
"""


def models(project: Project, *parts: str) -> Path:
    """Write the models of ``project``."""
    return project.write("app/models.py", "".join([MODELS, *parts]))


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


def test_migrate_ends_with_a_summary(reviewed: Project) -> None:
    """What `migrate` prints about the new script ends with the summary."""
    text = models(reviewed).read_text()
    models(reviewed).write_text(text.replace("    email: Mapped[str] = mapped_column(String(120), unique=True)\n", ""))
    done = reviewed.db("migrate", "-m", "Drop email")
    assert f"1 revision blocks: drop-column; {ONCE}" == done.stderr.splitlines()[-1]
