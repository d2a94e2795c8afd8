"""The kinds of MPS jobs: what submits them, and which query tells how one stands.

Source: the vendor's API reference and its official SDK (alibabacloud-mts20140618), whose models carry the names below;
see docs/mps.md. The set is open: a callback of any other type is routed all the same, but MPS cannot be asked about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """One kind. The operations and members are named as in the API."""

    name: str  #: as its callbacks spell it in ``Type``; compared ignoring case
    submitted_by: str  #: the operation that submits it
    queried_by: str  #: the operation that tells its state
    ids: str  #: the parameter of the query with the ids, separated by commas
    ids_per_query: int  #: how many ids it takes
    entries: tuple[str, ...] = ()  #: where the jobs are in the reply; empty if the reply is the job itself
    id: str = "JobId"  #: the member of a job with its id
    state: str = "State"
    user_data: tuple[str, ...] = ("UserData",)  #: where its user data is
    types: tuple[str, ...] = ()  #: what ``Type`` may be besides its name


IPRODUCTION: Final = JobKind(
    name="IProduction",
    submitted_by="SubmitIProductionJob",
    queried_by="QueryIProductionJob",
    ids="JobId",
    ids_per_query=1,
)
TRANSCODE: Final = JobKind(
    name="Transcode",
    submitted_by="SubmitJobs",
    queried_by="QueryJobList",
    ids="JobIds",
    ids_per_query=10,
    entries=("JobList", "Job"),
    user_data=("Output", "UserData"),
)
SNAPSHOT: Final = JobKind(
    name="Snapshot",
    submitted_by="SubmitSnapshotJob",
    queried_by="QuerySnapshotJobList",
    ids="SnapshotJobIds",
    ids_per_query=10,
    entries=("SnapshotJobList", "SnapshotJob"),
    id="Id",
)
ANALYSIS: Final = JobKind(
    name="Analysis",
    submitted_by="SubmitAnalysisJob",
    queried_by="QueryAnalysisJobList",
    ids="AnalysisJobIds",
    ids_per_query=10,
    entries=("AnalysisJobList", "AnalysisJob"),
    id="Id",
)
MEDIA_INFO: Final = JobKind(
    name="MediaInfo",
    submitted_by="SubmitMediaInfoJob",
    queried_by="QueryMediaInfoJobList",
    ids="MediaInfoJobIds",
    ids_per_query=10,
    entries=("MediaInfoJobList", "MediaInfoJob"),
)
SMARTTAG: Final = JobKind(
    name="smarttag",
    submitted_by="SubmitSmarttagJob",
    queried_by="QuerySmarttagJob",
    ids="JobId",
    ids_per_query=1,
    state="JobStatus",
)
FP_SHOT: Final = JobKind(
    name="FpShot",
    submitted_by="SubmitFpShotJob",
    queried_by="QueryFpShotJobList",
    ids="JobIds",
    ids_per_query=10,
    entries=("FpShotJobList", "FpShotJob"),
    id="Id",
)
MEDIA_CENSOR: Final = JobKind(
    name="MediaCensor",
    submitted_by="SubmitMediaCensorJob",
    queried_by="QueryMediaCensorJobList",
    ids="JobIds",
    ids_per_query=10,
    entries=("MediaCensorJobList", "MediaCensorJob"),
)
#: The run of a workflow: its id is a RunId, and two callbacks report it, Start and Report.
WORKFLOW: Final = JobKind(
    name="Workflow",
    submitted_by="AddMedia",
    queried_by="QueryMediaWorkflowExecutionList",
    ids="RunIds",
    ids_per_query=10,
    entries=("MediaWorkflowExecutionList", "MediaWorkflowExecution"),
    id="RunId",
    user_data=("Input", "UserData"),
    types=("Report", "Start"),
)

JOB_KINDS: Final = (
    *(IPRODUCTION, TRANSCODE, SNAPSHOT, ANALYSIS, MEDIA_INFO),
    *(SMARTTAG, FP_SHOT, MEDIA_CENSOR, WORKFLOW),
)
#: Those that the listener can submit; the parameters of the others are many, and their jobs are registered.
SUBMITTED_KINDS: Final = (IPRODUCTION, TRANSCODE, SNAPSHOT, MEDIA_INFO)
_BY_TYPE: Final[Mapping[str, JobKind]] = {
    spelled.casefold(): kind for kind in JOB_KINDS for spelled in (kind.name, *kind.types)
}


def kind_of_type(type_: str) -> JobKind | None:
    """The kind with this name, or whose callbacks have this ``Type``; None if it is unknown."""
    return _BY_TYPE.get(type_.casefold())
