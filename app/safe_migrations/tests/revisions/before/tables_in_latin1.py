"""Convert the tables to latin1."""

from alembic import op

revision = "tables_in_latin1"
down_revision = "base0"


def upgrade():
    for table in ("user", "account", "note"):
        op.execute(f"ALTER TABLE `{table}` CONVERT TO CHARACTER SET latin1")


def downgrade():
    for table in ("user", "account", "note"):
        op.execute(f"ALTER TABLE `{table}` CONVERT TO CHARACTER SET utf8mb4")
