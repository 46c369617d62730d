"""Options of compiled programs: those that this jaxlib takes, whichever it is."""

import jax
import pytest

from faceshifter_jax.runtime import compilation


@pytest.fixture
def cached(tmp_path):
    compilation.use_compilation_cache(str(tmp_path / "cache"))
    yield
    jax.config.update("jax_compilation_cache_dir", None)


def test_a_step_compiles_with_the_options_of_this_jaxlib(cached):
    step = jax.jit(lambda x: x + 1).lower(1).compile(compilation.compiler_options())
    assert step(2) == 3


def test_options_that_jaxlib_does_not_take_are_left_out(cached, monkeypatch):
    monkeypatch.setattr(compilation, "_OLDER_EMITTERS", "xla_cpu_no_such_thing")
    assert compilation.compiler_options() is None
    monkeypatch.setattr(compilation, "_OLDER_EMITTERS", "xla_cpu_enable_fast_math")
    assert compilation.compiler_options() == {"xla_cpu_enable_fast_math": False}
