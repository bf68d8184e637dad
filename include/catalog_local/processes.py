"""The deployment's processes: each in a session of its own, known by a file, and stopped without leaving children.

Airflow's processes end cleanly on SIGTERM to their leader, within 3 to 9 s when measured; what is left of a process's
group is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from catalog_local.errors import LocalError
from catalog_local.state import State

#: Seconds between SIGTERM and SIGKILL.
PATIENCE = 20.0


@dataclass(frozen=True)
class Processes:
    """The processes of one deployment.

    :param state: where their files and logs lie.
    """

    state: State

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str], fingerprint: str) -> None:
        """Start a process in a session of its own; what it prints goes to its log.

        :param fingerprint: of what it was started with; see ``runs``.
        """
        log = self.log(name)
        if log.exists():
            log.replace(log.with_suffix(".old.log"))
        with log.open("wb") as output:
            started = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=self.state.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        known = {"pid": started.pid, "created": psutil.Process(started.pid).create_time(), "fingerprint": fingerprint}
        self._file(name).write_text(json.dumps(known), encoding="utf-8")

    def pid(self, name: str) -> int | None:
        """Return the process's id while it lives."""
        process = self._process(name)
        return process.pid if process else None

    def runs(self, name: str, fingerprint: str | None = None) -> bool:
        """Tell whether the process lives, and (where given) was started with that fingerprint."""
        same = fingerprint is None or self._known(name).get("fingerprint") == fingerprint
        return same and self._process(name) is not None

    def names(self) -> list[str]:
        """Return the names of the processes that were started and not stopped, dead ones included."""
        return sorted(path.stem for path in self.state.processes.glob("*.json"))

    def stop(self, names: Iterable[str] | None = None, patience: float = PATIENCE) -> list[str]:
        """Stop the processes (all, when no names are given) and all their children; return those that lived."""
        chosen = self.names() if names is None else [name for name in names if self._file(name).exists()]
        living = {name: process for name in chosen if (process := self._process(name))}
        for process in living.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        psutil.wait_procs(list(living.values()), timeout=patience)
        for process in living.values():
            # The session's leader gave its id to the group, which lasts as long as a member does.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        psutil.wait_procs(list(living.values()), timeout=5)
        for name in chosen:
            self._file(name).unlink(missing_ok=True)
        return sorted(living)

    def require(self, names: Iterable[str]) -> None:
        """Raise when one of the processes has died.

        :raises LocalError: names it, with the end of its log.
        """
        for name in names:
            if not self.runs(name):
                raise LocalError(f"the {name} has died. {self.tail(name)}")

    def wait(self, name: str, ready: Callable[[], bool], patience: float, pause: Callable[[float], None]) -> None:
        """Wait until ``ready`` says so.

        :raises LocalError: the process died, or was not ready in ``patience`` seconds; with the end of its log.
        """
        step = 0.25
        for _ in range(int(patience / step)):
            if ready():
                return
            self.require([name])
            pause(step)
        raise LocalError(f"the {name} did not get ready in {patience:.0f} s. {self.tail(name)}")

    def log(self, name: str) -> Path:
        """Return where the process's output goes."""
        return self.state.logs / f"{name}.log"

    def tail(self, name: str, lines: int = 15) -> str:
        """Return the end of the process's log, with its path, for an error text."""
        path = self.log(name)
        try:
            last = path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
        except OSError:
            last = []
        return "\n".join([f"The end of {path}:", *(f"  {line}" for line in last or ["(nothing)"])])

    def _file(self, name: str) -> Path:
        return self.state.processes / f"{name}.json"

    def _known(self, name: str) -> dict[str, object]:
        try:
            known = json.loads(self._file(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def _process(self, name: str) -> psutil.Process | None:
        """Return the living process; an id that the system has given to another one since is not it."""
        known = self._known(name)
        try:
            process = psutil.Process(int(str(known["pid"])))
            if process.create_time() == known["created"] and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except (KeyError, ValueError, psutil.Error):
            pass
        return None
