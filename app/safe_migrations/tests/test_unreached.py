"""What a script does after it has read rows is reviewed too; what depends on the rows is unknown."""

from pathlib import Path
from textwrap import indent

import pytest

from .support import DB, Review, levels

READ = "rows = op.get_bind().execute(sa.text('SELECT id FROM pet')).fetchall()\n"
ADDED = "sa.Column('age', sa.Integer())"
SESSION = """class User(sa.orm.declarative_base()):
    __tablename__ = 'user'
    id = sa.Column(sa.Integer, primary_key=True)

session = sa.orm.Session(op.get_bind())
"""
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
        ("for table, name in {'user': 'email'}.items():\n    op.drop_column(table, name)", "drop-column"),
        ("if rows:\n    def drop():\n        op.drop_column('user', 'email')\n    drop()", "drop-column"),
        ("[op.drop_column('user', name) for name in ('email',)]", "drop-column"),
        ("{'old': op.drop_table}['old']('user')", "drop-table"),
        ("rows and op.drop_table('user')", "drop-table"),
        ("return op.drop_table('user')", "drop-table"),
        ("row = rows.first()\nif row is None:\n    op.drop_table('user')", "drop-table"),
        (f"{SESSION}session.execute(sa.text('DELETE FROM user'))", "unbounded-data-change"),
    ],
)
def test_after_a_read(review: Review, body: str, code: str) -> None:
    """A call behind a read gets its usual finding at its usual level, in every branch; the read itself only warns."""
    findings = review(f"import sqlalchemy.orm\n{READ}{body}", "postgresql")
    assert (["blocks"], ["warns"]) == (levels(findings, code), levels(findings, "not-inspectable"))


def test_function_of_the_app_before_the_read(review: Review, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a function before the read adds is found once."""
    (tmp_path / "dropping_columns.py").write_text("def drop(op):\n    op.drop_column('user', 'email')\n")
    monkeypatch.syspath_prepend(tmp_path)
    body = f"import dropping_columns\ndropping_columns.drop(op)\n{READ}op.drop_column('user', 'username')"
    assert ["blocks", "blocks"] == levels(review(body, "postgresql"), "drop-column")


def test_function_that_calls_itself(review: Review) -> None:
    """A function that calls itself in each branch is read once."""
    script = (
        "def drop(rows):\n    if rows:\n        drop(rows[1:])\n        drop(rows[2:])\n    op.drop_table('user')\n"
    )
    script += f"\n\ndef upgrade():\n    {READ}    drop(rows)\n"
    assert ["blocks"] == levels(review(script, "sqlite"), "drop-table")


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ("session.execute(sa.text('DELETE FROM user'))\nsession.commit()", ["unbounded-data-change"]),
        (
            "session.query(User).delete()\nop.drop_table('user')",
            ["not-inspectable", "unbounded-data-change", "drop-table"],
        ),
        ("session.query(User).update({'id': 1})", ["not-inspectable", "unbounded-data-change"]),
        ("session.query(User).all()\nsession.query(User).delete()", ["not-inspectable", "unbounded-data-change"]),
        ("session.add(User())\nsession.flush()\nsession.query(User).delete()", ["unbounded-data-change"]),
        ("print(session.query(User).all())\nsession.rollback()", ["not-inspectable", "transaction-control"]),
        (
            "try:\n    {}['a']\nexcept KeyError:\n    session.execute(sa.text('SELECT 1'))\n    session.rollback()",
            ["transaction-control"],
        ),
        ("with session.begin_nested():\n    op.drop_table('user')", ["drop-table"]),
        ("with op.get_bind().begin_nested():\n    session.execute(sa.text('DROP TABLE user'))", ["drop-table"]),
        ("with session.begin():\n    session.add(User())\nop.drop_table('user')", ["not-inspectable", "drop-table"]),
        (
            "print(session.query(User).all())\nwith session.begin():\n    session.add(User())\nop.drop_table('user')",
            ["not-inspectable", "drop-table"],
        ),
        (
            "op.get_bind().engine.connect().execute(sa.text('DELETE FROM user'))",
            ["not-inspectable", "unbounded-data-change"],
        ),
    ],
)
def test_sessions(review: Review, body: str, codes: list[str]) -> None:
    """What a session executes is recorded; after work with objects, which may read rows, the rest is read."""
    findings = review(f"import sqlalchemy.orm\n{SESSION}{body}", "postgresql")
    assert codes == [each.code for each in findings if each.code in [*codes, "transaction-control"]]


USER = f"{DB}User = next(each.class_ for each in db.Model.registry.mappers if each.local_table.name == 'user')\n"


@pytest.mark.parametrize("read", ["", "print(op.get_bind().scalar(sa.text('SELECT 1')))\n"])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("db.session.execute(sa.text('DELETE FROM user'))\ndb.session.commit()", "unbounded-data-change"),
        ("db.session.query(User).delete()\ndb.session.rollback()", "unbounded-data-change"),
        ("with db.engine.begin() as connection:\n    connection.execute(sa.delete(User))", "unbounded-data-change"),
        (
            "with db.engine.connect() as connection, connection.begin():\n"
            "    connection.exec_driver_sql('DROP TABLE user')",
            "drop-table",
        ),
        (
            "connection = sa.create_engine('sqlite://').connect()\nconnection.execute(sa.text('DELETE FROM user'))\n"
            "connection.close()",
            "unbounded-data-change",
        ),
        ("db.drop_all()", "drop-table"),
        ("db.create_all()\nop.drop_column('user', 'email')", "drop-column"),
        ("db.session.add(User())\ndb.session.commit()\nop.drop_column('user', 'email')", "drop-column"),
    ],
)
def test_other_connections(review: Review, read: str, body: str, code: str) -> None:
    """What a script executes on another connection of the app is reviewed too; that it does so is a warning."""
    findings = review(f"{USER}{read}{body}", "postgresql")
    assert ["blocks"] == levels(findings, code)
    assert ["warns"] == levels(findings, "not-inspectable")
    assert [] == [each.code for each in findings if each.stops and each.code != code]


def test_query_of_a_model(review: Review) -> None:
    """The `query` of a model is that of db.session; the warning has the line that uses it."""
    findings = review(f"{USER}User.query.delete()", "postgresql")
    assert ["blocks"] == levels(findings, "unbounded-data-change")
    assert [11] == [each.line for each in findings if each.code == "not-inspectable"]


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


def test_type_that_is_dropped(review: Review) -> None:
    """A call behind a read that gets the connection, such as an enum's drop(), is recorded."""
    kind = "sa.Enum('a', name='kind')"
    script = f"def upgrade():\n    {kind}.create(op.get_bind())\n\n\ndef downgrade():\n    bind = op.get_bind()\n"
    script += f"    if sa.inspect(bind).has_table('user'):\n        {kind}.drop(bind)\n"
    assert [] == levels(review(script, "postgresql"), "enum-outlives-table")


def test_unknown_foreign_keys(review: Review) -> None:
    """After a drop of a foreign key of unknown name, no index of the table counts as needed."""
    script = "op.create_table('pet', sa.Column('id', sa.Integer, primary_key=True), sa.Column('a', sa.Integer),\n"
    script += "    sa.ForeignKeyConstraint(['a'], ['user.id'], name='fk'))\nop.create_index('ix', 'pet', ['a'])\n"
    script += "for key in sa.inspect(op.get_bind()).get_foreign_keys('pet'):\n"
    script += "    op.drop_constraint(key['name'], 'pet', type_='foreignkey')\nop.drop_index('ix', 'pet')"
    assert [] == levels(review(script, "mysql"), "index-needed-by-foreign-key")


def test_function_that_reads(review: Review) -> None:
    """The rest of a function that reads is reviewed for each of its calls."""
    script = "def drop(name):\n    if name in sa.inspect(op.get_bind()).get_columns('user'):\n"
    script += "        op.drop_column('user', name)\n\n\ndef upgrade():\n    drop('email')\n    drop('username')\n"
    messages = [each.message.split(",")[0] for each in review(script, "sqlite") if each.stops]
    assert ["revision a1 drops column user.email", "revision a1 drops column user.username"] == messages


def test_function_of_another_module(review: Review, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function of a module that imports alembic.op is read as well; its findings have the line of the script."""
    helper = "from alembic import op\nimport sqlalchemy as sa\n\n\ndef drop(name):\n"
    helper += "    if sa.inspect(op.get_bind()).has_table('user'):\n        op.drop_column('user', name)\n"
    (tmp_path / "helping_with_drops.py").write_text(helper)
    monkeypatch.syspath_prepend(tmp_path)
    script = "def upgrade():\n    from helping_with_drops import drop\n    drop('email')\n"
    finding = next(each for each in review(script, "postgresql") if each.stops)
    assert ("drop-column", 9) == (finding.code, finding.line)


@pytest.mark.parametrize(("given", "bind"), [("op", "it.get_bind()"), ("op.get_bind()", "it")])
def test_function_that_gets_op(
    review: Review, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, bind: str
) -> None:
    """The rest of a function of another module that gets ``op`` or the connection is read as well."""
    helper = f"import sqlalchemy as sa\n\n\ndef wipe(it):\n    if {bind}.scalar(sa.text('SELECT 1')):\n"
    helper += "        it.execute(sa.text('DELETE FROM user'))\n"
    (tmp_path / f"helping_by_{len(bind)}.py").write_text(helper)  # another name each time: modules stay imported
    monkeypatch.syspath_prepend(tmp_path)
    findings = review(f"from helping_by_{len(bind)} import wipe\nwipe({given})", "postgresql")
    assert [("unbounded-data-change", 9)] == [(each.code, each.line) for each in findings if each.stops]


@pytest.mark.parametrize(
    "body",
    [
        "class Change:\n    def run(self):\n        op.drop_table('user')\n\nchange = Change()\n{read}change.run()",
        "drop = op.drop_table\n{read}drop('user')",
        "from functools import partial\n{read}partial(op.drop_table, 'user')()",
        "from functools import partial\ndrop = partial(op.drop_table, 'user')\n{read}drop()",
    ],
)
def test_other_ways_to_call(review: Review, body: str) -> None:
    """A method, a function of ``op`` under another name and a partial are called behind a read too."""
    assert ["blocks"] == levels(review(body.format(read=READ), "postgresql"), "drop-table")


@pytest.mark.parametrize(
    ("body", "code", "product"),
    [
        ("for row in rows:\n    op.drop_column('user', row.name)", "drop-column", "sqlite"),
        ("for name, in rows:\n    op.drop_column('user', name.lower())", "drop-column", "sqlite"),
        ("for row in rows:\n    op.drop_table(f'log_{row.id}')", "drop-table", "sqlite"),
        (
            "for row in rows:\n    op.alter_column(row.table, 'a', new_column_name='b', existing_nullable=row.null)",
            "rename-column",
            "sqlite",
        ),
        ("for row in rows:\n    op.execute(f'DROP TABLE {row.name}')", "drop-table", "sqlite"),
        (
            "for row in rows:\n    op.get_bind().execute(sa.text('UPDATE user SET email = :a'), {'a': len(row)})",
            "unbounded-data-change",
            "sqlite",
        ),
        (
            "user = sa.table('user', sa.column('id'), sa.column('email'))\nfor row in rows:\n"
            "    change = sa.update(user).where(user.c.id == row.id).values(email=row.email)\n"
            "    op.get_bind().execute(change)\nop.add_column('user', sa.Column('age', sa.Integer()))",
            "backfill-with-ddl",
            "mysql",
        ),
    ],
)
def test_unknown_names(review: Review, body: str, code: str, product: str) -> None:
    """A name or value that depends on the rows is unknown; what happens to it is reviewed all the same."""
    assert ["blocks"] == levels(review(READ + body, product), code)


@pytest.mark.parametrize(
    "body",
    [
        "for row in rows:\n    op.add_column('user', row.column)",
        "for row in rows:\n    op.alter_column('user', 'email', type_=row.type)",
        "for row in rows:\n    op.execute(row.statement)",
        "if 'mysql' in sa.inspect(op.get_bind()).dialect.name:\n    op.drop_table('user')",
        "later = lambda: op.drop_column('user', 'email')",
        "print(rows)\nopen('x', 'w').write('op')",
        "print(rows)\nreturn\nop.drop_column('user', 'email')",
        "if op.get_context().dialect.name == 'mysql':\n    op.drop_column('user', 'email')",
        "name = op.get_bind().dialect.name\nif name != 'sqlite' or name in ('oracle',):\n    op.drop_table('user')",
        "other = op.get_bind().dialect.name != 'sqlite'\nif not other:\n    return\nop.drop_table('user')",
    ],
)
def test_not_guessed(review: Review, body: str) -> None:
    """An unknown column, type or statement is not guessed, nor is a branch for another database or dead code called."""
    assert ["not-inspectable"] == [finding.code for finding in review(READ + body, "sqlite")]


@pytest.mark.parametrize(
    "more", ["found = False\nfor row in rows:\n    found = True\nif found:\n", "some = bool(rows)\nif not some:\n"]
)
def test_condition_on_rows(review: Review, more: str) -> None:
    """A condition that depends on the rows may be true."""
    assert ["blocks"] == levels(review(f"{READ}{more}    op.drop_table('user')", "sqlite"), "drop-table")


@pytest.mark.parametrize(
    ("body", "code", "product"),
    [
        ("op.add_column('user', {})\nop.add_column('pet', {})", "several-tables", "postgresql"),
        ("op.add_column('user', {})", "missing-downgrade", "sqlite"),
    ],
)
def test_rules_about_revisions(review: Review, body: str, code: str, product: str) -> None:
    """Rules about a revision as a whole include operations behind a read."""
    script = f"def upgrade():\n{indent(READ + body.format(ADDED, ADDED), '    ')}\n\n\ndef downgrade():\n    pass\n"
    assert ["warns"] == levels(review(script, product), code)


@pytest.mark.parametrize(
    ("read", "reason"),
    [
        ("sa.orm.Session(op.get_bind()).query(sa.column('a')).all()", "the script works with objects in a session"),
        ("sa.Inspector(op.get_bind()).get_table_names()", "the script inspects the database"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*Inspector.*:DeprecationWarning")
def test_reason(review: Review, read: str, reason: str) -> None:
    """The reason names what the script does, not the method of SQLAlchemy that then fails."""
    assert reason in next(each for each in review(f"import sqlalchemy.orm\n{read}", "mysql")).message
