"""The report on a step for a GPU, the search for the largest batch, XLA's plan of the memory."""

import re

import numpy as np
import pytest

from faceshifter_jax.devices.compile import CompiledStep, Memory, StepCosts
from faceshifter_jax.devices.device import parse_device
from faceshifter_jax.devices.hlo import Program, memory_traffic
from faceshifter_jax.devices.largest_batch import find_largest_batch
from faceshifter_jax.devices.plan import read_plan
from faceshifter_jax.devices.report import as_record, describe, fits

GIB = 2**30
L4 = parse_device("l4")


def made_step(needed: int, **fields) -> CompiledStep:
    memory = Memory(needed - GIB, GIB, GIB, GIB, 0, needed)
    costs = StepCosts(memory, 12.1e12, 60e9)
    return CompiledStep((), 1.0, 2.0, costs, needed, None, **fields)


@pytest.fixture(autouse=True)
def no_share_of_the_users(monkeypatch):
    monkeypatch.delenv("XLA_CLIENT_MEM_FRACTION", raising=False)
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)


def test_a_step_that_fits_is_bound_by_the_slower_of_arithmetic_and_memory():
    step = made_step(8 * GIB, parts={"parameters": 3 * GIB, "batch": GIB})
    text = "\n".join(describe(step, L4, 20))
    assert re.search(r"parameters +3\.00 GiB\n +batch +1\.00 GiB", text)
    # 12.1 TFLOP at 121 TFLOP/s, 60 GB at 300 GB/s.
    assert "100.0 ms of arithmetic at 121 TFLOP/s and 200.0 ms of memory traffic at 300" in text
    assert "at most 100 pictures/s on 1 GPU (published figures: https://www.nvidia.com" in text
    assert "not counted: the workspaces" in text
    assert (
        "the step fits: it needs 8.00 GiB of 16.54 GiB (48 %), the 75 % of a card that JAX" in text
    )
    record = as_record(step, L4, 20)
    assert (record["compute_seconds"], record["memory_seconds"]) == pytest.approx((0.1, 0.2))
    assert record["pictures_per_second"] == pytest.approx(100)


def test_float32_runs_at_the_rate_of_tf32():
    text = "\n".join(describe(made_step(GIB, compute_dtype="float32"), L4, 20))
    assert "201.7 ms of arithmetic at 60 TFLOP/s" in text


def test_what_does_not_fit_is_told_by_how_much_and_what_helps():
    text = "\n".join(describe(made_step(18 * GIB), L4, 20, ["--config.remat=aad"]))
    assert "needs at least 18.00 GiB of 16.54 GiB (109 %), 1.46 GiB more than" in text
    assert "XLA_CLIENT_MEM_FRACTION=0.83 in the environment, fewer pictures a GPU or --conf" in text
    too_large = "\n".join(describe(made_step(22 * GIB), L4, 20, ["--config.remat=aad"]))
    assert too_large.endswith("take fewer pictures a GPU or --config.remat=aad")


def test_the_share_in_the_environment_counts(monkeypatch):
    step = made_step(18 * GIB)
    assert not fits(step, L4.chip)
    monkeypatch.setenv("XLA_CLIENT_MEM_FRACTION", "0.83")
    assert fits(step, L4.chip)


MEMORIES = {
    "line": lambda batch: 3 * GIB + batch * GIB // 7,
    "steps": lambda batch: 3 * GIB + (batch // 8) * GIB,
    "steeper": lambda batch: GIB + batch**2 * GIB // 5000,
    "flatter": lambda batch: GIB + int(batch**0.5 * GIB),
    "all at once": lambda batch: GIB if batch < 333 else 30 * GIB,
    "nothing fits": lambda batch: 20 * GIB + batch,
    "everything fits": lambda batch: GIB + batch,
}


@pytest.mark.parametrize("says_how_much", [True, False])
@pytest.mark.parametrize("name", MEMORIES)
def test_the_largest_batch_is_the_one_of_trying_each(name, says_how_much):
    random = np.random.default_rng(0)
    for _ in range(20):
        unit, limit = int(random.integers(1, 9)), int(random.integers(500, 2000))
        start = int(random.integers(1, limit))
        tried = []

        def compile_batch(batch, tried=tried, unit=unit):
            assert batch % unit == 0
            assert batch not in tried
            tried.append(batch)
            step = made_step(MEMORIES[name](batch))
            if not says_how_much and not fits(step, L4.chip):
                return CompiledStep((), 1.0, 2.0, None, 17 * GIB, None)
            return step

        best, step = find_largest_batch(compile_batch, L4.chip, start, unit, limit)
        batches = range(unit, limit + 1, unit)
        fitting = [batch for batch in batches if MEMORIES[name](batch) <= L4.chip.usable_bytes]
        assert best == (fitting[-1] if fitting else 0)
        assert (step.costs is not None and fits(step, L4.chip)) == bool(best)
        assert len(tried) <= 8 + np.ceil(np.log2(limit))
        if name == "line" and says_how_much and min(start, best) > 10 * unit:
            assert len(tried) <= 6


def test_memory_of_a_plan_is_added_up_by_what_it_is_for():
    plan = """BufferAssignment:
allocation 0: size 600, parameter 3, shape |f32[150]| at ShapeIndex {}:
 value: <1 frozen @0> (size=600,offset=0): f32[150]{0}
allocation 1: size 4000, parameter 0, shape |f32[1000]| at ShapeIndex {}, maybe-live-out:
allocation 2: size 24, output shape is |(f32[1000], f32[])|, maybe-live-out:
allocation 3: size 100, constant:
allocation 4: size 50000, preallocated-temp:
 value: <9 size 77, preallocated-temp @0> (size=77,offset=0): f32[1]{0}
"""
    memory = read_plan(plan)
    assert (memory.arguments, memory.outputs, memory.aliased) == (4600, 4024, 4000)
    assert (memory.temporaries, memory.needed) == (50000, 54624)


def test_workspaces_of_libraries_are_no_traffic_and_loops_count_their_turns():
    program = """HloModule jit_step

%body (p: (s32[], f32[256])) -> (s32[], f32[256]) {
  %p = (s32[], f32[256]{0}) parameter(0)
  %x = f32[256]{0} get-tuple-element(%p), index=1
  %n = s32[] get-tuple-element(%p), index=0
  %y = f32[256]{0} negate(%x)
  ROOT %t = (s32[], f32[256]{0}) tuple(%n, %y)
}

%condition (p: (s32[], f32[256])) -> pred[] {
  %p.1 = (s32[], f32[256]{0}) parameter(0)
  ROOT %more = pred[] fusion(%p.1), kind=kLoop, calls=%compare
}

ENTRY %main (a: f32[64,64], b: f32[64,64]) -> f32[64,64] {
  %a = f32[64,64]{1,0} parameter(0)
  %b = f32[64,64]{1,0} parameter(1)
  %g = (f32[64,64]{1,0}, s8[33554432]{0}) custom-call(%a, %b), custom_call_target="__cublas$gemm"
  %i = (s32[], f32[256]{0}) parameter(2)
  %w = (s32[], f32[256]{0}) while(%i), condition=%condition, body=%body, \
backend_config={"known_trip_count":{"n":"5"}}
  ROOT %r = f32[64,64]{1,0} get-tuple-element(%g), index=0
}
"""
    of_the_condition = 5 * (1 + 4 + 4 * 256)
    product, loop = 3 * 4 * 64 * 64, 5 * 2 * 4 * 256
    assert memory_traffic(Program(program)) == product + loop + of_the_condition
