"""What a script does after it has read rows is reviewed too, as far as its arguments are literals."""

import pytest

from .support import FIRST, Project, Review, levels, revision

READ = "rows = op.get_bind().execute(sa.text('SELECT id FROM pet')).fetchall()\n"
HELPER = """def read():
    rows = op.get_bind().scalars(sa.text("SELECT 1")).all()
    op.drop_column("user", "email")


def upgrade():
    read()
    op.rename_table("user", "person")
"""


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("op.drop_column('user', 'email')", "drop-column"),
        ("with op.batch_alter_table('user') as batch:\n    batch.drop_column('email')", "drop-column"),
        ("if rows:\n    print(rows)\nelse:\n    op.drop_table('user')", "drop-table"),
        ("for row in rows:\n    print(row)\n    op.execute('DROP TABLE user')", "drop-table"),
        ("try:\n    print(rows)\nfinally:\n    op.rename_table('user', 'person')", "rename-table"),
        ("name = 'email'\nop.alter_column('user', name, new_column_name='mail')", "rename-column"),
        ("bind = op.get_bind()\nbind.execute(sa.text('DELETE FROM user'))", "unbounded-data-change"),
        ("with op.get_context().autocommit_block():\n    op.drop_column('user', 'email')", "drop-column"),
        ("for name in ('email',):\n    op.drop_column('user', name)", "drop-column"),
    ],
)
def test_after_a_read(review: Review, body: str, code: str) -> None:
    """A call behind a read gets its usual finding at its usual level, in every branch; the read itself only warns."""
    findings = review(READ + body, "postgresql")
    assert (["blocks"], ["warns"]) == (levels(findings, code), levels(findings, "not-inspectable"))


def test_batch_that_has_begun(review: Review) -> None:
    """A call in a batch behind a read belongs to that batch; one before the read is found once."""
    read = "print(op.get_bind().scalar(sa.text('SELECT 1')))"
    lines = ["batch.drop_column('username')", read, "batch.drop_column('email')"]
    batch = "\n    ".join(["with op.batch_alter_table('user') as batch:", *lines])
    assert ["blocks", "blocks"] == levels(review(batch, "sqlite"), "drop-column")


def test_helper(review: Review) -> None:
    """If the read is in a function of the script, the rest of that and of its caller is reviewed."""
    findings = review(HELPER, "mysql")
    assert ["drop-column", "rename-table"] == [each.code for each in findings if each.stops]


def test_function_of_the_script(review: Review) -> None:
    """A function of the script that is called behind a read is reviewed too, in a branch as well."""
    script = 'def drop(name):\n    op.drop_column("user", name)\n\n\ndef upgrade():\n    '
    script += 'if op.get_bind().scalar(sa.text("SELECT 1")):\n        drop("email")\n'
    assert ["blocks"] == levels(review(script, "sqlite"), "drop-column")


@pytest.mark.parametrize(
    "body",
    [
        "for row in rows:\n    op.drop_column('user', row.name)",
        "later = lambda: op.drop_column('user', 'email')",
        "print(rows)\nopen('x', 'w').write('op')",
    ],
)
def test_unknown_arguments(review: Review, body: str) -> None:
    """A call whose arguments depend on the rows is not guessed, and nothing else is called."""
    assert ["not-inspectable"] == [finding.code for finding in review(READ + body, "sqlite")]


def test_upgrade_is_stopped(project: Project) -> None:
    """An upgrade that would drop a column behind a read stops before it runs; an acknowledgement lets it through."""
    project.write(*revision("a1", FIRST, "op.execute(\"INSERT INTO user (username, email) VALUES ('alice', 'a@b')\")"))
    project.ok("upgrade")
    project.environ["MIGRATION_REVIEW"] = "enforce"
    read = "op.get_bind().execute(sa.text('SELECT id FROM user')).fetchall()\n"
    drop = "with op.batch_alter_table('user') as batch:\n    batch.drop_column('email')"
    project.write(*revision("b1", "a1", read + drop))
    done = project.db("upgrade")
    assert (1, True) == (done.returncode, "revision b1 drops column user.email" in done.stderr), done.stderr
    project.write(*revision("b1", "a1", read + drop, more='safety_assured = {"drop-column": "unused"}'))
    project.ok("upgrade")
