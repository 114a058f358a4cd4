"""Rules about whole scripts, and about SQL in them that is no operation on a table."""

import ast
from collections.abc import Iterator
from pathlib import Path

from flask import current_app

from ..recorder import Revision, one_way
from ..sql import ChangeRowsOp, CommandOp
from .registry import BLOCKS, POSTGRESQL, WARNS, Assurances, Problem, RuleContext, rule


@rule(WARNS, CommandOp)
def raw_sql(op: CommandOp, context: RuleContext) -> Problem | None:
    """SQL that is understood falls under the rules for what it does; this is about the rest, and what it drops."""
    shown = op.text if len(op.text) <= 60 else f"{op.text[:57]}..."
    if not op.parsed:
        return Problem(
            f"executes SQL that nobody can review: {' '.join(shown.split())}",
            "use Alembic's operations, or one plain statement for each:\n"
            '    op.execute("UPDATE ... SET ... WHERE ...")',
        )
    if op.words == "SET PRAGMA":
        return Problem(
            f"sets PRAGMA {op.name}, and what that does cannot be reviewed",
            "set it where the app connects; or say in the script why it belongs here:\n"
            '    safety_assured = {"raw-sql": "why it is safe"}',
        )
    if op.may_do_anything:
        return Problem(
            f"executes {op.words}, and what that does cannot be reviewed",
            'give each statement by itself:\n    op.execute("UPDATE ... WHERE ...")',
        )
    return _dropped(op, context) if op.drops else None


def _dropped(op: CommandOp, context: RuleContext) -> Problem | None:
    what = f"{op.words.lower()} {op.name or ''}".strip().replace("drop", "drops", 1)
    if op.loses_data:
        also = "all that depends on it" if op.cascade else "the data in it"
        direction = 'drop by name what is not needed, table by table:\n    op.drop_table("...")'
        return Problem(
            f"{what}, and with it {also}",
            direction,
            BLOCKS,
        )
    made_again = {(f"CREATE {kind}", op.name) for kind in [op.words.partition(" ")[2]]}
    if made_again & {
        (each.op.words, each.op.name) for each in context.revision.upgrade if isinstance(each.op, CommandOp)
    }:
        return None
    return Problem(
        f"{what}, and code that is still running may use it",
        "drop it in the next release, when nothing uses it:\n"
        '    safety_assured = {"raw-sql": "nothing has used it since the last release"}',
    )


@rule(BLOCKS, CommandOp, new_tables=True)
def transaction_control(op: CommandOp, context: RuleContext) -> Problem | None:
    """A revision is all or nothing because it runs in a transaction that Alembic begins and ends."""
    if op.words not in context.facts.ends_transaction:
        return None
    return Problem(
        f"executes {op.words}, and if it fails after that, what was done before it stays",
        "leave it to Alembic; what has to run outside a transaction goes into an autocommit block:\n"
        "    with op.get_context().autocommit_block():\n"
        "        op.execute(...)",
    )


@rule(BLOCKS, CommandOp, ChangeRowsOp, on=POSTGRESQL)
def lock_heavy_command(op: CommandOp | ChangeRowsOp, context: RuleContext) -> Problem | None:
    """Readers and writers wait until it is done (PostgreSQL manual, "Explicit Locking")."""
    if isinstance(op, ChangeRowsOp):
        if not op.cascade:
            return None
        return Problem(
            f"truncates {op.table_name} with CASCADE, which locks and empties all tables that refer to it",
            f"name the tables:\n    op.execute({f'TRUNCATE {context.facts.quoted(op.table_name, op.schema)}, ...'!r})",
        )
    way_out = context.facts.way_out(op.words, op.text, op.concurrently)
    name = op.table_name or op.name or "the database"
    if way_out is None:
        return None
    line = f'    safety_assured = {{"lock-heavy-command": "nobody uses {name} then"}}'
    if "CONCURRENTLY, in" in way_out:
        line = f'    with op.get_context().autocommit_block():\n        op.execute("{op.words} ... CONCURRENTLY ...")'
    return Problem(
        f"executes {op.words} on {name}, and others wait for it until that is done",
        f"{way_out.removesuffix('.')}:\n{line}",
    )


@rule(WARNS, Revision)
def not_inspectable(revision: Revision, _context: RuleContext) -> Iterator[Problem]:
    """What cannot be recorded cannot be reviewed, and nothing is guessed."""
    for direction, reason in revision.not_inspectable.items():
        absent = not hasattr(revision.script.module, direction)
        is_reported = absent or reason.always_fails or one_way(Path(revision.script.path)) is not None
        if direction == "downgrade" and is_reported:  # by missing_downgrade, or by the script itself
            continue
        yield Problem(
            f"cannot be reviewed from line {reason.line} of its {direction}() on: {reason}",
            "change the schema in a revision that does nothing else, and rows in one of their own:\n"
            '    flask db revision -m "move the rows"',
            line=reason.line,
        )


@rule(WARNS, Revision)
def imports_app_models(revision: Revision, _context: RuleContext) -> Iterator[Problem]:
    """The app goes on, and the script stays: some day they do not fit."""
    own = {"app", current_app.import_name.partition(".")[0]} if current_app else {"app"}
    text = Path(revision.script.path).read_text(encoding="utf-8")
    if not any(name in text for name in own):  # most scripts: to parse and walk one takes longer than all other rules
        return
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        for name in [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]:
            if name.partition(".")[0] in own and not name.startswith("app.safe_migrations"):
                yield Problem(
                    f"imports {name}, which will not stay as it is now",
                    "say in the script what it needs:\n"
                    '    user = sa.table("user", sa.column("id"), sa.column("email"))',
                    line=node.lineno,
                )


@rule(WARNS, Revision)
def missing_downgrade(revision: Revision, _context: RuleContext) -> Problem | None:
    """Without it nobody can go back, or the database goes back only in name.

    Not asked of a revision that leaves the schema as it is, or does what no statement takes back.
    """
    script = Path(revision.script.path)
    failure = revision.not_inspectable.get("downgrade")
    if failure and failure.always_fails and one_way(script) is None:
        return Problem(
            f"cannot be downgraded: line {failure.line} of its downgrade() always fails: {failure}",
            "correct it, or say why there is no way back:\n"
            "    def downgrade():\n"
            '        raise NotImplementedError("why there is no way back")',
            line=failure.line,
        )
    if "downgrade" not in revision.recordings or revision.downgrade or one_way(script) is not None:
        return None
    commands = [each.op for each in revision.upgrade if isinstance(each.op, CommandOp)]
    if len(commands) == len(revision.upgrade) and all(op.keeps_schema or not op.has_way_back for op in commands):
        return None
    lines = {each.name: each.lineno for each in _parsed(script).body if isinstance(each, ast.FunctionDef)}
    if "downgrade" in lines and "downgrade" in revision.not_inspectable:
        return None
    return Problem(
        "has an upgrade() and no downgrade() that takes it back",
        "write it, or say why there is none:\n"
        "    def downgrade():\n"
        '        raise NotImplementedError("why there is no way back")',
        line=lines.get("downgrade"),
    )


def _parsed(script: Path) -> ast.Module:
    return ast.parse(script.read_text(encoding="utf-8"))


def _without(declared: dict[object, object], code: object) -> str:
    return repr({key: reason for key, reason in declared.items() if key != code})


@rule(WARNS, Assurances)
def safety_assured(assurances: Assurances, _context: RuleContext) -> Iterator[Problem]:
    """An assurance that assures nothing hides the next thing that hurts."""
    if not isinstance(assurances.declared, dict):
        yield Problem(
            "declares a safety_assured that is no dict, and acknowledges nothing",
            'write codes and reasons:\n    safety_assured = {"drop-column": "why it is safe"}',
        )
        return
    for code, reason in assurances.declared.items():
        if code not in assurances.known:
            yield Problem(
                f"acknowledges {code!r}, and there is no such rule",
                "take it out, or correct it to a code that is shown by:\n    flask db review",
            )
        elif not assurances.is_reason(reason):
            yield Problem(
                f"acknowledges {code} without a reason, which does not count",
                f'say why it is safe:\n    safety_assured = {{"{code}": "why it is safe"}}',
            )
        elif assurances.found is not None and code not in assurances.found:
            yield Problem(
                f"acknowledges {code}, and has nothing of that kind any more",
                f"take it out:\n    safety_assured = {_without(assurances.declared, code)}",
            )
