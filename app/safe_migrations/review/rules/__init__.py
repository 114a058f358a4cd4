"""The catalogue of rules: one module for each kind of thing that an operation is about."""

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
"""All rules, by name, which is their code unless two share one."""

__all__ = ["RULES", "Problem", "Rule", "RuleContext"]
