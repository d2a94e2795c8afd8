"""What the names of hosts say; the forms are those of the vendor's pages about endpoints."""

from __future__ import annotations

from listener.formats.service_hosts import is_vendors, mns_host, mps_host
from tests.support.cases import each_case

PUBLIC = "123.mns.cn-shanghai.aliyuncs.com"


@each_case(
    ("host", "internal"),
    [
        (PUBLIC, False),
        ("123.mns.cn-shanghai-internal.aliyuncs.com", True),
        ("123.mns.cn-shanghai-internal-vpc.aliyuncs.com", True),
        ("123.MNS.cn-shanghai-vpc.aliyuncs.com", True),
    ],
)
@each_case("form", ["https://{}", "http://{}:80"])
def test_an_endpoint_of_mns(host: str, internal: bool, form: str) -> None:
    found = mns_host(form.format(host))

    assert found is not None
    assert (found.account, found.region, found.internal) == ("123", "cn-shanghai", internal)
    assert found.public == PUBLIC


@each_case(
    ("host", "internal"),
    [("mts.ap-southeast-1.aliyuncs.com", False), ("mts-vpc.ap-southeast-1.aliyuncs.com", True)],
)
def test_an_endpoint_of_mps(host: str, internal: bool) -> None:
    found = mps_host(f"https://{host}")

    assert found is not None
    assert (found.region, found.internal) == ("ap-southeast-1", internal)
    assert found.public == "mts.ap-southeast-1.aliyuncs.com"


@each_case(
    "endpoint",
    [
        *("", "http://[", "http://127.0.0.1:8470", "https://mns.example.com"),
        *("https://123.oss-cn-shanghai.aliyuncs.com", "https://cn-shanghai.mns.aliyuncs.com.example.com"),
        *("https://alias.mns.cn-shanghai.aliyuncs.com", "https://mts.aliyuncs.com"),
    ],
)
def test_any_other_host_is_none_of_them(endpoint: str) -> None:
    assert (mns_host(endpoint), mps_host(endpoint)) == (None, None)


def test_the_vendors_hosts_are_known_by_their_domain() -> None:
    assert is_vendors("https://oss-cn-shanghai.aliyuncs.com:443")
    assert not is_vendors("https://aliyuncs.com.example.org")
