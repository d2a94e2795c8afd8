"""The listener as a library, with a daemon in another process and an emulated MPS."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import listener
from listener import AsyncClient, Client, Job, JobState, JobWarning, UsageError
from listener.jobs.request import JobRequest
from tests.support.program import NOTIFY_URL, Place, configured_place

INPUT = "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4"
OUTPUT = "oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}-{sequenceId}.jpg"
COVERS = [f"oss://media.oss-cn-shanghai.aliyuncs.com/out/talk-{number:05d}.jpg" for number in (1, 2, 3)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with configured_place(tmp_path) as here:
        yield here


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    with Client(place.folder / "listener.toml") as client:
        yield client


def submit(client: Client, **fields: Any) -> Job:
    cover: dict[str, Any] = {"input": INPUT, "output": OUTPUT, "notify_url": NOTIFY_URL}
    return listener.submit("Cover", client=client, **(cover | fields))


def test_data_may_be_a_mapping(place: Place, client: Client) -> None:
    with pytest.warns(JobWarning, match=r"no route in the settings has match\.route = 'covers'"):
        job = submit(client, data={"article": 7, "名": "早"}, route="covers")

    assert job.user_data == '{"route": "covers", "article": 7, "名": "早"}'


def test_each_warning_is_one_of_python_at_the_line_that_submits(client: Client) -> None:
    with pytest.warns(JobWarning, match=r"JobParams\.nope is not documented for Cover") as by_function:
        submit(client, params={"nope": 1})
    with pytest.warns(JobWarning, match="is none of the queues in the settings") as by_method:
        client.submit(JobRequest(function="VideoH2V", input=INPUT, notify_url=f"{NOTIFY_URL}-2"))

    assert [warning.filename for warning in (*by_function, *by_method)] == [__file__] * 2


def test_a_warning_that_is_an_error_leaves_nothing_submitted(place: Place, client: Client) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", JobWarning)
        with pytest.raises(JobWarning):
            submit(client, params={"nope": 1})

    assert place.asked("SubmitIProductionJob") == 0


def test_warnings_go_where_the_caller_wants_them(client: Client) -> None:
    request = JobRequest(function="Covr", input=INPUT)
    found: list[str] = []

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client.submit(request, warn=found.append)

    assert found == client.check(request)
    assert len(found) == 1


def test_a_job_without_a_callback_is_refused_unless_it_is_forced(place: Place, client: Client) -> None:
    with pytest.raises(UsageError, match="neither a NotifyUrl nor a pipeline"):
        submit(client, notify_url="")
    assert place.asked("SubmitIProductionJob") == 0
    with pytest.warns(JobWarning, match="neither a NotifyUrl nor a pipeline"):
        submit(client, notify_url="", force=True)

    assert place.asked("SubmitIProductionJob") == 1


def test_the_notify_url_is_sent_in_the_form_that_mps_accepts(place: Place, client: Client) -> None:
    job = submit(client, notify_url=NOTIFY_URL.replace("mns:", "https:").replace(".mns.", ".oss-") + "/")

    submission = place.server.call(lambda emulator: emulator.engine.jobs[job.job_id].submission)
    assert (submission.request["NotifyUrl"], job.notify_url) == (NOTIFY_URL, NOTIFY_URL)


@pytest.mark.parametrize("data", [{"article": object()}, {"article": float("nan")}])
def test_data_that_is_no_json_is_a_usage_error(client: Client, data: Any) -> None:
    with pytest.raises(UsageError, match=r"^data = .* cannot be written as JSON"):
        submit(client, data=data)


def test_the_state_of_a_job_is_a_job_state_before_and_after_waiting(place: Place, client: Client) -> None:
    submitted = submit(client)
    assert place.run("--drain").wait() == 0
    waited = listener.wait(submitted, timeout=0, client=client)

    assert [type(job.state) for job in (submitted, waited)] == [JobState, JobState]
    assert [job.state for job in (submitted, waited)] == ["submitted", "Success"]


def test_the_outputs_of_a_job_that_no_route_enriched_are_asked_for(place: Place, client: Client) -> None:
    job = submit(client)
    before = listener.outputs(job, client=client)
    assert place.run("--drain").wait() == 0
    after = listener.outputs(job, client=client)

    assert before is None
    assert after is not None
    assert [file.url for file in after.files] == COVERS


def test_the_outputs_of_a_job_that_mps_forgot_come_from_the_store(place: Place, client: Client) -> None:
    job = submit(client)
    assert place.run("--drain").wait() == 0
    (stored,) = place.queries(lambda queries: queries.results())
    client.store.save_outputs(stored.result, '{"Code": "Success", "Message": "stored"}', output="")
    place.server.call(lambda emulator: emulator.engine.reset())

    found = listener.outputs(job, client=client)

    assert found is not None
    assert found.message == "stored"


def test_outputs_that_mps_refused_to_report_are_not_known(place: Place, client: Client) -> None:
    job = submit(client)
    assert place.run("--drain").wait() == 0
    (stored,) = place.queries(lambda queries: queries.results())
    client.store.save_outputs(stored.result, "", output="")

    assert listener.outputs(job, client=client) is None


def test_the_asynchronous_client_has_the_methods_of_the_other() -> None:
    methods = {name for name in vars(Client) if not name.startswith("_")}

    assert {name for name in vars(AsyncClient) if not name.startswith("_")} == methods


def test_the_asynchronous_client_submits_waits_and_fetches(place: Place) -> None:
    async def use() -> tuple[str, str, list[str]]:
        async with AsyncClient(place.folder / "listener.toml") as client:
            request = JobRequest(function="Cover", input=INPUT, output=OUTPUT)
            assert await client.check(request) == []
            with pytest.warns(JobWarning, match="Covr") as issued:
                await client.submit(replace(request, function="Covr"))
            assert [warning.filename for warning in issued] == [__file__]
            job = await client.submit(request)
            await client.register("externally-submitted", reference="mine")
            daemon = place.run()
            waited = await client.wait(job, timeout=60)
            outputs = await client.outputs(job)
            assert await asyncio.to_thread(daemon.stop) == 0
            assert outputs is not None
            return (await client.find("mine")).job_id, waited.state, [file.url for file in outputs.files]

    assert asyncio.run(use()) == ("externally-submitted", "Success", COVERS)


def test_the_asynchronous_client_times_out_as_the_other_does(place: Place, client: Client) -> None:
    async def wait(job: Job) -> None:
        async with AsyncClient(place.folder / "listener.toml") as other:
            await other.wait(job, timeout=0)

    job = submit(client)
    with pytest.raises(TimeoutError) as one:
        client.wait(job, timeout=0)
    with pytest.raises(TimeoutError) as other:
        asyncio.run(wait(job))

    assert str(one.value) == str(other.value)


def test_an_asynchronous_client_that_is_not_open_says_so() -> None:
    with pytest.raises(UsageError, match="the client is not open; use `async with"):
        asyncio.run(AsyncClient().find("one"))


def test_everything_that_is_exported_can_be_imported() -> None:
    assert [name for name in listener.__all__ if getattr(listener, name, None) is None] == []
    assert {"Job", "JobState", "MpsRejected", "MpsUnavailable", "SettingsError", "StoreUnavailable"} <= set(
        listener.__all__
    )
