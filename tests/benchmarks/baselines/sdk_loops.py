"""Loops on aliyun-mns-sdk: ``python -m tests.benchmarks.baselines.sdk_loops single|expert|batch URL STORE COUNT``.

``single`` is its recv_and_del_message.py with this product's work in the middle: receive one, look it up, write it
down, handle it, delete one. ``expert`` is what somebody writes who wants speed above all: receive 16, look them up and
write them down in one transaction, delete them, handle them, and write in another one that this was done. ``batch`` is
the batch calls with nothing in the middle, not even a look at the messages. All end after COUNT messages, and return
from each turn how many there were.
"""

from __future__ import annotations

import sys

from mns.account import Account

from tests.benchmarks.baselines.work import Jobs
from tests.benchmarks.series import QUEUE

WAIT_SECONDS = 1
BATCH = 16


def single(queue: object, jobs: Jobs) -> int:
    message = queue.receive_message(WAIT_SECONDS)  # type: ignore[attr-defined]  # the SDK has no types
    jobs.finish(message.message_body)
    queue.delete_message(message.receipt_handle)  # type: ignore[attr-defined]
    return 1


def expert(queue: object, jobs: Jobs) -> int:
    messages = queue.batch_receive_message(BATCH, WAIT_SECONDS)  # type: ignore[attr-defined]
    callbacks = jobs.finish_all([message.message_body for message in messages])
    queue.batch_delete_message([message.receipt_handle for message in messages])  # type: ignore[attr-defined]
    jobs.handle_all(callbacks)
    return len(messages)


def batch(queue: object, jobs: Jobs) -> int:
    messages = queue.batch_receive_message(BATCH, WAIT_SECONDS)  # type: ignore[attr-defined]
    queue.batch_delete_message([message.receipt_handle for message in messages])  # type: ignore[attr-defined]
    return len(messages)


def main(turn: str, url: str, store: str, count: str) -> None:
    queue = Account(url, "testKeyId", "testKeySecret").get_queue(QUEUE)
    jobs = Jobs(store)
    step = {"single": single, "expert": expert, "batch": batch}[turn]
    left = int(count)
    while left > 0:
        left -= step(queue, jobs)


if __name__ == "__main__":
    main(*sys.argv[1:])
