"""`faceshifter device-check` as users run it: processes of its own and the real compilers."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_tpu_check import TINY, assert_refused, needs_libtpu
from tiny_tasks import identity_weights

from faceshifter_jax.devices.gpus import GPUS
from faceshifter_jax.devices.target_config import write_config
from faceshifter_jax.networks.file import write_network_file

REPOSITORY = Path(__file__).parents[2]


def has_plugin() -> bool:
    try:
        return importlib.util.find_spec("jax_plugins.xla_cuda13") is not None
    except ModuleNotFoundError:
        return False


needs_plugin = pytest.mark.skipif(
    not has_plugin(), reason="JAX's CUDA plugin is not installed: pip install -e '.[cuda]'"
)


@pytest.fixture
def tiny(tmp_path) -> Path:
    """A config file of the tiny tasks, with a tiny identity network."""
    weights = tmp_path / "identity.safetensors"
    write_network_file(weights, identity_weights().networks, {"family": "ours", "file": "none"})
    path = tmp_path / "tiny.py"
    path.write_text(TINY.replace('weights = ""', f"weights = {str(weights)!r}", 1))
    return path


def device_check(*arguments, hide: str = "", **environment) -> subprocess.CompletedProcess:
    code = f"import sys; {hide} from faceshifter_jax.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, "device-check", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        cwd=REPOSITORY,
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--config=configs/aei.py", "--device=h101"], "unknown device 'h101'"),
        (["--config=configs/none.py", "--device=h100"], "no config file"),
        (["--config=configs/aei.py", "--device=h100"], "pip install -e '.[cuda]'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, says):
    hide = "sys.modules |= {f'jax_plugins.xla_cuda{n}': None for n in (12, 13)};"
    assert_refused(device_check(*arguments, hide=hide), says)


def test_a_share_of_memory_that_is_none_is_refused():
    result = device_check("--config=configs/aei.py", "--device=h100", XLA_CLIENT_MEM_FRACTION="2")
    assert_refused(result, "XLA_CLIENT_MEM_FRACTION=2")


@needs_plugin
def test_the_quick_plan_of_a_tiny_step_is_that_of_the_whole_compilation(tiny, tmp_path):
    figures = []
    for more in ([], ["--quick"]):
        file = tmp_path / f"{len(figures)}.json"
        result = device_check(f"--config={tiny}", "--device=h100", f"--json={file}", *more)
        assert result.returncode == 0, result
        assert result.stderr == ""
        assert re.search(r"the step fits: it needs .* of 59\.33 GiB", result.stdout)
        figures.append(json.loads(file.read_text()))
    whole, quick = figures
    memory = whole["memory"]
    # The whole state is donated: of the outputs only the metrics are not where it was.
    assert memory["outputs"] - memory["aliased"] < 64 * 2**10
    assert 0 < memory["aliased"] < memory["arguments"]
    for name in ("arguments", "aliased", "temporaries"):
        assert quick["memory"][name] == memory[name], name
    assert quick["needed_bytes"] == pytest.approx(whole["needed_bytes"], rel=0.001)
    assert quick["flops"] == whole["flops"] > 0
    assert quick["bytes_accessed"] == pytest.approx(whole["bytes_accessed"], rel=0.01)


@needs_plugin
@pytest.mark.slow
def test_the_largest_batch_agrees_with_trying_each(tiny, tmp_path):
    card = tmp_path / "card.txtpb"
    small = write_config(GPUS["rtx3060"])
    size = 56 * 2**20
    card.write_text(re.sub(r"device_memory_size: \d+", f"device_memory_size: {size}", small))
    start = [f"--config={tiny}", f"--device={card}", "--quick"]
    result = device_check(*start, "--largest-batch", "--config.batch_size=2")
    assert result.returncode == 0, result
    best = int(re.search(r"the largest batch that fits: (\d+)", result.stdout)[1])
    tried = {
        batch: device_check(*start, f"--config.batch_size={batch}").returncode
        for batch in (best // 2, best - 1, best, best + 1, 2 * best)
    }
    assert list(tried.values()) == [0, 0, 0, 3, 3]


@needs_libtpu
@pytest.mark.slow
def test_a_slice_of_tpus_is_checked_as_tpu_check_does(tiny, tmp_path):
    file = tmp_path / "figures.json"
    result = device_check(f"--config={tiny}", "--device=v5e:2x2", "--quick", f"--json={file}")
    assert result.returncode == 0, result
    assert re.search(r"the step fits: it needs .* of 16.00 GiB", result.stdout)
    figures = json.loads(file.read_text())
    assert (figures["topology"], figures["num_chips"]) == ("v5e:2x2", 4)
    assert figures["flops"] > 0
