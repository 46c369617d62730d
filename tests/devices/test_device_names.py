"""What `--device` names, and what XLA is told of it."""

import re

import pytest

from faceshifter_jax.devices.device import GpuHost, parse_device
from faceshifter_jax.devices.gpus import GPUS, memory_fraction
from faceshifter_jax.devices.target_config import read_config, write_config
from faceshifter_jax.devices.topology import Topology
from faceshifter_jax.errors import UserError

MATRIX_UNITS = """
  matrix_unit_description {
    rate_infos { key: 11 value { clock_rate_ghz: 2 units_per_core: 4 ops_per_clock: 256 } }
    rate_infos { key: 16 value: { clock_rate_ghz: 2, units_per_core: 4, ops_per_clock: 512 } }
  }
  name: "a \\"card\\" # with a } in its name"
"""


@pytest.mark.parametrize(
    ("text", "kind", "count", "name"),
    [
        ("v5e:4x4", Topology, 16, "v5e:4x4"),
        ("V4:2x2x1", Topology, 4, "v4:2x2x1"),
        ("h100", GpuHost, 1, "h100"),
        (" H100:8 ", GpuHost, 8, "h100:8"),
        ("a100-80gb:1", GpuHost, 1, "a100-80gb"),
        ("rtx4090:2", GpuHost, 2, "rtx4090:2"),
    ],
)
def test_a_device_is_a_slice_or_the_gpus_of_a_host(text, kind, count, name):
    target = parse_device(text)
    assert isinstance(target, kind)
    assert (target.num_chips, str(target)) == (count, name)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "unknown device ''"),
        ("h101", "a GPU such as h100 or h100:8 (h200, h100, a100-80gb"),
        ("v5e", "not a TPU topology"),
        ("v5e:16", "not a TPU topology"),
        ("h100:0", "a host has 1 to 16 GPUs"),
        ("h100:17", "a host has 1 to 16 GPUs"),
        ("h100:", "a host has 1 to 16 GPUs"),
        ("h100:4x4", "a host has 1 to 16 GPUs"),
        ("h100:-1", "a host has 1 to 16 GPUs"),
        ("no/such/file.txtpb", "or a file with XLA's description"),
        ("gs://bucket/gpu.txtpb", "is an address"),
    ],
)
def test_other_names_are_refused_with_a_hint(text, says):
    with pytest.raises(UserError, match=re.escape(says)):
        parse_device(text)


def test_the_gpus_have_their_published_figures():
    # NVIDIA's pages and white papers: bfloat16 and TF32 (Turing: float32) TFLOP/s, GB/s.
    published = {
        "h200": (989, 494.7, 4800),
        "h100": (989, 494.7, 3350),
        "a100-80gb": (312, 156, 2039),
        "l4": (121, 60, 300),
        "rtx4090": (165.2, 82.6, 1008),
        "rtx3060": (25.5, 12.7, 360),
        "t4": (8.1, 8.1, 320),
    }
    listed = {
        name: (gpu.peak("bfloat16") / 1e12, gpu.peak("float32") / 1e12, gpu.bytes_per_second / 1e9)
        for name, gpu in GPUS.items()
    }
    assert listed == published
    for gpu in GPUS.values():
        assert gpu.source.startswith("https://")
        # The rate of the vector units, which every data sheet has, follows from the chip.
        units = gpu.architecture.float32_units * gpu.num_multiprocessors
        vector = {"h100": 67, "h200": 67, "a100-80gb": 19.5, "l4": 30.3, "rtx4090": 82.6}
        vector |= {"rtx3060": 12.7, "t4": 8.1}
        assert 2e9 * units * gpu.clock_ghz == pytest.approx(vector[gpu.name] * 1e12, rel=0.02)


def test_only_turing_is_said_to_lack_bfloat16():
    said = {name: gpu.notes("bfloat16") for name, gpu in GPUS.items() if gpu.notes("bfloat16")}
    assert list(said) == ["t4"]
    assert "converts to float32" in said["t4"][0]
    assert not any(gpu.notes("float32") for gpu in GPUS.values())


@pytest.mark.parametrize("gpu", GPUS.values(), ids=lambda gpu: gpu.name)
def test_what_xla_is_told_is_read_back_from_a_file(gpu, tmp_path):
    path = tmp_path / "card.txtpb"
    path.write_text(f"# proto-message: GpuTargetConfigProto\n{write_config(gpu)}")
    target = parse_device(f"{path}:2")
    assert isinstance(target, GpuHost)
    assert (target.num_chips, str(target)) == (2, f"{gpu.name}:2")
    read = target.chip
    assert (read.memory_bytes, read.bytes_per_second) == (gpu.memory_bytes, gpu.bytes_per_second)
    # No word of matrix units: the vector units' rate counts.
    assert read.peak("float32") == read.peak("bfloat16")
    assert target.config == path.read_text()
    assert read.source == str(path)


def test_the_rates_of_matrix_units_are_read_from_a_file(tmp_path):
    path = tmp_path / "card.txtpb"
    plain = write_config(GPUS["h100"])
    path.write_text(plain.replace("gpu_device_info {", f"gpu_device_info {{{MATRIX_UNITS}", 1))
    gpu, _ = read_config(path)
    # Multiplications and additions of 132 multiprocessors.
    assert gpu.peak("float32") == 2 * 132 * 4 * 256 * 2e9
    assert gpu.peak("bfloat16") == 2 * 132 * 4 * 512 * 2e9


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("core_count: 132", ""),
        ("core_count: 132", "core_count: many"),
        ("core_count: 132", "core_count: 132 }"),
        ("device_memory_size: 84942979072", "device_memory_size: 0"),
        ("device_memory_size: 84942979072", "device_memory_size { }"),
        ("gpu_device_info {", "gpu_device_info {{"),
        ("gpu_device_info {", "gpu_device_info: 3"),
        ("cuda_compute_capability {", "rocm_compute_capability {"),
        ('platform_name: "CUDA"', 'platform_name: "CUDA" }'),
        ('platform_name: "CUDA"', "platform_name:"),
    ],
)
def test_a_broken_description_is_refused(old, new, tmp_path):
    path = tmp_path / "card.txtpb"
    plain = write_config(GPUS["h100"])
    assert old in plain
    path.write_text(plain.replace(old, new, 1))
    with pytest.raises(
        UserError, match=r"does not describe a GPU for XLA .*github\.com/openxla/xla"
    ):
        parse_device(str(path))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "card"
    for content in (b"", b"\xff\xfe\x00\x01", b"name", b"PK\x03\x04 { : } {"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="does not describe a GPU for XLA"):
            parse_device(str(path))


def test_the_share_of_a_cards_memory_is_the_one_that_jax_takes(monkeypatch):
    monkeypatch.delenv("XLA_CLIENT_MEM_FRACTION", raising=False)
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    assert memory_fraction() == 0.75
    assert GPUS["h100"].usable_bytes == int(0.75 * 84_942_979_072)
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", ".9")
    assert memory_fraction() == 0.9
    for wrong in ("0", "1.5", "most", "nan"):
        monkeypatch.setenv("XLA_CLIENT_MEM_FRACTION", wrong)
        with pytest.raises(UserError, match="XLA_CLIENT_MEM_FRACTION"):
            memory_fraction()
