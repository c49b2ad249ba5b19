"""nsys' kernel summary: read as it is printed, sorted into kinds, compared like with like."""

from dataclasses import replace

import pytest

from perfgate.errors import RecordsError, UsageError
from perfgate.model import Workload
from perfgate.observe.kernel_text import capture_text, comparison_text
from perfgate.observe.kernels import (
    Capture,
    Kernel,
    KernelKind,
    Phase,
    PhaseCapture,
    compare,
    kind_of,
    parse_kernel_summary,
    shares,
)

pytestmark = pytest.mark.unit

SUMMARY = """
Generating SQLite file decode.sqlite from decode.nsys-rep
Processing [decode.sqlite] with [cuda_gpu_kern_sum.py]...

 ** CUDA GPU Kernel Summary (cuda_gpu_kern_sum):

Time (%),Total Time (ns),Instances,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Name
60.0,600000,300,2000.0,2000.0,1900,2100,10.0,nvjet_sm121_qqtst_128x64_h_bz_TNT
15.0,150000,100,1500.0,1500.0,1400,1600,10.0,"void kernel_mha<float, (int)128>(Params)"
25.0,250000,100,2500.0,2500.0,2400,2600,10.0,"void cutlass::Kernel2<cutlass_80_gemm, 2>(T1::Params)"
"""
LOAD = Workload(concurrency=16, isl=16, osl=512)


def a_capture(*kernels, phase=Phase.DECODE, requests=10, load=LOAD):
    """A capture of one phase."""
    return Capture(
        point="fp8-b16-c16",
        target="trt-engine",
        engine="ab12",
        started_at="2026-01-02T03:04:05+00:00",
        identity={},
        phases=(
            PhaseCapture(phase=phase, workload=load, requests=requests, kernels=tuple(kernels)),
        ),
    )


def a_kernel(name, total_ns, instances=10):
    """All launches of one kernel."""
    return Kernel(name=name, total_ns=total_ns, instances=instances)


def test_what_precedes_the_header_is_skipped():
    """Export progress and titles are no rows; names may hold commas; the costliest comes first."""
    kernels = parse_kernel_summary(SUMMARY, origin="decode.nsys-rep")

    assert [kernel.total_ns for kernel in kernels] == [600_000, 250_000, 150_000]
    assert kernels[0] == a_kernel("nvjet_sm121_qqtst_128x64_h_bz_TNT", 600_000, 300)
    assert kernels[2].name == "void kernel_mha<float, (int)128>(Params)"


def test_a_capture_without_kernels_says_so():
    """A sentence stands instead of a table: nothing computed on the GPU meanwhile."""
    text = "SKIPPED: decode.sqlite does not contain CUDA kernel data.\n"

    with pytest.raises(RecordsError, match=r"decode\.nsys-rep: no CUDA kernel was captured"):
        parse_kernel_summary(text, origin="decode.nsys-rep")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Time (%),Total Time (ns),Num Calls,Name\n1,2,3,x\n", "lacks Instances"),
        ("Time (%),Total Time (ns),Instances,Name\n1,many,3,x\n", "not a row"),
    ],
)
def test_another_table_is_refused(text, message):
    """A table of another report, or a number that is none, is never guessed at."""
    with pytest.raises(RecordsError, match=message):
        parse_kernel_summary(text, origin="x")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nvjet_sm121_qqtst_128x64_h_bz_TNT", KernelKind.GEMM),
        ("ampere_fp16_s16816gemm_fp16_128x128_ldg8_f2f_stages_32x5_tn", KernelKind.GEMM),
        ("void cutlass::device_kernel<cutlass::gemm::kernel::GemmUniversal<...>>", KernelKind.GEMM),
        ("void cublasLt::splitKreduce_kernel<32, 16, int, float>", KernelKind.GEMM),
        ("void tensorrt_llm::kernels::cudaCoreGemm<__nv_fp8_e4m3>", KernelKind.GEMM),
        ("fmha_v2_flash_attention_fp16_64_128_S_q_paged_kv_128_sm120", KernelKind.ATTENTION),
        ("void tensorrt_llm::kernels::mmha::masked_multihead_attention", KernelKind.ATTENTION),
        ("void kernel_mha<false>", KernelKind.ATTENTION),
        ("void cutlass::device_kernel<flash::FlashAttnFwdSm90<...>>", KernelKind.ATTENTION),
        ("void flashinfer::BatchDecodeWithPagedKVCacheKernel<1>", KernelKind.ATTENTION),
        ("void applyBiasRopeUpdateKVCacheV2<__half>", KernelKind.ATTENTION),
        ("void tensorrt_llm::kernels::generalRmsNorm<__half>", KernelKind.OTHER),
        ("void at::native::elementwise_kernel<PropertyFunctor>", KernelKind.OTHER),
        ("void tensorrt_llm::kernels::quantizedKernel<__nv_fp8_e4m3>", KernelKind.OTHER),
    ],
)
def test_kernels_are_sorted_by_their_names(name, kind):
    """Attention built of matrix products is attention; what is neither is other."""
    assert kind_of(name) is kind


def test_shares_are_of_the_phase_s_gpu_time():
    """All kinds are there, and they make up the whole."""
    capture = a_capture(a_kernel("nvjet_a", 600), a_kernel("kernel_mha", 150), a_kernel("x", 250))

    found = shares(capture.phases[0])

    assert found == {KernelKind.GEMM: 0.6, KernelKind.ATTENTION: 0.15, KernelKind.OTHER: 0.25}


def test_captures_are_compared_by_time_per_request():
    """Twice the requests at twice the time is no change; a new and a lost kernel are."""
    before = a_capture(a_kernel("same", 100), a_kernel("gone", 50))
    after = a_capture(a_kernel("same", 200), a_kernel("new", 200), requests=20)

    changes = {change.name: change for change in compare(before, after)}

    assert changes["same"].change_ns == 0
    assert (changes["gone"].before_ns, changes["gone"].after_ns) == (5, 0)
    assert (changes["new"].before_ns, changes["new"].after_ns) == (0, 10)
    assert next(iter(changes)) == "new"


def test_kernels_of_one_name_are_added():
    """One short name may be listed twice, for two template instances."""
    before = a_capture(a_kernel("a", 100))
    after = a_capture(a_kernel("a", 60), a_kernel("a", 60))

    assert compare(before, after)[0].change_ns == pytest.approx(2)


def test_captures_of_unlike_loads_are_not_compared():
    """Another shape of load, or no phase in common, is refused."""
    before = a_capture(a_kernel("a", 1))

    with pytest.raises(UsageError, match="compare like with like"):
        compare(before, a_capture(a_kernel("a", 1), load=replace(LOAD, osl=256)))
    with pytest.raises(UsageError, match="no phase"):
        compare(before, a_capture(a_kernel("a", 1), phase=Phase.PREFILL))


def test_the_text_names_shares_and_top_kernels():
    """The phase, its load, the shares and each kernel's time are there; it says: never judged."""
    capture = a_capture(a_kernel("nvjet_a", 3_000_000, 300), a_kernel("kernel_mha", 1_000_000, 100))

    text = capture_text(capture)

    assert "never judged" in text
    assert "decode: 10 requests of 16 input and 512 output tokens at concurrency 16" in text
    assert "GPU time 4.0 ms: GEMM 75.0%, attention 25.0%, other 0.0%" in text
    assert "300 x     10.0 µs  GEMM       nvjet_a" in text


def test_the_comparison_tells_the_largest_change_first():
    """Before, after and the sum of all changes stand in microseconds a request."""
    before = a_capture(a_kernel("a", 100_000), a_kernel("b", 100_000))
    after = a_capture(a_kernel("a", 110_000), a_kernel("b", 300_000))

    lines = comparison_text(compare(before, after)).splitlines()

    assert lines[1].split() == ["decode", "+20.0", "µs", "10.0", "->", "30.0", "other", "b"]
    assert lines[-1].strip() == "all kernels +21.0 µs"
