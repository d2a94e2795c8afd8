"""The calls for rules by which other services report events; stored, since the emulator has no such services."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from listener.emulator.mns_open import parameters
from listener.emulator.mns_open.errors import MnsOpenError
from listener.emulator.rpc.call import Call, Document, Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRule:
    """Which events of a service are reported to which endpoint."""

    product: str
    name: str
    event_types: list[Any]
    match_rules: list[Any]
    endpoint: Document
    delivery_mode: str


class EventRuleCalls:
    """The rules of the account."""

    def __init__(self) -> None:
        self.rules: dict[tuple[str, str], EventRule] = {}
        self.operations: Mapping[str, Operation] = {
            "CreateEventRule": self._create,
            "GetEventRule": self._get,
            "ListEventRules": self._list,
            "DeleteEventRule": self._delete,
        }

    def reset(self) -> None:
        self.rules.clear()

    def _create(self, call: Call) -> Document:
        for name in ("EventTypes", "MatchRules"):
            call.required(name)
        rule = EventRule(
            product=call.required("ProductName"),
            name=call.required("RuleName"),
            event_types=call.json_array("EventTypes"),
            match_rules=call.json_array("MatchRules"),
            endpoint=_endpoint(call),
            delivery_mode=call.parameters.get("DeliveryMode", ""),
        )
        known = self.rules.setdefault((rule.product, rule.name), rule)
        if known != rule:
            raise MnsOpenError("EventRuleAlreadyExist", rule.name)
        return {"Data": rule.name}

    def _get(self, call: Call) -> Document:
        return {"Data": _describe(self._rule_of(call))}

    def _list(self, call: Call) -> Document:
        """Rules by name: of one service, about one resource, or to one endpoint."""
        wanted = call.parameters
        subscriber = call.json_object("Subscription")
        topic = wanted.get("TopicName", "")
        found = [
            rule
            for _, rule in sorted(self.rules.items())
            if wanted.get("ProductName", "") in ("", rule.product)
            and wanted.get("RuleName", "") in rule.name
            and (not wanted.get("ResourceName") or wanted["ResourceName"] in _resources(rule))
            and topic in ("", _topic(rule))
            and (not subscriber or subscriber == rule.endpoint)
        ]
        return {"Data": parameters.page(call, found, _describe)}

    def _delete(self, call: Call) -> Document:
        rule = self._rule_of(call)
        del self.rules[rule.product, rule.name]
        return {}

    def _rule_of(self, call: Call) -> EventRule:
        product, name = call.required("ProductName"), call.required("RuleName")
        rule = self.rules.get((product, name))
        if rule is None:
            raise MnsOpenError("EventRuleNotExist", name)
        return rule


def _endpoint(call: Call) -> Document:
    """The endpoint; older clients send a list of them instead, of which the first counts."""
    given = call.json_object("Endpoint")
    older = call.json_array("Endpoints")
    if not given and older and isinstance(older[0], dict):
        given = older[0]
    if not given.get("EndpointType") or not given.get("EndpointValue"):
        raise MnsOpenError("MissingParameter", "Endpoint")
    return {"EndpointType": str(given["EndpointType"]), "EndpointValue": str(given["EndpointValue"])}


def _resources(rule: EventRule) -> set[str]:
    """The full names in the rule's conditions."""
    alternatives = (item for item in rule.match_rules if isinstance(item, list))
    conditions = (item for items in alternatives for item in items if isinstance(item, dict))
    return {str(item["Name"]) for item in conditions if item.get("Name")}


def _topic(rule: EventRule) -> str:
    """The topic that the rule reports to, if it is one."""
    return str(rule.endpoint["EndpointValue"]) if rule.endpoint["EndpointType"] == "topic" else ""


def _describe(rule: EventRule) -> Document:
    return {
        "RuleName": rule.name,
        "EventTypes": rule.event_types,
        "MatchRules": rule.match_rules,
        "Endpoint": rule.endpoint,
        "Subscriptions": [rule.endpoint],
        "TopicName": _topic(rule),
        "DeliveryMode": rule.delivery_mode,
    }
