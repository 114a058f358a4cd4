"""What a review finds stops an upgrade, until it is acknowledged; and how it is shown."""

import ast
import json
import re
from unittest.mock import ANY

import pytest
from alembic.operations.ops import AddColumnOp, DropColumnOp

from ..adapters.products import FACTS
from ..review.findings import Finding, Level, merged
from ..review.known_schema import KnownSchema
from ..review.rules import RULES
from ..review.rules.registry import BLOCKS, rule
from .support import FIRST, Project, Review, found, levels, revision

DROP = "with op.batch_alter_table('user') as batch:\n    batch.drop_column('email')"
CREATE = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('a', sa.Integer()))"
ROWS = "op.execute('INSERT INTO pet VALUES (1, 2), (2, NULL)')"


def _type(found: re.Match[str]) -> str:
    """In place of a type, and of the line that imports it."""
    return "" if "import" in found[0] else "TYPE"


def test_upgrade_stops(reviewed: Project) -> None:
    """An upgrade with a finding that blocks ends with 1 and changes nothing; the message has both ways out."""
    reviewed.write(*revision("a1", "r0", "op.execute('INSERT INTO gone VALUES (1)')", "raise NotImplementedError"))
    reviewed.write(*revision("b1", "a1", DROP, "raise NotImplementedError"))
    said = reviewed.fails("upgrade")
    assert (
        "Error: revision b1 drops column user.email, which running code still reads (drop-column).\n"
        "Instead: drop the column only in the next release; in this one remove it from the model, and make it "
        "nullable:\n"
        "    with op.batch_alter_table('user') as batch_op:\n"
        "        batch_op.alter_column('email', existing_type=TYPE, nullable=True)\n"
        "If this is safe here, say why at the top of migrations/versions/b1.py, below down_revision (for line 10):\n"
        '    safety_assured = {"drop-column": "why it is safe"}\n'
        "1 revision blocks: drop-column; to run it once all the same: flask db -x review=warn upgrade\n"
        "Nothing was changed; the database is still at r0.\n"
    ) in re.sub(r"    from sqlalchemy.dialects .*\n|(?<=existing_type=).*(?=, nullable)", _type, said)
    assert "r0" in reviewed.ok("current")


INSPECTED = """
if "{0}" in sa.inspect(op.get_bind()).get_table_names():
    op.drop_table("{0}")"""


def test_inspecting(reviewed: Project) -> None:
    """A script that inspects the database is followed there, if it is the next one: a later one finds another."""
    reviewed.write(*revision("a1", "r0", INSPECTED.format("pet")))
    reviewed.write(*revision("b1", "a1", INSPECTED.format("user")))
    assert "not-inspectable" not in reviewed.ok("upgrade", "a1")
    assert "revision b1 drops table user" in reviewed.fails("upgrade")
    reviewed.write(*revision("c1", "b1", INSPECTED.format("user")))
    found = json.loads(reviewed.db("review", "--format", "json").stdout)
    told_of = {(each["revision"], each["code"]) for each in found if each["code"] != "missing-downgrade"}
    assert {("b1", "drop-table"), ("c1", "drop-table"), ("c1", "not-inspectable")} == told_of


@pytest.mark.parametrize(
    ("unread", "accepted"), [("", True), ("for row in op.get_bind().execute(sa.text('SELECT 1')):\n    pass\n", False)]
)
def test_table_of_an_earlier_revision(reviewed: Project, unread: str, accepted: bool) -> None:
    """A table is not reported as missing if an earlier pending revision creates it, or one that was not read may."""
    reviewed.write(*revision("a1", "r0", (unread or CREATE) + "\n"))
    reviewed.write(*revision("b1", "a1", "op.add_column('pet', sa.Column('b', sa.Integer()))"))
    if accepted:
        reviewed.ok("review", "--accept", "a1")
    found = json.loads(reviewed.db("review", "--format", "json").stdout)
    assert [] == [each for each in found if "changes table pet" in each["message"]]


@pytest.mark.parametrize("reason", ["' '", "None"])
def test_no_reason(reviewed: Project, reason: str) -> None:
    """An acknowledgement without a reason does not count, and the message says so."""
    reviewed.write(*revision("a1", "r0", DROP, more=f'safety_assured = {{"drop-column": {reason}}}'))
    assert "lists drop-column in safety_assured without a reason" in reviewed.fails("upgrade")


def test_warn_and_off(reviewed: Project) -> None:
    """``warn`` prints it and goes on, ``off`` goes on."""
    reviewed.write(*revision("a1", "r0", DROP))
    reviewed.write(*revision("b1", "a1", "op.drop_table('user')"))
    assert "drop-column" in reviewed.ok("-x", "review=warn", "upgrade", "a1")
    assert "drop-table" not in reviewed.ok("-x", "review=off", "upgrade")


def test_new_and_empty_tables(project: Project) -> None:
    """A table that the same run makes is no reason, one without rows does not block; and neither is a new database."""
    project.environ["MIGRATION_REVIEW"] = "enforce"
    project.write(*revision("a1", FIRST, "op.drop_table('user')"))
    project.ok("upgrade", FIRST)
    assert "warns: revision a1 drops table user" in project.ok("upgrade")
    project.write(*revision("b1", "a1", f"{CREATE}\nop.drop_table('pet')"))
    assert "drop-table" not in project.ok("upgrade")


DOWNGRADES = {
    "op.drop_table('pet')": "2 rows of table pet",
    "with op.batch_alter_table('pet') as batch:\n    batch.drop_column('a')": "1 value in pet.a",
    "op.execute('DELETE FROM pet')\nop.drop_table('pet')": "2 rows of table pet",
    "op.execute('DELETE FROM pet WHERE id > 1')": "up to 2 rows of table pet",
}


def test_downgrade_tells_what_it_takes(reviewed: Project) -> None:
    """A downgrade is not blocked, and counts the rows and values that it deletes; a WHERE may take fewer."""
    for number, down in enumerate(DOWNGRADES):
        of_its_own = [lines.replace("pet", f"pet{number}") for lines in (f"{CREATE}\n{ROWS}", down)]
        reviewed.write(*revision(f"r{number + 1}", f"r{number}", *of_its_own))
    reviewed.ok("upgrade")
    told = re.findall("The downgrade deletes (.*)", reviewed.ok("downgrade", "r0"))
    assert [said.replace("pet", f"pet{number}") for number, said in enumerate(DOWNGRADES.values())][::-1] == told


def test_downgrade_that_does_nothing(reviewed: Project) -> None:
    """An empty downgrade() is reported by the status, by the upgrade, and by the downgrade that runs it."""
    reviewed.write(*revision("a1", "r0", CREATE, "return None"))
    assert "warns: missing-downgrade, line " in reviewed.db("status").stdout
    assert "(missing-downgrade)" in reviewed.ok("upgrade")
    assert "downgrade() of a1 does nothing; the changes of its upgrade() remain\n" in reviewed.ok("downgrade")


def test_a_downgrade_counts_what_has_another_name_now(reviewed: Project) -> None:
    """The rows of a table and the values of a column that an earlier step of the same downgrade renames back; but not
    those of a column that a step adds.
    """
    drop = "op.drop_column('pet', 'b')\nop.drop_column('pet', 'a')\nop.drop_table('pet')"
    reviewed.write(*revision("a1", "r0", f"{CREATE}\n{ROWS}", drop))
    rename = "op.alter_column('animal', {!r}, new_column_name={!r}, existing_type=sa.Integer())"
    up = f"op.rename_table('pet', 'animal')\n{rename.format('a', 'x')}"
    down = f"{rename.format('x', 'a')}\nop.rename_table('animal', 'pet')\n"
    reviewed.write(*revision("b1", "a1", up, f"{down}op.add_column('pet', sa.Column('b', sa.Integer()))"))
    reviewed.ok("-x", "review=off", "upgrade")
    told = reviewed.ok("downgrade", "--revision", "r0")
    assert ["1 value in pet.a", "2 rows of table pet"] == re.findall("The downgrade deletes (.*)", told)


def test_what_stands_before_a_read(reviewed: Project) -> None:
    """What a script does before it reads the database is reviewed, and the finding has the line that reads."""
    body = f"{DROP}\nprint('hello')\nop.get_bind().execute(sa.text('SELECT 1')).scalar()"
    reviewed.write(*revision("a1", "r0", body, "op.get_bind().exec_driver_sql('DROP TABLE \"user\"')"))
    done = reviewed.db("review", "--format", "json")
    found = {item["code"]: item["line"] for item in json.loads(done.stdout)}
    assert (10, 12) == (found["drop-column"], found["not-inspectable"])
    reviewed.fails("upgrade")


def test_one_line_for_several_findings(reviewed: Project) -> None:
    """What acknowledges the findings of a script is one dict, which can be pasted as it stands."""
    reviewed.write(*revision("a1", "r0", f"{DROP}\nop.execute('DELETE FROM \"user\"')\nop.get_bind().commit()"))
    codes = ("drop-column", "unbounded-data-change")
    assured = ", ".join(f'"{code}": "why it is safe"' for code in codes)
    assert [f"{{{assured}}}"] == re.findall("safety_assured = (.*)", reviewed.fails("upgrade"))


@pytest.mark.parametrize("backend", ["sqlite", "mysql"], indirect=True)
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


@pytest.mark.parametrize("backend", ["sqlite", "mysql"], indirect=True)
def test_no_line_for_what_is_certain_to_fail(backend: str, database: str, reviewed: Project) -> None:
    """Where rows make a statement fail, the message only says to correct them; it offers no way to run it anyway."""
    check = "with op.batch_alter_table('user') as batch_op:\n    batch_op.create_check_constraint('ck', 'id < 0')"
    reviewed.write(*revision("a1", "r0", f"{DROP}\n{check}"))
    errors = reviewed.fails("upgrade")
    assert "fails because rows of user violate it" in errors
    assert ['{"drop-column": "why it is safe"}'] == re.findall("safety_assured = (.*)", errors)
    reviewed.write(*revision("a1", "r0", check))
    errors = reviewed.fails("upgrade")
    assert "1 revision blocks: add-check" in errors
    assert "safety_assured" not in errors
    assert "review=warn" not in errors


def test_formats(reviewed: Project) -> None:
    """JSON has the promised keys, GitHub's annotations are one line each; the exit status is 1 where one blocks."""
    reviewed.write(*revision("a1", "r0", DROP, "raise NotImplementedError"))
    done = reviewed.db("review", "--format", "json")
    assert 1 == done.returncode
    expected = {"revision": "a1", "file": "migrations/versions/a1.py", "line": 10, "code": "drop-column"}
    expected |= {"level": "blocks", "message": ANY, "instead": ANY, "acknowledged": False}
    assert [expected] == json.loads(done.stdout)
    (annotation,) = reviewed.db("review", "--format", "github").stdout.splitlines()
    assert annotation.startswith("::error file=migrations/versions/a1.py,line=10,title=drop-column::revision a1 drops")
    assert "[]" == reviewed.db("review", FIRST, "--format", "json").stdout.strip()


def test_which_revisions(reviewed: Project) -> None:
    """Those that are pending, one, a range, or the whole history."""
    reviewed.write(*revision("a1", "r0", "op.drop_table('user')"))
    reviewed.ok("-x", "review=off", "upgrade")
    reviewed.write(*revision("b1", "a1", CREATE))
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
    """The status shows the findings below each pending step."""
    reviewed.write(*revision("a1", "r0", DROP, "raise NotImplementedError"))
    told = [line.split(maxsplit=1) for line in reviewed.db("status").stdout.splitlines()]
    assert ["blocks:", "drop-column, line 10"] == told[told.index(["pending", "a1"]) + 1]


INDEX_BLOCKS = "create-index-blocks-writes"
UNREACHABLE = {"DATABASE_URL": "mysql+pymysql://root@127.0.0.1:1/none"}
TARGETS = {
    "two": ([], {"MIGRATION_TARGETS": "mysql>=8.0,postgresql>=13"}, 1, f"({INDEX_BLOCKS}), on postgresql."),
    "--target": (["--target", "postgresql"], UNREACHABLE, 1, INDEX_BLOCKS),
    "unknown --target": (["--target", "oracle"], {}, 2, "--target names 'oracle', which is not a database"),
    "unknown": ([], {"MIGRATION_TARGETS": "oracle"}, 1, "Error: MIGRATION_TARGETS names 'oracle', which is"),
    "none": ([], {}, 0, ""),
}


@pytest.mark.parametrize(("args", "environ", "status", "says"), TARGETS.values(), ids=TARGETS)
def test_targets(reviewed: Project, args: list[str], environ: dict[str, str], status: int, says: str) -> None:
    """Beside the configured database, those in MIGRATION_TARGETS; --target instead, also where no database answers."""
    reviewed.write(*revision("a1", "r0", "op.create_index('ix', 'user', ['email'])"))
    done = reviewed.db("review", *args, **environ)
    assert (status, True) == (done.returncode, says in done.stdout + done.stderr)
    assert (INDEX_BLOCKS in done.stdout) == (INDEX_BLOCKS in says)


def test_assurances_that_assure_nothing(reviewed: Project) -> None:
    """An unknown code is reported; a known one may be for another database."""
    assured = 'safety_assured = {"drop-tabel": "x", "create-index-blocks-writes": "x"}'
    reviewed.write(*revision("a1", "r0", "op.create_index('ix', 'user', ['email'])", more=assured))
    said = reviewed.ok("review")
    assert "lists 'drop-tabel' in safety_assured, but there is no such rule (safety-assured)" in said
    assert "lists create-index" not in said


def test_rehearsal_is_not_stopped(reviewed: Project) -> None:
    """A rehearsal tells what is lost by itself, of a revision that an upgrade would not run."""
    reviewed.write(*revision("a1", "r0", DROP, "op.add_column('user', sa.Column('email', sa.String(120)))"))
    assert "its upgrade drops user.email, which has 1 value" in reviewed.fails("rehearse")


def test_merged_in_order() -> None:
    """Findings come in the order of the history, whichever database they were found for."""
    first, second = (Finding(name, "a.py", 1, "code", Level.WARNS, "it hurts.", "") for name in ("b1", "a2"))
    found = merged({FACTS["sqlite"](): [second], FACTS["mysql"](): [first]}, ["b1", "a2"])
    assert ["b1", "a2"] == [finding.revision for finding in found]


def raising(*_: object, **_options: object) -> None:
    """Fail, as a rule or a reader with a bug does."""
    raise ValueError("no such thing")


def test_rule_that_raises(reviewed: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in a rule becomes a warning with code, file and line, and stops no command."""
    monkeypatch.setitem(RULES, "raising", rule(BLOCKS, DropColumnOp)(raising))
    by_class = vars(KnownSchema)["apply"].dispatcher
    found = by_class.dispatch
    monkeypatch.setattr(by_class, "dispatch", lambda kind: raising if kind is AddColumnOp else found(kind))
    up = f"op.add_column('user', sa.Column('age', sa.Integer()))\n{DROP.replace('email', 'age')}"
    assured = 'safety_assured = {"drop-column": "it is new"}'
    reviewed.write(*revision("a1", "r0", up, "raise NotImplementedError", more=assured))
    told = (
        "revision a1 was not reviewed by one rule, because that rule raised an error: ValueError: no such thing "
        "(raising).\nInstead: read that line yourself"
    )
    said = reviewed.ok("review")
    assert f"migrations/versions/a1.py, line 11, warns: {told}" in said
    unknown = "revision a1 has an operation whose effect on the tables the review cannot work out: ValueError"
    assert f"line 9, warns: {unknown}" in said
    assert "warns: raising, line 11" in reviewed.db("status").stdout
    assert told in reviewed.ok("upgrade")
    reviewed.ok("stamp", "r0")
    assert told in reviewed.ok("-x", "review=warn", "upgrade")
    models = (reviewed.path / "app" / "models.py").read_text()
    pet = "class Pet(db.Model):\n    id: Mapped[int] = mapped_column(primary_key=True)\n\n\nclass User"
    reviewed.write("app/models.py", models.replace("class User", pet))
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


def test_upgrade_with_type_given_as_class(reviewed: Project) -> None:
    """A script that gives a type as a class runs, as on stock."""
    reviewed.write(*revision("a1", "r0", AS_CLASS, "raise NotImplementedError"))
    reviewed.ok("-x", "review=warn", "upgrade")


@pytest.mark.parametrize("array", ["mood[] USING email::mood[]", "mood[3][3]", "mood ARRAY"])
def test_array_of_a_type_of_its_own(review: Review, array: str) -> None:
    """An array of an enum is reviewed as a change of type like any other."""
    statement = f'ALTER TABLE "user" ALTER COLUMN email TYPE {array}'
    assert ["blocks"] == levels(review(f"op.execute({statement!r})", "postgresql"), "change-type")


def test_parses_no_script(review: Review, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that does not import the app, and whose downgrade() has operations, is not parsed: that takes long."""
    script = "def upgrade():\n    op.create_table('t')\n\ndef downgrade():\n    op.drop_table('t')"
    with monkeypatch.context() as patched:
        patched.delattr(ast, "parse")
        findings = review(script, "sqlite")
    assert [] == findings


@pytest.mark.parametrize("condition", ["is_offline_mode()", "get_context().dialect.name == 'mysql'"])
def test_alembic_context(review: Review, condition: str) -> None:
    """A script that uses alembic.context gets the same stand-ins as from op."""
    script = f"from alembic import context\nif not context.{condition}:\n    op.drop_table('user')"
    assert ["drop-table"] == [finding.code for finding in review(script, "sqlite")]


def test_alembic_context_of_an_upgrade(at_first: None, project: Project) -> None:
    """The review of an upgrade records what a script does through alembic.context, and does not execute it."""
    body = "from alembic import context\ncontext.get_bind().execute(sa.text('DELETE FROM user'))\n1 / 0"
    project.write(*revision("a1", FIRST, body))
    project.environ["MIGRATION_REVIEW"] = "enforce"
    assert "unbounded-data-change" in project.fails("upgrade")
