"""The models of a typical app, as source, and rows for them; model_changes.py changes the models."""

SHOP = """
from sqlalchemy import BigInteger, Column, Enum, UniqueConstraint, false, func

user_role = db.Table(
    "user_role",
    Column("user_id", ForeignKey("user.id", ondelete="CASCADE"), primary_key=True),
    Column("role_id", ForeignKey("role.id", ondelete="CASCADE"), primary_key=True),
)

class Role(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)

class User(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(120), unique=True)
    full_name: Mapped[str] = mapped_column(String(80))
    nick: Mapped[str | None] = mapped_column(String(40))
    active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    roles: Mapped[list["Role"]] = db.relationship(secondary="user_role")

class Product(db.Model):
    __table_args__ = (CheckConstraint("stock >= 0", name="stock_not_negative"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(String(20), unique=True)
    name: Mapped[str] = mapped_column(String(80), index=True)
    price: Mapped[Decimal] = mapped_column(Numeric(8, 2))
    stock: Mapped[int] = mapped_column(server_default="0")
    details: Mapped[Any | None] = mapped_column(JSON)

class Order(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)
    status: Mapped[str] = mapped_column(Enum("new", "paid", "sent", name="order_status"))
    note: Mapped[str | None] = mapped_column(Text)
    placed_at: Mapped[datetime | None] = mapped_column(index=True)

class OrderLine(db.Model):
    __table_args__ = (UniqueConstraint("order_id", "product_id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("order.id", ondelete="CASCADE"))
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), index=True)
    quantity: Mapped[int]

class Comment(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("comment.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)
    product_id: Mapped[int | None]
    kind: Mapped[str] = mapped_column(String(10), server_default="ask")
    body: Mapped[str] = mapped_column(String(200))

class Tag(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), index=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
"""
TWICE = {
    "role (name)": "'role{0}'",
    "user (email, full_name, nick, active)": "'user{0}@x', 'Ann {0}', 'n{0}', true",
    "product (sku, name, price, stock)": "'{0}', 'p{0}', 1, 1",
    "user_role (user_id, role_id)": "{0}, {0}",
    "order (user_id, status)": "1, 'new'",
    "order_line (order_id, product_id, quantity)": "{0}, 1, 1",
    "comment (id, parent_id, user_id, product_id, kind, body)": "{0}, 1, 1, {0}, 'ask', 'why'",
    "tag (product_id, name)": "1, 'tag{0}'",
}
"""A row of each table, which is inserted twice: with {0} as 1, and as 2."""
