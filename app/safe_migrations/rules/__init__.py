"""The catalogue of rules: a module for each kind of thing that an operation is about."""

from app.safe_migrations.rules import (
    columns,
    constraints,
    copies,
    data,
    ddl,
    enums,
    indexes,
    names,
    rebuilds,
    references,
    renames,
    scripts,
    tables,
    types,
)
from app.safe_migrations.rules.registry import RULES, Assurances, Case, Problem, Rule

__all__ = [
    "RULES",
    "Assurances",
    "Case",
    "Problem",
    "Rule",
    "columns",
    "constraints",
    "copies",
    "data",
    "ddl",
    "enums",
    "indexes",
    "names",
    "rebuilds",
    "references",
    "renames",
    "scripts",
    "tables",
    "types",
]
