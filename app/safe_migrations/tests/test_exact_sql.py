"""Colons, backslashes and percent signs in SQL reach the database as they are written."""

from itertools import product

import sqlalchemy as sa

from ..adapters.exact_sql import escaped


def test_escaped() -> None:
    """Every text comes out of text() as it was, without a parameter; one that it does not change is not escaped."""
    for parts in product(["", ":", "\\", "a", " ", "::"], repeat=6):
        sql = "".join(parts)
        compiled = sa.text(escaped(sql)).compile()
        assert (sql, {}) == (str(compiled), compiled.params)
    assert "CAST('1:30' AS x)::text -- a: b" == escaped("CAST('1:30' AS x)::text -- a: b")
