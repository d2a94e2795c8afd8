"""Jobs: a list with filters and a search, and the timeline of one job."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from listener.core.errors import NotFound
from listener.core.model import JobState
from listener.pages import filter_form
from listener.pages.filter_form import row_id
from listener.pages.timeline import timeline
from listener.pages.visit import Area, PageRoute, Visit
from listener.store.queries import JobHistory, Queries

#: How many names a search shows.
MAX_FOUND: Final = 20


def list_jobs(visit: Visit) -> Response:
    if name := visit.asked("name"):
        return _search(visit, name)
    form = filter_form.read_query(visit, *filter_form.ALL, own=("state",))
    queries = Queries(visit.context.store.database)
    page = queries.jobs(
        state=form.values["state"], filters=form.filters, before=form.before, limit=filter_form.PAGE
    )
    ids = [row for row, _ in page]
    return visit.render(
        "jobs.html",
        jobs=page,
        full=filter_form.PAGE,
        deliveries=queries.delivery_counts(ids),
        form=form,
        next_page=form.next_page("/jobs", page),
        states=[str(each) for each in JobState],
        choices=filter_form.choices_of(visit.context.settings),
    )


def show_job(visit: Visit) -> Response:
    name, before = visit.asked("name"), visit.asked("before")
    history = Queries(visit.context.store.database).history(
        name, before=row_id(before) if before else 0, limit=filter_form.PAGE
    )
    if history is None:
        raise NotFound(f"no job, workflow or medium is named {name!r} in this store")
    return visit.render(
        "job.html",
        name=name,
        history=history,
        events=timeline(history),
        has_outcome=_has_outcome(history),
        older=f"{address_of(name)}&before={history.next}" if history.next else "",
        newest=address_of(name) if before else "",
    )


def _has_outcome(history: JobHistory) -> bool:
    """Of a job that is not in the store, its results alone can tell; one that is not shown may be the outcome."""
    if history.job:
        return history.job.finished_at is not None
    return bool(history.next) or any(stored.result.terminal for stored in history.results)


def open_job(visit: Visit) -> Response:
    """At ``/jobs/NAME``, where the API has a job."""
    return RedirectResponse(address_of(visit.asked("name")), 303)


def address_of(name: str) -> str:
    """The page of the job with this id, run id, reference or token."""
    return f"/job?{urlencode({'name': name})}"


def _search(visit: Visit, name: str) -> Response:
    """The page of the job with this name, or else the names that begin like this."""
    queries = Queries(visit.context.store.database)
    if queries.is_known(name):
        return RedirectResponse(address_of(name), 303)
    found = queries.jobs_starting_with(name, limit=MAX_FOUND)
    if len(found) == 1:
        return RedirectResponse(address_of(found[0]), 303)
    return visit.render("search.html", name=name, found=found, limit=MAX_FOUND)


AREA: Final = Area(
    title="Jobs",
    path="/jobs",
    routes=(
        PageRoute(path="/jobs", view=list_jobs),
        PageRoute(path="/job", view=show_job),
        PageRoute(path="/jobs/{name:path}", view=open_job),  # a reference may contain slashes
    ),
    inner=("/job",),
)
