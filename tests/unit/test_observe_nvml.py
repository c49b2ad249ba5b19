"""What NVML says, with and without a driver, and where a reading is missing."""

import inspect
from dataclasses import replace

import pynvml
import pytest

from perfgate.errors import MissingRequirementError, ServerError
from perfgate.observe.fake_nvml import FakeNvml, gb10, h100
from perfgate.observe.nvml import NvmlLibrary, open_nvml, slowdowns

pytestmark = pytest.mark.unit

FUNCTIONS = [name for name in vars(NvmlLibrary) if name.startswith("nvml")]


def read(gpu):
    """What the one GPU of a machine is doing."""
    with open_nvml(FakeNvml(gpus=[gpu])) as nvml:
        return nvml.read(0)


def test_a_gpu_is_described_in_plain_units():
    """Watts, MHz, bytes and a dotted capability, whatever NVML counts in."""
    with open_nvml(FakeNvml(gpus=[h100()], driver="580.95.05", cuda=13010)) as nvml:
        (gpu,) = nvml.gpus()

    assert gpu.name == "NVIDIA H100 80GB HBM3"
    assert gpu.compute_capability == "9.0"
    assert (gpu.driver, gpu.cuda) == ("580.95.05", "13.1")
    assert gpu.power_limit_w == 700.0
    assert gpu.memory_bytes == 85_520_809_984
    assert gpu.persistence_mode is True


def test_what_a_gpu_does_is_read():
    """Utilisation is a share, power is in watts, the processes are those that compute."""
    gpu = replace(h100(), pids=(7, 3))

    reading = read(gpu)

    assert reading.utilization == 0.99
    assert reading.sm_clock_mhz == 1980
    assert reading.power_w == 412.0
    assert reading.temperature_c == 54
    assert reading.pids == (3, 7)


def test_what_a_gb10_does_not_report_is_none():
    """Missing memory and power limit are no error; what a GB10 has is read beside them."""
    with open_nvml(FakeNvml(gpus=[gb10()])) as nvml:
        (gpu,) = nvml.gpus()
        reading = nvml.read(0)

    assert gpu.memory_bytes is None
    assert gpu.power_limit_w is None
    assert gpu.sm_clock_max_mhz == 3003
    assert reading.utilization == 0.96
    assert reading.power_w == 38.5


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("utilization_percent", "utilization"),
        ("sm_clock_mhz", "sm_clock_mhz"),
        ("power_mw", "power_w"),
        ("temperature_c", "temperature_c"),
        ("event_reasons", "slowdowns"),
        ("pids", "pids"),
    ],
)
def test_each_reading_may_be_missing_alone(field, name):
    """One unsupported reading is None and takes no other with it."""
    reading = read(replace(h100(), **{field: None}))
    whole = read(h100())

    assert getattr(reading, name) is None
    assert replace(reading, **{name: getattr(whole, name)}) == whole


def test_faults_are_told_from_ordinary_clock_events():
    """Heat, power brake and hardware slowdown are faults; idling and a power cap are not."""
    ordinary = pynvml.nvmlClocksEventReasonGpuIdle | pynvml.nvmlClocksEventReasonSwPowerCap
    faults = pynvml.nvmlClocksEventReasonHwThermalSlowdown | pynvml.nvmlClocksEventReasonHwSlowdown

    assert slowdowns(ordinary) == ()
    assert slowdowns(ordinary | faults) == ("hardware slowdown", "hardware thermal slowdown")
    assert slowdowns(pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown) == ("power brake",)
    assert slowdowns(pynvml.nvmlClocksEventReasonSwThermalSlowdown) == (
        "software thermal slowdown",
    )


def test_no_driver_says_so():
    """A machine without a driver lacks something; it is not broken."""
    with pytest.raises(MissingRequirementError, match="no NVIDIA driver answers here"):  # noqa: SIM117
        with open_nvml(FakeNvml()):
            pass


def test_the_real_library_says_so_too():
    """Where no driver is installed, NVIDIA's own library leads to the same message."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        with pytest.raises(MissingRequirementError, match="NVML: "):  # noqa: SIM117
            with open_nvml():
                pass
    else:
        pynvml.nvmlShutdown()
        with open_nvml() as nvml:
            assert nvml.gpus()


def test_a_lost_gpu_is_an_error():
    """A GPU that fell off the bus is no missing reading."""
    with pytest.raises(ServerError, match="GPU is lost"):
        read(replace(h100(), lost=True))


def test_nvml_is_shut_down_whatever_happens():
    """Each initialisation is paired, also when the reading fails."""
    library = FakeNvml(gpus=[replace(h100(), lost=True)])

    with pytest.raises(ServerError), open_nvml(library) as nvml:
        nvml.read(0)

    assert library.opened == 0


def test_processes_have_names_where_they_are_known():
    """A process of another user or container may have none."""
    library = FakeNvml(gpus=[replace(h100(), pids=(7, 8))], process_names={7: "tritonserver"})
    with open_nvml(library) as nvml:
        processes = nvml.processes(0)

    assert [(one.pid, one.name) for one in processes] == [(7, "tritonserver"), (8, None)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_fake_has_the_library_s_own_functions(name):
    """Every function perfgate calls exists in NVIDIA's module and takes the fake's arguments."""
    real = inspect.signature(getattr(pynvml, name)).parameters
    fake = list(inspect.signature(getattr(FakeNvml, name)).parameters)[1:]
    needed = [key for key, one in real.items() if one.default is inspect.Parameter.empty]

    # A decorated function of the library takes *args and names none.
    assert needed[: len(fake)] == fake or "args" in real
