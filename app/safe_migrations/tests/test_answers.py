"""The questions of `flask db migrate`: which pairs they are about, and what their answers write into the scripts."""

import ast
import re
from collections.abc import Callable

import pytest
from alembic.script import ScriptDirectory

from ..adapters.products import FACTS
from ..review.reviewer import review_revisions
from .example.app.extensions import migrate
from .support import AGREE, FIRST, Models, Project, found, on_sqlite, revision

TOY = """
class Toy(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    code: Mapped[str] = mapped_column(String(36))
    size: Mapped[int | None]
"""

Pairs = Callable[..., list[str]]


@pytest.fixture
def toys(empty: Models) -> Models:
    """Return a project whose database has toys."""
    empty.become(TOY)
    return empty


def renames(stderr: str) -> list[tuple[str, str]]:
    """Return the pairs that were asked about, such as ("toy.name", "toy.title")."""
    return re.findall(r"Was (\S+) renamed to (\S+)\?", stderr)


@on_sqlite
def test_most_similar_names_first(toys: Models) -> None:
    """Of two tables that fit two others, those with similar names are pairs, and so are the columns."""
    pools = "".join(TOY.replace("Toy", name) for name in ("WorkerPool", "WorkerPoolQueue"))
    toys.become(TOY, pools)
    toys.models(TOY.replace("name:", "name_text:").replace("code:", "code_text:"), pools.replace("Worker", "Work"))
    asks = toys.asked("y\n\ny\n\ny\n\n", "migrate").stderr
    assert [
        ("worker_pool_queue", "work_pool_queue"),
        ("worker_pool", "work_pool"),
        ("toy.name", "toy.name_text"),
        ("toy.code", "toy.code_text"),
    ] == renames(asks)


@on_sqlite
def test_values_of_another_type(toys: Models) -> None:
    """A dropped text and an added integer are not a rename; a text and a UUID are, if the text may be one."""
    changed = TOY.replace("name: Mapped[str] = mapped_column(String(80))", "title: Mapped[int | None]")
    toys.models(changed.replace("code: Mapped[str] = mapped_column(String(36))", "key: Mapped[UUID | None]"))
    assert [("toy.code", "toy.key")] == renames(toys.asked("\n\n\n", "migrate").stderr)


@pytest.fixture
def pairs(project: Project, in_app: None) -> Pairs:
    """Return a function that runs one revision after another, without a database, and returns the pairs of the last."""

    def reported(before: str, up: str, product: str = "postgresql") -> list[str]:
        project.write(*revision("a1", FIRST, before))
        project.write(*revision("a2", "a1", up))
        history = list(ScriptDirectory.from_config(migrate.get_config()).walk_revisions())[::-1]
        findings = found(review_revisions(history, {"a2"}, FACTS[product]()), "possible-rename")
        return [finding.message.partition(", which looks like")[0].partition(" drops ")[2] for finding in findings]

    return reported


@pytest.mark.parametrize("product", ["sqlite", "postgresql"])
@pytest.mark.parametrize(
    ("old", "new", "fits"),
    [
        ("sa.String(80)", "sa.Uuid()", False),
        ("sa.Text()", "sa.Uuid()", False),
        ("sa.String(80)", "sa.Integer()", False),
        ("sa.Integer()", "sa.Uuid()", False),
        ("sa.Uuid()", "sa.String(80)", False),
        ("sa.String(36)", "sa.Uuid()", True),
        ("sa.CHAR(32)", "sa.Uuid()", True),
        ("sa.Uuid()", "sa.Uuid()", True),
        ("sa.String(80)", "sa.Text()", True),
        ("sa.String(80)", "sa.String(80), sa.Computed('1')", False),
    ],
)
def test_types_of_possible_renames(pairs: Pairs, product: str, old: str, new: str, fits: bool) -> None:
    """The review reports two columns as a pair only if the values of one type may be values of the other."""
    before = f"op.create_table('pet', sa.Column('id', sa.Integer()), sa.Column('name', {old}))"
    up = f"op.drop_column('pet', 'name')\nop.add_column('pet', sa.Column('title', {new}))"
    assert (["column pet.name and adds title"] if fits else []) == pairs(before, up, product)


def test_names_of_possible_renames(pairs: Pairs) -> None:
    """The review pairs the most similar names, whatever the order; what comes back under its name is not renamed."""

    def drop(*names: str) -> str:
        return "\n".join(f"op.drop_table('{name}')" for name in names)

    def create(*names: str) -> str:
        columns = "sa.Column('id', sa.Integer()), sa.Column('size', sa.Integer()), sa.Column('name', sa.Text())"
        return "\n".join(f"op.create_table('{name}', {columns})" for name in names)

    before = create("worker_pool", "worker_pool_queue")
    expected = ["table worker_pool_queue and creates work_pool_queue", "table worker_pool and creates work_pool"]
    old, new = drop("worker_pool", "worker_pool_queue"), create("work_pool_queue", "work_pool")
    assert expected == pairs(before, f"{old}\n{new}")
    assert expected == pairs(before, f"{new}\n{old}")
    assert [] == pairs(before, f"{drop('worker_pool')}\n{create('worker_pool')}\n{create('pool')}")
    half = create("tool").replace("sa.Text()", "sa.Date()").replace("'name'", "'n'")
    assert [] == pairs(create("tool"), f"{drop('tool')}\n{half.replace('tool', 'tools').replace('size', 'width')}")


def test_placeholders(reviewed: Project) -> None:
    """The text that a message prints in place of a reason acknowledges nothing, and the message says so."""
    drop = "with op.batch_alter_table('user') as batch_op:\n    batch_op.drop_column('email')"
    reviewed.write(*revision("a1", "r0", drop, more="safety_assured = {'drop-column': 'why it is safe'}"))
    told = '(drop-column). In safety_assured, "why it is safe" is a placeholder, not a reason; write what '
    assert told in reviewed.fails("upgrade")
    assert told in reviewed.fails("rehearse", MIGRATION_REVIEW="off")


BALL = "INSERT INTO toy (id, name, code, size) VALUES (1, 'ball', 'b', 3)"
RENAMED = TOY.replace("name:", "title:")


def last_script(project: Project) -> str:
    """Return the text of the newest script."""
    return project.scripts()[-1].read_text(encoding="utf-8")


def assured(project: Project) -> str:
    """Return the line of safety_assured in the newest script, which is below the other names at its top."""
    return "\n".join(re.findall(r"(?<=^depends_on = None\n)safety_assured = .*", last_script(project), re.MULTILINE))


@on_sqlite
def test_yes_asks_why(toys: Models) -> None:
    """Yes to a rename or a drop asks for the reason, writes it into the script, and the upgrade asks no more."""
    toys.execute(BALL, "CREATE TABLE comment (id INTEGER NOT NULL PRIMARY KEY)", "INSERT INTO comment VALUES (1)")
    toys.models(RENAMED)
    stderr = toys.asked("y\nonly old code wrote it\ny\nwhy it is safe\nunused since May, «so»\n", "migrate").stderr
    assert 3 == stderr.count("Why is it safe? (Enter to decide later): ")
    assert 'Error: "why it is safe" is a placeholder, not a reason.' in stderr
    assert 'safety_assured = {"rename-column": "only old code wrote it", "drop-table": "unused since May, «so»"}' == (
        assured(toys)
    )
    toys.ok("upgrade", MIGRATION_REVIEW="enforce")


@on_sqlite
def test_no_silences_possible_rename(toys: Models) -> None:
    """No to a rename acknowledges that the two only look like one; that the column is dropped still has to be said."""
    toys.execute(BALL)
    toys.models(RENAMED.replace("title: Mapped[str]", "title: Mapped[str | None]"))
    stderr = toys.asked("n\n\n", "migrate").stderr
    assert "The models no longer have toy.name, so the script drops all values there. Why is it safe? (" in stderr
    assert 'safety_assured = {"possible-rename": "not a rename"}' == assured(toys)
    said = toys.fails("upgrade", MIGRATION_REVIEW="enforce")
    assert (True, False) == ("(drop-column)" in said, "(possible-rename)" in said)


@on_sqlite
def test_deciding_later(toys: Models) -> None:
    """Without a reason nothing is acknowledged, nor if one of two drops has none: a code covers both."""
    toys.execute("CREATE TABLE comment (id INTEGER)", "CREATE TABLE note (id INTEGER)")
    toys.asked("y\nunused\ny\n\n", "migrate")
    assert 2 == last_script(toys).partition("def downgrade")[0].count("op.drop_table(")
    assert "safety_assured" not in last_script(toys)
    toys.scripts()[-1].unlink()
    toys.asked("y\nunused\ny\nempty\n", "migrate")
    assert 'safety_assured = {"drop-table": "unused; empty"}' == assured(toys)
    toys.scripts()[-1].unlink()
    stderr = toys.asked("y\ny\n", "-x", "safe=drop-table:not ours", "migrate").stderr
    assert "Why" not in stderr
    assert 'safety_assured = {"drop-table": "not ours"}' == assured(toys)


@on_sqlite
def test_reasons_without_a_terminal(toys: Models) -> None:
    """-x safe=CODE:REASON, once for each code, writes them, and the upgrade runs on a database with rows."""
    toys.execute(BALL, "CREATE TABLE comment (id INTEGER NOT NULL PRIMARY KEY)", "INSERT INTO comment VALUES (1)")
    toys.models(RENAMED.replace("Toy", "Tool"))
    reasons = (
        "safe=drop-table:unused since May",
        "safe=rename-table:a: b",
        "safe=rename-column:\"it\" is 'new'",
        "safe=drop-column:none",
    )
    answers = ("rename=toy:tool", "rename=tool.name:title", "drop=comment", *reasons)
    said = toys.ok(*(part for answer in answers for part in ("-x", answer)), "migrate", MIGRATION_REVIEW="enforce")
    assert {"drop-table": "unused since May", "rename-table": "a: b", "rename-column": "\"it\" is 'new'"} == (
        ast.literal_eval(assured(toys).partition(" = ")[2])
    )
    assert "The new scripts have no finding with code drop-column; this reason is not written: none" in said
    place = r"\w+\.py, line \d+, acknowledged"
    assert re.findall(place, said) == re.findall(place, toys.db("review").stdout)
    toys.ok("upgrade", MIGRATION_REVIEW="enforce")


@on_sqlite
def test_reasons_in_scripts_of_another_template(toys: Models) -> None:
    """A reason stands below the names at the top in any template, and a long one on a line of its own."""
    toys.execute("CREATE TABLE comment (id INTEGER)")
    template = (toys.path / "migrations" / "script.py.mako").read_text()
    template = template.replace(
        "down_revision = ${repr(down_revision)}", "down_revision: str = (\n    ${repr(down_revision)}\n)"
    )
    template = template.replace("branch_labels = ${repr(branch_labels)}\ndepends_on = ${repr(depends_on)}\n", "\n")
    toys.write("migrations/script.py.mako", template)
    reason = "a reason that goes on " * 5
    toys.ok("-x", "drop=comment", "-x", f"safe=drop-table:{reason}", "migrate")
    expected = f')\nsafety_assured = {{\n    "drop-table": "{reason}",\n}}\n\n'
    assert expected in last_script(toys)
    toys.ok("upgrade", MIGRATION_REVIEW="enforce")


@pytest.mark.parametrize(
    ("answer", "why", "line"),
    [
        ("drop-tabel:unused", "no rule has the code 'drop-tabel'", "safe=drop-table:unused"),
        ("drop-table: ", "the reason is missing", "'safe=drop-table:unused since May'"),
        ("drop-table:...", '"..." is a placeholder, not a reason', "'safe=drop-table:unused since May'"),
        ("drop-table", "write it as safe=CODE:REASON", "'safe=drop-table:unused since May'"),
    ],
)
@on_sqlite
def test_wrong_reasons(toys: Models, answer: str, why: str, line: str) -> None:
    """An unknown code or an empty reason is an error with lines to paste, and no script is written."""
    toys.execute("CREATE TABLE comment (id INTEGER)")
    scripts = toys.scripts()
    done = toys.db("-x", "drop=comment", "-x", f"safe={answer}", "migrate")
    assert (2, scripts) == (done.returncode, toys.scripts())
    assert f"Error: -x safe={answer} cannot be used: {why}.\nFix: " in done.stderr
    assert f'    flask db -x {line} migrate -m "..."\n' in done.stderr


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"], indirect=True)
def test_values_for_nulls_of_renamed_columns(toys: Models) -> None:
    """Rows get their values also if the table and the column are renamed at the same time."""
    toys.execute("INSERT INTO toy (id, name, code) VALUES (1, 'ball', 'b')")
    toys.models(TOY.replace("Toy", "Tool").replace("size: Mapped[int | None]", "width: Mapped[int]"))
    toys.migrate("rename=toy:tool", "rename=tool.size:width", "default=tool.width:4")
    toys.ok("upgrade")
    assert [(1, 4)] == toys.rows("SELECT id, width FROM tool")
    assert AGREE in toys.ok("check")


@on_sqlite
def test_asking_for_values_of_nulls(toys: Models) -> None:
    """On a terminal the value is asked, again if it does not fit; without an answer the script has no backfill."""
    toys.models(TOY.replace("size: Mapped[int | None]", "size: Mapped[int] = mapped_column(default=3)"))
    stderr = toys.asked("big\n\n", "migrate").stderr
    assert 2 == stderr.count("toy.size becomes NOT NULL. Value for rows that have none (integer) [3]: ")
    filled, not_null = toys.scripts()[-2:]
    assert "op.backfill('toy', {'size': 3}, where=sa.column('size').is_(None))" in filled.read_text()
    toys.execute("INSERT INTO toy (id, name, code) VALUES (1, 'ball', 'b')")
    toys.ok("rehearse")
    for script in (filled, not_null):
        script.unlink()
    toys.models(TOY.replace("size: Mapped[int | None]", "size: Mapped[int]"))
    assert "(integer; Enter to skip): " in toys.asked("\n", "migrate").stderr
    assert "batch_op.alter_column('size'" in last_script(toys)
    assert "op.backfill" not in last_script(toys)
