"""REFERENCES in the definition of a column: which MySQL and MariaDB make a foreign key of it."""

from typing import Any, cast

import pytest
import sqlalchemy as sa
from alembic.operations.ops import ExecuteSQLOp

from ..adapters.mysql.facts import MySQLFacts
from ..adapters.products import FACTS
from ..database import Database
from ..review.known_schema import KnownSchema
from ..review.recorder import Operation
from ..review.rules import RULES, Problem, RuleContext
from ..review.sql.translation import translate

pytestmark = pytest.mark.usefixtures("in_app")

ADD = "ALTER TABLE pet ADD COLUMN x INTEGER REFERENCES pet (id)"
CREATE = "CREATE TABLE toy (id INTEGER PRIMARY KEY, pet INTEGER REFERENCES pet (id))"


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_servers(database: str) -> None:
    """What the facts say of the server's version is what it does, in ALTER and in CREATE TABLE."""
    engine = sa.create_engine(database, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in ("CREATE TABLE pet (id INTEGER PRIMARY KEY)", ADD, CREATE):
            connection.exec_driver_sql(statement)
        facts = Database(connection).facts
        assert isinstance(facts, MySQLFacts)
        ignored = facts.ignores_inline_references
        for table in ("pet", "toy"):
            assert ignored == (not sa.inspect(connection).get_foreign_keys(table)), table
    engine.dispose()


@pytest.mark.parametrize(
    ("product", "version", "expected"),
    [
        ("mysql", (8, 4), True),
        ("mysql", (9, 0), False),
        ("mysql", (), True),
        ("mariadb", (10, 4), True),
        ("mariadb", (10, 5), False),
    ],
)
def test_versions(product: str, version: tuple[int, ...], expected: bool) -> None:
    """MySQL before 9.0 and MariaDB before 10.5 read it and forget it."""
    facts = FACTS[product](version)
    rule = RULES["inline-references-ignored"]
    for statement, name in ((ADD, "pet.x"), (CREATE, "toy.pet")):
        (made,) = translate(ExecuteSQLOp(statement), "mysql")
        case = RuleContext(cast(Any, None), "upgrade", Operation(made.op, 1), KnownSchema(facts))
        found = rule.find(made.op, case)
        problems = list(cast("list[Problem]", found))
        assert expected == bool(problems)
        for problem in problems:
            assert f"has REFERENCES in the definition of {name}" in problem.what
            assert ", 'pet', ['" in problem.instead
