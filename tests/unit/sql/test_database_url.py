"""Whichever way people name the database, it is opened with the driver that we have."""

import pytest

from auteur_contracts.errors import InvalidRequest
from auteur_sql.engines import parse_url


@pytest.mark.parametrize(
    ("written", "opened"),
    [
        ("sqlite:///a.db", "sqlite+aiosqlite:///a.db"),
        ("sqlite+aiosqlite:////var/a.db", "sqlite+aiosqlite:////var/a.db"),
        ("postgresql://u:p@h:5432/n", "postgresql+asyncpg://u:p@h:5432/n"),
        ("postgres://u:p@h/n", "postgresql+asyncpg://u:p@h/n"),
        ("postgresql://u@h/n?sslmode=require", "postgresql+asyncpg://u@h/n?ssl=require"),
    ],
)
def test_the_driver_is_ours(written: str, opened: str) -> None:
    assert parse_url(written, "AUTEUR_GATEWAY__DATABASE_URL").render_as_string(hide_password=False) == opened


@pytest.mark.parametrize(
    "written", ["", "zzz", "mysql://u@h/n", "postgresql+psycopg2://u@h/n", "postgresql://h:port/n"]
)
def test_what_is_no_database_of_ours_is_told_what_to_write(written: str) -> None:
    with pytest.raises(InvalidRequest, match=r"AUTEUR_GATEWAY__DATABASE_URL.*write sqlite:///FILE or postgresql://"):
        parse_url(written, "AUTEUR_GATEWAY__DATABASE_URL")
