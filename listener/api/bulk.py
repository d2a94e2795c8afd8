"""Actions on many rows: on those with the given ids, or on all that match filters, at most so many for each request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, Final, Generic, Self, TypeVar

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StrictBool, create_model, model_validator

from listener.api.context import ApiContext
from listener.api.parameters import FilterFields, StrictRowId, TimeFields
from listener.api.problems import wrong_member
from listener.api.row_changes import RowChanges
from listener.store.database import Database
from listener.store.row_actions import Changed, Source, change_in_pages, every_row

#: How many rows one request changes, so that it ends before its client gives up.
MAX_ROWS: Final = 5000

FieldsT = TypeVar("FieldsT", FilterFields, TimeFields)


class RowSelection(BaseModel, Generic[FieldsT]):
    """Either `ids`, or `all` of those that match the filters."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["ids"],
                    "properties": {
                        "ids": {"type": "array"},
                        "all": {"const": False},
                        "filters": {"type": "null"},
                        "before": {"type": "null"},
                    },
                },
                {
                    "required": ["all"],
                    "properties": {"all": {"const": True}, "ids": {"type": "null"}},
                },
            ]
        },
    )

    ids: Annotated[list[StrictRowId], Field(max_length=MAX_ROWS)] | None = None
    all: StrictBool = False
    filters: FieldsT | None = Field(None, description="Narrow `all`")
    before: StrictRowId | None = Field(None, description="With `all`: `next` of the answer before")
    dry_run: StrictBool = Field(False, description="Change nothing, and answer what would be done")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.ids is None and not self.all:
            raise wrong_member("ids", "is missing; specify ids, or all = true")
        if self.ids is not None and self.all:
            raise wrong_member("all", "is given beside ids; use only one of the two")
        if self.ids is not None and (self.filters or self.before):
            member = "filters" if self.filters else "before"
            raise wrong_member(member, "requires all = true instead of ids, which identify the rows already")
        return self


class Refused(BaseModel):
    id: int
    reason: str


class TargetDocument(BaseModel):
    """A handler that a row has gone to."""

    id: int
    route: str
    handler: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkAction:
    """One action on the rows of an area."""

    name: str  #: of the operation
    verb: str  #: the last part of its path
    done: str  #: the member of the answer with the ids that were changed
    what: str  #: the rows, in the plural
    description: str
    source: Callable[[Database], Source[Any]]
    change: Callable[[RowChanges], Callable[..., Changed]]
    fields: type[FilterFields | TimeFields] = FilterFields
    wakes: bool = False  #: whether there is something for the daemon to do at once

    def add_to(self, area: APIRouter, context: ApiContext) -> None:
        selection: Any = RowSelection.__class_getitem__(self.fields)

        def act(selection: Any) -> dict[str, Any]:
            return self._carried_out(selection, context)

        act.__annotations__["selection"] = selection
        area.add_api_route(
            f"/{self.verb}",
            act,
            methods=["POST"],
            name=self.name,
            summary=f"{self.verb.capitalize()} {self.what}",
            description=self.description,
            response_model=self._answer,
        )

    @property
    def _answer(self) -> type[BaseModel]:
        changed = Field(
            description=f"The ids of the {self.what} that were, or with `dry_run` would be, {self.done}"
        )
        fields: dict[str, Any] = {
            self.done: (list[int], changed),
            "missing": (list[int], Field(description=f"The given ids that are no {self.what}")),
            "refused": (list[Refused], Field(description="Those that stay as they are, and why")),
            "counts": (dict[str, int], Field(description="How many ended in which way, if that differs")),
            "targets": (list[TargetDocument], Field(description="The handlers that they go to")),
            "dry_run": (bool, ...),
            "next": (
                int | None,
                Field(
                    description="With `all`: the `before` of the request for the remaining rows; null at the end"
                ),
            ),
        }
        return create_model(f"{self.name.title().replace('_', '')}Answer", **fields)

    def _carried_out(self, selection: RowSelection[Any], context: ApiContext) -> dict[str, Any]:
        ids, following = self._selected(selection, context.store.database)
        change = self.change(RowChanges(context.store, context.settings))
        changed = change_in_pages(ids, lambda page: change(page, dry_run=selection.dry_run))
        if self.wakes and not selection.dry_run:
            context.wake()
        return {
            self.done: changed.ids,
            "missing": sorted(set(ids) - set(changed.ids) - set(changed.refused)),
            "refused": [{"id": row, "reason": reason} for row, reason in changed.refused.items()],
            "counts": changed.counts,
            "targets": [
                {"id": row, "route": target.route, "handler": target.handler}
                for row, targets in changed.targets.items()
                for target in targets
            ],
            "dry_run": selection.dry_run,
            "next": following,
        }

    def _selected(self, selection: RowSelection[Any], database: Database) -> tuple[Sequence[int], int | None]:
        """The ids, and the last one if there may be more."""
        if selection.ids is not None:
            return list(dict.fromkeys(selection.ids)), None
        filters = (selection.filters or self.fields()).filters
        rows = every_row(self.source(database), filters, before=selection.before or 0)
        ids = [row.id for row in islice(rows, MAX_ROWS)]
        return ids, ids[-1] if len(ids) == MAX_ROWS else None
