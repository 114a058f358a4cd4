"""Rules about indexes: what they find beside the pairs of the README, and that the servers do what they claim."""

from collections.abc import Callable

import pytest
from alembic.operations import Operations
from flask_migrate import downgrade, upgrade
from sqlalchemy import Connection

from app.safe_migrations.findings import Finding
from tests.conftest import FIRST, Project, revision
from tests.safe_migrations.conftest import locks
from tests.safe_migrations.test_rules import review

__all__ = ["review"]

on_postgresql = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
Reviewing = Callable[..., list[Finding]]
Operating = tuple[Connection, Operations]


def found(findings: list[Finding], code: str) -> list[Finding]:
    """Those of one rule."""
    return [finding for finding in findings if finding.code == code]


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
        (
            "op.add_column('user', sa.Column('age', sa.Integer(), index=True))",
            "op.create_index(op.f('ix_user_age'), 'user', ['age'], unique=False, postgresql_concurrently=True)",
        ),
    ],
)
def test_create_index_line(review: Callable[[str, str], list[Finding]], made: str, pasted: str) -> None:
    """The line to paste keeps all that the script says of the index."""
    (finding,) = found(review(made, "postgresql"), "create-index-blocks-writes")
    assert (
        "create it concurrently, in a revision of its own:\n"
        "    with op.get_context().autocommit_block():\n"
        f"        {pasted}"
    ) == finding.instead
    assert [] == found(review(finding.instead.partition("\n")[2], "postgresql"), "create-index-blocks-writes")


@on_postgresql
def test_create_index_locks(operating: Operating) -> None:
    """It takes the lock that keeps writers out."""
    connection, op = operating
    op.create_index("ix", "user", ["email"])
    assert "ShareLock" in locks(connection, "user")


def test_new_tables(review: Callable[[str, str], list[Finding]]) -> None:
    """An index of a table that the same revision makes blocks nobody, and a concurrent one is refused there too."""
    made = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))\n"
    assert [] == review(f"{made}op.create_index('ix', 'pet', ['id'])\nop.drop_index('ix', 'pet')", "postgresql")
    concurrently = f"{made}op.create_index('ix', 'pet', ['id'], postgresql_concurrently=True)"
    assert ["concurrently-in-transaction"] == [finding.code for finding in review(concurrently, "postgresql")]


@on_postgresql
@pytest.mark.parametrize("batch", [False, True])
def test_concurrently(database: str, project: Project, attempt: Callable[..., list[str]], batch: bool) -> None:
    """PostgreSQL refuses it in a revision, and runs the lines that the finding gives; in both ways."""
    block = "with op.get_context().autocommit_block():\n    "
    create, drop = (
        "op.create_index('ix', 'user', ['email'], postgresql_concurrently=True)",
        "op.drop_index('ix', table_name='user', postgresql_concurrently=True)",
    )
    if batch:
        create = (
            f"with op.batch_alter_table('user') as batch_op:\n    {block}"
            "    batch_op.create_index('ix', ['email'], postgresql_concurrently=True)"
        )
    project.write(*revision("a1", FIRST, create, drop))
    (refused, *_) = attempt(upgrade)
    assert "CREATE INDEX CONCURRENTLY cannot run inside a transaction block" in refused
    project.write(*revision("a1", FIRST, f"{block}op.create_index('ix', 'user', ['email'])", drop))
    assert [] == attempt(upgrade)
    (refused, *_) = attempt(downgrade)
    assert "DROP INDEX CONCURRENTLY cannot run inside a transaction block" in refused
    project.write(*revision("a1", FIRST, "pass", f"{block}{drop}"))
    assert [] == attempt(downgrade)


@pytest.mark.parametrize("way", ["upgrade", "downgrade"])
def test_concurrently_found(review: Callable[[str, str], list[Finding]], way: str) -> None:
    """It is found in a downgrade too, and in a batch, which runs at its end, outside the block."""
    inside = (
        f"def {way}():\n    with op.batch_alter_table('user') as batch_op:\n"
        "        with op.get_context().autocommit_block():\n"
        "            batch_op.drop_index('ix', postgresql_concurrently=True)\n"
    )
    (finding,) = review(inside, "postgresql")
    assert (
        "revision a1 drops index ix concurrently in a transaction, which the server refuses"
        " (concurrently-in-transaction)."
    ) == finding.message
    assert (
        "leave the transaction for it, in a revision of its own:\n"
        "    with op.get_context().autocommit_block():\n"
        "        op.drop_index('ix', table_name='user', postgresql_concurrently=True)"
    ) == finding.instead
    outside = (
        f"def {way}():\n    with op.get_context().autocommit_block():\n"
        "        with op.batch_alter_table('user') as batch_op:\n"
        "            batch_op.drop_index('ix', postgresql_concurrently=True)\n"
    )
    assert [] == review(outside, "postgresql")


@on_postgresql
def test_drop_index_locks(operating: Operating) -> None:
    """It takes the lock that keeps everyone out of the table."""
    connection, op = operating
    op.create_index("ix", "user", ["email"])
    connection.commit()
    op.drop_index("ix", "user")
    assert "AccessExclusiveLock" in locks(connection, "user")


def test_drop_index_with_its_table(review: Callable[[str, str], list[Finding]]) -> None:
    """An index of a table that the same revision drops is not spoken of: its table is."""
    assert ["drop-table"] == [
        finding.code
        for finding in review("op.drop_index('ix', table_name='user')\nop.drop_table('user')", "postgresql")
    ]


@on_postgresql
def test_drop_index_of_what_table(review_on: Reviewing) -> None:
    """Without the table's name in the script, the finding does not invent one."""
    (finding,) = found(review_on("op.drop_index('ix')"), "drop-index-blocks")
    assert (
        "revision a1 drops index ix, which waits for all who use its table, and all others wait behind it"
        " (drop-index-blocks)."
    ) == finding.message
    assert "op.drop_index('ix', postgresql_concurrently=True)" in finding.instead
