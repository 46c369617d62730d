"""`faceshifter tpu-check` as users run it: processes of its own, real configs, the real libtpu."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_tasks import identity_weights

from faceshifter_jax.networks.file import write_network_file

REPOSITORY = Path(__file__).parents[2]
TINY = f"""\
import sys
sys.path.insert(0, {str(REPOSITORY / "tests" / "tasks")!r})
import tiny_tasks

def get_config(variant=""):
    config = getattr(tiny_tasks, (variant or "aei") + "_config")()
    if "identity" in config:
        config.identity.weights = ""
    if "aei" in config:
        config.aei.weights = ""
    if variant == "arcface":
        config.model.num_classes = 0
    return config
"""

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="libtpu is not installed: pip install -e '.[tpu-check]'",
)


@pytest.fixture
def tiny(tmp_path) -> Path:
    """A config file with the tiny tasks as variants, without data and without weights."""
    path = tmp_path / "tiny.py"
    path.write_text(TINY)
    return path


def tpu_check(*arguments, hide_libtpu: bool = False) -> subprocess.CompletedProcess:
    hide = "sys.modules['libtpu'] = None;" if hide_libtpu else ""
    code = f"import sys; {hide} from faceshifter_jax.cli import main; sys.exit(main())"
    environment = {key: os.environ[key] for key in os.environ if key != "TPU_LIBRARY_PATH"}
    return subprocess.run(
        [sys.executable, "-c", code, "tpu-check", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=REPOSITORY,
    )


def assert_refused(result: subprocess.CompletedProcess, says: str) -> None:
    assert result.returncode == 2, result
    line = result.stderr.strip()
    assert line.startswith("error: ")
    assert len(line.splitlines()) == 1
    assert says in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--config", "configs/aei.py", "--topology", "v99:4x4"], "unknown TPU 'v99'"),
        (["--config", "configs/aei.py", "--topology", "v5e:4"], "not a TPU topology"),
        (["--config", "configs/none.py", "--topology", "v5e:2x2"], "no config file"),
        (
            ["--config=configs/aei.py", "--topology=v5e:2x2", "--config.batch_sise=8"],
            "did you mean 'batch_size'",
        ),
        (["--config=configs/aei.py", "--topology=v5e:2x2", "8"], "unexpected argument '8'"),
        (["--config=configs/aei.py", "--topology=v5e:2x2"], "pip install -e '.[tpu-check]'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, says):
    assert_refused(tpu_check(*arguments, hide_libtpu=True), says)


@needs_libtpu
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--topology=v5e:2x2", "--config.batch_size=6"], "make it a multiple of 4"),
        (["--topology=v5e:3x3"], "libtpu does not know the topology v5e:3x3"),
        (["--topology=v5e:2x2", "--config.compute_dtype=float8"], "config.compute_dtype"),
        (["--topology=v5e:2x2", "--config.num_steps=0"], "config.num_steps"),
        (["--topology=v5e:2x2", "--config.identity.weights=/no/file"], "no weights at /no/file"),
    ],
)
def test_what_cannot_be_compiled_is_refused_and_writes_nothing(arguments, says, tiny, tmp_path):
    file = tmp_path / "figures.json"
    result = tpu_check(f"--config={tiny}", f"--json={file}", *arguments)
    assert_refused(result, says)
    # Nobody is told to wait for minutes.
    assert result.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.py"]


@needs_libtpu
@pytest.mark.slow
def test_the_real_step_of_each_task_is_compiled_for_a_slice(tiny, tmp_path):
    """With given weights their architecture counts; without, IResNet-100 takes minutes."""
    weights = tmp_path / "identity.safetensors"
    write_network_file(weights, identity_weights().networks, {"family": "ours", "file": "none"})
    file = tmp_path / "figures.json"
    result = tpu_check(
        f"--config={tiny}",
        "--topology=v5e:2x2",
        f"--config.identity.weights={weights}",
        "--config.compute_dtype=bfloat16",
        "--workdir=runs/not/used",
        f"--json={file}",
    )
    assert result.returncode == 0, result
    assert result.stderr == ""
    assert f"frozen identity: from {weights}" in result.stdout
    assert re.search(r"the step fits: it needs .* of 16.00 GiB", result.stdout)
    figures = json.loads(file.read_text())
    memory = figures["memory"]
    # The whole state is donated: of the outputs only the metrics are not where it was.
    assert memory["outputs"] - memory["aliased"] < 64 * 2**10
    assert 0 < memory["aliased"] < memory["arguments"]
    assert figures["flops"] > 0
    assert figures["bytes_accessed"] > 0
    assert figures["num_chips"] == 4
    assert figures["pictures_per_second"] == pytest.approx(8 / figures["compute_seconds"])

    arcface = tpu_check(f"--config={tiny}:arcface", "--topology=v5e:2x2", "--config.batch_size=8")
    assert arcface.returncode == 0, arcface
    assert "assumed: config.model.num_classes=85742" in arcface.stdout


CONVOLUTION = """
from faceshifter_jax.devices.topology import build_devices, parse_topology, prepare_environment
prepare_environment()
import json, sys
import jax, jax.numpy as jnp
from faceshifter_jax.devices.compile import read_costs
from faceshifter_jax.runtime.parallel import build_parallel

parallel = build_parallel("jit", build_devices(parse_topology(sys.argv[1])))

def convolve(kernel, pictures):
    return jax.lax.conv_general_dilated(
        pictures, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )

def once(state, frozen, batch):
    return state, convolve(frozen, batch).astype(jnp.float32).sum()

def looped(state, frozen, batch):
    parts = batch.reshape(-1, 4, *batch.shape[1:]).swapaxes(0, 1)
    add = lambda total, part: (total + once(state, frozen, part)[1], None)
    return state, jax.lax.scan(add, jnp.float32(0), parts)[0]

kernel = jax.ShapeDtypeStruct((3, 3, 128, 256), jnp.bfloat16)
pictures = jax.ShapeDtypeStruct((4 * 8 * parallel.num_devices // 4, 64, 64, 128), jnp.bfloat16)
state = jax.ShapeDtypeStruct((), jnp.int32)
for function, turns in ((once, 1), (looped, 4)):
    compiled = parallel.compile_step(function).lower(state, kernel, pictures).compile()
    costs = read_costs(compiled, turns)
    print(json.dumps([costs.flops, costs.bytes_accessed, costs.memory.arguments]))
"""


@needs_libtpu
@pytest.mark.slow
@pytest.mark.parametrize("topology", ["v5e:2x2", "v4:2x2x1"])
def test_the_counts_are_a_chips_and_what_a_hand_calculation_gives(topology):
    printed = subprocess.run(
        [sys.executable, "-c", CONVOLUTION, topology],
        check=True,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    ).stdout
    once, looped = map(json.loads, printed.splitlines())
    on_a_chip = 8
    pixels = on_a_chip * 64 * 64
    # Two operations for every tap and pair of channels, but for the taps outside a picture.
    taps = (3 - 2 / 64) ** 2
    flops = 2 * taps * 128 * 256 * pixels
    in_and_out = 2 * pixels * 128 + 2 * 3 * 3 * 128 * 256
    assert once[0] == pytest.approx(flops, rel=0.05)
    # The sum may be made where the product is, or from a map that was written first.
    assert in_and_out <= once[1] < 4 * (in_and_out + 2 * pixels * 256)
    assert once[2] == pytest.approx(in_and_out, rel=0.01)
    assert looped[0] == pytest.approx(once[0], rel=0.15)
    assert np.isfinite(looped[1])
