"""Some titles are longer."""

import sqlalchemy as sa
from alembic import op

revision = "shorter_title"
down_revision = "base0"

databases = ("mysql", "mariadb", "postgresql")
codes = ("shrink-column", "change-type")


def upgrade():
    op.alter_column("note", "title", existing_type=sa.String(200), type_=sa.String(40), existing_nullable=True)


def downgrade():
    op.alter_column("note", "title", existing_type=sa.String(40), type_=sa.String(200), existing_nullable=True)
