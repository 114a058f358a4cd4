"""The operations of a script are recorded without a database; what cannot be recorded has a reason."""

import pytest
from alembic import op

from ..adapters.facts import Facts
from ..review.known_schema import KnownSchema
from ..review.recorder import NotInspectable, Operation
from .support import DB, Record

DIALECTS = ("sqlite", "mysql", "mariadb", "postgresql")


pytestmark = pytest.mark.usefixtures("in_app")


def names(found: list[Operation]) -> list[str]:
    """Return the names of the operations' classes."""
    return [type(operation.op).__name__ for operation in found]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_operations(record: Record, dialect: str) -> None:
    """Operations are recorded for each dialect, also of a batch, a loop and a helper, with their lines."""
    body = (
        "pet = op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))\n"
        "op.bulk_insert(pet, [{'id': 1}])\n"
        "with op.batch_alter_table('user') as batch:\n"
        "    batch.drop_column('email')\n"
        "    batch.alter_column('username', type_=sa.Text())\n"
        "for name in 'ab':\n"
        "    add(name)\n"
    )
    helper = "def add(name):\n    op.add_column('user', sa.Column(name, sa.Integer()))\n"
    found = record(body, dialect, helper)
    expected = ["CreateTableOp", "BulkInsertOp", "DropColumnOp", "AlterColumnOp", "AddColumnOp", "AddColumnOp"]
    assert expected == names(found)
    assert [False, False, True, True, False, False] == [operation.block is not None for operation in found]
    assert [11, 12, 14, 15, 7, 7] == [operation.line for operation in found]
    assert "user" == found[2].op.table_name  # type: ignore[attr-defined]


def test_beside_op(record: Record, capfd: pytest.CaptureFixture[str]) -> None:
    """What a script runs by `op.get_context()`, past `op`, is recorded too, and not printed."""
    body = (
        "from alembic.operations import Operations\n"
        "Operations(op.get_context()).drop_table('pet')\n"
        "op.get_context().impl.drop_table(sa.Table('toy', sa.MetaData()))\n"
    )
    found = record(body)
    assert ["DropTable", "DropTable"] == [type(each.op.sqltext).__name__ for each in found]  # type: ignore[attr-defined]
    assert ("", "") == capfd.readouterr()


def test_sql(record: Record) -> None:
    """SQL that op or its connection executes is recorded, and types that are created or dropped by themselves."""
    body = (
        "op.execute('DELETE FROM user')\n"
        "op.get_bind().execute(sa.text('DELETE FROM user'))\n"
        "op.get_bind().execute(sa.table('user', sa.column('id')).delete())\n"
        "sa.Enum('a', name='kind').create(op.get_bind())\n"
        "sa.Enum(name='kind').drop(op.get_bind(), checkfirst=True)\n"
    )
    found = record(body)
    assert ["ExecuteSQLOp"] * 5 == names(found)
    assert "kind" == found[-1].op.sqltext.element.name  # type: ignore[attr-defined]


def test_tables_keep_foreign_keys(record: Record) -> None:
    """A created table keeps the foreign keys of its columns and its own, each time that the operation is applied."""
    (made,) = record(
        "op.create_table('pet', sa.Column('a', sa.Integer(), sa.ForeignKey('user.id')), sa.Column('b', sa.Integer()), "
        "sa.ForeignKeyConstraint(['b'], ['user.id']))"
    )
    for _ in range(2):
        tables = KnownSchema(Facts())
        tables.apply(made.op)
        assert [["a"], ["b"]] == sorted(key.columns for key in tables.table("pet").foreign_keys)


def test_autocommit(record: Record) -> None:
    """An operation says whether it stands in an autocommit block."""
    body = (
        "with op.get_context().autocommit_block():\n"
        "    op.create_index('ix', 'user', ['email'], postgresql_concurrently=True)\n"
        "op.drop_index('ix')"
    )
    assert [True, False] == [operation.autocommit for operation in record(body)]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("rows = op.get_bind().execute(sa.text('SELECT 1')).fetchall()", "fetchall"),
        ("for row in op.get_bind().execute(sa.text('SELECT 1')):\n    pass", "rows"),
        ("sa.inspect(op.get_bind()).get_table_names()", "the script inspects the database"),
        ("op.get_bind().connection.cursor()", r"the script uses op.get_bind\(\).connection"),
        (f"{DB}db.session.execute(sa.text('DELETE FROM user'))", "another connection"),
        (f"{DB}db.engine.connect()", "another connection"),
        ("1 / 0", "ZeroDivisionError"),
        ("import nothing_like_it", "nothing_like_it"),
        ("raise NotImplementedError('no way')", "no way"),
    ],
)
def test_not_inspectable(record: Record, body: str, reason: str) -> None:
    """What depends on the database, or fails, is not guessed."""
    with pytest.raises(NotInspectable, match=reason):
        record(body)


def test_leaves_op_alone(record: Record) -> None:
    """After a recording, of a script that fails too, `op` is no recorder any more."""
    with pytest.raises(NotInspectable):
        record("1 / 0")
    with pytest.raises((NameError, AttributeError)):
        op.execute("SELECT 1")
