"""The console command `perfgate profile`: capture a server's phases, or compare two captures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from perfgate import codec
from perfgate.errors import UsageError
from perfgate.observe.kernel_text import capture_text, comparison_text
from perfgate.observe.kernels import Capture, KernelChange, Phase, compare
from perfgate.observe.nsys import Nsys, ServerKind, find_nsys
from perfgate.profiling import load_capture, profile
from perfgate.setting import settle
from perfgate.targets import AUTO

_EXAMPLE = "Example: perfgate profile --point fp8-b192-c160 --output profile"


def register(app: typer.Typer) -> None:
    """Add the command to the console script."""
    app.command(name="profile", epilog=_EXAMPLE)(profile_command)


def profile_command(
    *,
    point: Annotated[str | None, typer.Option("--point", help="The point to profile.")] = None,
    target: Annotated[str, typer.Option("--target", help="trt-engine, llmapi or auto.")] = AUTO,
    phase: Annotated[
        list[Phase] | None, typer.Option("--phase", help="Only this phase (default: both).")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", help="Folder for the reports and profile.json.")
    ] = Path("profile"),
    against: Annotated[
        Path | None, typer.Option("--against", help="Compare with this earlier --output folder.")
    ] = None,
    diff: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--diff", help="Profile nothing: compare two --output folders."),
    ] = None,
    trtllm_serve: Annotated[
        str | None,
        typer.Option("--trtllm-serve", help="Print how to profile trtllm-serve of this model."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")] = False,
) -> None:
    """Profile the server with nsys, prefill and decode apart; such a run is never judged."""
    if sum(one is not None for one in (point, diff, trtllm_serve)) != 1:
        raise UsageError("profile", point, "name one of --point, --diff and --trtllm-serve")
    if trtllm_serve is not None:
        typer.echo(codec.to_pretty_json(_trtllm_serve(trtllm_serve, output)), nl=False)
    elif diff is not None:
        before, after = map(load_capture, diff)
        _show(None, compare(before, after), json=json)
    else:
        earlier = load_capture(against) if against else None  # before minutes are spent
        capture = _profile(str(point), target, tuple(phase or Phase), output)
        _show(capture, compare(earlier, capture) if earlier else None, json=json)


class _Lines:
    """Tells on standard error what is being done."""

    def begin(self, what: str) -> None:
        """Tell that a step has begun."""
        print(f"{what} ...", file=sys.stderr, flush=True)  # noqa: T201 - progress for whoever waits

    def advance(self, done: int, total: int) -> None:
        """Too often to be a line each."""

    def end(self) -> None:
        """The next step's line says it."""


def _profile(point: str, target: str, phases: tuple[Phase, ...], output: Path) -> Capture:
    find_nsys()
    setting = settle(
        Path.cwd(), target=target, url=None, require_hardware=target == AUTO, artifacts=output
    )
    return profile(setting, setting.suite.point(point), phases, output=output, observer=_Lines())


def _show(capture: Capture | None, changes: tuple[KernelChange, ...] | None, *, json: bool) -> None:
    if json:
        found = {"capture": capture, "changes": changes}
        typer.echo(codec.to_pretty_json(found), nl=False)
        return
    texts = [capture_text(capture)] if capture else []
    texts += [comparison_text(changes)] if changes is not None else []
    typer.echo("\n".join(texts), nl=False)


def _trtllm_serve(model: str, output: Path) -> dict[str, tuple[str, ...]]:
    nsys, report = Nsys(program="nsys", session="trtllm-serve"), output / "decode.nsys-rep"
    return {
        "1 serve": (*nsys.launch(ServerKind.TRTLLM_SERVE), "trtllm-serve", model),
        "2 once load is running": nsys.start(report),
        "3 while it still is": nsys.stop(),
        "4 read": nsys.statistics(report),
        "5 end": nsys.shutdown(),
    }
