"""The program under test: one synchronization of one pair, seen as an operator sees it (the command line contract)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from .wait import let_pass, wait_until

OK, FAILED, USAGE, REFUSED, INTERRUPTED = 0, 1, 2, 3, 130
FOLLOWING = "incremental"


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    command: str
    status: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"`pgtide {self.command}` ended with {self.status}\n{self.out}{self.err}"


class Run:
    """A `pgtide sync` that was started. Its highest memory use is the largest VmHWM seen."""

    def __init__(self, argv: list[str], environment: dict[str, str], folder: Path, label: str) -> None:
        self.label = label
        self.out_path = folder / f"{label}.out"
        self.err_path = folder / f"{label}.err"
        self.peak_memory_mb = 0.0
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            # It dies with us: a test that was killed leaves no synchronization behind
            self._process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *argv], stdin=subprocess.DEVNULL,
                                             stdout=out, stderr=err, env=environment, start_new_session=True)
        threading.Thread(target=self._watch_memory, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def status(self) -> Optional[int]:
        """Negative when a signal ended it; None while it runs. A SIGINT that comes before main() has its handler ends it as a shell says it: 130."""
        status = self._process.poll()
        return INTERRUPTED if status == -signal.SIGINT else status

    @property
    def out(self) -> str:
        return self.out_path.read_text(errors="replace")

    @property
    def err(self) -> str:
        return self.err_path.read_text(errors="replace")

    def events(self) -> list[dict[str, Any]]:
        """What --json said so far, an event a line; a last line that is still being written is left out."""
        lines = self.out.split("\n")
        return [json.loads(line) for line in lines[:-1] if line]

    def signal(self, number: signal.Signals) -> None:
        if self.is_running:
            self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and its children by the session that it leads, as a power cut would."""
        if self.is_running:
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(30)

    def interrupt(self, deadline_s: float = 30) -> int:
        self.signal(signal.SIGINT)
        return self.wait(deadline_s)

    def wait(self, deadline_s: float = 60) -> int:
        wait_until(lambda: not self.is_running, deadline_s, f"{self.label} ends; it says:\n{self.out[-2000:]}{self.err[-2000:]}")
        status = self.status
        assert status is not None
        return status

    def expect(self, status: int, deadline_s: float = 60) -> "Run":
        found = self.wait(deadline_s)
        assert found == status, f"{self.label} ended with {found} instead of {status}\n{self.out[-3000:]}{self.err[-3000:]}"
        return self

    def _watch_memory(self) -> None:
        path = Path(f"/proc/{self.pid}/status")
        while self.is_running:
            try:
                for line in path.read_text().splitlines():
                    if line.startswith("VmHWM:"):
                        self.peak_memory_mb = max(self.peak_memory_mb, int(line.split()[1]) / 1024)
            except OSError:
                return
            let_pass(0.05)


class Pgtide:
    """One pair and its state folder. `options` go to every `sync`."""

    def __init__(self, binary: Path, folder: Path, source: str, target: str, options: tuple[str, ...] = ()) -> None:
        self.binary = binary
        self.source = source
        self.target = target
        self.state_dir = folder / "state"
        self.options = options
        self.runs: list[Run] = []
        self.others: list[Run] = []
        self.environment: dict[str, str] = {}  # for every call
        self._folder = folder

    # Commands

    def start(self, *options: str, faults: str = "") -> Run:
        """`sync` in the background."""
        run = Run(self._argv("sync", *self.options, *options), self._environment(faults), self._folder, f"sync-{len(self.runs) + 1}")
        self.runs.append(run)
        return run

    def start_command(self, command: str, *options: str, faults: str = "") -> Run:
        """Another command that synchronizes, `resume`, in the background."""
        run = Run(self._argv(command, *options), self._environment(faults), self._folder, f"{command}-{len(self.runs) + 1}")
        self.runs.append(run)
        return run

    def begin(self, command: str, *options: str, faults: str = "") -> Run:
        """Any other command in the background."""
        run = Run(self._argv(command, *options), self._environment(faults), self._folder, f"{command}-{len(self.others) + 1}")
        self.others.append(run)
        return run

    def call(self, command: str, *options: str, deadline_s: float = 60, **environment: str) -> Done:
        """Any command in the foreground."""
        return self._done(self._argv(command, *options), " ".join([command, *options]), deadline_s, environment)

    def sync(self, *options: str, deadline_s: float = 120) -> Run:
        """Until caught up, to its successful end."""
        return self.start("--until", "caught-up", *options).expect(OK, deadline_s)

    def follow(self, *options: str, deadline_s: float = 90, faults: str = "") -> Run:
        """`sync` in the background, until it follows the source."""
        run = self.start(*options, faults=faults)
        self.wait_phase(FOLLOWING, deadline_s)
        return run

    def slots(self, action: str, uri: str, *options: str) -> Done:
        argv = [str(self.binary), "slots", action, uri, *options, "--state-dir", str(self.state_dir)]
        return self._done(argv, " ".join(["slots", action, *options]), 60, {})

    def status(self) -> dict[str, Any]:
        done = self.call("status", "--json")
        assert done.status == OK, done
        document: dict[str, Any] = json.loads(done.out)
        return document

    def caught_up(self, deadline_s: float = 90) -> None:
        """Everything committed on the source before the call is on the target."""
        done = self.call("wait", "--for", "caught-up", "--timeout", str(int(deadline_s)), deadline_s=deadline_s + 10)
        assert done.status == OK, f"{done}\n{self.last_words()}"

    def stop(self, *options: str, deadline_s: float = 90) -> Done:
        done = self.call("stop", *options, deadline_s=deadline_s)
        assert done.status == OK, f"{done}\n{self.last_words()}"
        return done

    def finish(self, deadline_s: float = 90) -> None:
        """The ordinary end of a test: caught up, stopped, and the running sync ended well."""
        self.caught_up(deadline_s)
        self.stop()
        self.run.expect(OK)

    # What is seen

    @property
    def run(self) -> Run:
        return self.runs[-1]

    def state(self) -> str:
        """"" while nobody can say."""
        done = self.call("status", "--json")
        return str(json.loads(done.out)["state"]) if done.status == OK else ""

    def phase(self) -> str:
        """Of the running sync, "" while it cannot say; fails when it has ended."""
        assert self.run.is_running, f"{self.run.label} ended with {self.run.status}\n{self.last_words()}"
        done = self.call("status", "--json")
        try:
            return str(json.loads(done.out)["phase"]) if done.status == OK else ""
        except (ValueError, KeyError):
            return ""

    def wait_phase(self, phase: str, deadline_s: float = 60) -> None:
        wait_until(lambda: self.phase() == phase, deadline_s, f"phase {phase}; the sync says:\n{self.last_words()}", every_s=0.1)

    def last_words(self) -> str:
        return f"{self.run.out[-2000:]}{self.run.err[-2000:]}" if self.runs else ""

    # Ours alone

    def _argv(self, command: str, *options: str) -> list[str]:
        return [str(self.binary), command, self.source, self.target, *options, "--state-dir", str(self.state_dir)]

    def _done(self, argv: list[str], name: str, deadline_s: float, environment: dict[str, str]) -> Done:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=deadline_s, stdin=subprocess.DEVNULL,
                              env=self._environment("") | environment, check=False)
        return Done(name, done.returncode, done.stdout, done.stderr)

    def _environment(self, faults: str) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "XDG_"))}
        environment |= {"NO_COLOR": "1"} | self.environment
        if faults:
            environment["PGTIDE_FAULT"] = faults
        return environment
