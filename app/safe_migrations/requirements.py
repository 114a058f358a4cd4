"""The database versions and the extensions that a revision script declares in `requires`.

    requires = {"mysql": ">=8.0.16", "postgresql": ">=12", "extension:pgcrypto": ""}

A database that is not named may have any version. Extensions are only checked on PostgreSQL.
"""

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from .database import Database
from .errors import MigrationError
from .plan import Plan

DATABASES = ("sqlite", "mysql", "mariadb", "postgresql")


def require(plan: Plan, database: Database) -> None:
    """Raise MigrationError if a revision of ``plan`` requires a version or an extension that the database lacks.

    Raise MigrationError, too, for a `requires` that is not in the form above.
    """
    product, version = database.product_and_version
    for revision in [step.revision for step in plan.revision_steps]:
        declared = getattr(revision.module, "requires", {})
        if not isinstance(declared, dict):
            raise _wrong(revision.revision, declared)
        for name, wanted in declared.items():
            if name == product and not _within(version, revision.revision, name, wanted):
                raise MigrationError(
                    f"revision {revision.revision} needs {product} {wanted}, but the server has version {version}.",
                    "upgrade the server first, or correct this line of the script:",
                    f"requires = {{{name!r}: {wanted!r}}}",
                )
            if name.startswith("extension:"):
                _require_extension(revision.revision, name.removeprefix("extension:"), database)
            elif name not in DATABASES:
                raise _wrong(revision.revision, name)


def _within(version: str, revision: str, name: str, wanted: object) -> bool:
    try:
        return version in SpecifierSet(str(wanted))
    except InvalidSpecifier:
        raise _wrong(revision, {name: wanted}) from None


def _require_extension(revision: str, name: str, database: Database) -> None:
    with database.read() as connection:
        is_missing = database.adapter.has_extension(connection, name) is False
    if is_missing:
        raise MigrationError(
            f"revision {revision} needs the extension {name}, which this database does not have.",
            "create it, as the server's administrator:",
            f'CREATE EXTENSION "{name}";',
        )


def _wrong(revision: str, declared: object) -> MigrationError:
    return MigrationError(
        f"revision {revision} has an invalid value in its `requires`: {declared!r}.",
        f"name databases ({', '.join(DATABASES)}) with versions, or extensions, as in this line:",
        'requires = {"mysql": ">=8.0.16", "extension:pgcrypto": ""}',
    )
