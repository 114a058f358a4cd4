"""What else a revision does counts: values of new columns, constraints and tables that come back, values of enums."""

import json
from typing import Any

import pytest

from .support import FIRST, Project, Review, found, levels, revision

OWNER = "op.add_column('user', sa.Column('owner_id', sa.Integer(){}))\n"
KEY = "op.create_foreign_key('fk', 'user', 'user', ['owner_id'], ['id'])\n"
UNIQUE = "op.create_unique_constraint('uq', 'user', ['owner_id'])\n"
FILL = "op.execute('UPDATE \"user\" SET owner_id = 1 WHERE id > 0')\n"


def reviewed(project: Project, chosen: str) -> list[dict[str, Any]]:
    """Return the findings in the revisions ``chosen``, on PostgreSQL."""
    found: list[dict[str, Any]] = json.loads(
        project.db("review", chosen, "--target", "postgresql", "--format", "json").stdout
    )
    return found


@pytest.mark.parametrize(("add", "code"), [(KEY, "add-foreign-key"), (UNIQUE, "add-unique")])
@pytest.mark.parametrize(
    ("before", "is_found"),
    [
        (OWNER.format(""), False),
        (OWNER.format(", nullable=True"), False),
        (OWNER.format(", server_default='1'"), True),
        (OWNER.format("") + FILL, True),
        ("", True),
    ],
    ids=["new", "nullable", "default", "filled", "existing"],
)
def test_new_column(review: Review, before: str, is_found: bool, add: str, code: str) -> None:
    """A column that the revision adds is NULL in all rows, so no key on it can fail, unless the revision fills it."""
    assert is_found == bool(found(review(before + add, "postgresql"), code))


@pytest.mark.parametrize(("chosen", "expected"), [("fb37:c1", []), ("c1", ["add-unique"])])
def test_column_of_an_earlier_revision(project: Project, chosen: str, expected: list[str]) -> None:
    """A column is still NULL if an earlier reviewed revision adds it; running code may fill that of an older one."""
    project.write(*revision("b1", FIRST, OWNER.format("")))
    project.write(*revision("c1", "b1", UNIQUE))
    said = reviewed(project, chosen)
    assert expected == [each["code"] for each in said if each["code"] == "add-unique"]


@pytest.mark.parametrize("more", [", postgresql_nulls_not_distinct=True", ""], ids=["nulls not distinct", "primary"])
def test_null_is_no_exception(review: Review, more: str) -> None:
    """A primary key, or a unique constraint with NULLS NOT DISTINCT, is reported on a new column that is NULL."""
    add = UNIQUE[:-2] + more + ")" if more else "op.create_primary_key('pk', 'user', ['owner_id'])"
    assert found(review(OWNER.format("") + add, "postgresql"), "add-unique")


@pytest.mark.parametrize(
    ("add", "is_found"),
    [
        ("op.create_unique_constraint('uq_mail', 'user', ['email'])", False),
        ("op.create_index('ix_mail', 'user', ['email'], unique=True)", False),
        ("op.create_index('ix_mail', 'user', ['email'])", True),
        ("op.create_unique_constraint('uq_mail', 'user', ['email', 'id'])", True),
        ("op.create_unique_constraint('uq_mail', 'pet', ['email'])", True),
    ],
)
def test_unique_constraint_comes_back(review: Review, add: str, is_found: bool) -> None:
    """A unique constraint that comes back under another name, or as an index, still rejects the same rows."""
    body = f"op.drop_constraint('uq_user_email', 'user', type_='unique')\n{add}"
    assert is_found == bool(found(review(body, "postgresql"), "drop-constraint"))


DROP = "op.drop_constraint('uq_user_email', 'user', type_='unique')\n"
CREATE = "op.create_unique_constraint('uq', 'user', ['email'])\n"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (DROP + CREATE, []),
        (CREATE + DROP, []),
        (DROP + CREATE.replace("]", ", 'username']"), []),
        (DROP + "op.rename_table('user', 'person')\n" + CREATE.replace("'user'", "'person'"), []),
        (DROP + FILL + CREATE, ["warns"]),
        (
            DROP
            + "op.add_column('user', sa.Column('n', sa.Integer(), server_default='1'))\n"
            + CREATE.replace("email", "n"),
            ["warns"],
        ),
    ],
    ids=["dropped first", "dropped last", "more columns", "renamed table", "changed rows", "other columns"],
)
def test_rows_are_unique_already(review: Review, body: str, expected: list[str]) -> None:
    """No rows share a value in columns that are unique until this revision drops the constraint."""
    assert expected == levels(review(body, "mysql"), "add-unique")


@pytest.mark.parametrize(("column", "expected"), [("owner_id", []), ("id", ["drop-constraint"])])
def test_foreign_key_comes_back(project: Project, column: str, expected: list[str]) -> None:
    """A foreign key that comes back under another name still rejects the same rows; one of other columns does not."""
    columns = "sa.Column('id', sa.Integer(), primary_key=True), sa.Column('owner_id', sa.Integer())"
    key = "op.create_foreign_key({!r}, 'pet', 'user', [{!r}], ['id'])"
    project.write(*revision("a1", FIRST, f"op.create_table('pet', {columns})\n{key.format('old', 'owner_id')}"))
    drop = "op.drop_constraint('old', 'pet', type_='foreignkey')\n"
    project.write(*revision("b1", "a1", drop + key.format("new", column), "raise NotImplementedError"))
    said = reviewed(project, "b1")
    assert expected == [each["code"] for each in said if each["code"] == "drop-constraint"]
    assert bool(expected) == ("add-foreign-key" in [each["code"] for each in said])


@pytest.mark.parametrize(("column", "expected"), [("owner_id", []), ("age", ["drop-constraint"])])
def test_foreign_key_of_a_dropped_column(project: Project, column: str, expected: list[str]) -> None:
    """A foreign key is dropped together with its column, which has a finding of its own."""
    columns = "sa.Column('id', sa.Integer(), primary_key=True), sa.Column('owner_id', sa.Integer()), sa.Column('age')"
    key = "op.create_foreign_key('fk', 'pet', 'user', ['owner_id'], ['id'])"
    project.write(*revision("a1", FIRST, f"op.create_table('pet', {columns})\n{key}"))
    drop = f"op.drop_constraint('fk', 'pet', type_='foreignkey')\nop.drop_column('pet', {column!r})"
    project.write(*revision("b1", "a1", drop, "raise NotImplementedError"))
    said = reviewed(project, "b1")
    assert expected == [each["code"] for each in said if each["code"] == "drop-constraint"]


CHECKED = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('age', sa.Integer()))\n"
CHECKED += "op.create_check_constraint(op.f('old'), 'pet', {})"
DROP_CHECK, ADD_CHECK = (
    "op.drop_constraint(op.f('old'), 'pet')\n",
    "op.create_check_constraint(op.f('new'), 'pet', {})\n",
)
RENAME_AGE = "op.alter_column('pet', 'age', new_column_name='years')\n"


@pytest.mark.parametrize(
    ("old", "body", "expected"),
    [
        ("'age > 0'", DROP_CHECK + ADD_CHECK.format("'age > 0'"), []),
        ("'age > 0'", ADD_CHECK.format("'(\"age\") > 0'") + DROP_CHECK, []),
        ("sa.column('age') > 0", DROP_CHECK + ADD_CHECK.format("sa.column('age') > 0"), []),
        (
            "sa.column('age') > 0",
            DROP_CHECK + ADD_CHECK.format("sa.column('age') > 1"),
            ["add-check", "drop-constraint"],
        ),
        ("'age > 0'", DROP_CHECK + RENAME_AGE + ADD_CHECK.format("'years > 0'"), []),
        ("'age > 0'", RENAME_AGE + ADD_CHECK.format("'years > 0'") + DROP_CHECK, []),
        ("'age > 0'", DROP_CHECK + ADD_CHECK.format("'id > 0'"), ["add-check", "drop-constraint"]),
        (
            "'age > 0 AND (id > 0 OR age > 1)'",
            DROP_CHECK + ADD_CHECK.format("'(age > 0 AND id > 0) OR age > 1'"),
            ["add-check", "drop-constraint"],
        ),
        (
            "'age > 0'",
            DROP_CHECK + "op.execute('UPDATE pet SET age = 0 WHERE id > 1')\n" + ADD_CHECK.format("'age > 0'"),
            ["add-check"],
        ),
        ("'age > 0', postgresql_not_valid=True", DROP_CHECK + ADD_CHECK.format("'age > 0'"), ["add-check"]),
    ],
    ids=[
        "same",
        "added first",
        "values",
        "other values",
        "renamed",
        "renamed first",
        "other",
        "precedence",
        "changed rows",
        "not valid",
    ],
)
def test_check_comes_back(project: Project, old: str, body: str, expected: list[str]) -> None:
    """A CHECK of the same condition, also of a renamed column, is the same one under another name."""
    project.write(*revision("a1", FIRST, CHECKED.format(old)))
    project.write(*revision("b1", "a1", body, "raise NotImplementedError"))
    said = reviewed(project, "b1")
    assert expected == sorted(each["code"] for each in said if each["code"] in ("add-check", "drop-constraint"))


NAMES = "id, username, email"
DROP_TABLE, RENAME_TABLE = "op.drop_table({!r})\n", "op.rename_table({!r}, {!r})\n"


def created(table: str, columns: str = NAMES, size: int = 120) -> str:
    """Return the line that creates a table like user."""
    others = "".join(f", sa.Column({each!r}, sa.String({size}))" for each in columns.split(", ")[1:])
    return f"op.create_table({table!r}, sa.Column('id', sa.Integer(), primary_key=True){others})\n"


def by_new_name(columns: str = NAMES, size: int = 120) -> str:
    """Return the first lines of a rebuild of user, which fill a new table under another name."""
    copy = f"op.execute('INSERT INTO tmp ({columns}) SELECT {columns} FROM \"user\"')\n"
    return created("tmp", columns, size) + copy + DROP_TABLE.format("user")


BACK = RENAME_TABLE.format("tmp", "user")
NEW_FIRST = by_new_name() + BACK
OLD_FIRST = (
    RENAME_TABLE.format("user", "old") + created("user") + "op.execute('INSERT INTO \"user\" SELECT * FROM old')\n"
)


@pytest.mark.parametrize("some", [" WHERE id > 1", " LIMIT 9"])
def test_rebuild_that_omits_rows(review: Review, some: str) -> None:
    """A table that is rebuilt by hand without some rows is dropped like any other."""
    (finding,) = found(review(NEW_FIRST.replace(' FROM "user"', f' FROM "user"{some}'), "sqlite"), "drop-table")
    assert "revision a1 drops table user, which running code still reads (drop-table)." == finding.message


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (NEW_FIRST, {"sqlite": [], "postgresql": ["drop-table blocks"], "mysql": ["drop-table blocks"]}),
        (
            OLD_FIRST + DROP_TABLE.format("old"),
            {"sqlite": [], "postgresql": ["rename-table blocks"], "mysql": ["rename-table blocks"]},
        ),
        (
            RENAME_TABLE.format("user", "old")
            + by_new_name().replace("'user'", "'old'").replace('"user"', "old")
            + BACK,
            {"sqlite": [], "postgresql": ["rename-table blocks"]},
        ),
        (
            by_new_name().replace("drop_table('user')", "rename_table('user', 'old')")
            + BACK
            + DROP_TABLE.format("old"),
            {"sqlite": [], "postgresql": ["rename-table blocks"]},
        ),
        (
            NEW_FIRST.replace(created("tmp"), "op.execute('CREATE TABLE tmp LIKE user')\n"),
            {"mysql": ["drop-table blocks"]},
        ),
        (
            NEW_FIRST.replace(created("tmp"), "op.execute('CREATE TABLE tmp (LIKE \"user\" INCLUDING ALL)')\n"),
            {"postgresql": ["drop-table blocks"]},
        ),
        (by_new_name(), {"sqlite": ["drop-table blocks"]}),
        (
            NEW_FIRST.replace("SELECT id, username, email", "SELECT id, username, NULL"),
            {"sqlite": ["drop-column blocks"]},
        ),
        (
            by_new_name("id, username") + BACK,
            {"sqlite": ["drop-column blocks"]},
        ),
        (NEW_FIRST.replace(' FROM "user"', ' FROM "user" WHERE id > 1'), {"sqlite": ["drop-table blocks"]}),
        (NEW_FIRST.replace("INSERT INTO", "INSERT OR IGNORE INTO"), {"sqlite": ["drop-table blocks"]}),
        (by_new_name(size=9) + BACK, {"postgresql": ["drop-table blocks"]}),
        (
            NEW_FIRST.replace("op.drop_table('user')", "op.execute('DROP TABLE \"user\" CASCADE')"),
            {"postgresql": ["drop-table blocks"]},
        ),
        (
            created("tmp") + DROP_TABLE.format("user") + BACK,
            {"sqlite": ["possible-rename blocks", "drop-table blocks"]},
        ),
        (NEW_FIRST + "op.execute('DELETE FROM \"user\"')", {"sqlite": ["drop-table blocks"]}),
    ],
    ids=[
        *("new table first", "old table first", "both renamed", "swapped", "like", "like on PostgreSQL"),
        *("not renamed", "values lost", "column left out"),
        *("some rows", "conflicts ignored", "shorter type", "cascade", "no rows copied", "deleted again"),
    ],
)
def test_table_rebuilt_by_hand(review: Review, body: str, expected: dict[str, list[str]]) -> None:
    """A table that has its name, columns and rows again at the end is neither dropped nor renamed on SQLite.

    On a server the table that goes is reported, because more hangs on it, and others can write in between.
    """
    codes = ("drop-table", "rename-table", "drop-column", "possible-rename")
    for product, problems in expected.items():
        findings = review(body.replace('"user"', "user") if product == "mysql" else body, product)
        assert problems == [f"{each.code} {each.level}" for each in findings if each.code in codes]


USE = "op.execute(\"INSERT INTO pet VALUES ('emu')\")"
ADD = "op.execute(\"ALTER TYPE kind ADD VALUE 'emu'\")\n"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (ADD + "op.execute(\"UPDATE pet SET kind = 'emu' WHERE id = 1\")", ["blocks"]),
        (ADD + "op.add_column('pet', sa.Column('k', sa.String(9), server_default='emu'))", ["blocks"]),
        (ADD + "op.bulk_insert(sa.table('pet', sa.column('kind')), [{'kind': 'emu'}])", ["blocks"]),
        (ADD + "op.execute(\"UPDATE pet SET kind = 'cat' WHERE id = 1\")", []),
        (ADD, []),
        ("op.execute(\"CREATE TYPE kind AS ENUM ('cat')\")\n" + ADD + USE, []),
        ("with op.get_context().autocommit_block():\n    " + ADD + USE, []),
    ],
)
def test_new_value_of_an_enum(review: Review, body: str, expected: list[str]) -> None:
    """A value cannot be used in the transaction that adds it, except for an enum that this transaction creates."""
    assert expected == levels(review(body, "postgresql"), "enum-value-used")


KEYS = "op.create_table('pet', sa.Column('a', sa.Integer, nullable=False), sa.Column('b', sa.Integer, nullable=False),"
KEYS += " sa.Column('c', sa.Integer), sa.PrimaryKeyConstraint('a', name='pk'), sa.UniqueConstraint('c', name='uq'))"
NEW_KEY = "op.drop_constraint('pk', 'pet', type_='primary')\nop.create_primary_key('pk2', 'pet', ['a', 'b'])"


@pytest.mark.parametrize(
    ("body", "add_unique", "drop_constraint"),
    [
        (NEW_KEY, [], ["warns"]),
        (NEW_KEY.replace(", 'b'", ""), [], []),
        (NEW_KEY.replace("'a', ", ""), ["warns"], ["warns"]),
        (NEW_KEY.replace("\n", "\nop.execute('UPDATE pet SET a = b WHERE b > 1')\n"), ["warns"], ["warns"]),
        ("op.create_index('ix', 'pet', ['b', 'c'], unique=True)", [], []),
        ("op.create_index('ix', 'pet', ['b', 'c'], unique=True, postgresql_nulls_not_distinct=True)", ["warns"], []),
        ("op.drop_constraint('uq', 'pet')\nop.create_index('ix', 'pet', ['c', 'a'], unique=True)", [], ["warns"]),
    ],
)
def test_values_that_were_unique(
    project: Project, body: str, add_unique: list[str], drop_constraint: list[str]
) -> None:
    """No rows share a value that another unique key rejects, or rejected until the same revision dropped it."""
    project.write(*revision("b1", FIRST, KEYS))
    project.write(*revision("c1", "b1", body))
    said = reviewed(project, "c1")
    levels = [[each["level"] for each in said if each["code"] == code] for code in ("add-unique", "drop-constraint")]
    assert [add_unique, drop_constraint] == levels


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("op.execute('ALTER TABLE pet DROP PRIMARY KEY, ADD PRIMARY KEY (a, b)')", []),
        ("op.execute('ALTER TABLE pet DROP PRIMARY KEY, ADD PRIMARY KEY (b, a)')", ["blocks"]),
        ("op.execute('ALTER TABLE pet DROP PRIMARY KEY')\nop.create_primary_key('pk', 'pet', ['a'])", ["blocks"]),
    ],
)
def test_key_that_is_replaced(review: Review, body: str, expected: list[str]) -> None:
    """A statement that drops a primary key and adds one that serves the same foreign key is not refused."""
    made = KEYS.replace("sa.PrimaryKey", "sa.ForeignKeyConstraint(['a'], ['user.id']), sa.PrimaryKey")
    assert expected == levels(review(f"{made}\n{body}", "mysql"), "index-needed-by-foreign-key")


@pytest.mark.parametrize(("to", "expected"), [("sa.Text()", []), ("mysql.TINYTEXT()", ["blocks"])])
def test_varchar_of_any_length(review: Review, to: str, expected: list[str]) -> None:
    """Any VARCHAR fits into a TEXT, even if the script does not say how long it is."""
    script = "from sqlalchemy.dialects import mysql\n"
    script += f"op.alter_column('pet', 'name', existing_type=sa.String(), existing_nullable=True, type_={to})"
    assert expected == levels(review(script, "mysql"), "shrink-column")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("age IS NULL OR size IS NULL", []),
        ("size IS NULL OR pet.age IS NULL", []),
        ("age IS NULL AND size IS NULL", ["warns"]),
        ("size IS NULL", ["warns"]),
    ],
)
def test_backfill_of_several_columns(review: Review, where: str, expected: list[str]) -> None:
    """An UPDATE of all rows in which this or another column is NULL leaves no NULL in this one."""
    fill = f"op.execute('UPDATE pet SET age = 1, size = 1 WHERE {where}')\n"
    found = review(fill + "op.alter_column('pet', 'age', nullable=False)", "postgresql")
    assert expected == levels(found, "set-not-null")


def test_left_over_table(review: Review) -> None:
    """A drop of the table that a failed batch left behind is not reported."""
    assert [] == levels(review("op.execute('DROP TABLE IF EXISTS _alembic_tmp_user')", "sqlite"), "drop-table")


@pytest.mark.parametrize("product", ["mysql", "mariadb"])
@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        ("sa.String()", ["blocks"]),
        ("sa.String", ["blocks"]),
        ("sa.Unicode()", ["blocks"]),
        ("sa.String(9)", []),
        ("sa.Text()", []),
        ("sa.Enum('a', 'b')", []),
        ("sa.String().with_variant(sa.String(9), 'mysql', 'mariadb')", []),
        ("sa.String(65536)", ["blocks"]),
        ("sa.String(16383)", []),
        ("sa.Text(65536)", []),
        ("sa.String(65536).with_variant(sa.String(9), 'mysql', 'mariadb')", []),
    ],
)
def test_string_without_length(review: Review, product: str, type_: str, expected: list[str]) -> None:
    """A string without a length, or with one above a row's, is refused; not one with another type for these two."""
    body = f"op.add_column('user', sa.Column('note', {type_}))"
    assert expected == levels(review(body, product), "string-without-length")


@pytest.mark.parametrize(
    ("product", "expected"), [("sqlite", ["blocks"]), ("postgresql", ["warns"]), ("mysql", ["warns"])]
)
def test_unnamed_check_in_sql(review: Review, product: str, expected: list[str]) -> None:
    """A constraint without a name blocks on SQLite; a server gives it a name, by which it can be dropped."""
    body = "op.execute('CREATE TABLE pet (id INTEGER PRIMARY KEY, age INTEGER CHECK (age > 0))')"
    assert expected == levels(review(body, product), "unnamed-constraint")
