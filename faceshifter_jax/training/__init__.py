"""Training, from the command line to the last step; nothing here knows about faces.

`main` reads the command line, `config` the settings, `train` reads and opens everything that a
training run needs, and `loop` runs its steps. The modules are imported by name, so that reading
flags does not load everything else.
"""
