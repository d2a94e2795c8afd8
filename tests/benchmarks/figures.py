"""What a benchmark says: figures with their goals, ratios taken pair by pair, a table, and the machine."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

A = TypeVar("A")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One thing measured, several times. ``at_least`` and ``at_most`` are goals; with neither it is for information."""

    name: str
    values: Sequence[float]
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median meets the goal; None without one."""
        if self.at_least is not None:
            return self.median >= self.at_least
        return None if self.at_most is None else self.median <= self.at_most

    @property
    def goal(self) -> str:
        if self.at_least is not None:
            return f">= {_short(self.at_least)}{self.unit}"
        return "" if self.at_most is None else f"<= {_short(self.at_most)}{self.unit}"

    @property
    def measured(self) -> str:
        """Median, and the spread where there were several."""
        if len(self.values) == 1:
            return f"{_short(self.median)}{self.unit}"
        return f"{_short(self.median)}{self.unit} ({_short(min(self.values))} to {_short(max(self.values))})"

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit.strip(),
            "goal": self.goal,
            "median": self.median,
            "values": list(self.values),
            "met": self.met,
            "note": self.note,
        }


def _short(number: float) -> str:
    """Three figures, and no more digits than that."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def interleaved(*sides: Callable[[int], A], rounds: int) -> list[tuple[A, ...]]:
    """A/B/A/B: what disturbs the machine for a while disturbs all. Each gets the number of its round."""
    return [tuple(side(number) for side in sides) for number in range(rounds)]


def ratios(pairs: Iterable[tuple[float, float]]) -> list[float]:
    """First by second, pair by pair: the two were measured one right after the other."""
    return [first / second for first, second in pairs]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least so many per cent of the values don't exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


@dataclass(frozen=True, slots=True)
class Machine:
    cpu: str
    cores: int
    python: str
    load: float  #: at the start, over the last minute

    @classmethod
    def this(cls) -> Machine:
        return cls(_cpu(), os.cpu_count() or 1, platform.python_version(), os.getloadavg()[0])

    def __str__(self) -> str:
        return f"{self.cpu}, {self.cores} cores, Python {self.python}, load {self.load:.2f} at the start"


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def table(figures: Iterable[Figure]) -> str:
    """In Markdown, so that it can be pasted."""
    lines = ["| figure | goal | measured: median (spread) | met |", "|---|---|---|---|"]
    met = {True: "yes", False: "**no**", None: ""}
    for figure in figures:
        note = f"; {figure.note}" if figure.note else ""
        lines.append(f"| {figure.name} | {figure.goal} | {figure.measured}{note} | {met[figure.met]} |")
    return "\n".join(lines)


def as_json(figures: Iterable[Figure], machine: Machine, *, skipped: Iterable[str]) -> str:
    found = [figure.as_dict() for figure in figures]
    return (
        json.dumps({"machine": asdict(machine), "figures": found, "skipped": list(skipped)}, indent=2) + "\n"
    )
