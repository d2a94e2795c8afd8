"""The soak test: runs many seeds, and accounts for every callback of each.

``python -m tests.soak --seeds 200`` runs seeds 0 to 199; ``--seed 17`` runs one. Exits with 1 if anything is lost,
doubled or unexplained, or if a kind of fault was never injected.
"""

from __future__ import annotations

import argparse
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
from tests.soak.ledger import Accounting, Complaint, account_for
from tests.soak.plan import POISONS, blows_of, drawn
from tests.soak.run import run_plan
from tests.support.forked import forking_context

#: What the receiver of webhooks does.
RECEIVER = ("trickle-body", "trickle-headers")
VIOLATIONS = ("lost", "doubled", "overlapping", "misdelivered", "unexplained", "hung", "trouble")
#: Below this many seeds, chance alone leaves kinds of faults out.
ENOUGH_FOR_ALL_KINDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of one seed."""

    seed: int
    accounting: Accounting
    happened: Mapping[str, int]
    seconds: float
    folder: Path

    @property
    def clean(self) -> bool:
        return not self.accounting.complaints


def run_seed(seed: int, messages: int, keep: Path, store: str = "sqlite") -> Report:
    """Run one seed and account for it; its folder is kept only if there are complaints."""
    folder = keep / f"seed-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    plan = drawn(seed, messages=messages, store=store)
    try:
        result = run_plan(plan, folder)
    except Exception:  # whatever broke the run belongs in its report
        found = Accounting(complaints=[Complaint("trouble", traceback.format_exc())])
        return Report(seed=seed, accounting=found, happened={}, seconds=0.0, folder=folder)
    found = account_for(plan, result.evidence)
    if not found.complaints:
        shutil.rmtree(folder)
    return Report(
        seed=seed, accounting=found, happened=result.happened, seconds=result.seconds, folder=folder
    )


def run_all(
    seeds: Sequence[int], *, messages: int, keep: Path, processes: int, store: str = "sqlite"
) -> Iterable[Report]:
    """The reports in the order in which the seeds finish."""
    with ProcessPoolExecutor(processes, mp_context=forking_context()) as pool:
        for future in as_completed([pool.submit(run_seed, seed, messages, keep, store) for seed in seeds]):
            yield future.result()


def summary_line(report: Report, messages: int, store: str = "sqlite") -> str:
    """One line; then the complaints, with the command that reproduces them."""
    found = report.accounting
    line = (
        f"seed {report.seed:>4}  {sum(found.outcomes.values())} callbacks  "
        f"lost {found.count('lost')}  doubled {found.count('doubled')}  "
        f"unexplained {len(found.complaints) - found.count('lost') - found.count('doubled')}  "
        f"repeats {dict(found.repeats)}  resumed {dict(found.resumed)}  {report.seconds:.1f} s"
    )
    if report.clean:
        return line
    details = [f"    {complaint.kind}: {complaint.text}" for complaint in found.complaints[:20]]
    reproduce = (
        f"    reproduce: python -m tests.soak --store {store} --seed {report.seed} --messages {messages}"
    )
    return "\n".join([line, *details, reproduce, f"    files: {report.folder}"])


def totals(reports: Sequence[Report]) -> str:
    """The totals of all seeds."""
    happened, outcomes, repeats, resumed = (
        sum((Counter(part) for part in parts), Counter())
        for parts in (
            [report.happened for report in reports],
            [report.accounting.outcomes for report in reports],
            [report.accounting.repeats for report in reports],
            [report.accounting.resumed for report in reports],
        )
    )
    violations = {kind: sum(report.accounting.count(kind) for report in reports) for kind in VIOLATIONS}
    return "\n".join(
        [
            f"{len(reports)} seeds, {sum(outcomes.values())} callbacks",
            "outcomes         " + _listed(outcomes),
            "violations       " + _listed(violations),
            "calls repeated after a return, by cause  " + (_listed(repeats) or "none"),
            "calls restarted after a crash, by cause  " + (_listed(resumed) or "none"),
            "faults injected  " + _listed(happened),
        ]
    )


def never_happened(reports: Sequence[Report], store: str = "sqlite") -> list[str]:
    """The kinds of faults, blows and rough callbacks that did not happen in any seed."""
    seen = {kind for report in reports for kind, times in report.happened.items() if times}
    wanted = (*(str(kind) for kind in FaultKind), *blows_of(store), *RECEIVER, *POISONS)
    return [kind for kind in wanted if kind not in seen]


def _listed(counts: Mapping[str, int]) -> str:
    return "  ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options().parse_args(arguments)
    seeds = list(range(options.seeds)) if options.seed is None else [options.seed]
    keep = options.keep or Path(tempfile.mkdtemp(prefix="soak-"))
    reports = []
    started = run_all(
        seeds, messages=options.messages, keep=keep, processes=options.processes, store=options.store
    )
    for report in started:
        reports.append(report)
        print(summary_line(report, options.messages, options.store), flush=True)
    print(totals(reports))
    missing = never_happened(reports, options.store) if len(seeds) >= ENOUGH_FOR_ALL_KINDS else []
    if missing:
        print("never happened: " + ", ".join(missing))
    if not any(keep.iterdir()):
        keep.rmdir()
    return 1 if missing or not all(report.clean for report in reports) else 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seeds", type=int, default=50, help="number of seeds to run, from 0")
    parser.add_argument(
        "--store", choices=("sqlite", "postgresql"), default="sqlite", help="what the listeners write to"
    )
    parser.add_argument("--seed", type=int, help="run only this seed")
    parser.add_argument("--messages", type=int, default=400, help="callbacks per seed")
    parser.add_argument("--keep", type=Path, help="folder for the files of failing seeds")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="number of seeds to run in parallel"
    )
    return parser
