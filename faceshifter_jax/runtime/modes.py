"""How processes find each other, known without loading jax."""

MODES = ("off", "automatic", "coordinator")
DEFAULT_TIMEOUT_SECONDS = 300
