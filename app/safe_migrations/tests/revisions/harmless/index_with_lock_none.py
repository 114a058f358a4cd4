"""The server refuses LOCK=NONE if the change would block writes."""

from alembic import op

revision = "index_with_lock_none"
down_revision = "note_account_id_index"

databases = ("mysql", "mariadb")


def upgrade():
    op.execute("""
        ALTER TABLE `note`
        ADD INDEX `ix_note_account_id_title` (`account_id`, `title`),
        ALGORITHM=INPLACE, LOCK=NONE
    """)


def downgrade():
    op.execute("""
        ALTER TABLE `note`
        DROP INDEX `ix_note_account_id_title`,
        ALGORITHM=INPLACE, LOCK=NONE
    """)
