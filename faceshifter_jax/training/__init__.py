"""Training: the loop and what it needs; nothing here knows about faces.

`loop.train` runs a training, `checkpoint.read_weights` reads what one left behind and
`parallel.build_parallel` compiles a step. The modules are imported by name, so that reading
flags or weights does not load everything else.
"""
