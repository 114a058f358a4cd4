"""The catalogue of rules: a module for each kind of thing that an operation is about."""

from . import (
    batch_mode,
    columns,
    constraints,
    data,
    ddl,
    enums,
    indexes,
    names,
    possible_renames,
    references,
    scripts,
    table_copies,
    tables,
    types,
)
from .registry import RULES, Assurances, Problem, Rule, RuleContext

__all__ = [
    "RULES",
    "Assurances",
    "Problem",
    "Rule",
    "RuleContext",
    "batch_mode",
    "columns",
    "constraints",
    "data",
    "ddl",
    "enums",
    "indexes",
    "names",
    "possible_renames",
    "references",
    "scripts",
    "table_copies",
    "tables",
    "types",
]
