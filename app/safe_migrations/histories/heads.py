"""Histories with several heads: the ones that are an accident, and what comes before each."""

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic.script import Script, ScriptDirectory
from alembic.util import to_tuple

from ..errors import relative


def parents(script: Script) -> tuple[str, ...]:
    """Return the revisions in `down_revision`; an empty tuple for a base."""
    return to_tuple(script.down_revision, default=())


def needs(script: Script) -> list[str]:
    """Return the revisions that have to be applied before ``script``, those in `depends_on` among them."""
    return [*parents(script), *to_tuple(script.dependencies, ())]


def replaces(script: Script) -> list[str]:
    """Return the revisions that ``script`` replaces; an empty list if it is not a squash."""
    return list(getattr(script.module, "replaces", ()))


def closure(names: Iterable[str], following: Callable[[str], Collection[str]], known: Collection[str] = ()) -> set[str]:
    """Return ``names``, the revisions ``following`` each of them, and so on, without those that are ``known``."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in found and name not in known:
            found.add(name)
            left += following(name)
    return found


def lineage(script: ScriptDirectory, revision: str) -> set[str]:
    """Return ``revision`` and all revisions before it, without those that only `depends_on` names."""
    return closure([revision], lambda name: parents(script.get_revision(name)))


def accidental_heads(script: ScriptDirectory) -> list[Script]:
    """Return the heads of branches that nobody meant to keep apart, as two developers make them; else an empty list.

    A branch is meant to stay if it has a branch label of its own, begins at a base of its own, or if another branch
    names it in `depends_on`. Alembic writes these only on request.
    """
    heads = [script.get_revision(head) for head in sorted(script.get_heads(consider_depends_on=True))]

    def is_branch_of(head: Script, other: Script) -> bool:
        same_labels = head is not other and head.branch_labels == other.branch_labels
        return same_labels and bool(lineage(script, head.revision) & lineage(script, other.revision))

    return [head for head in heads if any(is_branch_of(head, other) for other in heads)]


def script_in_words(script: Script) -> str:
    """Return revision, file and message of ``script`` on one line."""
    message = (script.doc or "").partition("\n")[0]
    return ", ".join(filter(None, [script.revision, relative(Path(script.path)), message]))


@contextmanager
def doubtful_history_refused() -> Iterator[None]:
    """Inside the block, raise Alembic's warnings about the history as errors.

    Otherwise Alembic would continue without a missing revision, with one of two scripts that have the same id, or with
    the one of several heads that its table lists first.
    """
    doubts = r"Revision .* is (present more than once|not present)|downgrade -1 from multiple heads is ambiguous"
    with warnings.catch_warnings():
        warnings.filterwarnings("error", doubts, UserWarning)
        yield
