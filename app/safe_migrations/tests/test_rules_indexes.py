"""Rules about indexes: what they find beside the pairs of RULES.md, and that the servers do what they claim."""

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import sqlalchemy as sa
from flask_migrate import upgrade
from sqlalchemy.exc import OperationalError

from .support import (
    FIRST,
    Operating,
    Project,
    Review,
    ReviewOn,
    execute,
    found,
    levels,
    on_mysql,
    on_postgresql,
    revision,
)


@pytest.mark.parametrize(
    ("made", "pasted"),
    [
        (
            "op.create_index('ix', 'user', ['email'], unique=True, schema='Own', if_not_exists=True)",
            "op.create_index('ix', 'user', ['email'], unique=True, schema='Own', postgresql_concurrently=True, "
            "if_not_exists=True)",
        ),
        (
            "op.create_index('ix', 'user', [sa.text('lower(email)'), 'id'], postgresql_where=sa.text('id > 1'))",
            "op.create_index('ix', 'user', [sa.literal_column('lower(email)'), 'id'], unique=False, "
            "postgresql_where=sa.text('id > 1'), postgresql_concurrently=True)",
        ),
        (
            "with op.batch_alter_table('user') as batch_op:\n"
            "    batch_op.create_index(batch_op.f('ix_user_email'), ['email'], postgresql_using='hash')",
            "op.create_index(op.f('ix_user_email'), 'user', ['email'], unique=False, postgresql_using='hash', "
            "postgresql_concurrently=True)",
        ),
    ],
)
def test_create_index_line(review: Review, made: str, pasted: str) -> None:
    """The line to paste keeps all that the script says of the index."""
    (finding,) = found(review(made, "postgresql"), "create-index-blocks-writes")
    assert (
        "create it concurrently, in a separate revision:\n"
        "    with op.get_context().autocommit_block():\n"
        f"        {pasted}"
    ) == finding.instead
    assert [] == found(review(finding.instead.partition("\n")[2], "postgresql"), "create-index-blocks-writes")


BLOCK = "\nwith op.get_context().autocommit_block():\n    op.execute({!r})\n"
VALUE, INDEX = BLOCK.format("ALTER TYPE kind ADD VALUE 'emu'"), BLOCK.format("CREATE INDEX CONCURRENTLY ix ON pet (id)")


@pytest.mark.parametrize(
    ("up", "expected"),
    [
        ("op.execute('CREATE TABLE half (id INT)')" + INDEX, [8]),
        (VALUE + "op.drop_column('pet', 'a')" + INDEX, [11]),
        (VALUE + "op.drop_column('pet', 'a')", []),
        ("op.execute('CREATE TABLE IF NOT EXISTS half (id INT)')" + INDEX, []),
        ("op.create_table('half', sa.Column('id', sa.Integer()), if_not_exists=True)" + INDEX, []),
        ("op.execute('SET lock_timeout = 1; ALTER TABLE pet VALIDATE CONSTRAINT c')" + INDEX, []),
        ("op.execute('UPDATE pet SET a = 1 WHERE a = 2')" + INDEX, []),
        ("op.execute(\"ALTER TABLE pet ADD CHECK (b <> ' IF EXISTS ')\")" + INDEX, [8]),
        ("op.execute('CREATE OR REPLACE VIEW half AS SELECT 1')" + INDEX, []),
        ("op.execute('CREATE FUNCTION f() RETURNS void AS $$ DROP TABLE IF EXISTS a $$ LANGUAGE sql')" + INDEX, [8]),
        ("op.execute('CREATE VIEW half AS SELECT 1')" + INDEX, [8]),
        ("op.execute('alter table pet add column if not exists a int')" + INDEX, []),
    ],
)
def test_autocommit_not_alone(review: Review, up: str, expected: list[int]) -> None:
    """DDL before a block is reported, unless it can be repeated; rows are not, nor is DDL behind the last block."""
    findings = found(review(up, "postgresql"), "autocommit-not-alone")
    assert expected == [each.line for each in findings]
    error = "does not exist" if "drop_column" in up else "already exists"
    assert all(f'the next run fails with "{error}"' in each.message for each in findings)


@on_postgresql
def test_next_run_fails(attempt: Callable[..., list[str]], database: str, project: Project) -> None:
    """What stands before a block that fails remains, and is in the way of the next run."""
    project.write(*revision("a1", FIRST, "op.execute('CREATE TABLE half (id INT)')" + BLOCK.format("SELECT 1 / 0")))
    for error in ("division by zero", 'relation "half" already exists'):
        assert error in "".join(attempt(upgrade))


def test_new_tables(review: Review) -> None:
    """An index of a table that the same revision creates blocks no session; a concurrent one is refused there too."""
    made = "op.create_table('pet', sa.Column('id', sa.BigInteger(), primary_key=True))\n"
    assert [] == review(f"{made}op.create_index('ix', 'pet', ['id'])\nop.drop_index('ix', 'pet')", "postgresql")
    concurrently = f"{made}op.create_index('ix', 'pet', ['id'], postgresql_concurrently=True)"
    assert ["concurrently-in-transaction"] == [finding.code for finding in review(concurrently, "postgresql")]


@pytest.mark.parametrize("direction", ["upgrade", "downgrade"])
def test_concurrently_found(review: Review, direction: str) -> None:
    """It is found in a downgrade too, and in a batch, which runs at its end, outside the block."""
    inside = (
        f"def {direction}():\n    with op.batch_alter_table('user') as batch_op:\n"
        "        with op.get_context().autocommit_block():\n"
        "            batch_op.drop_index('ix', postgresql_concurrently=True)\n"
    )
    (finding,) = review(inside, "postgresql")
    where = " in downgrade()" if direction == "downgrade" else ""
    assert (
        f"revision a1{where} drops index ix concurrently in a transaction, which PostgreSQL refuses"
        " (concurrently-in-transaction)."
    ) == finding.message
    assert (
        "run it in an autocommit block, in a separate revision:\n"
        "    with op.get_context().autocommit_block():\n"
        "        op.drop_index('ix', table_name='user', postgresql_concurrently=True)"
    ) == finding.instead
    outside = (
        f"def {direction}():\n    with op.get_context().autocommit_block():\n"
        "        with op.batch_alter_table('user') as batch_op:\n"
        "            batch_op.drop_index('ix', postgresql_concurrently=True)\n"
    )
    assert [] == review(outside, "postgresql")


def test_drop_index_with_its_table(review: Review) -> None:
    """An index of a table that the same revision drops is not spoken of: its table is."""
    assert ["drop-table"] == [
        finding.code
        for finding in review("op.drop_index('ix', table_name='user')\nop.drop_table('user')", "postgresql")
    ]


@on_postgresql
def test_drop_index_of_what_table(review_on: ReviewOn) -> None:
    """Without the table's name in the script, the finding does not invent one."""
    (finding,) = found(review_on("op.drop_index('ix')"), "drop-index-blocks")
    assert (
        "revision a1 drops index ix without CONCURRENTLY, which blocks reads and writes of its table while it waits for"
        " running transactions (drop-index-blocks)."
    ) == finding.message
    assert "op.drop_index('ix', postgresql_concurrently=True)" in finding.instead


@on_postgresql
def test_drop_index_with_its_column(review_on: ReviewOn) -> None:
    """To drop the column takes the same lock; another column's index may go without."""
    tables = ("CREATE TABLE pet (id INTEGER, age INTEGER, name TEXT)", "CREATE INDEX ix ON pet (age)")
    drop = "op.drop_index('ix', 'pet')\nop.drop_column('pet', '{}')"
    assert ["warns"] == levels(review_on(drop.format("name"), *tables), "drop-index-blocks")
    assert [] == found(review_on(drop.format("age")), "drop-index-blocks")


PET = (
    "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('user_id', sa.Integer()), "
    "sa.Column('age', sa.Integer()), sa.ForeignKeyConstraint(['user_id'], ['user.id'], name='fk'))\n"
)
PET_INLINE = (
    "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True), "
    "sa.Column('user_id', sa.Integer(), sa.ForeignKey('user.id')))\n"
)
IX = "op.create_index('ix', 'pet', ['user_id'])\n"
OTHER = "op.create_index('other', 'pet', ['user_id', 'age'])\n"
DROP, DROP_KEY = "op.drop_index('ix', 'pet')\n", "op.drop_constraint('fk', 'pet', type_='foreignkey')\n"


@on_mysql
@pytest.mark.parametrize(
    ("before", "script", "refused"),
    [
        pytest.param("", PET + IX + DROP, True, id="another index takes the place of the one made by itself"),
        pytest.param(PET, IX + DROP, True, id="that was there before"),
        pytest.param(PET + IX, DROP, True, id="the only one"),
        pytest.param("", PET_INLINE.replace("))\n", "), sa.Index('ix', 'user_id'))\n") + DROP, True, id="in the table"),
        pytest.param("", PET_INLINE + IX + DROP, True, id="a key in the definition of its column"),
        pytest.param(PET, "op.drop_index('fk', 'pet')", True, id="made by itself"),
        pytest.param("", PET + "op.drop_index('fk', 'pet')", True, id="made by itself in this script"),
        pytest.param(PET + IX, OTHER + DROP, False, id="another one begins with the column"),
        pytest.param(PET + OTHER, IX + DROP, False, id="and was there before"),
        pytest.param(PET + IX + "op.create_index('other', 'pet', ['age', 'user_id'])", DROP, True, id="ends with it"),
        pytest.param(PET + IX, DROP_KEY + DROP, False, id="the key is dropped first"),
        pytest.param(PET + IX, DROP + DROP_KEY, True, id="the key is dropped later"),
        pytest.param(
            "op.create_table('pet', sa.Column('user_id', sa.Integer(), sa.ForeignKey('user.id', name='fk'), "
            "primary_key=True, autoincrement=False), sa.Column('age', sa.Integer(), primary_key=True))\n",
            IX + DROP,
            False,
            id="the primary key begins with it",
        ),
        pytest.param(
            PET + "op.create_unique_constraint('ix', 'pet', ['user_id'])",
            "op.drop_constraint('ix', 'pet', type_='unique')",
            True,
            id="a unique constraint",
        ),
        pytest.param(
            PET, "with op.batch_alter_table('pet') as batch_op:\n    batch_op.drop_index('fk')", True, id="batch"
        ),
        pytest.param(
            "",
            PET.replace(", name='fk'", "") + IX + DROP_KEY.replace("fk", "fk_pet_user_id_user") + DROP,
            False,
            id="a key without a name is dropped first",
        ),
    ],
)
def test_index_of_foreign_key(
    review_on: ReviewOn, operating: Operating, before: str, script: str, refused: bool
) -> None:
    """What is found is what the server refuses with error 1553, and nothing else."""
    _connection, op = operating
    exec(before, {"op": op, "sa": sa})
    assert refused == bool(found(review_on(script), "index-needed-by-foreign-key"))
    with pytest.raises(OperationalError, match="1553") if refused else nullcontext():
        exec(script, {"op": op, "sa": sa})


@on_mysql
@pytest.mark.parametrize("kind", ["FULLTEXT", "SPATIAL"])
def test_fulltext(review_on: ReviewOn, operating: Operating, kind: str) -> None:
    """A FULLTEXT or SPATIAL index is reported: unlike other indexes, it cannot be created without blocking writes."""
    connection, _op = operating
    execute("CREATE TABLE note (id INT PRIMARY KEY, t TEXT, g GEOMETRY NOT NULL, n INT)")
    column = {"FULLTEXT": "t", "SPATIAL": "g"}[kind]
    (finding,) = review_on(
        f"op.create_index('ix', 'note', ['{column}'], mysql_prefix='{kind}')",
        "INSERT INTO note VALUES (1, 'a b', POINT(1, 1), 1)",
    )
    assert (
        f"revision a1 creates {kind} index ix, which blocks writes to note until it is built (fulltext-blocks)."
    ) == finding.message
    with pytest.raises(OperationalError, match="LOCK=NONE is not supported"):
        connection.execute(sa.text(f"ALTER TABLE note ADD {kind} INDEX ix ({column}), LOCK=NONE"))
    connection.execute(sa.text(f"ALTER TABLE note ADD {kind} INDEX ix ({column}), LOCK=SHARED"))
    connection.execute(sa.text("DROP INDEX ix ON note"))
    connection.execute(sa.text("ALTER TABLE note ADD INDEX ix (n), LOCK=NONE"))
