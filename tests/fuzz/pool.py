"""One worker under limits: killed when it hangs, started again when it has died."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

#: More address space than this beside the loaded libraries is refused by the system (MB).
LIMIT_MB = 1024
#: A file that takes longer is a hang; processor time, so that a busy machine does not count (s).
LIMIT_S = 5.0
#: After this the worker is killed whatever it does (s).
_KILL_S = 60.0
_ROOT = Path(__file__).parents[2]


class Worker:
    """The reader as a process, with the good series read beforehand."""

    def __init__(self, originals: Path, limit_mb: int = LIMIT_MB) -> None:
        self._originals, self._limit_mb = originals, limit_mb
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The worker's answer; kinds ``hung`` and ``died`` when there is none."""
        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], _KILL_S)
        line = process.stdout.readline() if ready else ""
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._stop()
        code = process.returncode
        kind = "died" if ready else "hung"
        return {"kind": kind, "text": f"exit code {code}", "cpu_s": _KILL_S, "peak_mb": 0.0}

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, "-m", "tests.fuzz.worker", str(self._limit_mb), str(self._originals)]
            self._process = subprocess.Popen(
                command,
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            assert self._process.stdout is not None
            if self._process.stdout.readline().strip() != "ready":
                raise RuntimeError("the reader cannot read the good series: no fuzzing without a reference")
        return self._process

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
            self._process = None
