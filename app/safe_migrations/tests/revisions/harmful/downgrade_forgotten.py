"""After a downgrade the column still exists, and the next upgrade fails."""

import sqlalchemy as sa
from alembic import op

revision = "downgrade_forgotten"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")
codes = ("missing-downgrade",)


def upgrade():
    op.add_column("user", sa.Column("last_seen", sa.DateTime(), nullable=True))


def downgrade():
    pass
