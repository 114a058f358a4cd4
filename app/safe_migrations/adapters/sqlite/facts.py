"""What SQLite does with an operation."""

from app.safe_migrations.adapters.facts import Facts


class SQLiteFacts(Facts):
    """By sqlite.org/lang_altertable.html."""

    product = dialect = "sqlite"
    oldest = (3, 35)
    ddl_commits = False
    longest_name = 1_000_000_000
