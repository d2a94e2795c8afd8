"""The forms of a queue's URL: those that can be converted to a NotifyUrl, and those that are refused."""

from __future__ import annotations

import pytest

from listener.formats.queue_url import as_notify_url
from tests.support.cases import each_case

URL = "mns://123.mns.cn-shanghai.aliyuncs.com/queues/my-queue"


@each_case(
    "url",
    [
        pytest.param(URL, id="as-it-is"),
        pytest.param(f"{URL}/", id="slash"),
        pytest.param(URL.replace(".com/", ".com:443/"), id="port"),
        pytest.param(URL.replace(".mns.", ".oss-"), id="as-the-english-page-prints-it"),
        pytest.param(URL.replace("mns:", "https:"), id="https"),
        pytest.param(URL.replace("mns:", "http:"), id="http"),
        pytest.param(URL.replace("shanghai", "shanghai-internal"), id="internal"),
        pytest.param(URL.replace("shanghai", "shanghai-vpc"), id="vpc"),
        pytest.param(
            URL.replace("mns:", "https:").replace("shanghai", "shanghai-internal-vpc"), id="internal-vpc"
        ),
    ],
)
def test_what_names_a_queue_without_doubt_is_converted(url: str) -> None:
    assert as_notify_url(url) == URL


def test_a_masked_account_of_the_vendors_samples_is_converted() -> None:
    sample = "mns://125340688170****.oss-cn-shanghai.aliyuncs.com/queues/example-pipeline"

    assert as_notify_url(sample) == sample.replace(".oss-", ".mns.")


@each_case(
    ("url", "words"),
    [
        pytest.param("", "not a valid queue URL", id="empty"),
        pytest.param("https://app.example.com/callback", "not a valid queue URL", id="web-address"),
        pytest.param(URL.replace("queues", "topics"), "not a valid queue URL", id="topic"),
        pytest.param("https://app.example.com/queues/q", "the host 'app.example.com'", id="other-host"),
        pytest.param("mns://127.0.0.1:8470/queues/q", "the host '127.0.0.1:8470'", id="loopback"),
        pytest.param(URL.replace("123.", ""), "the host 'mns.cn-shanghai.aliyuncs.com'", id="no-account"),
        pytest.param(URL.replace("123", "me"), "the host 'me.mns", id="account-is-no-number"),
        pytest.param(URL.replace(".mns.", ".mts."), "the host '123.mts", id="another-product"),
        pytest.param(URL.replace("cn-shanghai", "shanghai"), "the host '123.mns.shanghai", id="no-region"),
        pytest.param(URL.replace("my-queue", "my_queue"), "does not end in the name of a queue", id="name"),
        pytest.param(
            URL.replace("my-queue", "x" * 121), "does not end in the name of a queue", id="long-name"
        ),
        pytest.param(f"{URL}?x=1", "does not end in the name of a queue", id="query"),
        pytest.param(f"{URL}#x", "does not end in the name of a queue", id="fragment"),
    ],
)
def test_anything_else_is_refused_with_the_form(url: str, words: str) -> None:
    with pytest.raises(
        ValueError, match=r"expected mns://ACCOUNT\.mns\.REGION\.aliyuncs\.com/queues/NAME$"
    ) as caught:
        as_notify_url(url)

    assert words in str(caught.value)
