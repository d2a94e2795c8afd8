"""The queues of the settings as NotifyUrls: the only one is a default, and others are warned of."""

from __future__ import annotations

import tomllib

import pytest

from listener.jobs.notify_urls import notify_url_warnings, only_notify_url
from listener.settings.sections import Settings
from tests.support.cases import each_case

ONE = "mns://1.mns.cn-shanghai.aliyuncs.com/queues/one"
TWO = "mns://1.mns.cn-shanghai.aliyuncs.com/queues/two"


def settings(*queues: str) -> Settings:
    text = "\n".join(f"[[queues]]\n{queue}" for queue in queues)
    return Settings(**tomllib.loads(f"[tenants.other]\n{text}"))


@each_case(
    ("queues", "tenant", "expected"),
    [
        pytest.param([f'url = "{ONE}"'], "", ONE, id="url"),
        pytest.param([f'url = "{ONE.replace(".mns.", ".oss-")}"'], "", ONE, id="url-as-oss"),
        pytest.param([f'url = "{ONE}"\nendpoint = "http://127.0.0.1:1"'], "", ONE, id="endpoint-of-its-own"),
        pytest.param(
            ['endpoint = "https://1.mns.cn-shanghai-internal.aliyuncs.com"\nqueue = "one"'],
            "",
            ONE,
            id="endpoint",
        ),
        pytest.param(['endpoint = "http://127.0.0.1:1"\nqueue = "one"'], "", "", id="emulator"),
        pytest.param([f'url = "{ONE}"', f'url = "{TWO}"'], "", "", id="two"),
        pytest.param([f'url = "{ONE}"', f'url = "{TWO}"\ntenant = "other"'], "", ONE, id="another-tenants"),
        pytest.param(
            [f'url = "{ONE}"', f'url = "{TWO}"\ntenant = "other"'], "other", TWO, id="of-the-tenant"
        ),
        pytest.param([], "", "", id="none"),
    ],
)
def test_the_only_queue_of_a_tenant_is_its_notify_url(queues: list[str], tenant: str, expected: str) -> None:
    assert only_notify_url(settings(*queues), tenant) == expected


@each_case(
    ("queues", "url", "warned"),
    [
        pytest.param([f'url = "{ONE}"'], ONE, False, id="same"),
        pytest.param([f'url = "{ONE}"'], TWO, True, id="another-name"),
        pytest.param([f'url = "{ONE}"'], ONE.replace("//1.", "//2."), True, id="another-account"),
        pytest.param([f'url = "{ONE}"'], ONE.replace("shanghai", "beijing"), True, id="another-region"),
        pytest.param([f'url = "{TWO}"', f'url = "{ONE}"'], ONE, False, id="second"),
        pytest.param([f'url = "{ONE}"\ntenant = "other"'], ONE, False, id="tenant"),
        pytest.param(['endpoint = "http://127.0.0.1:1"\nqueue = "one"'], ONE, False, id="emulator"),
        pytest.param(
            ['endpoint = "http://127.0.0.1:1"\nqueue = "one"'], TWO, True, id="emulator-another-name"
        ),
        pytest.param([f'url = "{ONE}"'], "https://app.example.com/", True, id="forced"),
        pytest.param([], ONE, False, id="no-queues"),
        pytest.param([f'url = "{ONE}"'], "", False, id="no-notify-url"),
    ],
)
def test_a_queue_that_no_daemon_polls_is_warned_of(queues: list[str], url: str, warned: bool) -> None:
    found = notify_url_warnings(settings(*queues), url)

    assert [repr(url) in warning for warning in found] == ([True] if warned else [])
