"""What jobs of every kind produced, read from the replies to queries and from callbacks."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from listener.core.job_kinds import (
    FP_SHOT,
    IPRODUCTION,
    JOB_KINDS,
    MEDIA_CENSOR,
    SNAPSHOT,
    JobKind,
    kind_of_type,
)
from listener.core.outputs import (
    FingerprintMatch,
    MatchedPart,
    MediaProperties,
    ModerationResult,
    OutputFile,
    Outputs,
    TagResult,
    Template,
)
from listener.formats import job_outputs
from listener.formats.kind_outputs import read
from listener.formats.unicode_text import storable
from tests.support.cases import each_case
from tests.support.growth import assert_linear
from tests.support.job_entries import ENTRIES, oss_file

MEDIA = "oss://media.oss-cn-hangzhou.aliyuncs.com"
PROPERTIES = MediaProperties(
    format="QuickTime / MOV",
    width=1280,
    height=720,
    duration=17.226,
    bit_rate=1630.045,
    frame_rate=25.0,
    size=3509895,
    video_streams=({"Index": "0", "CodecName": "h264", "Width": "1280"},),
    audio_streams=({"Index": "1", "CodecName": "aac"},),
    others={"Format": {"FormatName": "mov,mp4,m4a,3gp,3g2,mj2", "Size": "3509895"}},
)


def kind_named(name: str) -> JobKind:
    kind = kind_of_type(name)
    assert kind
    return kind


def outputs_of(name: str, **members: Any) -> Outputs:
    """The outputs of the sample of this kind, with these members changed."""
    found = read(kind_named(name), json.dumps(ENTRIES[name] | members))
    assert found
    return found


def of_callback(kind: JobKind, **members: Any) -> Outputs | None:
    return read(kind, None, raw=json.dumps({"Type": kind.name, "JobId": "1", "State": "Success", **members}))


def paths(outputs: Outputs | None) -> list[str]:
    assert outputs
    return [file.path for file in outputs.files]


@each_case("kind", [each for each in JOB_KINDS if each is not IPRODUCTION], ids=lambda each: each.name)
def test_the_sample_of_each_kind_is_spelled_as_in_the_official_sdk_and_read_whole(kind: JobKind) -> None:
    from alibabacloud_mts20140618 import models

    entry = ENTRIES[kind.name]
    reply: Any = [entry] if kind.entries else entry
    for name in reversed(kind.entries):
        reply = {name: reply}
    body = getattr(models, f"{kind.queried_by}ResponseBody")().from_map(copy.deepcopy(reply))

    assert body.to_map() == reply
    assert outputs_of(kind.name).problems == ()


def test_a_transcoded_file_has_its_properties_and_its_subtitles() -> None:
    found = outputs_of("Transcode")

    assert found.files == (
        OutputFile(
            path="out/早.mp4",
            bucket="media",
            url=f"{MEDIA}/out/早.mp4",
            width=1280,
            height=720,
            duration=17.226,
            bit_rate=1630.045,
            size=3509895,
            format="QuickTime / MOV",
        ),
        OutputFile(path="out/a.srt", bucket="media", url=f"{MEDIA}/out/a.srt", role="subtitle"),
    )
    assert found.properties == PROPERTIES
    assert found.details == tuple(ENTRIES["Transcode"]["Output"]["OutSubtitleList"]["OutSubtitle"])
    assert found.others == (
        {"Input": oss_file("in%2Fa.mov"), "Output": {"TemplateId": "S00000001-000020"}, "Percent": 100},
    )


@each_case("name", ["Transcode", "Snapshot", "MediaCensor"])
def test_a_job_that_failed_has_a_cause_and_no_files(name: str) -> None:
    found = outputs_of(name, State="TranscodeFail", Code="InvalidParameter", Message="bad")

    assert (found.code, found.message, found.files, found.suggestion) == ("InvalidParameter", "bad", (), "")
    assert found.others[0].keys() == ENTRIES[name].keys() - {"State", "Id", "JobId"}


@each_case(
    ("key", "container", "path"),
    [
        ("a/b", "m3u8", "a/b.m3u8"),
        ("a/b.m3u8", "m3u8", "a/b.m3u8"),
        ("a/b", "mp4", "a/b"),
        ("{ObjectPrefix}x/{FileName}.{ExtName}.mp4", "mp4", "in/x/a.mov.mp4"),
        ("{braces}", "mp4", "{braces}"),
        ("100%.mp4", "mp4", "100%.mp4"),
        ("%ff.mp4", "mp4", "%ff.mp4"),
    ],
)
def test_the_name_of_a_transcoded_file_is_completed(key: str, container: str, path: str) -> None:
    output = {"OutputFile": oss_file(key), "Container": {"Format": container}}

    (file,) = outputs_of("Transcode", Output=output).files

    assert (file.path, file.url) == (path, f"{MEDIA}/{path}")


def test_a_playlist_is_also_known_by_what_was_found_in_it() -> None:
    properties = {"Format": {"FormatName": "hls,applehttp"}}

    found = outputs_of("Transcode", Output={"OutputFile": oss_file("a"), "Properties": properties})

    assert paths(found) == ["a.m3u8"]


def test_a_name_that_cannot_be_known_is_a_problem_and_no_file() -> None:
    found = outputs_of("Transcode", Output={"OutputFile": oss_file("a-{DestMd5}.mp4")})

    assert (found.files, found.malformed) == ((), True)
    assert found.problems == ("the name of a file contains {DestMd5}, whose value is not known",)


def test_all_snapshots_and_tiles_are_named() -> None:
    found = outputs_of("Snapshot")

    assert [(file.path, file.role, file.time_ms, file.width) for file in found.files] == [
        ("a/b/c00001.jpg", "snapshot", 0.0, 640),
        ("a/b/c00002.jpg", "snapshot", 5000.0, 640),
        ("a/b/c00003.jpg", "snapshot", 10000.0, 640),
        ("tiles/00001.jpg", "tile", None, None),
    ]
    assert found.files[0].url == f"{MEDIA}/a/b/c00001.jpg"


def snapshots(count: Any, key: str = "{Count}.jpg", **config: Any) -> Outputs:
    return outputs_of("Snapshot", Count=count, SnapshotConfig={"OutputFile": oss_file(key), **config})


def test_a_single_snapshot_has_no_number() -> None:
    for count in (None, "1"):
        (file,) = snapshots(count, "cover.jpg", Time="5000").files
        assert (file.path, file.time_ms) == ("cover.jpg", 5000.0)

    assert paths(snapshots(7, "same.jpg")) == ["same.jpg"]
    assert paths(snapshots(0, "same.jpg")) == []


def test_snapshots_that_only_became_part_of_tiles_are_not_named() -> None:
    tiled = {"TileOutputFile": oss_file("t.jpg"), "TileOut": {"IsKeepCellPic": "false"}}

    assert paths(snapshots(2, **tiled)) == ["t.jpg"]
    assert paths(snapshots(2, TileOut={"IsKeepCellPic": False})) == ["00001.jpg", "00002.jpg"]


@each_case("count", ["many", -1, 1.5, [], None])
def test_snapshots_that_are_not_counted_are_a_problem(count: Any) -> None:
    found = snapshots(count)

    assert found.files == ()
    assert "which is not a number of files" in found.problems[0]


def test_a_snapshot_named_after_its_time_is_a_problem() -> None:
    assert "contains {SnapshotTime}" in snapshots(1, "{SnapshotTime}.jpg").problems[0]


def test_the_number_of_snapshots_is_bounded() -> None:
    found = snapshots(10**9)

    assert len(found.files) == 10_000
    assert found.problems == ("there are 1000000000 files; only the first 10000 are listed",)
    long = snapshots(10**9, "{Count}" + "x" * 100_000)
    assert sum(len(file.path) + len(file.url) for file in long.files) < 3_000_000


def test_media_info_has_properties() -> None:
    found = outputs_of("MediaInfo")

    assert (found.properties, found.files, found.others) == (PROPERTIES, (), ({"Async": True},))


def test_properties_are_found_where_older_documentation_has_them() -> None:
    video = {"Width": 1280, "Height": "720", "Fps": "25"}
    properties = {
        "Format": {"FormatName": "flv", "Duration": "1.5", "Bitrate": 10, "Size": "99"},
        "Streams": {"VideoStreamList": {"VideoStream": video}},
    }

    found = outputs_of("MediaInfo", Properties=properties).properties

    assert found
    assert (found.format, found.width, found.height, found.frame_rate) == ("flv", 1280, 720, 25.0)
    assert (found.duration, found.bit_rate, found.size) == (1.5, 10.0, 99)


def test_a_property_that_is_no_number_is_a_problem() -> None:
    found = outputs_of("MediaInfo", Properties={"Width": "wide", "Duration": "", "Bitrate": "NaN"})

    assert found.properties == MediaProperties()
    assert found.problems == ("Width is wide, which is not a number", "Bitrate is NaN, which is not a number")


def test_an_analysis_has_templates() -> None:
    settings = {"State": "Normal", "Video": {"Codec": "H.264"}}

    assert outputs_of("Analysis").templates == (
        Template(id="S00000000-000020", name="FLV-UD", settings=settings),
    )


IMAGE = OutputFile(
    path="output00001.jpg",
    bucket="censored",
    url="oss://censored.oss-cn-hangzhou.aliyuncs.com/output00001.jpg",
    role="snapshot",
    time_ms=179999.0,
)
COVER = OutputFile(
    path="cover.jpg", bucket="covers", url="oss://covers.oss-cn-hangzhou.aliyuncs.com/cover.jpg"
)


def test_moderation_has_a_suggestion_and_results_for_each_part() -> None:
    found = outputs_of("MediaCensor")

    assert (found.suggestion, found.files) == ("Block", (IMAGE,))
    assert found.moderation == (
        ModerationResult(part="title", suggestion="Review", label="ad", scene="antispam", rate=99.91),
        ModerationResult(part="audio", suggestion="Pass", label="normal"),
        ModerationResult(part="cover", suggestion="Pass", scene="porn", image=COVER),
        ModerationResult(part="video", suggestion="Block", label="flag"),
        ModerationResult(part="video", suggestion="Block", rate=100.0, time_ms=179999.0, image=IMAGE),
    )
    assert found.others[0]["VensorCensorResult"] == {"NextPageToken": "ae0f"}


def test_a_callback_brings_moderation_results_in_its_own_spelling() -> None:
    result = {"Suggestion": "Review", "Score": "50"}
    found = of_callback(
        MEDIA_CENSOR,
        Result="Review",
        DescCensorResult=result,
        ImageCensorCensorResult=[{**oss_file("cover.jpg", "covers"), "Result": result}],
        TopVideoCensorResult={"CensorResult": [result], "VideoTimelines": [{"Object": "a.jpg"}]},
    )

    assert found
    assert (found.source, found.suggestion, paths(found)) == ("callback", "Review", ["a.jpg"])
    assert [(each.part, each.rate) for each in found.moderation] == [
        ("description", 50.0),
        ("cover", 50.0),
        ("video", 50.0),
    ]


MATCH = FingerprintMatch(
    media="video",
    key="123456",
    similarity=0.8914769887924194,
    parts=(MatchedPart(start=46.0, duration=48.0, known_start=1260.0, known_duration=48.0),),
)


def test_matches_of_pictures_and_of_text_are_read() -> None:
    text = MatchedPart(start=1.0, duration=2.0, similarity=1.0, text="mine", known_text="known")

    assert outputs_of("FpShot").matches == (
        MATCH,
        FingerprintMatch(media="text", key="7", parts=(text,)),
    )


def test_lists_are_read_in_every_shape_that_is_documented() -> None:
    (match,) = ENTRIES["FpShot"]["FpShotResult"]["FpShots"]["FpShot"]
    (part,) = match["FpShotSlices"]["FpShotSlice"]
    slices = [{"FpShotSlice": part}]
    shapes: list[Any] = [
        {"FpShot": match},
        [{"FpShot": [match | {"FpShotSlices": slices}]}],
        [match | {"FpShotSlices": [part]}],
    ]

    for shape in shapes:
        assert outputs_of("FpShot", FpShotResult={"FpShots": shape}).matches == (MATCH,)


@each_case("nested", [False, True])
def test_a_callback_of_fpshot_brings_its_matches(nested: bool) -> None:
    notify = {"JobId": "1", "State": "Success", "FpShots": ENTRIES["FpShot"]["FpShotResult"]["FpShots"]}
    document = {"Type": "FpShot", "FpShotJobNotify": notify} if nested else {"Type": "FpShot", **notify}

    found = read(FP_SHOT, None, raw=json.dumps(document))

    assert found
    assert found.matches == (MATCH,)


def test_tags_have_their_data_parsed() -> None:
    assert outputs_of("smarttag").tags == (
        TagResult(type="TextLabel", data={"tags": [{"name": "地域", "value": "中国"}]}),
    )


def test_tags_that_cannot_be_parsed_are_kept() -> None:
    found = outputs_of("smarttag", Results={"Result": [{"Type": "ASR", "Data": "{cut"}, 7]})

    assert found.tags == (TagResult(type="ASR", data="{cut"),)
    assert "Data of ASR is not valid JSON" in found.problems[0]
    assert found.problems[1] == "Result is 7, which is not an object"


def test_a_workflow_has_its_activities_whether_it_succeeded_or_not() -> None:
    for state in ("Completed", "Fail"):
        found = outputs_of("Workflow", State=state)

        assert [each.name for each in found.activities] == ["Act-1", "Act-Report", "Act-Skip"]
        assert found.others == ({"Name": "publish"},)


URL = "http://example.oss-cn-shanghai.aliyuncs.com/out/V2-{Count}.jpg"
DOCUMENTED = {
    "LastUrl": URL.replace("{Count}", "00005"),
    "TimeArray": [10050, 50000, 110000, 1000500, 1100500],
    "UrlPattern": URL,
    "Count": 5,
}


def test_the_callback_of_snapshots_brings_all_of_them() -> None:
    found = of_callback(SNAPSHOT, **DOCUMENTED)

    assert found
    assert (found.source, found.problems) == ("callback", ())
    assert [(file.path, file.time_ms) for file in found.files] == [
        (f"out/V2-{number:05d}.jpg", time) for number, time in enumerate(DOCUMENTED["TimeArray"], 1)
    ]
    assert (found.files[4].bucket, found.files[4].role) == ("example", "snapshot")
    assert found.files[4].url == "oss://example.oss-cn-shanghai.aliyuncs.com/out/V2-00005.jpg"


@each_case(
    ("members", "expected"),
    [
        pytest.param(
            {"LastUrl": URL.replace("{Count}", "003"), "Count": 3}, ["001", "002", "003"], id="width"
        ),
        pytest.param({"LastUrl": None, "Count": "2"}, ["00001", "00002"], id="no-last-url"),
        pytest.param(
            {"UrlPattern": URL.replace("{Count}", "%7bCount%7D"), "Count": 1}, ["00001"], id="encoded"
        ),
        pytest.param({"UrlPattern": None, "Count": 1}, ["00005"], id="no-pattern"),
        pytest.param({"Count": 0}, [], id="none"),
        pytest.param({"Count": "x"}, ["00005"], id="count"),
    ],
)
def test_snapshots_of_a_callback_are_named_by_what_it_has(
    members: dict[str, Any], expected: list[str]
) -> None:
    assert paths(of_callback(SNAPSHOT, **DOCUMENTED | members)) == [f"out/V2-{each}.jpg" for each in expected]


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"LastUrl": "http://other/00005.jpg"}, "LastUrl is http://other/00005.jpg, which does not follow"),
        ({"UrlPattern": None}, "UrlPattern is missing: only the last snapshot is known"),
        ({"Count": "x"}, "Count is x, which is not a number of snapshots"),
        ({"Count": 10**12}, "there are 1000000000000 files; only the first 10000 are listed"),
    ],
)
def test_what_does_not_fit_in_a_callback_is_a_problem(members: dict[str, Any], problem: str) -> None:
    found = of_callback(SNAPSHOT, **DOCUMENTED | members)

    assert found
    assert any(each.startswith(problem) for each in found.problems)


@each_case("members", [{"State": "Fail"}, {"State": "Lost"}, {"LastUrl": None, "UrlPattern": None}])
def test_callbacks_without_anything_bring_no_outputs(members: dict[str, Any]) -> None:
    assert of_callback(SNAPSHOT, **DOCUMENTED | members) is None


def test_what_mps_itself_says_is_preferred_to_the_callback() -> None:
    raw = json.dumps({"State": "Success", **DOCUMENTED})

    found = read(SNAPSHOT, json.dumps(ENTRIES["Snapshot"]), raw=raw)

    assert found
    assert (found.source, paths(found)[0]) == ("query", "a/b/c00001.jpg")
    assert paths(read(SNAPSHOT, "", raw=raw))[0] == "out/V2-00001.jpg"


@each_case("kind", [None, *JOB_KINDS])
def test_what_mps_refused_to_say_is_not_known_and_an_empty_answer_is_empty(kind: JobKind | None) -> None:
    raw = json.dumps({"JobId": "1", "State": "Success"})

    assert read(kind, None, raw=raw) is read(kind, "", raw=raw) is None
    assert read(kind, "null", raw=raw) == Outputs(raw="null")


def test_smart_production_has_its_own_format() -> None:
    text = '{"Code": "Success", "Data": {"result": [{"file": "out/a.mp4"}]}}'
    output = "oss://media.oss-cn-hangzhou.aliyuncs.com/x"

    for kind in (IPRODUCTION, None):
        found = read(kind, text, function="VideoClip", output=output)
        assert found == job_outputs.read("VideoClip", text, output=output)
        assert paths(found) == ["out/a.mp4"]


#: All names that are read, in every place.
NAMES = sorted(
    {
        *{name for entry in ENTRIES.values() for name in json.dumps(entry).split('"') if name[:1].isupper()},
        *("State", "UrlPattern", "LastUrl", "FpShots", "Result", "Results"),
    }
)
INNER = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["Success", "{Count}", "http://a.oss-b.aliyuncs.com/%00{Count}", "0001-01-01T00:00:00+23:00"]
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES), inner | st.builds(json.dumps, inner), max_size=6)
    ),
    max_leaves=20,
)


def changed(entry: Any, change: Any, places: list[int]) -> Any:
    """The sample with one value replaced, anywhere in it."""
    for place in places:
        if isinstance(entry, dict) and entry:
            name = list(entry)[place % len(entry)]
            return {**entry, name: changed(entry[name], change, places[1:])}
        if isinstance(entry, list) and entry:
            return [changed(item, change, places[1:]) for item in entry]
    return change


def strings_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from strings_in(item)
    elif isinstance(value, str):
        yield value


def assert_strict(outputs: Outputs | None) -> None:
    if outputs:
        document = outputs.to_document()
        text = json.dumps(document, allow_nan=False)
        assert json.loads(text) == document
        assert [each for each in strings_in(document) if each != storable(each)] == []
        assert Outputs.from_document(json.loads(text)) == outputs


def a_list(*names: str, item: str) -> Callable[[int], str]:
    """A job with a list of this item, as long as the text is to be, within objects of these names."""

    def text_of(size: int) -> str:
        listed = f"[{','.join([item] * (size // (len(item) + 1)))}]"
        for name in reversed(names):
            listed = f'{{"{name}":{listed}}}'
        return f'{{"State":"Success",{listed[1:]}'

    return text_of


WORST_CASES: dict[str, tuple[JobKind, Callable[[int], str]]] = {
    "subtitles": (kind_named("Transcode"), a_list("Output", "OutSubtitleList", "OutSubtitle", item="{}")),
    "streams": (kind_named("MediaInfo"), a_list("Properties", "Streams", "VideoStreamList", item="7")),
    "templates": (kind_named("Analysis"), a_list("TemplateList", "Template", item='"x"')),
    "times": (SNAPSHOT, a_list("SnapshotConfig", "TimeArray", "TimePointList", item='"x"')),
    "tags": (kind_named("smarttag"), a_list("Results", "Result", item='{"Data":"["}')),
    "matches": (FP_SHOT, a_list("FpShotResult", "FpShots", "FpShot", item='{"FpShotSlices":[7]}')),
    "censored": (MEDIA_CENSOR, a_list("TopVideoCensorResult", "VideoTimelines", item='{"Timestamp":"1:"}')),
    "activities": (kind_named("Workflow"), a_list("ActivityList", "Activity", item='{"StartTime":"  "}')),
    "members": (MEDIA_CENSOR, lambda size: "{" + ",".join(f'"n{each}":1' for each in range(size // 8)) + "}"),
    "pattern": (
        SNAPSHOT,
        lambda size: json.dumps({**DOCUMENTED, "State": "Success", "UrlPattern": "{Count}" * (size // 7)}),
    ),
    "brackets": (SNAPSHOT, lambda size: "[" * size),
}


@pytest.mark.parametrize("case", WORST_CASES)
def test_time_grows_with_the_size_and_not_with_its_square(case: str) -> None:
    kind, text_of = WORST_CASES[case]

    assert_linear(lambda text: (read(kind, text), read(kind, None, raw=text)), text_of)


@pytest.mark.parametrize("kind", JOB_KINDS, ids=lambda each: each.name)
@settings(max_examples=30)  # of each kind
@given(text=st.text(st.characters(exclude_categories=())) | st.builds(json.dumps, INNER))
@example(text="[" * 5000)
@example(text='{"Data":"\\ud800"}')
def test_any_text_is_read_and_comes_out_as_strict_json(kind: JobKind, text: str) -> None:
    assert_strict(read(kind, text, raw=text))
    assert_strict(read(kind, None, raw=text))


@pytest.mark.parametrize("name", ENTRIES)
@settings(max_examples=30)  # of each kind
@given(change=INNER, places=st.lists(st.integers(0, 20), max_size=8))
def test_samples_with_anything_changed_are_read(name: str, change: Any, places: list[int]) -> None:
    assert_strict(read(kind_named(name), json.dumps(changed(ENTRIES[name], change, places))))
