"""All rules of the review, in one module for each subject: tables, columns, types, constraints and so on."""

from . import (
    batch_mode,
    columns,
    constraints,
    data,
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
    *(indexes, data, scripts, table_copies, batch_mode),
)
RULES = {
    name.replace("_", "-"): rule for module in MODULES for name, rule in vars(module).items() if isinstance(rule, Rule)
}
"""All rules, by the name of their function with hyphens: the rule's code, or a name of its own if two share a code."""

__all__ = ["RULES", "Problem", "Rule", "RuleContext"]
