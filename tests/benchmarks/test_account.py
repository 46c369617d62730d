import pytest
from account import (
    OUTSIDE,
    Group,
    describe_groups,
    group,
    parse_name,
    uses,
)
from tpu import _count_bytes

from faceshifter_jax.devices.chips import CHIPS
from faceshifter_jax.devices.hlo import Program, memory_traffic

# The shape of what libtpu 0.0.42.1 makes of two layers and an update: a kernel that is fetched into
# fast memory (space 1) in three slices, another that is copied there whole.
PROGRAM = """\
HloModule jit_step, is_scheduled=true

%fused_computation (param_0: bf16[8,16,16,64], param_1: f32[3,3,64,128]) -> bf16[8,16,16,128] {
  %param_0 = bf16[8,16,16,64]{3,2,1,0:T(8,128)(2,1)} parameter(0)
  %param_1 = f32[3,3,64,128]{3,2,1,0:T(8,128)S(1)} parameter(1)
  ROOT %convolution.1 = bf16[8,16,16,128]{3,2,1,0:T(8,128)(2,1)} convolution(%param_0, %param_1), \
window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f
}

%fused_computation.1 (param_2: bf16[8,16,16,128]) -> bf16[8,16,16,128] {
  %param_2 = bf16[8,16,16,128]{3,2,1,0:T(8,128)(2,1)} parameter(0)
  ROOT %negate.1 = bf16[8,16,16,128]{3,2,1,0:T(8,128)(2,1)} negate(%param_2)
}

ENTRY %main (x: bf16[8,16,16,64], k: f32[3,3,64,128]) -> f32[3,3,64,128] {
  %x = bf16[8,16,16,64]{3,2,1,0:T(8,128)(2,1)} parameter(0)
  %k = f32[3,3,64,128]{3,2,1,0:T(8,128)} parameter(1)
  %slice-start = ((f32[3,3,64,128]{3,2,1,0:T(8,128)}), f32[1,3,64,128]{3,2,1,0:T(8,128)S(1)}, \
s32[]{:S(2)}) slice-start(%k), slice={[0:1], [0:3], [0:64], [0:128]}
  %slice-start.1 = ((f32[3,3,64,128]{3,2,1,0:T(8,128)}), f32[1,3,64,128]{3,2,1,0:T(8,128)S(1)}, \
s32[]{:S(2)}) slice-start(%k), slice={[1:2], [0:3], [0:64], [0:128]}
  %slice-start.2 = ((f32[3,3,64,128]{3,2,1,0:T(8,128)}), f32[1,3,64,128]{3,2,1,0:T(8,128)S(1)}, \
s32[]{:S(2)}) slice-start(%k), slice={[2:3], [0:3], [0:64], [0:128]}
  %slice-done = f32[1,3,64,128]{3,2,1,0:T(8,128)S(1)} slice-done(%slice-start)
  %slice-done.1 = f32[1,3,64,128]{3,2,1,0:T(8,128)S(1)} slice-done(%slice-start.1)
  %slice-done.2 = f32[1,3,64,128]{3,2,1,0:T(8,128)S(1)} slice-done(%slice-start.2)
  %custom-call = f32[3,3,64,128]{3,2,1,0:T(8,128)S(1)} custom-call(%slice-done, %slice-done.1, \
%slice-done.2), custom_call_target="ConcatBitcast"
  %fusion = bf16[8,16,16,128]{3,2,1,0:T(8,128)(2,1)} fusion(%x, %custom-call), kind=kOutput, \
calls=%fused_computation, metadata={op_name="jit(step)/jvp(Net)/block_0/conv/conv_general_dilated"}
  %fusion.1 = bf16[8,16,16,128]{3,2,1,0:T(8,128)(2,1)S(1)} fusion(%fusion), kind=kLoop, \
calls=%fused_computation.1, metadata={op_name="jit(step)/transpose(jvp(Net))/block_0/neg"}
  %copy-start = (f32[3,3,64,128]{3,2,1,0:T(8,128)S(1)}, f32[3,3,64,128]{3,2,1,0:T(8,128)}, \
u32[]{:S(2)}) copy-start(%k)
  %copy-done = f32[3,3,64,128]{3,2,1,0:T(8,128)S(1)} copy-done(%copy-start)
  ROOT %add.1 = f32[3,3,64,128]{3,2,1,0:T(8,128)} add(%copy-done, %copy-done), \
metadata={op_name="jit(step)/add"}
}
"""

# Filled up to 128 channels.
X = 8 * 16 * 16 * 128 * 2
Y = X
KERNEL = 3 * 3 * 64 * 128 * 4


def test_each_byte_to_or_from_the_large_memory_counts_once():
    """The slices are fetched once, whatever else their results name; fast memory is apart."""
    program = Program(PROGRAM)
    assert memory_traffic(program) == KERNEL + (X + Y) + Y + KERNEL + KERNEL
    found = list(uses(program))
    assert sum(use.fast_bytes for use in found) == KERNEL + KERNEL + Y + KERNEL + 2 * KERNEL


def test_a_fetched_kernel_counts_for_whom_it_is_fetched():
    groups = group(uses(Program(PROGRAM)), depth=2)
    assert groups == [
        Group("Net/block_0", "forward", "convolution", 1, X + Y, KERNEL),
        Group("Net/block_0", "backward", "fusion", 1, Y, Y),
        Group(f"{OUTSIDE}/add", "", "add", 1, KERNEL, 2 * KERNEL),
        Group(f"{OUTSIDE}/add", "", "prefetch", 1, KERNEL, KERNEL),
        Group("Net/block_0", "forward", "prefetch", 3, KERNEL, KERNEL),
    ]


def test_groups_of_less_depth_add_up_to_the_same():
    found = list(uses(Program(PROGRAM)))
    sums = {sum(g.memory_bytes for g in group(found, depth)) for depth in (1, 2, 3)}
    assert len(sums) == 1
    assert {g.place for g in group(found, 1)} == {"Net", OUTSIDE}


def test_the_table_shows_the_largest_and_adds_up_the_others():
    lines = list(describe_groups(group(uses(Program(PROGRAM)), 2), limit=2))
    assert len(lines) == 1 + 2 + 1 + 1
    assert lines[1].split()[:3] == ["Net/block_0", "forward", "convolution"]
    assert lines[3].startswith("  3 more ")
    assert f"{memory_traffic(Program(PROGRAM)) / 1e9:.2f}" in lines[-1]


@pytest.mark.parametrize(
    ("name", "place", "is_backward"),
    [
        ("jit(step)/jvp(AEINet)/generator/block_7/aad_0/mul", "AEINet/generator/block_7/aad_0", 0),
        (
            "jit(step)/transpose(jvp(AEINet.encode))/encoder/encoder._normalise/up_norm_5/norm/sub",
            "AEINet/encoder/up_norm_5/norm",
            True,
        ),
        ("jit(step)/IResNet/stage_2_block_23/conv_2/conv", "IResNet/stage_2_block_23/conv_2", 0),
        ("jit(step)/jvp(Net)/block/jit(relu)/max;jit(step)/neg", "Net/block", False),
        ("jit(step)/transpose(jvp())/mul", f"{OUTSIDE}/mul", True),
        ("jit(step)/reduce_and", f"{OUTSIDE}/reduce_and", False),
        ("broadcast.365", f"{OUTSIDE}/broadcast.365", False),
        ("jit(step)/jvp(AEINet)/generator/ph,qw,bhwc->bpqc/transpose", "AEINet/generator", False),
    ],
)
def test_places_are_read_from_the_names_that_jax_gives(name, place, is_backward):
    assert parse_name(name) == (tuple(place.split("/")), bool(is_backward))


def test_a_step_takes_as_long_as_the_slower_of_arithmetic_and_memory():
    program, chip = Program(PROGRAM), CHIPS["v5e"]
    found = list(uses(program))
    traffic = memory_traffic(program)
    figures = {"compute_seconds": 1e-9, "pictures_per_second": 8 / 1e-9}
    counted = _count_bytes(program, found, figures, chip)
    assert counted["bound"] == "memory"
    assert counted["memory_traffic"] == traffic
    assert counted["pictures_per_second"] == pytest.approx(8 * 819e9 / traffic)
    slow = {"compute_seconds": 1.0, "pictures_per_second": 8.0}
    counted = _count_bytes(program, found, slow, chip)
    assert (counted["bound"], counted["pictures_per_second"]) == ("compute", 8.0)
