"""What a review finds stops an upgrade, until it is acknowledged; and how it is shown."""

import json
import re

import pytest
from alembic.operations.ops import AddColumnOp, DropColumnOp

from ..adapters.products import FACTS
from ..review.findings import Finding, Level, merged
from ..review.known_schema import KnownSchema
from ..review.rules import RULES
from ..review.rules.registry import BLOCKS, rule
from .support import FIRST, Project, Review, found, levels, revision

DROP = "with op.batch_alter_table('user') as batch:\n    batch.drop_column('email')"
USER = "user = sa.table('user', sa.column('id'), sa.column('username'), sa.column('email'))\n"
ALICE = USER + "op.bulk_insert(user, [{'id': 1, 'username': 'alice', 'email': 'a@b'}])"


@pytest.fixture
def reviewed(project: Project) -> Project:
    """At a revision with a row in user, and reviews turned on."""
    project.write(*revision("r0", FIRST, ALICE))
    project.ok("upgrade")
    project.environ["MIGRATION_REVIEW"] = "enforce"
    return project


def _type(found: re.Match[str]) -> str:
    """In place of a type, and of the line that imports it."""
    return "" if "import" in found[0] else "TYPE"


def test_upgrade_stops(database: str, reviewed: Project) -> None:
    """An upgrade with a finding that blocks ends with 1, before it touches anything; both ways out are told."""
    reviewed.write(*revision("a1", "r0", "op.execute('INSERT INTO gone VALUES (1)')"))
    reviewed.write(*revision("b1", "a1", DROP))
    done = reviewed.db("upgrade")
    assert 1 == done.returncode
    assert (
        "Error: revision b1 drops column user.email, which running code still reads (drop-column).\n"
        "Instead: drop the column only in the next release; in this one remove it from the model, and make it "
        "nullable:\n"
        "    with op.batch_alter_table('user') as batch_op:\n"
        "        batch_op.alter_column('email', existing_type=TYPE, nullable=True)\n"
        "If this is safe here, say why at the top of migrations/versions/b1.py, below down_revision (for line 10):\n"
        '    safety_assured = {"drop-column": "why it is safe"}\n'
        "1 revision blocks: drop-column; to run once without: flask db -x review=warn upgrade\n"
        "Nothing was changed; the database is still at r0.\n"
    ) in re.sub(r"    from sqlalchemy.dialects .*\n|(?<=existing_type=).*(?=, nullable)", _type, done.stderr)
    assert "r0" in reviewed.ok("current")


INSPECTED = """
if "{0}" in sa.inspect(op.get_bind()).get_table_names():
    op.drop_table("{0}")"""


def test_inspecting(database: str, reviewed: Project) -> None:
    """A script that inspects the database is followed there, if it is the next one: a later one finds another."""
    reviewed.write(*revision("a1", "r0", INSPECTED.format("pet")))
    reviewed.write(*revision("b1", "a1", INSPECTED.format("user")))
    told = reviewed.ok("upgrade", "a1")
    assert "not-inspectable" not in told
    done = reviewed.db("upgrade")
    assert (1, True) == (done.returncode, "revision b1 drops table user" in done.stderr)
    reviewed.write(*revision("c1", "b1", INSPECTED.format("user")))
    found = json.loads(reviewed.db("review", "--format", "json").stdout)
    told_of = {(each["revision"], each["code"]) for each in found if each["code"] != "missing-downgrade"}
    assert {("b1", "drop-table"), ("c1", "drop-table"), ("c1", "not-inspectable")} == told_of


def test_acknowledged(database: str, reviewed: Project) -> None:
    """With a reason it runs."""
    reviewed.write(*revision("a1", "r0", DROP, more='safety_assured = {"drop-column": "nobody reads it"}'))
    reviewed.ok("upgrade")
    assert "a1 (head)" in reviewed.ok("current")


@pytest.mark.parametrize("reason", ["''", "' '", "None"])
def test_no_reason(reviewed: Project, reason: str) -> None:
    """Without one it does not count, and the message says so."""
    reviewed.write(*revision("a1", "r0", DROP, more=f'safety_assured = {{"drop-column": {reason}}}'))
    done = reviewed.db("upgrade")
    assert (1, True) == (done.returncode, "lists drop-column in safety_assured without a reason" in done.stderr)


def test_warn_and_off(reviewed: Project) -> None:
    """``warn`` prints it and goes on, ``off`` goes on."""
    reviewed.write(*revision("a1", "r0", DROP))
    reviewed.write(*revision("b1", "a1", "op.drop_table('user')"))
    assert "drop-column" in reviewed.ok("-x", "review=warn", "upgrade", "a1")
    assert "drop-table" not in reviewed.ok("-x", "review=off", "upgrade")


def test_wrong_mode(reviewed: Project) -> None:
    """Another word is an error."""
    done = reviewed.db("downgrade", MIGRATION_REVIEW="no")
    assert (1, True) == (done.returncode, "MIGRATION_REVIEW (or -x review=...) is 'no'" in done.stderr)


def test_new_and_empty_tables(database: str, project: Project) -> None:
    """A table that the same run makes is no reason, one without rows does not block; and neither is a new database."""
    project.environ["MIGRATION_REVIEW"] = "enforce"
    project.write(*revision("a1", FIRST, "op.drop_table('user')"))
    project.ok("upgrade", FIRST)
    assert "warns: revision a1 drops table user" in project.ok("upgrade")
    body = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))\nop.drop_table('pet')"
    project.write(*revision("b1", "a1", body))
    assert "drop-table" not in project.ok("upgrade")


def test_downgrade_tells_what_it_takes(database: str, reviewed: Project) -> None:
    """It is not blocked, and counts the rows and the values."""
    reviewed.write(
        *revision(
            "a1",
            "r0",
            "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))\n"
            "op.add_column('user', sa.Column('age', sa.Integer()))\n"
            "op.execute('INSERT INTO pet VALUES (1)')\n"
            + USER
            + "op.get_bind().execute(user.update().where(user.c.id == 1).values(email='c@d'))\n"
            "op.execute(sa.table('user', sa.column('id'), sa.column('age')).update().values(age=3))",
            "op.drop_table('pet')\nwith op.batch_alter_table('user') as batch:\n    batch.drop_column('age')",
        )
    )
    reviewed.ok("-x", "review=off", "upgrade")
    told = reviewed.ok("downgrade")
    assert "The downgrade deletes 1 rows of table pet" in told
    assert "The downgrade deletes 1 values in user.age" in told


def test_a_downgrade_counts_what_has_another_name_now(database: str, reviewed: Project) -> None:
    """The rows of a table and the values of a column that an earlier step of the same downgrade renames back; but not
    those of a column that a step adds.
    """
    pet = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('a', sa.Integer()))"
    back = "op.drop_column('pet', 'b')\nop.drop_column('pet', 'a')\nop.drop_table('pet')"
    reviewed.write(*revision("a1", "r0", pet, back))
    rows = (
        "op.bulk_insert(sa.table('animal', sa.column('id'), sa.column('x')), [{'id': 1, 'x': 2}, {'id': 2, 'x': None}])"
    )
    rename = "op.alter_column('animal', {!r}, new_column_name={!r}, existing_type=sa.Integer())\n"
    up = f"op.rename_table('pet', 'animal')\n{rename.format('a', 'x')}{rows}"
    down = (
        f"{rename.format('x', 'a')}op.rename_table('animal', 'pet')\nop.add_column('pet', sa.Column('b', sa.Integer()))"
    )
    reviewed.write(*revision("b1", "a1", up, down))
    reviewed.ok("-x", "review=off", "upgrade")
    told = reviewed.ok("downgrade", "--revision", "r0")
    assert ["1 values in pet.a", "2 rows of table pet"] == re.findall("The downgrade deletes (.*)", told)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM pet", "The downgrade deletes 2 rows of table pet"),
        ("DELETE FROM pet WHERE id > 1", "The downgrade deletes some of the 2 rows of table pet"),
    ],
)
def test_downgrade_tells_what_its_sql_takes(reviewed: Project, statement: str, told: str) -> None:
    """Of rows that a statement deletes, how many there are; a WHERE may take fewer."""
    up = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))\n"
    up += "op.execute('INSERT INTO pet VALUES (1), (2)')"
    reviewed.write(*revision("a1", "r0", up, f"op.execute('{statement}')"))
    reviewed.ok("upgrade")
    assert told in reviewed.ok("downgrade")


def test_what_stands_before_a_read(reviewed: Project) -> None:
    """What a script does before it reads the database is reviewed, and the finding has the line that reads."""
    body = f"{DROP}\nprint('hello')\nop.get_bind().execute(sa.text('SELECT 1')).scalar()"
    reviewed.write(*revision("a1", "r0", body, "op.get_bind().exec_driver_sql('DROP TABLE \"user\"')"))
    done = reviewed.db("review", "--format", "json")
    found = {item["code"]: item["line"] for item in json.loads(done.stdout)}
    assert (10, 12) == (found["drop-column"], found["not-inspectable"])
    assert 1 == reviewed.db("upgrade").returncode


def test_one_line_for_several_findings(reviewed: Project) -> None:
    """What acknowledges the findings of a script is one dict, which can be pasted as it stands."""
    reviewed.write(*revision("a1", "r0", f"{DROP}\nop.execute('DELETE FROM \"user\"')\nop.get_bind().commit()"))
    errors = reviewed.db("upgrade").stderr
    assert 1 == errors.count("safety_assured = {")
    for code in ("drop-column", "unbounded-data-change"):
        assert f'"{code}": "why it is safe"' in errors


@pytest.mark.parametrize("end", ["op.execute('COMMIT')", "op.get_bind().commit()"])
def test_no_line_that_leads_nowhere(backend: str, database: str, reviewed: Project, end: str) -> None:
    """Where a run refuses a script that ends its transaction, the review does not offer to acknowledge that."""
    reviewed.write(*revision("a1", "r0", f"{DROP}\n{end}"))
    errors = reviewed.db("upgrade").stderr
    assert "(transaction-control).\nInstead: remove it, because Alembic begins and commits the transaction;" in errors
    assert '"drop-column": "why it is safe"' in errors
    assert (backend == "mysql") is ('"transaction-control": "why it is safe"' in errors)
    reviewed.write(*revision("a1", "r0", end))
    assert (backend == "mysql") is ("safety_assured" in reviewed.db("upgrade").stderr)


def test_formats(reviewed: Project) -> None:
    """JSON has the promised keys, GitHub's annotations are one line each; the exit status is 1 where one blocks."""
    reviewed.write(*revision("a1", "r0", DROP, "raise NotImplementedError"))
    done = reviewed.db("review", "--format", "json")
    (found,) = json.loads(done.stdout)
    assert 1 == done.returncode
    assert ["revision", "file", "line", "code", "level", "message", "instead", "acknowledged"] == list(found)
    assert ("a1", "migrations/versions/a1.py", 10, "drop-column", "blocks", False) == tuple(
        found[key] for key in ("revision", "file", "line", "code", "level", "acknowledged")
    )
    (line,) = reviewed.db("review", "--format", "github").stdout.splitlines()
    assert line.startswith("::error file=migrations/versions/a1.py,line=10,title=drop-column::revision a1 drops")
    assert "[]" == reviewed.ok("review", FIRST, "--format", "json").strip()


def test_which_revisions(reviewed: Project) -> None:
    """Those that are pending, one, a range, or the whole history."""
    reviewed.write(*revision("a1", "r0", "op.drop_table('user')"))
    reviewed.ok("-x", "review=off", "upgrade")
    reviewed.write(*revision("b1", "a1", "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))"))
    reviewed.write(*revision("c1", "b1", "op.drop_table('pet')"))

    def found(*args: str) -> set[str]:
        done = reviewed.db("review", "--format", "json", *args)
        return {item["revision"] for item in json.loads(done.stdout) if item["code"] == "drop-table"}

    assert {"c1"} == found(), "elsewhere b1 may have run long ago"
    assert {"a1"} == found("a1")
    assert {"c1"} == found("a1:head")
    assert {"a1", "c1"} == found("--all")
    assert {"a1", "c1"} == found("--all", "--target", "mysql>=8.0,postgresql")


def test_status(reviewed: Project) -> None:
    """Each pending step, and what was found in it."""
    reviewed.write(*revision("a1", "r0", DROP, "raise NotImplementedError"))
    told = [line.split(maxsplit=1) for line in reviewed.db("status").stdout.splitlines()]
    assert ["blocks:", "drop-column, line 10"] == told[told.index(["pending", "a1, "]) + 1]


def test_targets(reviewed: Project) -> None:
    """Beside the configured database, those in MIGRATION_TARGETS; --target instead, also where no database answers."""
    reviewed.write(*revision("a1", "r0", "op.create_index('ix', 'user', ['email'])"))
    assert 0 == reviewed.db("review").returncode
    done = reviewed.db("review", MIGRATION_TARGETS="mysql>=8.0,postgresql>=13")
    assert (1, True) == (done.returncode, "(create-index-blocks-writes), on postgresql." in done.stdout)
    done = reviewed.db("review", "--target", "postgresql", DATABASE_URL="mysql+pymysql://root@127.0.0.1:1/none")
    assert (1, True) == (done.returncode, "create-index-blocks-writes" in done.stdout)
    done = reviewed.db("review", "--target", "oracle")
    assert (2, True) == (done.returncode, "--target names 'oracle', which is not a database" in done.stderr)
    done = reviewed.db("review", MIGRATION_TARGETS="oracle")
    assert (1, True) == (done.returncode, "Error: MIGRATION_TARGETS names 'oracle', which is" in done.stderr)


def test_assurances_that_assure_nothing(reviewed: Project) -> None:
    """An unknown code is reported; a known one may be for another database."""
    assured = 'safety_assured = {"drop-tabel": "x", "create-index-blocks-writes": "x"}'
    reviewed.write(*revision("a1", "r0", "op.create_index('ix', 'user', ['email'])", more=assured))
    done = reviewed.db("review")
    assert 0 == done.returncode
    assert "lists 'drop-tabel' in safety_assured, but there is no such rule (safety-assured)" in done.stdout
    assert "lists create-index" not in done.stdout


def test_rehearsal_is_not_stopped(reviewed: Project) -> None:
    """A rehearsal tells what is lost by itself, of a revision that an upgrade would not run."""
    reviewed.write(*revision("a1", "r0", DROP, "op.add_column('user', sa.Column('email', sa.String(120)))"))
    done = reviewed.db("rehearse")
    assert (1, True) == (done.returncode, "its upgrade drops user.email, which has 1 values" in done.stdout)


def test_merged_in_order() -> None:
    """Findings come in the order of the history, whichever database they were found for."""
    first, second = (Finding(name, "a.py", 1, "code", Level.WARNS, "it hurts.", "") for name in ("b1", "a2"))
    found = merged({FACTS["sqlite"](): [second], FACTS["mysql"](): [first]}, ["b1", "a2"])
    assert ["b1", "a2"] == [finding.revision for finding in found]


def raising(*_: object, **_options: object) -> None:
    """Fail, as a rule or a reader with a bug does."""
    raise ValueError("no such thing")


def test_rule_that_raises(database: str, reviewed: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in a rule becomes a warning with code, file and line, and stops no command."""
    monkeypatch.setitem(RULES, "raising", rule(BLOCKS, DropColumnOp)(raising))
    by_class = vars(KnownSchema)["apply"].dispatcher
    found = by_class.dispatch
    monkeypatch.setattr(by_class, "dispatch", lambda kind: raising if kind is AddColumnOp else found(kind))
    up = "op.add_column('user', sa.Column('age', sa.Integer()))\nwith op.batch_alter_table('user') as batch:\n"
    up += "    batch.drop_column('age')"
    assured = 'safety_assured = {"drop-column": "it is new"}'
    reviewed.write(*revision("a1", "r0", up, "raise NotImplementedError", more=assured))
    told = (
        "migrations/versions/a1.py, line 11, warns: revision a1 was not reviewed by one rule, because "
        "that rule raised an error: ValueError: no such thing (raising).\nInstead: read that line yourself"
    )
    done = reviewed.db("review")
    assert (0, True) == (done.returncode, told in done.stdout)
    assert (
        "line 9, warns: revision a1 has an operation whose effect on the tables the review cannot work out: ValueError"
        in done.stdout
    )
    assert "warns: raising, line 11" in reviewed.db("status").stdout
    assert 0 == reviewed.db("review", "a1", "--target", "postgresql,mysql,sqlite").returncode
    assert told.partition("warns: ")[2] in reviewed.ok("-x", "review=enforce", "upgrade")
    reviewed.ok("stamp", "r0")
    assert told.partition("warns: ")[2] in reviewed.ok("-x", "review=warn", "upgrade")
    models = (reviewed.path / "app" / "models.py").read_text()
    reviewed.write(
        "app/models.py",
        models.replace(
            "class User", "class Pet(db.Model):\n    id: Mapped[int] = mapped_column(primary_key=True)\n\n\nclass User"
        ),
    )
    reviewed.ok("migrate", "-m", "Add Pet")


def test_sql_that_the_reader_fails_on(review: Review, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the reader of SQL becomes a warning that names the line; what comes before it is reviewed."""
    monkeypatch.setattr("app.safe_migrations.review.sql.translation.statements", lambda *_: 1 / 0)
    findings = review("op.drop_column('user', 'email')\nop.execute('DROP VIEW v')", "postgresql")
    assert ["blocks"] == levels(findings, "drop-column")
    (finding,) = found(findings, "not-inspectable")
    assert (
        "revision a1 was reviewed only in part from line 9 of upgrade() on: the SQL there could not be read, because "
        "of a bug in safe_migrations (ZeroDivisionError: division by zero) (not-inspectable)."
    ) == finding.message


AS_CLASS = (
    "op.add_column('user', sa.Column('age', sa.Integer))\n"
    "with op.batch_alter_table('user') as batch:\n"
    "    batch.alter_column('age', type_=sa.Text, existing_type=sa.Integer)"
)


@pytest.mark.parametrize("product", FACTS)
def test_type_given_as_class(review: Review, product: str) -> None:
    """A type may be given as a class: the review finds the same as for an instance."""
    as_instance = re.sub(r"(sa\.(Text|Integer))", r"\1()", AS_CLASS)
    assert [each.words for each in review(as_instance, product)] == [each.words for each in review(AS_CLASS, product)]


def test_upgrade_with_type_given_as_class(database: str, reviewed: Project) -> None:
    """A script that gives a type as a class runs, as on stock."""
    reviewed.write(*revision("a1", "r0", AS_CLASS, "raise NotImplementedError"))
    reviewed.ok("-x", "review=warn", "upgrade")


@pytest.mark.parametrize(
    "statement",
    [
        """ALTER TABLE "user" ALTER COLUMN email TYPE mood[] USING email::mood[]""",
        """ALTER TABLE "user" ALTER COLUMN email TYPE mood[3][3]""",
        """ALTER TABLE "user" ALTER COLUMN email TYPE mood ARRAY""",
    ],
)
def test_array_of_a_type_of_its_own(review: Review, statement: str) -> None:
    """An array of an enum is reviewed as a change of type like any other."""
    assert ["blocks"] == levels(review(f"op.execute({statement!r})", "postgresql"), "change-type")
