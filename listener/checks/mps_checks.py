"""What MPS says of each tenant: whether it answers, and whether jobs submitted there have their callbacks here."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from listener.aliyun import mps_error_codes
from listener.aliyun.mps_client import Endpoint, MpsClient
from listener.aliyun.mps_pipelines import Pipelines
from listener.aliyun.tenant_clients import TenantClients
from listener.checks.bounded_checks import Check, ok
from listener.core.check_result import CheckKind, CheckResult, Level
from listener.core.errors import FailureKind, MpsRejected, MpsUnavailable
from listener.core.job_kinds import IPRODUCTION, kind_of_type
from listener.formats.service_hosts import mps_host
from listener.jobs.notify_urls import destination_of
from listener.rules.callback_destination import Destination, judge_notify_url, judge_pipeline
from listener.rules.endpoint_advice import advice_if_unreachable, judge_mps_endpoint
from listener.settings.sections import MpsSettings, Settings

#: The id of no job: any answer to a query for it proves that MPS is there, and that this key may ask.
_NO_JOB = "0" * 32
#: Error codes, or their families, of what is not MPS: no code at all, or that of a service without this call.
_OF_OTHER_SERVICES = ("", "None", "InvalidAction", "InvalidVersion")
_CHECK_AGAIN = "check again; if it stays like this, see the status page of the vendor"


def mps_check(tenant: str, settings: Settings, clients: TenantClients) -> Check:
    return Check(kind=CheckKind.MPS, subject=tenant, find=partial(_found, tenant, settings, clients))


def region_of(mps: MpsSettings) -> str:
    """Empty if an endpoint of one's own says nothing about it."""
    host = mps_host(mps.endpoint)
    return mps.region or (host.region if host else "")


def _found(tenant: str, settings: Settings, clients: TenantClients) -> Iterator[CheckResult]:
    mps, to = settings.tenant(tenant).mps, destination_of(tenant, settings)
    yield from judge_mps_endpoint(tenant, mps.endpoint, region=mps.region)
    yield judge_notify_url(to)
    client = clients.mps(tenant)
    if client is None:
        return
    try:
        yield _reached(client, tenant, Endpoint.of(mps))
    except MpsUnavailable as error:
        yield _unreached(error, mps, to)
        return
    yield from _other_queries(client, settings, to)
    if mps.pipeline:
        yield from _pipeline(client, mps.pipeline, to)


def _other_queries(client: MpsClient, settings: Settings, to: Destination) -> Iterator[CheckResult]:
    """A warning for each kind of job that a route names, and that MPS cannot be asked about with this key."""
    types = (name for route in settings.routes for name in route.match.type)
    kinds = dict.fromkeys(kind for name in types if (kind := kind_of_type(name)) and kind != IPRODUCTION)
    for kind in kinds:
        try:
            client.call(kind.queried_by, **{kind.ids: _NO_JOB})
        except MpsRejected:
            pass  # there is no such job
        except MpsUnavailable as error:
            if mps_error_codes.lacks_permission(error.code):
                detail = f"this key may not use {kind.queried_by}, to ask about {kind.name} jobs, which a route names"
                advice = f"grant the RAM user mts:{kind.queried_by} on *"
                yield to.result(CheckKind.MPS, Level.WARNING, detail, advice)


def _reached(client: MpsClient, tenant: str, endpoint: Endpoint) -> CheckResult:
    query = IPRODUCTION.queried_by
    try:
        if "RequestId" not in client.call(query, JobId=_NO_JOB):
            raise _not_mps(endpoint, "a reply without RequestId")
    except MpsRejected as error:  # there is no such job
        if error.code.partition(".")[0] in _OF_OTHER_SERVICES:
            raise _not_mps(endpoint, str(error)) from error
    except MpsUnavailable as error:
        if not _answered(error):
            raise
        return CheckResult(
            level=Level.WARNING,
            kind=CheckKind.MPS,
            subject=tenant,
            detail=f"reachable, but it did not carry a request out: {error}",
            advice=_CHECK_AGAIN,
        )
    return ok(CheckKind.MPS, f"{endpoint.host} answers, and this key may use {query}", subject=tenant)


def _not_mps(endpoint: Endpoint, answer: str) -> MpsUnavailable:
    return MpsUnavailable(
        f"{endpoint.host} answers, but not like MPS: {answer}",
        kind=FailureKind.PROTOCOL,
        hint="verify the endpoint, and that no proxy answers in its place",
    )


def _unreached(error: MpsUnavailable, mps: MpsSettings, to: Destination) -> CheckResult:
    endpoint = Endpoint.of(mps)
    detail = str(error)
    advice = advice_if_unreachable(mps_host(f"{endpoint.protocol}://{endpoint.host}"), error) or error.hint
    if error.kind == FailureKind.DNS and not mps.endpoint:
        detail = detail.removesuffix(f"; {error.hint}")  # the advice says it of the setting
        advice = (
            f"verify {to.section}.region = {mps.region!r}, from which the host {endpoint.host} follows, and that this "
            "machine can resolve it"
        )
    advice = advice or "verify the region and the endpoint"
    return to.result(CheckKind.MPS, Level.FAILED, detail, advice, error.exit_code)


def _pipeline(client: MpsClient, wanted: str, to: Destination) -> Iterator[CheckResult]:
    try:
        yield judge_pipeline(wanted, Pipelines(client).find(wanted), to)
    except MpsRejected:  # what is no id of a pipeline
        yield judge_pipeline(wanted, None, to)
    except MpsUnavailable as error:
        unverified = f"{to.section}.pipeline = {wanted!r} was not verified"
        if mps_error_codes.lacks_permission(error.code):
            detail = f"{unverified}: this key may not use QueryPipelineList"
            advice = "grant the RAM user mts:QueryPipelineList on * to have the pipeline verified"
            yield to.result(CheckKind.PIPELINE, Level.WARNING, detail, advice)
        elif _answered(error):
            yield to.result(CheckKind.PIPELINE, Level.WARNING, f"{unverified}: {error}", _CHECK_AGAIN)
        else:
            detail, advice = f"{unverified}: {error}", error.hint or _CHECK_AGAIN
            yield to.result(CheckKind.PIPELINE, Level.FAILED, detail, advice, error.exit_code)


def _answered(error: MpsUnavailable) -> bool:
    """Whether MPS itself sent the error, for a reason that may pass."""
    return bool(error.code) and error.kind in (FailureKind.SERVER, FailureKind.THROTTLED)
