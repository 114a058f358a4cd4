"""Add constraints that are not validated."""

from alembic import op

revision = "constraints_not_valid"
down_revision = "base0"


def upgrade():
    op.execute("ALTER TABLE account ADD CONSTRAINT ck_account_balance_bounds CHECK (balance > -1000) NOT VALID")
    op.execute("""
        ALTER TABLE note ADD COLUMN author_id INTEGER;
        ALTER TABLE note ADD CONSTRAINT fk_note_author_id_user
            FOREIGN KEY (author_id) REFERENCES "user" (id) NOT VALID;
    """)


def downgrade():
    op.drop_column("note", "author_id")
    op.execute("ALTER TABLE account DROP CONSTRAINT ck_account_balance_bounds")
