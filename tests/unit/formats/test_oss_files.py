"""The files of a job by their keys, addresses and URLs."""

from __future__ import annotations

from typing import Any

import pytest

from listener.core.outputs import OutputFile
from listener.formats.oss_files import at_url, located, oss_file
from tests.support.cases import each_case
from tests.support.growth import assert_linear

HOME = "oss://media.oss-cn-shanghai.aliyuncs.com"
OUTPUT = f"{HOME}/out/{{source}}-{{sequenceId}}"


@each_case(
    ("path", "output", "file"),
    [
        ("a/b.srt", OUTPUT, OutputFile(path="a/b.srt", bucket="media", url=f"{HOME}/a/b.srt")),
        ("/a.srt", OUTPUT, OutputFile(path="/a.srt", bucket="media", url=f"{HOME}/a.srt")),
        ("a.srt", "", OutputFile(path="a.srt")),
        ("a.srt", "nonsense", OutputFile(path="a.srt")),
        ("oss://other.oss-cn-beijing.aliyuncs.com/a", OUTPUT, None),
        ("https://other.oss-cn-beijing.aliyuncs.com/a", OUTPUT, None),
    ],
)
def test_files_are_in_the_bucket_of_the_output_unless_they_say_otherwise(
    path: str, output: str, file: OutputFile | None
) -> None:
    assert located(path, output=output) == (file or OutputFile(path="a", bucket="other", url=path))


@each_case(
    ("url", "file"),
    [
        (
            "http://media.oss-cn-shanghai.aliyuncs.com/a%20b/%E6%97%A9.jpg?Expires=1",
            OutputFile(path="a b/早.jpg", bucket="media", url=f"{HOME}/a b/早.jpg"),
        ),
        (f"{HOME}/a%20b", OutputFile(path="a%20b", bucket="media", url=f"{HOME}/a%20b")),
        ("https://cdn.example.com/a", OutputFile(path="a", bucket="cdn", url="https://cdn.example.com/a")),
        ("nonsense", OutputFile(path="nonsense")),
    ],
)
def test_a_url_of_oss_becomes_an_address(url: str, file: OutputFile) -> None:
    assert at_url(url) == file


@each_case(
    ("value", "file"),
    [
        pytest.param(
            {"Bucket": "media", "Location": "oss-cn-shanghai", "Object": "a%2Fb%2Bc"},
            OutputFile(path="a/b+c", bucket="media", url=f"{HOME}/a/b+c"),
            id="encoded",
        ),
        pytest.param(
            {"bucket": "media", "object": "a"}, OutputFile(path="a", bucket="media"), id="no-location"
        ),
        pytest.param({"Object": "%ff"}, OutputFile(path="%ff"), id="not-utf-8"),
        pytest.param({"Object": "%00"}, OutputFile(path="\ufffd"), id="nul"),
        pytest.param({"Bucket": "media"}, None, id="no-object"),
        pytest.param("a.jpg", None, id="text"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_the_members_of_a_file_become_its_address(value: Any, file: OutputFile | None) -> None:
    assert oss_file(value) == file


def test_time_grows_with_the_size_of_an_address_and_not_with_its_square() -> None:
    assert_linear(lambda text: located(text, output=text), lambda size: "oss://" + "a" * size)
