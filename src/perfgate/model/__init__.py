"""The glossary: every noun of perfgate, in the order in which a measurement flows.

    EngineSpec --build--> Engine --serve--> Server
    Workload + Server --run--> LoadRun --measure--> Measurement
    Measurement + Baseline + Policy --judge--> Judgement --render--> Report

All are frozen values. Times inside records are integer nanoseconds of the monotonic clock
(`time.perf_counter_ns`); derived quantities are floats in the unit that ends the field's name.
"""

from __future__ import annotations

from perfgate.model.baseline import (
    Baseline,
    Cell,
    Lowering,
    Ratchet,
    RunSample,
)
from perfgate.model.engine import (
    Engine,
    Server,
)
from perfgate.model.measurement import (
    Attribution,
    Distribution,
    Goodput,
    Measurement,
    PartMeasurement,
    Phase,
    ResourceUse,
    Veto,
)
from perfgate.model.policy import (
    MOST_PRIMARY,
    Limits,
    PairedPolicy,
    Policy,
)
from perfgate.model.record import (
    ClientAudit,
    Fingerprint,
    GpuSample,
    LoadRun,
    RequestRecord,
    RequestStatus,
    ServerSample,
    ServerTimings,
    Telemetry,
    differing,
)
from perfgate.model.spec import (
    SIMULATED_SUFFIX,
    BatchingStrategy,
    Claim,
    Comparison,
    ComparisonKind,
    EngineSpec,
    LoadPlacement,
    Objective,
    OperatingPoint,
    Precision,
    Protocol,
    Sampling,
    SchedulerPolicy,
    ServingSpec,
    Target,
)
from perfgate.model.verdict import (
    Finding,
    Judgement,
    RunInfo,
    Verdict,
)
from perfgate.model.workload import (
    ArrivalProcess,
    Arrivals,
    Length,
    LengthClass,
    LengthLaw,
    Sessions,
    SharedPrefix,
    Trace,
    Workload,
)

__all__ = [
    "MOST_PRIMARY",
    "SIMULATED_SUFFIX",
    "ArrivalProcess",
    "Arrivals",
    "Attribution",
    "Baseline",
    "BatchingStrategy",
    "Cell",
    "Claim",
    "ClientAudit",
    "Comparison",
    "ComparisonKind",
    "Distribution",
    "Engine",
    "EngineSpec",
    "Finding",
    "Fingerprint",
    "Goodput",
    "GpuSample",
    "Judgement",
    "Length",
    "LengthClass",
    "LengthLaw",
    "Limits",
    "LoadPlacement",
    "LoadRun",
    "Lowering",
    "Measurement",
    "Objective",
    "OperatingPoint",
    "PairedPolicy",
    "PartMeasurement",
    "Phase",
    "Policy",
    "Precision",
    "Protocol",
    "Ratchet",
    "RequestRecord",
    "RequestStatus",
    "ResourceUse",
    "RunInfo",
    "RunSample",
    "Sampling",
    "SchedulerPolicy",
    "Server",
    "ServerSample",
    "ServerTimings",
    "ServingSpec",
    "Sessions",
    "SharedPrefix",
    "Target",
    "Telemetry",
    "Trace",
    "Verdict",
    "Veto",
    "Workload",
    "differing",
]
