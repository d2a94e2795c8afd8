"""No secret of a database URL is ever shown, and everything else is."""

from __future__ import annotations

import pytest
from sqlalchemy.engine import make_url

from listener.store.url_display import display_unparsed, display_url, without_secrets
from tests.support.cases import each_case

SECRET = "test/Key Secret@1"
QUOTED = "test%2FKey%20Secret%401"


@each_case(
    ("url", "shown"),
    [
        pytest.param(f"postgresql://u:{QUOTED}@h/n", "postgresql://u:***@h/n", id="password"),
        pytest.param(f"postgresql://h/n?password={QUOTED}", "postgresql://h/n?password=***", id="option"),
        pytest.param(
            f"postgresql://h/n?PassWord={QUOTED}&sslmode=require",
            "postgresql://h/n?PassWord=***&sslmode=require",
            id="case",
        ),
        pytest.param(
            f"postgresql://h/n?sslpassword={QUOTED}&passfile=a",
            "postgresql://h/n?passfile=a&sslpassword=***",
            id="key",
        ),
        pytest.param(
            f"postgresql://h/n?password={QUOTED}&password={QUOTED}",
            "postgresql://h/n?password=***&password=***",
            id="twice",
        ),
        pytest.param("sqlite:///listener.db", "sqlite:///listener.db", id="none"),
    ],
)
def test_secrets_are_masked_and_everything_else_is_shown(url: str, shown: str) -> None:
    assert display_url(make_url(url)) == shown


def test_text_that_is_no_url_is_masked_too() -> None:
    assert display_unparsed("x://u:one@two@h?password=three") == "x://***@h?password=***"


@each_case("place", [f"//u:{QUOTED}@h/n", f"//h/n?password={QUOTED}", f"//h/n?sslpassword={QUOTED}"])
@each_case("spelling", [SECRET, QUOTED, "test%2FKey+Secret%401"])
def test_an_error_text_that_repeats_a_secret_is_masked(place: str, spelling: str) -> None:
    assert without_secrets(f"bad option {spelling!r}", make_url(f"postgresql:{place}")) == "bad option '***'"
