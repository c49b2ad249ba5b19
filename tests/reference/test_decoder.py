"""The decoder computes what it should, whatever the batch, the cache and the number format."""

import os

os.environ.setdefault("TRITON_INTERPRET", "1")  # the kernels run on a CPU, in Python

import pytest

torch = pytest.importorskip("torch")

from perfgate.hardware import ModelGeometry, Simulation  # noqa: E402 - only with PyTorch
from perfgate.model import EngineSpec, Precision, ServingSpec  # noqa: E402
from perfgate.reference import attention  # noqa: E402
from perfgate.reference.decoder import Inputs  # noqa: E402
from perfgate.reference.linear import Linear, ScaledLinear  # noqa: E402
from perfgate.reference.load import load_decoder, load_engine  # noqa: E402
from perfgate.sim.steps import SimRequest  # noqa: E402

pytestmark = [
    pytest.mark.reference,
    # Triton's interpreter, not ours.
    pytest.mark.filterwarnings("ignore:Conversion of an array with ndim:DeprecationWarning"),
]

GEOMETRY = ModelGeometry(
    title="tiny",
    layers=2,
    hidden=64,
    heads=4,
    kv_heads=2,
    head_dim=16,
    ffn=96,
    vocab=128,
    source="made up",
)
FORMATS = [torch.float16, torch.float8_e4m3fn]


def spec(precision):
    """An engine of a few tokens."""
    return EngineSpec(
        model="tiny",
        precision=precision,
        max_batch_size=4,
        max_input_len=64,
        max_seq_len=96,
        max_num_tokens=128,
        tokens_per_block=8,
    )


def logits(decoder, tokens, *, past=0):
    """Logits after each of `tokens[past:]`, the others being cached already."""
    count = len(tokens) - past
    inputs = Inputs(
        ids=torch.tensor(tokens[past:], dtype=torch.int32),
        positions=torch.arange(past, len(tokens), dtype=torch.int32),
        sequences=torch.zeros(count, dtype=torch.int32),
        last=torch.arange(count, dtype=torch.int32),
        tables=torch.arange(12, dtype=torch.int32).flip(0)[None],
    )
    with torch.inference_mode():
        return decoder.logits(inputs).float()


def relative(got, right):
    """The size of the error over the size of what is right."""
    return float((got - right).norm() / right.norm())


def prompt(seed, length):
    """Random token ids."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(128, (length,), generator=generator).tolist()


@pytest.mark.parametrize("precision", list(Precision))
def test_a_token_at_a_time_is_the_whole_prompt_at_once(precision):
    """Decoding over the cache gives the logits of a run without one."""
    tokens = prompt(1, 40)
    whole = logits(load(precision), tokens)
    decoder = load(precision)

    stepped = [logits(decoder, tokens[: end + 1], past=end) for end in range(40)]

    assert relative(torch.cat(stepped), whole) < 0.01


def load(precision):
    """A decoder with an empty cache."""
    return load_decoder(GEOMETRY, spec(precision), pages=12, device="cpu", seed=1)


def test_fp8_stays_near_fp16():
    """e4m3 rounds by at most 1/16: the logits lie within a sixth, all of them finite."""
    right, got = (logits(load(precision), prompt(2, 48)) for precision in Precision)

    assert got.isfinite().all()
    assert 0 < relative(got, right) < 1 / 6


def test_a_scaled_product_is_the_product():
    """One FP8 product errs by its rounding, about 4 %, whatever the size of its operands."""
    generator = torch.Generator().manual_seed(3)
    weight = (torch.randn(48, 64, generator=generator) * 0.02).half()
    x = (torch.randn(16, 64, generator=generator) * 30).half()
    scaled = ScaledLinear(weight, x.abs().max().float())
    cast = (x.float() * scaled.inverse_scale).to(torch.float8_e4m3fn)

    assert relative(scaled(cast).float(), Linear(weight)(x).float()) < 0.06


@pytest.mark.parametrize("cached", FORMATS, ids=str)
def test_the_attention_kernel_equals_plain_pytorch(cached):
    """Both read the same pages of each sequence, up to the token itself."""
    kernels = pytest.importorskip("perfgate.reference.attention_kernel")
    torch.manual_seed(4)
    keys, values = (torch.randn(12, 32, 2, 32).half().to(cached) for _ in range(2))
    given = (
        torch.randn(5, 8, 32).half(),
        keys,
        values,
        torch.randperm(12).view(3, 4).to(torch.int32),
        torch.tensor([0, 1, 2, 2, 0], dtype=torch.int32),
        torch.tensor([0, 31, 100, 101, 70], dtype=torch.int32),
    )

    right = attention.paged_attention(*given).float()

    assert relative(kernels.paged_attention(*given).float(), right) < 1e-3


def test_the_storing_kernel_equals_plain_pytorch():
    """Queries come back turned; keys turned, and values as they are, lie in their slots."""
    kernels = pytest.importorskip("perfgate.reference.attention_kernel")
    torch.manual_seed(5)
    qkv, (cos, sin) = torch.randn(5, 12 * 32).half(), torch.rand(2, 128, 16)
    positions = torch.tensor([0, 31, 100, 101, 70], dtype=torch.int32)
    slots = torch.tensor([3, 40, 100, 7, 64])
    found = []
    for module in (attention, kernels):
        keys, values = torch.zeros(2, 4, 32, 2, 32).half()
        query = module.rotate_and_store(qkv, cos, sin, positions, slots, keys, values)
        found.append((query, keys, values))

    for plain, kernel in zip(*found, strict=True):
        assert plain.abs().sum() > 0
        assert torch.equal(plain, kernel)


@pytest.mark.parametrize("precision", list(Precision))
def test_a_request_is_answered_alike_alone_and_in_company(precision):
    """In-flight batching changes when a request is answered, not what it is told."""
    alone = {key: spoken(precision, [key])[key] for key in (1, 2, 3)}

    together = spoken(precision, [1, 2, 3])

    same = sum(a == b for key in alone for a, b in zip(alone[key], together[key], strict=True))
    # Sums in another order may round another way, and then a near tie falls the other way.
    assert same >= 0.9 * 3 * 12


def spoken(precision, keys):
    """What an engine says to the requests of `keys`, twelve tokens each."""
    said = {key: [] for key in keys}

    def emit(emissions):
        for emission in emissions:
            said[emission.request_id].extend(emission.tokens)

    engine, _ = load_engine(
        Simulation(model=GEOMETRY, parameters=None, reference_source="", reference=()),
        spec(precision),
        ServingSpec(kv_cache_tokens=512),
        vocab=100,
        device="cpu",
        seed=1,
        emit=emit,
    )
    for key in keys:
        request = SimRequest(id=key, prompt_tokens=9 + key, max_tokens=12)
        engine.submit(request, prompt(key, 9 + key))
    while engine.run_once():
        pass
    assert all(0 <= token < 100 for tokens in said.values() for token in tokens)
    return said
