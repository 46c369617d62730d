"""Checkpoints of a training run: written, found, checked and read back.

A checkpoint is the directory WORKDIR/checkpoints/STEP. It holds `state`, the arrays of
`tasks.task.TrainState`, and `meta`, what `compatibility.build_meta` says of the run: its config,
the fingerprint of its dataset, its frozen networks, and which networks lie where in `state`.
"""
