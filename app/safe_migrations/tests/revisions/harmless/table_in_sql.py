"""No running code uses the new table."""

from alembic import op

revision = "table_in_sql"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")


def upgrade():
    op.execute(
        """
        CREATE TABLE setting (
            name VARCHAR(80) NOT NULL,
            account_id INTEGER NOT NULL,
            value TEXT,
            PRIMARY KEY (name, account_id),
            CONSTRAINT fk_setting_account FOREIGN KEY (account_id) REFERENCES account (id) ON DELETE CASCADE
        )
        """
    )
    op.execute("CREATE INDEX ix_setting_account_id ON setting (account_id)")
    op.execute("INSERT INTO setting (name, account_id, value) SELECT 'theme', id, 'dark' FROM account")


def downgrade():
    op.execute("DROP TABLE setting")
