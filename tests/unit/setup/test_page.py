"""The page about the first account says what the code does."""

from __future__ import annotations

import re

from listener.jobs.settings_warnings import REGIONS
from listener.setup.location import Network, location
from listener.setup.round_trip import LIMIT, MAX_RECEIVES
from listener.setup.steps import DEFAULT_ROLE
from tests.support import ROOT
from tests.support.cases import each_case

PAGE = (ROOT / "docs" / "first-account.md").read_text("utf-8")


def test_the_page_names_every_region_and_no_other() -> None:
    listed = PAGE.partition("MPS is available in")[2].partition("Which function")[0]

    assert set(re.findall(r"`([^`]+)`", listed)) == set(REGIONS)


@each_case("network", list(Network))
def test_the_page_shows_the_endpoints_of_every_network(network: Network) -> None:
    where = location(region="cn-shanghai", account="1234567890", queue="q", network=network)
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{network}`")]
    shown = row.replace("ACCOUNT", "1234567890").replace("REGION", "cn-shanghai")

    assert f"`{where.mns_endpoint}`" in shown
    assert not where.mps_endpoint or f"`{where.mps_endpoint}`" in shown


def test_the_page_names_the_role_and_how_many_messages_are_hidden() -> None:
    assert f"`{DEFAULT_ROLE}`" in PAGE
    assert f"up to {LIMIT * MAX_RECEIVES} other messages" in PAGE
