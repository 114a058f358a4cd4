"""No row is compared yet."""

from alembic import op

revision = "foreign_key_not_valid"
down_revision = "account_parent_id"

databases = ("postgresql",)


def upgrade():
    op.create_foreign_key(
        op.f("fk_account_parent_id_account"),
        "account",
        "account",
        ["parent_id"],
        ["id"],
        ondelete="SET NULL",
        postgresql_not_valid=True,
    )


def downgrade():
    op.drop_constraint(op.f("fk_account_parent_id_account"), "account", type_="foreignkey")
