import pytest

from faceshifter_jax.evaluation.presentation import (
    DECIBEL,
    DOWN,
    SHARE,
    UP,
    Metric,
    describe_metrics,
    find_metric,
    metric_of,
)
from faceshifter_jax.evaluation.protocols.registry import PROTOCOLS

DECLARED = (Metric("hit_*", SHARE), Metric("*_db", DECIBEL, 2), Metric("slip", digits=1, aim=DOWN))


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("hit_first", 0.1234, "12.3 %"),
        ("swap_db", 21.987, "21.99 dB"),
        ("slip", 3.0, "3.0"),
        ("undeclared", 0.01234, "0.0123"),
        ("undeclared", 12.34, "12.340"),
        ("slip", None, "not measured"),
    ],
)
def test_a_metric_is_shown_as_its_protocol_declares(name, value, text):
    assert find_metric(name, DECLARED).format(value) == text


def test_a_record_says_how_its_metrics_are_shown():
    record = {"shown_as": describe_metrics(["hit_first", "slip"], DECLARED)}
    assert metric_of("hit_first", record) == Metric("hit_first", SHARE)
    assert metric_of("slip", record) == Metric("slip", digits=1, aim=DOWN)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"shown_as": 3},
        {"shown_as": {"psnr_swap": {"unit": "<b>", "digits": 2, "aim": UP}}},
        {"shown_as": {"psnr_swap": {"unit": "", "digits": 10**9, "aim": UP}}},
    ],
)
def test_records_that_do_not_say_it_are_shown_by_the_names_of_metrics(said):
    assert metric_of("psnr_swap", said).format(20.0) == "20.00 dB"
    assert metric_of("id_retrieval_top1", said).is_share
    assert metric_of("occluder_error_aei", said).aim == DOWN


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_every_metric_in_a_table_is_declared(protocol):
    names = {
        name
        for table in protocol.TABLES
        for _, metrics in table.rows
        for name in metrics
        if isinstance(name, str)
    }
    assert names
    undeclared = [n for n in names if find_metric(n, protocol.METRICS) == Metric(n)]
    assert all("ssim" in name for name in undeclared), undeclared
