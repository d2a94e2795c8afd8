"""Gets the outputs of a job that went well, which its callback does not carry, before the handler is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import structlog

from listener import clock
from listener.errors import MpsRejected, StoreUnavailable, Unavailable, UnavailableError
from listener.interfaces import Store
from listener.model import SUCCESS, Delivery
from listener.quiet import Quieted
from listener.reconcile import MpsOf

log = structlog.get_logger(__name__)

#: QueryIProductionJob knows no other jobs.
ENRICHED_TYPE = "iproduction"


class Enricher:
    """Asks once for each result; the answer is kept with it. Safe to use from several threads."""

    def __init__(
        self,
        *,
        store: Store,
        mps_of: MpsOf,
        tenant_of: Callable[[Delivery], str],
        patience: timedelta,
    ) -> None:
        self._store = store
        self._mps_of = mps_of
        self._tenant_of = tenant_of
        self._patience = patience
        self._warnings = Quieted(log)

    def enrich(self, delivery: Delivery) -> Delivery:
        """The delivery with its outputs, or as it is where there is nothing to ask.

        Raises Unavailable, which spends no attempt, while MPS can't be asked and patience lasts.
        """
        mps = self._mps_of(self._tenant_of(delivery)) if _lacks_outputs(delivery) else None
        if mps is None:
            return delivery
        try:
            outputs = mps.query(delivery.result.job_id).result.outputs or ""
        except MpsRejected as error:
            log.warning("outputs.unknown", job_id=delivery.result.job_id, error=str(error))
            outputs = ""
        except UnavailableError as error:
            return self._without(delivery, error)
        return self._kept(delivery, outputs)

    def _without(self, delivery: Delivery, error: UnavailableError) -> Delivery:
        self._warnings.warning("mps.unavailable", doing="enrich", fault=error.fault, error=str(error))
        if clock.now() - delivery.created_at < self._patience:
            raise Unavailable(f"the outputs can't be had now: {error}") from error
        log.warning("outputs.given_up", job_id=delivery.result.job_id, patience=str(self._patience))
        return delivery

    def _kept(self, delivery: Delivery, outputs: str) -> Delivery:
        try:
            self._store.save_outputs(delivery.result, outputs)
        except StoreUnavailable as error:
            raise Unavailable(f"the outputs can't be kept now: {error}") from error
        return replace(delivery, result=replace(delivery.result, outputs=outputs))


def _lacks_outputs(delivery: Delivery) -> bool:
    result = delivery.result
    asked_for = result.state == SUCCESS and result.type.casefold() == ENRICHED_TYPE
    return asked_for and bool(result.job_id) and result.outputs is None
