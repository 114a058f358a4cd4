"""The models of the example."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from .extensions import db


class User(db.Model):
    """Someone who uses the app."""

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(80), unique=True)
    email: Mapped[str] = mapped_column(String(120), unique=True)
