"""The suite's files under review: points.toml and policy.toml, read into values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from perfgate import codec
from perfgate.errors import UsageError
from perfgate.model import (
    Claim,
    Comparison,
    EngineSpec,
    LoadPlacement,
    Objective,
    OperatingPoint,
    Policy,
    Protocol,
    Sampling,
    ServingSpec,
)
from perfgate.workload_form import WorkloadForm, merge_lengths, workload_of

T = TypeVar("T")
N = TypeVar("N", OperatingPoint, Comparison)

POINTS_FILE = "points.toml"
POLICY_FILE = "policy.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """What is measured, from where load is sent, and by which rules it is judged.

    `on_request` names the points that take too long for the default run.
    """

    root: Path
    points: tuple[OperatingPoint, ...]
    on_request: frozenset[str]
    comparisons: tuple[Comparison, ...]
    policy: Policy
    load: LoadPlacement = LoadPlacement()  # noqa: RUF009 - frozen

    def point(self, point_id: str) -> OperatingPoint:
        """The point of that name; UsageError listing the known ones if there is none."""
        return _named("point", self.points, point_id)

    def comparison(self, comparison_id: str) -> Comparison:
        """The question of that name; UsageError listing the known ones if there is none."""
        return _named("comparison", self.comparisons, comparison_id)

    def on(self, hardware: str) -> Suite:
        """The suite as it is run on `hardware`: no point claims what other hardware reaches."""
        points = (replace(point, claim=point.claim_on(hardware)) for point in self.points)
        return replace(self, points=tuple(points))

    @property
    def default_points(self) -> tuple[OperatingPoint, ...]:
        """The points of the default run, in file order."""
        return tuple(point for point in self.points if point.id not in self.on_request)


def find_root(start: Path) -> Path:
    """The nearest folder from `start` upwards that holds points.toml."""
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / POINTS_FILE).is_file():
            return folder
    rule = f"neither it nor a folder above it holds {POINTS_FILE}; run perfgate inside a suite"
    raise UsageError("folder", str(start), rule)


def load_suite(root: Path, *, judged_by: Policy | None = None) -> Suite:
    """Read and check both files; UsageError names file, field, value and rule.

    With `judged_by` the suite is only served: its own policy and claims, maybe of an older form,
    are not read.
    """
    origin = str(root / POINTS_FILE)
    form = codec.from_toml(root / POINTS_FILE, _PointsForm)
    engines = {
        name: _merged(EngineSpec, form.engine_defaults, table, f"{origin}: engines.{name}")
        for name, table in form.engines.items()
    }
    rows = [
        codec.from_table(
            merge_lengths(
                form.point_defaults, table if judged_by is None else {**table, "claim": None}
            ),
            _PointRow,
            origin=f"{origin}: points[{index}]",
        )
        for index, table in enumerate(form.points)
    ]
    points = tuple(_point(row, form, engines, root) for row in rows)
    _require_unique("points", [point.id for point in points], origin)
    _require_unique("comparisons", [row.id for row in form.comparisons], origin)
    comparisons = tuple(_comparison(row, points, origin) for row in form.comparisons)
    return Suite(
        root=root,
        points=points,
        on_request=frozenset(row.id for row in rows if row.on_request),
        comparisons=comparisons,
        policy=judged_by or codec.from_toml(root / POLICY_FILE, Policy),
        load=codec.from_table(form.load, LoadPlacement, origin=f"{origin}: load"),
    )


class _PointRow(WorkloadForm, frozen=True, kw_only=True):
    id: str
    engine: str
    rounds: int
    round_requests: int
    ramp: int = 1
    round_seconds: float | None = None
    half_width: float | None = None
    max_rounds: int | None = None
    on_request: bool = False
    gated: bool = True
    protocol: Protocol = Protocol.GRPC
    claim: Claim | None = None
    objective: Objective | None = None
    serving: dict[str, Any] = msgspec.field(default_factory=dict)


class _PointsForm(msgspec.Struct, frozen=True, kw_only=True):
    seed: int
    engine_defaults: dict[str, Any] = {}
    serving_defaults: dict[str, Any] = {}
    engines: dict[str, dict[str, Any]]
    point_defaults: dict[str, Any] = {}
    points: list[dict[str, Any]]
    comparisons: list[Comparison] = []
    load: dict[str, Any] = {}


def _point(
    row: _PointRow, form: _PointsForm, engines: dict[str, EngineSpec], root: Path
) -> OperatingPoint:
    where = f"{root / POINTS_FILE}: point {row.id}"
    if row.engine not in engines:
        raise UsageError(f"{where}: engine", row.engine, f"[engines] knows {', '.join(engines)}")
    try:
        return OperatingPoint(
            id=row.id,
            engine=engines[row.engine],
            serving=_merged(ServingSpec, form.serving_defaults, row.serving, where),
            workload=workload_of(row, seed=form.seed, root=root),
            sampling=Sampling(
                rounds=row.rounds,
                round_requests=row.round_requests,
                ramp=row.ramp,
                round_seconds=row.round_seconds,
                half_width=row.half_width,
                max_rounds=row.max_rounds,
            ),
            claim=row.claim,
            objective=row.objective,
            gated=row.gated,
            protocol=row.protocol,
        )
    except UsageError as error:
        raise UsageError(f"{where}: {error.field}", error.value, error.rule) from error


def _comparison(row: Comparison, points: tuple[OperatingPoint, ...], origin: str) -> Comparison:
    known = {point.id for point in points}
    for name in (row.point, row.against):
        if name not in known:
            raise UsageError(f"{origin}: comparison {row.id}", name, "it must name a point")
    return row


def _named(field: str, known: tuple[N, ...], name: str) -> N:
    for one in known:
        if one.id == name:
            return one
    names = ", ".join(one.id for one in known)
    raise UsageError(field, name, f"it must be one of {names}")


def _merged(kind: type[T], defaults: dict[str, Any], table: dict[str, Any], origin: str) -> T:
    return codec.from_table({**defaults, **table}, kind, origin=origin)


def _require_unique(field: str, names: list[str], origin: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{origin}: {field}", name, "each id may stand once")
