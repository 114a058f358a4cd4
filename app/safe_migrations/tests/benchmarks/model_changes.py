"""Findings per revision, and failures, of the scripts for 40 changes of a typical app's models.

    python -m app.safe_migrations.tests.benchmarks.model_changes [BACKEND [CHANGE]] 2>log

Each change starts from the same models and rows, and is made as a developer makes it: `migrate`, with the answers that
it needs, `review`, `rehearse`, `upgrade`, `check`, and `downgrade` to where it began. Where a command refuses a
revision and offers a line to paste, the line is pasted and the command runs again; the table names what was pasted:
safety_assured, or a downgrade() that only raises. CHANGE is a part of a name. SQLite is always measured, the others
where TEST_MYSQL_URL and TEST_POSTGRESQL_URL name a server; stderr has the scripts and all that the commands print.
"""

import ast
import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from ..support import SERVERS, Models, copied, empty_database, state
from .shop import SHOP, TWICE

# A change's name, then its edits of the models and the answers to `migrate`, between " ; ". An edit is "Model + line",
# "+ line at the end", "- start of a line or paragraph" or "old => new"; an answer begins with -x.
CHANGES = r"""
add a nullable column: User + phone: Mapped[str | None] = mapped_column(String(20))
add a NOT NULL column: User + age: Mapped[int] ; -x default=user.age:0
add a boolean with a default: User + admin: Mapped[bool] = mapped_column(server_default=false())
add a timestamp: Order + seen_at: Mapped[datetime] ; -x default=order.seen_at:CURRENT_TIMESTAMP
add a JSON column: User + settings: Mapped[Any] = mapped_column(JSON) ; -x default=user.settings:{}
add an enum column: User + plan: Mapped[str] = mapped_column(Enum("free", "pro", name="plan"))
    -x default=user.plan:free
add a unique UUID: Order + public_id: Mapped[UUID | None] = mapped_column(unique=True)
add a self reference: Product + parent_id: Mapped[int | None] = mapped_column(ForeignKey("product.id"), index=True)
add a timestamp to three tables: Product + updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    Comment + updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    Tag + updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
add a model: + class Invoice(db.Model): ; +     id: Mapped[int] = mapped_column(primary_key=True)
    +     number: Mapped[str] = mapped_column(String(20), unique=True)
    +     order_id: Mapped[int] = mapped_column(ForeignKey("order.id"), index=True)
add an association table: + db.Table("product_tag", Column("product_id", ForeignKey("product.id"), primary_key=True),
    +     Column("tag_id", ForeignKey("tag.id"), primary_key=True))
drop a column: - nick:
drop a NOT NULL column: - quantity:
drop a foreign key column: - parent_id:
delete a model: - class Tag ; -x drop=tag
delete a model with its association table: - user_role ; - class Role ; - roles: ; -x drop=role ; -x drop=user_role
rename a column: full_name => display_name ; -x rename=user.full_name:display_name
rename a table: Tag => Label ; -x rename=tag:label
rename a table with its association table: Role => Team ; role => team ; -x rename=role:team
    -x rename=user_role:user_team ; -x rename=user_team.role_id:team_id
split a column: - full_name: ; User + first_name: Mapped[str] = mapped_column(String(40))
    User + last_name: Mapped[str] = mapped_column(String(40))
    -x default=user.first_name: ; -x default=user.last_name:
move a column to another table: - stock: ; - __table_args__ = (CheckConstraint ; + class Inventory(db.Model):
    +     id: Mapped[int] = mapped_column(primary_key=True)
    +     product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), unique=True) ; +     stock: Mapped[int]
make one-to-many many-to-many:
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), index=True)\n    name => name
    + db.Table("product_tag", Column("product_id", ForeignKey("product.id"), primary_key=True),
    +     Column("tag_id", ForeignKey("tag.id"), primary_key=True))
add an enum value: "sent", => "sent", "returned",
remove an enum value: "paid", =>
string to enum: String(10), server => Enum("ask", "say", name="kind"), server
make unique: String(40))\n    active => String(40), unique=True)\n    active
make two columns unique: Comment + __table_args__ = (UniqueConstraint("user_id", "product_id"),)
no longer unique: String(40), unique=True)\n\nclass User => String(40))\n\nclass User
add an index: String(40))\n    active => String(40), index=True)\n    active
add an index over two columns: Order + __table_args__ = (Index("ix_order_both", "status", "placed_at"),)
drop an index: String(80), index=True => String(80)
make NOT NULL: note: Mapped[str | None] => note: Mapped[str] ; -x default=order.note:none
no longer NOT NULL: full_name: Mapped[str] => full_name: Mapped[str | None]
a longer string:
    full_name: Mapped[str] = mapped_column(String(80)) => full_name: Mapped[str] = mapped_column(String(200))
a shorter string: String(120) => String(100)
string to text: String(200) => Text
integer to bigint: quantity: Mapped[int] => quantity: Mapped[int] = mapped_column(BigInteger)
a wider numeric: Numeric(8, 2) => Numeric(12, 2)
add a foreign key to a column:
    Mapped[int | None]\n    kind => Mapped[int | None] = mapped_column(ForeignKey("product.id"), index=True)\n    kind
make a foreign key cascade: "comment.id" => "comment.id", ondelete="CASCADE"
"""


@dataclass
class Outcome:
    """The result of a change: how many revisions, the findings, the lines that were pasted, and what failed.

    ``said`` is what the last command printed.
    """

    revisions: int = 0
    found: list[str] = field(default_factory=list)
    pasted: set[tuple[str, str]] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)
    said: str = ""


def edited(edits: list[str]) -> str:
    """Return the models after ``edits``, as CHANGES has them."""
    models = SHOP
    for edit in edits:
        model, plus, line = edit.partition("+ ")
        if " =>" in edit:
            old, new = edit.replace("\\n", "\n").split(" =>")
            new = new.removeprefix(" ")
        elif plus:
            old = f"class {model.strip()}(db.Model):\n" if model else models
            new = f"{old}{'    ' if model else ''}{line}\n"
        else:
            start = re.escape(edit.removeprefix("- "))
            found = re.search(rf"^(    {start}.*\n|{start}(.+\n)*)", models, re.MULTILINE)
            old, new = found[0] if found else edit, ""
        assert old in models, edit
        models = models.replace(old, new)
    return models


@contextmanager
def shop(backend: str) -> Iterator[Models]:
    """Yield a project with SHOP's models at revision b0, and two rows in each table of its database."""
    with tempfile.TemporaryDirectory() as folder, empty_database(backend, Path(folder)) as url:
        environ = {"MIGRATION_BACKUP": "never", "DATABASE_URL": url}
        project = Models(copied(Path(folder)).path, environ, engine=sa.create_engine(url))
        for script in project.scripts():
            script.unlink()
        project.models(SHOP)
        project.ok("migrate", "-m", "Begin", "--rev-id", "b0")
        project.ok("upgrade")
        quote = project.engine.dialect.identifier_preparer.quote
        for target, row in TWICE.items():
            table, columns = target.split(" ", 1)
            rows = f"({row.format(1)}), ({row.format(2)})"
            project.execute(f"INSERT INTO {quote(table)} {columns} VALUES {rows}")
        yield project
        project.engine.dispose()


def run(project: Models, outcome: Outcome, *args: str) -> bool:
    """Run a command until it succeeds, with the lines pasted that it offers, and return True if it does."""
    while True:
        done = project.db(*args)
        outcome.said = done.stdout + done.stderr
        print(f"$ flask db {' '.join(args)}", outcome.said, sep="\n", file=sys.stderr)
        if done.returncode == 0:
            return True
        offered = re.findall(r"(\S+\.py)[^\n]*:\n +(safety_assured = \{.*\}|def downgrade\(.*\n.*)", outcome.said)
        if outcome.pasted.issuperset(offered):
            error = re.search(".*(Error|fails).*", outcome.said)
            outcome.failed.append(f"{args[0]}: {error[0][-150:] if error else done.returncode}")
            return False
        for file, line in offered:
            project.write(file, pasted((project.path / file).read_text(), line))
        outcome.pasted |= set(offered)


def pasted(script: str, line: str) -> str:
    """Return a script with a safety_assured added to the codes that it has, or with its downgrade() replaced."""
    if line.startswith("def"):
        return script.partition("def downgrade")[0] + line + "\n"
    reasons = dict.fromkeys(ast.literal_eval(line.partition(" = ")[2]), "tried")
    if (old := re.search(r"^safety_assured = (\{.*?\})\n", script, re.DOTALL | re.MULTILINE)) is not None:
        script, reasons = script.replace(old[0], ""), ast.literal_eval(old[1]) | reasons
    return re.sub(r"(?m)^(down_revision = .*\n)", rf"\1safety_assured = {reasons}\n", script)


def make(project: Models, name: str, parts: list[str]) -> Outcome:
    """Make a change and take it back; remove its scripts."""
    outcome, before, old = Outcome(), look(project), project.scripts()
    print(f"\n==== {name} on {project.engine.name}", file=sys.stderr)
    project.models(edited([part for part in parts if not part.startswith("-x ")]))
    answers = [word for part in parts if part.startswith("-x ") for word in part.split(" ", 1)]
    run(project, outcome, *answers, "migrate", "-m", name)
    scripts = [script for script in project.scripts() if script not in old]
    print(*(script.read_text() for script in scripts), sep="\n", file=sys.stderr)
    outcome.revisions = len(scripts)
    found = json.loads(project.db("review", "--format", "json").stdout)
    outcome.found = [f"{each['code']} {each['level']}" for each in found if not each["acknowledged"]]
    run(project, outcome, "rehearse")
    stays = re.search("irreversible|no downgrade can remove", outcome.said)
    if run(project, outcome, "upgrade"):
        run(project, outcome, "check")
        if not stays and run(project, outcome, "downgrade", "b0"):
            after, lost = look(project), "drop-table" in str(outcome.pasted)
            changed = [name for name in sorted(before.keys() | after) if before.get(name) != after.get(name)]
            outcome.failed += [f"{name} changed" for name in changed if not (lost and name.startswith("rows"))]
    for script in scripts:
        script.unlink()
    return outcome


def look(project: Models) -> dict[str, object]:
    """Return the schema, the lines of the DDL, and the number of rows of each table."""
    schema, ddl, rows = state(project.engine)
    found = {f"schema of {name}": each for name, each in schema.items()}
    if project.engine.name != "sqlite":  # whose batch mode writes a table's DDL in its own way
        found |= {f"DDL of {name}": sorted(re.split(r",?\n", text)) for name, text in ddl.items()}
    return found | {f"rows of {name}": len(each) for name, each in rows.items()}


def main() -> None:
    """Make the changes on the named backend, or on each one, and print a line for each change."""
    lines = re.sub(r"(?m)^([\w -]+):\n +", r"\1: ", CHANGES.strip()).replace("\n    ", " ; ").splitlines()
    chosen = [line.split(": ", 1) for line in lines if " ".join(sys.argv[2:]) in line.partition(": ")[0]]
    for backend in sys.argv[1:2] or ["sqlite", *(name for name, server in SERVERS.items() if os.environ.get(server))]:
        outcomes: list[Outcome] = []
        while changes := chosen[len(outcomes) :]:
            with shop(backend) as project:
                before = look(project)
                for name, parts in changes:
                    outcomes.append(each := make(project, name, parts.split(" ; ")))
                    kinds = {line.partition("(")[0].partition(" =")[0] for _, line in each.pasted}
                    result = ", ".join(each.failed or ["passed", *sorted(kinds)])
                    print(
                        f"{backend:<11}{name:<42}{each.revisions:>2}  {', '.join(each.found):<64}{result}", flush=True
                    )
                    if before != look(project):
                        break
        codes = Counter(code for each in outcomes for code in each.found)
        revisions = sum(each.revisions for each in outcomes)
        print(f"{backend}: {sum(not each.failed for each in outcomes)} of {len(outcomes)} changes passed;", end=" ")
        print(f"{codes.total()} findings in {revisions} revisions, {codes.total() / revisions:.2f} each: {dict(codes)}")


if __name__ == "__main__":
    main()
