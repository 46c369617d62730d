"""How many processes there are cores and memory for."""

from faceshifter_jax.runtime.workers import affordable_workers, usable_cores

MEMINFO = """MemTotal:       16000000 kB
MemFree:          900000 kB
MemAvailable:   {available} kB
Buffers:          100000 kB
"""
MEGABYTE = 2**20


def test_memory_that_can_be_made_free_counts(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(MEMINFO.format(available=13_000_000))
    assert affordable_workers(MEGABYTE, meminfo) == usable_cores()
    assert affordable_workers(1_000_000 * 1024, meminfo) == min(usable_cores(), 13)
    meminfo.write_text(MEMINFO.format(available=1_000))
    assert affordable_workers(1536 * MEGABYTE, meminfo) == 1
    assert affordable_workers(MEGABYTE, tmp_path / "missing") == usable_cores()
