"""The soak: plays many seeds, and accounts for every callback of every one.

``python -m tests.soak --seeds 200`` plays seeds 0 to 199; ``--seed 17`` plays one. Ends with 1 if anything is lost,
doubled or unexplained, or if a kind of fault never happened.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from listener.emulator.faults import FaultKind
from tests.soak.ledger import Account, Complaint, account
from tests.soak.plan import drawn
from tests.soak.scene import play

BLOWS = ("kill", "stop", "freeze", "lock")
VERDICTS = ("lost", "doubled", "overlapping", "misdelivered", "unexplained", "trouble")
#: Below this many seeds, chance alone leaves kinds of faults out.
ENOUGH_FOR_ALL_KINDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one seed came to."""

    seed: int
    account: Account
    happened: Mapping[str, int]
    seconds: float
    folder: Path

    @property
    def clean(self) -> bool:
        return not self.account.complaints


def play_seed(seed: int, messages: int, keep: Path) -> Report:
    """One seed from plan to account; its folder stays only if there is something to look at."""
    folder = keep / f"seed-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    plan = drawn(seed, messages=messages)
    try:
        played = play(plan, folder)
    except Exception:  # what broke the run itself belongs into its report
        found = Account(complaints=[Complaint("trouble", traceback.format_exc())])
        return Report(seed=seed, account=found, happened={}, seconds=0.0, folder=folder)
    found = account(plan, played.evidence)
    if not found.complaints:
        shutil.rmtree(folder)
    return Report(seed=seed, account=found, happened=played.happened, seconds=played.seconds, folder=folder)


def play_all(seeds: Sequence[int], *, messages: int, keep: Path, processes: int) -> Iterable[Report]:
    """The reports in the order in which the seeds come to their ends."""
    context = multiprocessing.get_context("spawn")  # a fork would copy locks that the emulator's threads hold
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        for future in as_completed([pool.submit(play_seed, seed, messages, keep) for seed in seeds]):
            yield future.result()


def told(report: Report, messages: int) -> str:
    """One line, and the complaints with the way to see them again."""
    found = report.account
    line = (
        f"seed {report.seed:>4}  {sum(found.fates.values())} callbacks  "
        f"lost {found.count('lost')}  doubled {found.count('doubled')}  "
        f"unexplained {len(found.complaints) - found.count('lost') - found.count('doubled')}  "
        f"repeats {dict(found.repeats)}  resumed {dict(found.resumed)}  {report.seconds:.1f} s"
    )
    if report.clean:
        return line
    details = [f"    {complaint.kind}: {complaint.text}" for complaint in found.complaints[:20]]
    again = f"    again: python -m tests.soak --seed {report.seed} --messages {messages}"
    return "\n".join([line, *details, again, f"    kept: {report.folder}"])


def totals(reports: Sequence[Report]) -> str:
    """What all seeds came to together."""
    happened, fates, repeats, resumed = (
        sum((Counter(part) for part in parts), Counter())
        for parts in (
            [report.happened for report in reports],
            [report.account.fates for report in reports],
            [report.account.repeats for report in reports],
            [report.account.resumed for report in reports],
        )
    )
    verdicts = {kind: sum(report.account.count(kind) for report in reports) for kind in VERDICTS}
    return "\n".join(
        [
            f"{len(reports)} seeds, {sum(fates.values())} callbacks",
            "fates      " + _listed(fates),
            "verdict    " + _listed(verdicts),
            "repeats after a return, by cause        " + (_listed(repeats) or "none"),
            "calls that never ended, begun again     " + (_listed(resumed) or "none"),
            "happened   " + _listed(happened),
        ]
    )


def never_happened(reports: Sequence[Report]) -> list[str]:
    """The kinds of faults and blows that no seed has seen."""
    seen = {kind for report in reports for kind, times in report.happened.items() if times}
    return [kind for kind in (*(str(kind) for kind in FaultKind), *BLOWS) if kind not in seen]


def _listed(counts: Mapping[str, int]) -> str:
    return "  ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options().parse_args(arguments)
    seeds = list(range(options.seeds)) if options.seed is None else [options.seed]
    keep = options.keep or Path(tempfile.mkdtemp(prefix="soak-"))
    reports = []
    for report in play_all(seeds, messages=options.messages, keep=keep, processes=options.processes):
        reports.append(report)
        print(told(report, options.messages), flush=True)
    print(totals(reports))
    missing = never_happened(reports) if len(seeds) >= ENOUGH_FOR_ALL_KINDS else []
    if missing:
        print("never happened: " + ", ".join(missing))
    if not any(keep.iterdir()):
        keep.rmdir()
    return 1 if missing or not all(report.clean for report in reports) else 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seeds", type=int, default=50, help="play so many, from 0 on")
    parser.add_argument("--seed", type=int, help="play this one only")
    parser.add_argument("--messages", type=int, default=400, help="callbacks in one seed")
    parser.add_argument("--keep", type=Path, help="folder for what failing seeds leave behind")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="seeds at the same time")
    return parser
