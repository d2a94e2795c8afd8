"""URLs of objects: what passes, and which part is named if it does not."""

from __future__ import annotations

import pytest

from listener.formats.oss_url import OssUrl, split_oss_url
from tests.support.cases import each_case

HOST = "oss://media.oss-cn-shanghai.aliyuncs.com"


@each_case(
    "key",
    [
        pytest.param("in/talk.mp4", id="plain"),
        pytest.param("my file.mp4", id="space"),
        pytest.param(" a\tb\n", id="white-space"),
        pytest.param("字幕/é?x#y&z.mp4", id="any-character"),
        pytest.param("a//b", id="slashes"),
        pytest.param("字" * 341, id="longest"),
    ],
)
def test_an_object_key_may_hold_any_characters(key: str) -> None:
    assert split_oss_url(f"{HOST}/{key}") == OssUrl(bucket="media", region="cn-shanghai", key=key)


@each_case(
    ("bucket", "place"),
    [
        ("a1b", "oss-cn-shanghai"),
        ("x" * 63, "oss-us-west-1"),
        ("my-bucket", "oss-cn-shanghai-internal"),
        ("example-****", "oss-cn-shanghai-finance-1"),
    ],
)
def test_buckets_and_hosts_as_the_vendor_writes_them_pass(bucket: str, place: str) -> None:
    found = split_oss_url(f"oss://{bucket}.{place}.aliyuncs.com/x")

    assert (found.bucket, f"oss-{found.region}") == (bucket, place.removesuffix("-internal"))


@each_case(
    ("url", "words"),
    [
        pytest.param("", "'' is not a valid OSS URL; expected oss://BUCKET", id="empty"),
        pytest.param("talk.mp4", "'talk.mp4' is not a valid OSS URL", id="path"),
        pytest.param("https://media.oss-cn-shanghai.aliyuncs.com/x", "not a valid OSS URL", id="https"),
        pytest.param("oss:media/x", "not a valid OSS URL", id="one-colon"),
        pytest.param(
            f"{HOST[:6]}Media{HOST[11:]}/x", "the bucket 'Media'; a bucket has 3 to 63", id="bucket"
        ),
        pytest.param("oss://my_b.oss-cn-shanghai.aliyuncs.com/x", "the bucket 'my_b'", id="underscore"),
        pytest.param("oss://ab.oss-cn-shanghai.aliyuncs.com/x", "the bucket 'ab'", id="short"),
        pytest.param(f"oss://{'a' * 64}.oss-cn-shanghai.aliyuncs.com/x", "the bucket 'aaa", id="long"),
        pytest.param("oss://-ab.oss-cn-shanghai.aliyuncs.com/x", "the bucket '-ab'", id="hyphen-first"),
        pytest.param("oss://ab-.oss-cn-shanghai.aliyuncs.com/x", "the bucket 'ab-'", id="hyphen-last"),
        pytest.param("oss://.oss-cn-shanghai.aliyuncs.com/x", "the bucket ''", id="no-bucket"),
        pytest.param("oss://media/x", "the host 'media'; expected BUCKET.oss-REGION", id="bucket-only"),
        pytest.param("oss://media.example.com/x", "the host 'media.example.com'", id="host"),
        pytest.param("oss://media.mns.cn-shanghai.aliyuncs.com/x", "the host 'media.mns", id="mns"),
        pytest.param(
            "oss://oss-cn-shanghai.aliyuncs.com/x", "the host 'oss-cn-shanghai", id="no-bucket-at-all"
        ),
        pytest.param(
            "oss://media.oss-shanghai.aliyuncs.com/x", "the region 'shanghai'; expected a region", id="region"
        ),
        pytest.param("oss://media.oss-accelerate.aliyuncs.com/x", "the region 'accelerate'", id="accelerate"),
        pytest.param(HOST, "has no object key", id="no-slash"),
        pytest.param(f"{HOST}/", "has no object key", id="no-key"),
        pytest.param(f"{HOST}//x", "the object key '/x', which begins with '/'", id="two-slashes"),
        pytest.param(f"{HOST}/\\x", "begins with", id="backslash"),
        pytest.param(
            f"{HOST}/{'字' * 342}", "the object key has 1026 bytes; OSS allows at most 1023", id="bytes"
        ),
    ],
)
def test_the_part_that_is_wrong_is_named_with_its_value(url: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are compared below
        split_oss_url(url)

    assert words in str(caught.value)
