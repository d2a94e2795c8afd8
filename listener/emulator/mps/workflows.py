"""The calls for media workflows, and the workflows that media can be added to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from listener.emulator.mps.errors import MpsError
from listener.emulator.rpc.call import Call, Document, Operation
from listener.emulator.virtual_clock import VirtualClock


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaWorkflow:
    """A workflow. Its Start activity names the queue for its messages; what its pipeline is bound to is ignored."""

    id: str
    name: str
    activities: Mapping[str, str]  #: the type of each, by name, in the order of the topology
    queue: str


class MediaWorkflows:
    """All workflows of the account."""

    def __init__(self, *, new_id: Callable[[], str], clock: VirtualClock) -> None:
        self.by_id: dict[str, MediaWorkflow] = {}
        self._new_id = new_id
        self._clock = clock
        self.operations: Mapping[str, Operation] = {"AddMediaWorkflow": self._add}

    def reset(self) -> None:
        self.by_id.clear()

    def _add(self, call: Call) -> Document:
        name = call.required("Name")
        call.required("Topology")
        activities = call.json_object("Topology").get("Activities")
        if not isinstance(activities, dict) or not all(_is_activity(one) for one in activities.values()):
            raise MpsError("InvalidParameter", "Topology")
        starts = [activity for activity in activities.values() if activity["Type"] == "Start"]
        if len(starts) != 1:
            raise MpsError("InvalidParameter", "Topology")
        workflow = MediaWorkflow(
            id=self._new_id(),
            name=name,
            activities={label: str(activity["Type"]) for label, activity in activities.items()},
            queue=str(starts[0].get("Parameters", {}).get("QueueName", "")),
        )
        self.by_id[workflow.id] = workflow
        return {
            "MediaWorkflow": {
                "MediaWorkflowId": workflow.id,
                "Name": name,
                "Topology": call.parameters["Topology"],
                "State": "Active",
                "TriggerMode": call.parameters.get("TriggerMode") or "OssAutoTrigger",
                "CreationTime": f"{self._clock.now():%Y-%m-%dT%H:%M:%SZ}",
            }
        }


def _is_activity(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("Type"), str)
        and isinstance(value.get("Parameters", {}), dict)
    )
