"""Nothing is forgotten, and the server refuses LOCK=NONE if the change would block writes."""

from alembic import op

revision = "modify_says_all"
down_revision = "base0"

databases = ("mysql", "mariadb")


def upgrade():
    op.execute("""
        ALTER TABLE `user`
        MODIFY COLUMN `email` varchar(200) NOT NULL,
        ALGORITHM=INPLACE, LOCK=NONE;
    """)


def downgrade():
    op.execute("ALTER TABLE `user` MODIFY COLUMN `email` varchar(120) NOT NULL")
