"""The cost of a training step on a TPU, found out without one.

libtpu compiles for chips that are not there. `compile_step` compiles the step of a training run for
a slice of them, `roofline` turns what the compiler counted into a bound on the time.
"""
