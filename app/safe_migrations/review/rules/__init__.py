"""The catalogue of rules: one module for each kind of thing that an operation is about."""

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
    scripts,
    table_copies,
    tables,
    types,
)
from .registry import Problem, Rule, RuleContext

MODULES = (
    *(tables, columns, types, constraints, names, possible_renames, enums),
    *(indexes, data, ddl, scripts, table_copies, batch_mode),
)
RULES = {rule.code: rule for module in MODULES for rule in vars(module).values() if isinstance(rule, Rule)}
"""All rules, by code."""

__all__ = ["RULES", "Problem", "Rule", "RuleContext"]
