"""The cost of a training step on a TPU or GPU, found out without one.

libtpu and JAX's CUDA plugin compile for devices that are not there. `compile_step` compiles the
step of a training run for them, `plan` stops a GPU's compiler once it has laid out the memory,
`report` turns what the compiler counted into a verdict and bounds on the time.
"""
