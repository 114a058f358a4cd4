"""What MySQL and MariaDB do with an operation."""

from app.safe_migrations.adapters.facts import Facts


class MySQLFacts(Facts):
    """By MySQL's manual, "Online DDL Operations"."""

    product = dialect = "mysql"
    oldest = (8, 0)
    longest_name = 64
    names_in_bytes = False


class MariaDBFacts(MySQLFacts):
    """By MariaDB's Knowledge Base, "InnoDB Online DDL Overview"."""

    product = dialect = "mariadb"
    oldest = (10, 5)
