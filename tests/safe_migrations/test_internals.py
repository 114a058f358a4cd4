"""The private names of dependencies do what internals.py expects of them."""

from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, inspect

from app.safe_migrations import internals


def test_inspects() -> None:
    """`sqlalchemy.inspect()` returns an instance of the class that is registered."""

    class Subject: ...

    class Found:
        def __init__(self, subject: Subject) -> None:
            self.subject = subject

    internals.inspects(Subject, Found)
    subject = Subject()
    found: Found = inspect(subject)
    assert (Found, subject) == (type(found), found.subject)


def test_copy_column() -> None:
    """The copy has the foreign keys, and the column itself stays in no table."""
    column = Column("owner_id", Integer, ForeignKey("user.id"))
    for _ in range(2):
        copied = internals.copy_column(column)
        Table("pet", MetaData(), copied)
        assert 1 == len(copied.foreign_keys)
        assert column not in copied.table.columns.values()
