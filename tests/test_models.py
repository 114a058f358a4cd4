"""The models, on every backend."""

import pytest
from flask import Flask
from sqlalchemy.exc import IntegrityError

from app.extensions import db
from app.models import User


def test_user(app: Flask) -> None:
    """A user is kept, and shows its name."""
    db.session.add(User(username="alice", email="alice@example.com"))
    db.session.commit()
    assert "<User 'alice'>" == repr(db.session.scalars(db.select(User)).one())


@pytest.mark.parametrize("twin", [{"username": "alice"}, {"email": "alice@example.com"}])
def test_unique(app: Flask, twin: dict[str, str]) -> None:
    """Two users share neither name nor address."""
    db.session.add(User(username="alice", email="alice@example.com"))
    db.session.commit()
    db.session.add(User(**{"username": "bob", "email": "bob@example.com", **twin}))
    with pytest.raises(IntegrityError):
        db.session.commit()


@pytest.mark.parametrize("missing", ["username", "email"])
def test_not_null(app: Flask, missing: str) -> None:
    """A user has a name and an address."""
    db.session.add(User(**{"username": "alice", "email": "alice@example.com", missing: None}))
    with pytest.raises(IntegrityError):
        db.session.commit()


def test_length() -> None:
    """The lengths that are promised."""
    assert (80, 120) == tuple(User.__table__.c[name].type.length for name in ("username", "email"))


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_tests_leave_no_rows(app: Flask, name: str) -> None:
    """What a test commits is gone for the next one, also after an error that was rolled back."""
    assert [] == list(db.session.scalars(db.select(User)))
    db.session.add(User(username=name, email="a@example.com"))
    db.session.commit()
    db.session.add(User(username=name, email="b@example.com"))
    with pytest.raises(IntegrityError):
        db.session.commit()
    db.session.rollback()
    assert [name] == list(db.session.scalars(db.select(User.username)))
