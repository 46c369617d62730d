"""Training: from a command line to the last step; nothing here knows about faces.

`main` reads the command line, `config` the settings, `train` reads and opens all that a training
needs, and `loop` makes its steps. The modules are imported by name, so that reading flags does
not load everything else.
"""
