"""The catalogue of rules: a module for each kind of thing that an operation is about."""

from . import batch_mode as rebuilds
from . import columns, constraints, data, ddl, enums, indexes, names, references, scripts, tables, types
from . import possible_renames as renames
from . import table_copies as copies
from .registry import RULES, Assurances, Case, Problem, Rule

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
