"""What PostgreSQL does with an operation."""

from app.safe_migrations.adapters.facts import Facts


class PostgreSQLFacts(Facts):
    """By the manual, chapters "ALTER TABLE" and "Explicit Locking"."""

    product = dialect = "postgresql"
    oldest = (12,)
    ddl_commits = False
    concurrent_indexes = True
