"""How long an empty database takes to head through 100 revisions, and through their squash.

    python -m app.safe_migrations.tests.benchmarks.squash [BACKEND ...]

SQLite is measured always, the others where TEST_MYSQL_URL and TEST_POSTGRESQL_URL name a server. What is printed are
the best of five times of `flask db upgrade` in this process, with the waiting for a server, and the CPU time of this
process; and, as the cost of the command itself, both for a history of one revision.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

from ..support import FIRST, SERVERS, Project, copied, empty_database, revision

# The bodies of a round of revisions: {i} is the round's number. `product` is the database's.
STEPS = (
    """
    op.create_table(
        "pet{i}",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(40), nullable=False, comment="what it is called"),
        sa.Column("kind", sa.Enum("cat", "dog", name="kind{i}"), nullable=False, server_default="cat"),
        sa.Column("age", sa.Integer(), server_default="1"),
        sa.Column("born", sa.DateTime(), server_default=sa.func.now()),
        sa.Column("owner_id", sa.Integer(), sa.ForeignKey("user.id", name="fk_pet{i}_owner", ondelete="SET NULL")),
        sa.CheckConstraint("age >= 0", name=op.f("ck_pet{i}_age")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_pet{i}_owner", "pet{i}", ["owner_id", "age"])
    """,
    """
    op.create_table(
        "role{i}",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("parent_id", sa.Integer(), sa.ForeignKey("role{i}.id", name="fk_role{i}_parent")),
    )
    role = sa.table("role{i}", sa.column("id"), sa.column("name"), sa.column("parent_id"))
    names = ["admin", "it's 100% :sure", "back\\\\slash \\u00e9 \\U0001f98a", "two\\nlines", "gone"]
    op.bulk_insert(role, [{{"id": at, "name": name, "parent_id": 1 if at > 1 else None}}
                          for at, name in enumerate(names, 1)])
    """,
    """
    with op.batch_alter_table("pet{i}", table_kwargs={{"sqlite_autoincrement": True}}) as batch:
        batch.alter_column("name", new_column_name="title", existing_type=sa.String(40), existing_nullable=False,
                           existing_comment="what it is called")
    """,
    """
    op.add_column("pet{i}", sa.Column("rank", sa.Numeric(8, 2), nullable=False, server_default="0.5"))
    op.add_column("pet{i}", sa.Column("old", sa.Integer()))
    """,
    """
    pet = sa.table("pet{i}", *map(sa.column, ("id", "title", "kind", "rank", "born")))
    born = sa.text("'2020-02-29 12:30:00'")
    for at, title in enumerate(("Rex", "Tom", "Ace"), 1):
        op.execute(pet.insert().values(id=at, title=title, kind="dog", rank=at, born=born))
    op.execute("DELETE FROM pet{i} WHERE id = 3")
    """,
    """
    op.execute("CREATE VIEW names{i} AS SELECT id, title FROM pet{i}")
    op.execute("CREATE VIEW a_names{i} AS SELECT title FROM names{i} WHERE id > 0")
    """,
    """
    found = op.get_bind().execute(sa.text("SELECT id, name FROM role{i} ORDER BY id")).all()
    change = sa.text("UPDATE role{i} SET name = :name WHERE id = :id")
    for id_, name in found:
        op.get_bind().execute(change, {{"name": f"{{name}}!", "id": id_}})
    op.execute("DELETE FROM role{i} WHERE name = 'gone!'")
    """,
    """
    with op.batch_alter_table("role{i}") as batch:
        batch.alter_column("name", type_=sa.String(80), existing_type=sa.String(60), existing_nullable=False)
        batch.create_unique_constraint("uq_role{i}_name", ["name"])
    """,
    """
    if product == "postgresql":
        op.execute("CREATE SEQUENCE numbers{i} START 5")
        op.execute("SELECT nextval('numbers{i}'), setval('pet{i}_id_seq', 9)")
        op.execute("CREATE FUNCTION older{i}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                   " NEW.age = coalesce(NEW.age, 0) + 1; RETURN NEW; END $$")
        op.execute("CREATE TRIGGER older{i} BEFORE INSERT ON pet{i} FOR EACH ROW EXECUTE FUNCTION older{i}()")
        op.execute("CREATE INDEX ix_lower{i} ON pet{i} (lower(title)) WHERE age > 3")
    elif product == "sqlite":
        op.execute("CREATE TRIGGER older{i} AFTER INSERT ON pet{i} BEGIN"
                   " UPDATE pet{i} SET age = age + 1 WHERE id = NEW.id; END")
        op.execute("CREATE INDEX ix_lower{i} ON pet{i} (lower(title)) WHERE age > 3")
    elif not op.get_bind().scalar(sa.text("SELECT @@log_bin > @@log_bin_trust_function_creators")):
        op.execute("CREATE TRIGGER older{i} BEFORE INSERT ON pet{i} FOR EACH ROW SET NEW.age = NEW.age + 1")
        op.execute("CREATE FUNCTION one{i}() RETURNS INTEGER DETERMINISTIC RETURN 1")
        if product == "mariadb":
            op.execute("CREATE SEQUENCE numbers{i} START WITH 5 CACHE 1")
    """,
    """
    op.add_column("role{i}", sa.Column("old", sa.Integer()))
    """,
    """
    with op.batch_alter_table("role{i}") as batch:
        batch.drop_column("old")
    """,
)
# What happens to a table of a round again and again before the views come; {n} counts the columns.
CHANGES = (
    """
    op.add_column("role{i}", sa.Column("c{n}", sa.Integer(), nullable=False, server_default="1"))
    """,
    """
    op.execute("UPDATE role{i} SET c{n} = c{n} + id")
    """,
    """
    with op.batch_alter_table("role{i}") as batch:
        batch.alter_column("c{n}", type_=sa.BigInteger(), existing_type=sa.Integer(), existing_nullable=False,
                           existing_server_default="1")
    """,
    """
    with op.batch_alter_table("role{i}") as batch:
        batch.alter_column("c{n}", new_column_name="d{n}", existing_type=sa.BigInteger(), existing_nullable=False,
                           existing_server_default="1")
    """,
    """
    with op.batch_alter_table("role{i}") as batch:
        batch.drop_column("d{n}")
    """,
)
SEEDED = 2
PRODUCT = """\
dialect = op.get_context().dialect
product = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
"""


def history(rounds: int = 1, changes: int = 0) -> Iterator[tuple[str, str]]:
    """Yield name and text of scripts that come after FIRST: in each round those of STEPS, and so many of CHANGES."""
    last = FIRST
    for i in range(rounds):
        made = [CHANGES[n % len(CHANGES)].replace("{n}", str(n // len(CHANGES))) for n in range(changes)]
        for at, step in enumerate([*STEPS[:SEEDED], *made, *STEPS[SEEDED:]]):
            name = f"s{i}x{at:02}"
            yield revision(name, last, PRODUCT + dedent(step.format(i=i)), "raise NotImplementedError('not measured')")
            last = name


def measure(project: Project, backend: str) -> tuple[float, float]:
    """Return the seconds that `flask db upgrade` of an empty database takes: of time, and of CPU time."""
    found = []
    for _ in range(5):
        with empty_database(backend, project.path) as url:
            began, cpu = time.perf_counter(), time.process_time()
            project.ok("upgrade", DATABASE_URL=url)
            found.append((time.perf_counter() - began, time.process_time() - cpu))
            (project.path / "test.db").unlink(missing_ok=True)
    wall, used = zip(*found, strict=True)
    return min(wall), min(used)


def main(backends: list[str]) -> None:
    """Print the times for each backend."""
    for backend in backends or ["sqlite", *SERVERS]:
        with tempfile.TemporaryDirectory() as folder:
            project = copied(Path(folder))
            measure(project, backend)  # loads modules
            found = {"one revision": measure(project, backend)}
            for script in history(3, 22):
                project.write(*script)
            found["100 revisions"] = measure(project, backend)
            with empty_database(backend, project.path) as url:
                project.ok("squash", "--yes", DATABASE_URL=url)
            (project.path / "test.db").unlink(missing_ok=True)
            found["their squash"] = measure(project, backend)
        print(
            backend, *(f"{name}: {wall:.2f} s, {cpu:.2f} s of CPU" for name, (wall, cpu) in found.items()), sep="\n  "
        )


if __name__ == "__main__":
    main(sys.argv[1:])
