"""A headless Chromium on a pipe: the few commands of the DevTools protocol the checks need."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless",
    "--no-sandbox",  # a container's root has no user namespace to give
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-pipe",
)
PATIENCE_S = 60


@dataclass(slots=True)
class Tab:
    """One open page; `events` are all that the browser has told of it."""

    requests_fd: int
    answers_fd: int
    session: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    _sent: int = 0
    _unread: bytes = b""

    def call(self, method: str, **params: Any) -> Any:
        """Send one command and return its result; what else arrives meanwhile is an event."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.requests_fd, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._sent:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, path: Path) -> None:
        """Load a file and wait until the page is complete."""
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not self.happened("Page.loadEventFired"):
            self.events.append(self._read())

    def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def happened(self, *methods: str) -> list[dict[str, Any]]:
        """The parameters of all events of these kinds since the page was opened."""
        return [event["params"] for event in self.events if event.get("method") in methods]

    def _read(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while b"\0" not in self._unread:
            left = max(deadline - time.monotonic(), 0)
            assert select.select([self.answers_fd], [], [], left)[0], "Chromium does not answer"
            chunk = os.read(self.answers_fd, 1 << 16)
            assert chunk, "Chromium has gone"
            self._unread += chunk
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)


@contextlib.contextmanager
def chromium(executable: str, profile: Path) -> Iterator[Tab]:
    """A browser with a fresh profile and one empty tab; it is gone when the block ends."""
    with contextlib.ExitStack() as cleanup:
        command_in, command_out = os.pipe()
        answer_in, answer_out = os.pipe()
        for descriptor in (command_out, answer_in):
            cleanup.callback(os.close, descriptor)
        process = _started(executable, profile, command_in, answer_out)
        cleanup.callback(_stop, process)
        for descriptor in (command_in, answer_out):
            os.close(descriptor)
        yield _tab(Tab(requests_fd=command_out, answers_fd=answer_in))


def _started(executable: str, profile: Path, command: int, answer: int) -> subprocess.Popen[bytes]:
    # Chromium reads commands from descriptor 3 and answers on 4.
    renumbered = f'exec 3<&{command} 4>&{answer}; exec "$@"'
    return subprocess.Popen(
        [
            "/bin/bash",
            "-c",
            renumbered,
            "chromium",
            executable,
            *FLAGS,
            f"--user-data-dir={profile}",
        ],
        pass_fds=(command, answer),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _tab(tab: Tab) -> Tab:
    target = tab.call("Target.createTarget", url="about:blank")["targetId"]
    tab.session = tab.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Runtime", "Log", "Network"):
        tab.call(f"{domain}.enable")
    return tab


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
