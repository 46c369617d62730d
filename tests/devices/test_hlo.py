from faceshifter_jax.devices.hlo import Program, Traffic

# The shape of what libtpu 0.0.42.1 makes of a convolution in a `lax.scan` of five turns with an
# all-reduce after it, with another in the loop; without backend configurations.
LOOP = """\
HloModule jit_f, is_scheduled=true, num_partitions=4

%fused_computation (param_0: bf16[2,64,64,128], param_1: bf16[3,3,128,128]) -> bf16[2,64,64,128] {
  %param_0 = bf16[2,64,64,128]{3,2,1,0:T(8,128)(2,1)} parameter(0)
  %param_1 = bf16[3,3,128,128]{3,2,1,0:T(8,128)(2,1)S(1)} parameter(1)
  ROOT %convolution.1 = bf16[2,64,64,128]{3,2,1,0:T(8,128)(2,1)} convolution(%param_0, %param_1), \
window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f, metadata={op_name="jit(f)/conv"}
}

%body (arg: (s32[], bf16[2,64,64,128], bf16[3,3,128,128])) -> (s32[], bf16[2,64,64,128]) {
  %arg = (s32[]{:T(128)}, bf16[2,64,64,128]{3,2,1,0:T(8,128)(2,1)}) parameter(0)
  %x = bf16[2,64,64,128]{3,2,1,0:T(8,128)(2,1)} get-tuple-element(%arg), index=1
  %w = bf16[3,3,128,128]{3,2,1,0:T(8,128)(2,1)} get-tuple-element(%arg), index=2
  %fusion = bf16[2,64,64,128]{3,2,1,0:T(8,128)(2,1)} fusion(%x, %w), kind=kOutput, \
calls=%fused_computation
  %all-reduce-start = f32[128]{0:T(128)} all-reduce-start(%fusion), to_apply=%add
  %all-reduce-done = f32[128]{0:T(128)} all-reduce-done(%all-reduce-start)
  ROOT %tuple.1 = (s32[]{:T(128)}, bf16[2,64,64,128]{3,2,1,0:T(8,128)(2,1)}) tuple(%arg, %fusion)
}

%condition (arg.1: (s32[], bf16[2,64,64,128])) -> pred[] {
  %constant.9 = s32[]{:T(128)} constant(5)
  %arg.1 = (s32[]{:T(128)}, bf16[2,64,64,128]{3,2,1,0:T(8,128)(2,1)}) parameter(0)
  %turn = s32[]{:T(128)} get-tuple-element(%arg.1), index=0
  ROOT %lt = pred[]{:T(512)} compare(%turn, %constant.9), direction=LT
}

ENTRY %main (p: bf16[2,64,64,128]) -> (f32[3,3,128,128], bf16[7]) {
  %p = bf16[2,64,64,128]{3,2,1,0:T(8,128)(2,1)} parameter(0)
  %loop = (s32[]{:T(128)}, /*index=1*/bf16[2,64,64,128]{3,2,1,0:T(8,128)(2,1)}) while(%p), \
condition=%condition, body=%body, metadata={op_name="jit(f)/while"}
  %all-gather = f32[8,3]{1,0:T(8,128)} all-gather(%p), dimensions={0}
  %copy = bf16[2,64,64,3]{3,2,1,0:T(8,128)(2,1)} copy(%p)
  ROOT %all-reduce = (f32[3,3,128,128]{3,2,1,0:T(8,128)}, bf16[7]{0:T(256)}) all-reduce(%loop), \
channel_id=1, to_apply=%add
}
"""


def test_collectives_in_a_loop_count_at_every_turn():
    after_the_loop = 4 * 3 * 3 * 128 * 128 + 2 * 7
    assert Program(LOOP).collectives() == {
        "all-reduce": Traffic(1 + 5, after_the_loop + 5 * 4 * 128),
        "all-gather": Traffic(1, 4 * 8 * 3),
    }


def test_a_loop_of_unknown_length_counts_once():
    program = Program(LOOP.replace("direction=LT", "direction=NE"))
    assert program.collectives()["all-reduce"].count == 1 + 1
