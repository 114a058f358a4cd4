"""Each rule finds its Bad of RULES.md, not its Good, and what it prints instead runs, in tables with odd names."""

import ast
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent
from types import SimpleNamespace
from typing import Any

import click
import pytest
import sqlalchemy as sa
from alembic.script import Script, ScriptDirectory
from flask import Flask, current_app
from flask_migrate import upgrade
from sqlalchemy.orm import DeclarativeBase, mapped_column

from ..adapters.facts import Facts
from ..adapters.products import FACTS
from ..database import Database
from ..review.findings import PLACEHOLDER, Finding
from ..review.recorder import Recordings
from ..review.reviewer import review_pending, review_revisions
from ..review.rules import RULES
from .example.app.extensions import db
from .support import (
    FIRST,
    PACKAGE,
    SERVERS,
    Project,
    copied,
    empty_database,
    is_mariadb,
    make_app,
    run_on_server,
    run_scripts,
    script_of,
    told_by,
)

SECTIONS = dict(re.findall(r"^## `([a-z0-9-]+)`\n(.*?)(?=^## |\Z)", (PACKAGE / "RULES.md").read_text(), re.M | re.S))
SILENT = {("inline-references-ignored", "mariadb")}  # only before 10.5, which is no longer maintained
CASES = [
    (rule.code, product)
    for rule in RULES.values()
    for product, facts in FACTS.items()
    if rule.applies(facts()) and (rule.code, product) not in SILENT
]
# The names in scripts and what stands for them here: words that are reserved, and names that need quotes.
ODD = {"user": "order", "username": "Full Name", "email": "50%", "age": "select", "login": "LogIn", "name": "it's"}
ODD |= {
    "pet": "group",
    "mood": "Mood",
    "kind": "Kind",
    "grown_up": "grown-up",
    "toy": "table",
    "nick": "Nick",
    "state": "where",
}
NAME = re.compile(rf"""["`]?\b({"|".join(ODD)})\b["`]?""")
BASE = """
op.create_table(
    "user",
    sa.Column("id", sa.Integer(), primary_key=True),
    sa.Column("username", sa.String(80), nullable=False),
    sa.Column("email", sa.String(120), nullable=False),
)
op.create_table(
    "toy",
    sa.Column("id", sa.Integer(), primary_key=True),
    sa.Column("user_id", sa.Integer(), nullable=False),
    sa.Column("nick", sa.String(40), server_default="it's", comment="50%", nullable=False),
    sa.Column("state", sa.Enum("open", "it's", name="state")),
    sa.Column("login", sa.String(20).with_variant(mysql.VARCHAR(20, charset="ascii"), "mysql", "mariadb")),
)
"""
MORE = [
    [part.strip() for part in line.split("|", 2)]
    for line in (Path(__file__).with_name("revisions") / "more.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
# Bads that a database, Alembic or the package refuses whatever the rows are; a rename in a type, of whose rows the
# review knows nothing; and a loss in the definition of a column, which needs no rows.
ALWAYS_STOPS = {
    *("transaction-control", "unnamed-constraint", "rebuild-loses", "string-without-length", "enum-value-used"),
    *("concurrently-in-transaction", "constraint-outside-batch", "modify-drops-attributes", "enum-value"),
    *("colon-in-ddl", "missing-object", "long-identifier-mysql", "change-type-postgresql", "change-type-postgresql3"),
    *("raw-sql-postgresql2", "raw-sql-postgresql3"),
    *(f"add-column-limits-sqlite{number}" for number in (2, 3, 4)),
}


class Odd(ast.NodeTransformer):
    """A transformer that puts the odd names into a script: alone, in SQL with quotes, and as columns of a table."""

    def __init__(self, facts: Facts) -> None:
        self.quote = facts.sql_dialect.identifier_preparer.quote_identifier

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """Replace a string that is a name, or that is SQL."""
        if not isinstance(node.value, str):
            return node
        quote = str if re.fullmatch(r"\w+\.\w+", node.value) else self.quote  # the target of a foreign key
        return ast.Constant(ODD.get(node.value) or NAME.sub(lambda found: quote(ODD[found[1]]), node.value))

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """Replace the name of a column: user.c.email."""
        self.generic_visit(node)
        if isinstance(node.value, ast.Attribute) and node.value.attr == "c" and node.attr in ODD:
            return ast.Subscript(node.value, ast.Constant(ODD[node.attr]), node.ctx)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Replace the names in values(email="")."""
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "values":
            values = {ast.Constant(ODD.get(str(each.arg), each.arg)): each.value for each in node.keywords}
            return ast.Call(node.func, [ast.Dict(list(values), list(values.values()))], [])
        return node


def odd(code: str, product: str) -> str:
    """Return ``code``, lines of a script, with odd names."""
    return ast.unparse(ast.fix_missing_locations(Odd(FACTS[product]()).visit(ast.parse(code))))


def pair(code: str, product: str) -> tuple[str, str]:
    """Return Bad and Good of a rule, with odd names."""
    bad, good = re.findall(r"^```python\n(.*?)^```$", SECTIONS[code], re.MULTILINE | re.DOTALL)
    return odd(bad, product), odd(good, product)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy of the example without revisions."""
    project = copied(tmp_path_factory.mktemp("rules"))
    for script in project.scripts():
        script.unlink()
    return project


@pytest.fixture(scope="module")
def write(project: Project, in_any_app: None) -> Callable[..., list[Script]]:
    """Return a function that writes a revision a0 with the tables, and revisions a1 and so on; it returns all."""

    def write(code: str, product: str, *scripts: str) -> list[Script]:
        for script in project.scripts():
            script.unlink()
        lines = [line for of, where, line in MORE if (of, where) == (code, "before")]
        before = "\n".join(["from sqlalchemy.dialects import mysql", BASE, *lines])
        for number, text in enumerate([script_of(odd(before, product)), *scripts]):
            text = text.replace("'a1'", f"'a{number}'").replace(
                repr(FIRST), repr(f"a{number - 1}") if number else "None"
            )
            project.write(f"migrations/versions/a{number}.py", text)
        return list(ScriptDirectory(str(project.path / "migrations")).walk_revisions())[::-1]

    return write


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let scripts import app.models with a model User, whose table has the odd name."""
    base = type("Base", (DeclarativeBase,), {})
    columns = {"id": mapped_column(sa.Integer, primary_key=True)}
    monkeypatch.setitem(
        sys.modules, "app.models", SimpleNamespace(User=type("User", (base,), {"__tablename__": "order", **columns}))
    )


def of_code(findings: list[Finding], code: str) -> list[Finding]:
    """Return the findings with a code; fail if there are none."""
    found = [finding for finding in findings if finding.code == code]
    assert found, [finding.words for finding in findings]
    return found


# A rule that finds its Bad on MySQL is not asked about MariaDB as well: the server's own tests do that below.
@pytest.mark.parametrize(
    ("code", "product"), [case for case in CASES if case[1] != "mariadb" or (case[0], "mysql") not in CASES]
)
def test_rule(write: Callable[..., list[Script]], code: str, product: str) -> None:
    """It finds its Bad without a database, with words and a way out, and not its Good, which nothing else blocks."""
    bad, good = pair(code, product)
    facts = FACTS[product]()
    for finding in of_code(review_revisions(write(code, product, script_of(bad)), {"a1"}, facts), code):
        assert finding.message.startswith("revision a1 ")
        assert finding.message.endswith(f" ({code}).")
        assert "\n    " in finding.instead
    found = review_revisions(write(code, product, script_of(good)), {"a1"}, facts)
    assert [] == [finding.words for finding in found if finding.code == code or finding.stops]


@dataclass
class Live:
    """An app on a database of its own, whose revisions and tables a test replaces."""

    app: Flask
    product: str
    write: Callable[..., list[Script]]
    directory: str

    def script(self, code: str, more: str | None, case: str) -> str:
        """Return the Bad of a rule, or another one, as a script; skip the test if that is for MariaDB only."""
        if "mariadb" in case and self.product != "mariadb":
            pytest.skip("only on MariaDB")
        return script_of(pair(code, self.product)[0] if more is None else odd(more, self.product))

    def begin(self, rows: bool) -> None:
        """Upgrade an empty database to a0, and insert rows, or none."""
        url = db.engine.url
        db.engine.dispose()
        if self.product == "sqlite":
            Path(str(url.database)).unlink(missing_ok=True)
        elif self.product == "postgresql":
            run_on_server(url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
        else:
            run_on_server(url, f"DROP DATABASE {url.database}", f"CREATE DATABASE {url.database}")
        run_scripts(db.engine, self.directory, "a0")
        users = [{"id": number, "Full Name": str(number), "50%": f"{number}@x"} for number in (2001, 2002)]
        toys = [{"id": number, "user_id": number, "where": state} for number, state in ((2001, "it's"), (2002, None))]
        with db.engine.begin() as connection:
            for name, values in (("order", users), ("table", toys)) if rows else ():
                connection.execute(sa.table(name, *map(sa.column, values[0])).insert(), values)

    def rows(self) -> dict[str, list[int]]:
        """Return the keys of the rows."""
        tables = [sa.table(name, sa.column("id")) for name in ("order", "table", "toys")]
        with db.engine.connect() as connection:
            there = [table for table in tables if sa.inspect(connection).has_table(table.name)]
            return {table.name: list(connection.scalars(sa.select(table).order_by(table.c.id))) for table in there}

    def upgrade(self, revision: str, review: str = "off") -> str:
        """Upgrade, and return the error; empty without one."""
        self.app.config["MIGRATION_REVIEW"] = review
        try:
            upgrade(directory=self.directory, revision=revision)
        except (Exception, SystemExit) as error:
            return "\n".join(told_by(error))
        return ""

    def review(self, script: Script) -> list[Finding]:
        """Return what `flask db review` finds in a script that would run next."""
        with db.engine.connect() as connection:
            return review_pending([script], Database(connection), Recordings(), ())


@pytest.fixture(scope="module")
def live(
    request: pytest.FixtureRequest,
    write: Callable[..., list[Script]],
    project: Project,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Live]:
    """Yield an app on a database for all tests of a backend."""
    with empty_database(request.param, tmp_path_factory.mktemp("database")) as url:
        app = make_app(url)
        with app.app_context():
            product = "mariadb" if request.param == "mysql" and is_mariadb(db.engine.url) else request.param
            yield Live(app, product, write, str(project.path / "migrations"))
            db.engine.dispose()


def live_cases() -> Iterator[Any]:
    """Yield each code with a backend and None, or another script that the rule finds there."""
    for backend in ("sqlite", *SERVERS):
        for code in dict.fromkeys(code for code, product in CASES if product == backend):
            names = {backend, "mariadb"} if backend == "mysql" else {backend}
            more = [(names & {*where.split()}, script) for of, where, script in MORE if of == code]
            for number, (where, script) in enumerate([({backend}, None), *(each for each in more if each[0])], 1):
                if code != "inline-references-ignored":  # only by versions that no test server has
                    case = f"{code}-{min(where)}{number if script else ''}"
                    yield pytest.param(backend, code, script, case, id=case)


on_each_backend = pytest.mark.parametrize(("live", "code", "more", "case"), list(live_cases()), indirect=["live"])


@on_each_backend
def test_empty_table(live: Live, code: str, more: str | None, case: str) -> None:
    """A review finds the script where the tables are empty, too, and an upgrade runs there."""
    scripts = live.write(code, live.product, live.script(code, more, case))
    live.begin(rows=False)
    of_code(live.review(scripts[1]), code)
    error = live.upgrade("a1", "enforce")
    assert bool({code, case} & ALWAYS_STOPS) == bool(error), error


def blocks(instead: str) -> list[tuple[str, str]]:
    """Return each block of lines to paste, with the words above it; fail if there are none."""
    found = re.findall(r"((?:^(?! {4}).*\n)+)((?:^ {4}.*(?:\n|\Z))+)", instead, re.MULTILINE)
    assert found, instead
    return [(words, dedent(lines)) for words, lines in found]


def pasted(script: str, finding: Finding, words: str, lines: str) -> str:
    """Return the script with lines in place of the statement that the finding is about."""
    tree, new = ast.parse(script), ast.parse(lines).body
    functions = {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef)}
    if lines.startswith(("def ", "safety_assured")):
        replaced = {getattr(each, "name", "") for each in new}
        tree.body = [*(each for each in tree.body if getattr(each, "name", None) not in replaced), *new]
    elif "end of downgrade()" in words:
        functions["downgrade"].body += new
    else:
        body = functions["downgrade" if " in downgrade() " in finding.message else "upgrade"].body
        *_, place = [n for n, each in enumerate(body) if each.lineno <= finding.line <= (each.end_lineno or 0)]
        body[place : place + 1] = new
    return ast.unparse(tree)


def run_model(lines: str) -> None:
    """Query a model with lines that were pasted into it."""
    body = f"id = key\n__tablename__ = 'order'\n{lines}"
    key = mapped_column(sa.Integer, primary_key=True)
    names: dict[str, Any] = {"key": key, "Base": type("Base", (DeclarativeBase,), {})}
    exec(f"class Model(Base):\n{indent(body, '    ')}", names)
    with db.engine.connect() as connection:
        connection.execute(sa.select(names["Model"]))


def run_elsewhere(lines: str) -> bool:
    """Run lines that do not belong in a script, and return True; False if they do."""
    if lines.startswith("flask db "):
        for line in lines.splitlines():
            _, _, name, *arguments = shlex.split(line)
            group = current_app.cli.commands["db"]
            assert isinstance(group, click.Group)
            command = group.get_command(click.Context(group), name)
            assert command is not None
            command.make_context(name, arguments, resilient_parsing=True)
    elif lines.startswith("SELECT "):
        with db.engine.connect() as connection:
            connection.execute(sa.text(re.sub(r":(?=\w)", r"\:", lines.rstrip(";\n"))))
    elif "mapped_column(" in lines or "__tablename__" in lines:
        run_model(lines)
    else:
        return lines.startswith("export ")
    return True


@on_each_backend
def test_instead(live: Live, code: str, more: str | None, case: str) -> None:
    """What the finding gives to paste runs in tables with rows, keeps them, and is not found again.

    Blocks after the first run in the next revisions, or if they begin with "or", in place of it.
    """
    script = live.script(code, more, case)
    scripts = live.write(code, live.product, script)
    live.begin(rows=True)
    finding, run = of_code(live.review(scripts[1]), code)[0], list[str]()
    for words, lines in blocks(finding.instead):
        assert "..." not in lines, finding.words
        lines = lines.replace(PLACEHOLDER, "it is").replace("why it cannot", "it cannot")
        if run_elsewhere(lines):
            continue
        if re.match("(?i)or", words):
            run = []
        if lines.startswith("sa.") and not re.match(r"sa\.\w+\(.*\)\.", lines):  # a part of create_table()
            more_columns = "" if lines.startswith("sa.Column") else "sa.Column('select', sa.Integer()), "
            lines = f"op.create_table('new', sa.Column('no', sa.Integer(), primary_key=True), {more_columns}{lines})"
        run.append(
            pasted(run.pop(), finding, words, lines)
            if run and "end of downgrade()" in words
            else script_of(lines)
            if run or code == "imports-app-models" or "the drop and the add" in words
            else pasted(script, finding, words, lines)
        )
        scripts = live.write(code, live.product, *run)
        if len(run) == 1:
            live.begin(rows=True)
        again = [each.words for each in live.review(scripts[len(run)]) if each.code == code and each.stops]
        assert [] == again or "acknowledge" in words
        if not lines.startswith("safety_assured"):
            rows = live.rows()
            assert "" == live.upgrade(f"a{len(run)}"), run[-1]
            assert [*rows.values()] == [*live.rows().values()] or "TRUNCATE" in lines


def test_imported_model(write: Callable[..., list[Script]]) -> None:
    """The lines to paste declare the table of the model that the script imports."""
    code, facts = "imports-app-models", FACTS["postgresql"]()
    scripts = write(code, facts.product, script_of(pair(code, facts.product)[0]))
    (finding,) = of_code(review_revisions(scripts, {"a1"}, facts), code)
    assert "\n    order = sa.table('order', sa.column('id'))" == finding.instead[finding.instead.index("\n") :]
