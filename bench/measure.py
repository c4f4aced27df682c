"""One measured run: wall clock, CPU of client, source and target apart, and the client's peak memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from dataclasses import asdict, dataclass
from typing import Any, Callable, Optional, Sequence

from servers import Servers, cpu_seconds


@dataclass
class Run:
    seconds: float
    cpu_client: float
    cpu_source: float
    cpu_target: float
    peak_mb: float  # of the largest process of the client; 0 where there is none. The kernel counts ours until exec: about 35 is "no more than that"


class Client:
    """A contender's processes: started, waited for, their CPU and memory known."""

    def __init__(self) -> None:
        self.cpu = 0.0
        self.peak_mb = 0.0
        self.done_at: Optional[float] = None

    def done(self) -> None:
        """Stops the clock: what follows is tidying up. Its CPU counts."""
        self.done_at = time.monotonic()

    def run(self, argv: Sequence[str], **environment: str) -> None:
        self.end(self.start(argv, **environment), argv)

    def start(self, argv: Sequence[str], **environment: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, **environment})

    def end(self, process: subprocess.Popen[bytes], argv: Sequence[str] = (), allowed: Sequence[int] = (0,)) -> None:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu += usage.ru_utime + usage.ru_stime
        self.peak_mb = max(self.peak_mb, usage.ru_maxrss / 1024)
        if process.returncode not in allowed:
            raise RuntimeError(f"{' '.join(argv)[:200]} ended with {process.returncode}: {said.decode(errors='replace')[-2000:]}")


def measured(servers: Servers, what: Callable[[Client], None]) -> Run:
    client = Client()
    source, target = cpu_seconds(servers.source), cpu_seconds(servers.target)
    began = time.monotonic()
    what(client)
    seconds = (client.done_at or time.monotonic()) - began
    return Run(seconds, client.cpu, cpu_seconds(servers.source) - source, cpu_seconds(servers.target) - target, client.peak_mb)


class Results:
    """case -> contender -> runs, in the order of running."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, list[Run]]] = {}
        self.notes: dict[str, dict[str, str]] = {}
        self.delays: dict[str, dict[str, list[float]]] = {}

    def add(self, case: str, contender: str, run: Run) -> None:
        self.runs.setdefault(case, {}).setdefault(contender, []).append(run)

    def note(self, case: str, contender: str, note: str) -> None:
        self.notes.setdefault(case, {})[contender] = note

    def median(self, case: str, contender: str) -> Optional[float]:
        runs = self.runs.get(case, {}).get(contender)
        return statistics.median(run.seconds for run in runs) if runs else None

    def table(self) -> str:
        lines = []
        for case, contenders in self.runs.items():
            ours = self.median(case, "pgtide")
            lines += [f"\n{case}", f"  {'contender':<26}{'seconds':>9}  {'spread':<15}{'CPU client / source / target':>30}{'peak MB':>9}{'ratio':>8}"]
            for name, runs in contenders.items():
                seconds = sorted(run.seconds for run in runs)
                middle = statistics.median(seconds)
                cpu = " / ".join(f"{statistics.median(getattr(run, 'cpu_' + side) for run in runs):.1f}" for side in ("client", "source", "target"))
                ratio = f"{middle / ours:.2f}" if ours else ""
                lines.append(f"  {name:<26}{middle:>9.2f}  {f'{seconds[0]:.2f}–{seconds[-1]:.2f}':<15}{cpu:>30}{max(run.peak_mb for run in runs):>9.0f}{ratio:>8}")
        for case, contenders in self.notes.items():
            lines += [f"  {case}, {name}: {note}" for name, note in contenders.items()]
        for case, contenders in self.delays.items():
            lines.append(f"\n{case}: milliseconds from the source's commit to what a reader of the target sees")
            for name, delays in contenders.items():
                ordered = sorted(delays)
                lines.append(f"  {name:<26} median {statistics.median(ordered) * 1000:.2f}, 99th percentile {ordered[int(len(ordered) * 0.99)] * 1000:.2f}, {len(ordered)} samples")
        return "\n".join(lines)

    def document(self) -> dict[str, Any]:
        return {"runs": {case: {name: [asdict(run) for run in runs] for name, runs in of.items()} for case, of in self.runs.items()},
                "notes": self.notes, "delays_seconds": self.delays}
