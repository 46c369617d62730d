"""Charts as text: well-formed, and drawn where the values are."""

import xml.etree.ElementTree as ElementTree

import numpy as np

from faceshifter_jax.evaluation.findings import Bin
from faceshifter_jax.evaluation.report.charts import draw_curves, draw_histogram, draw_means


def elements(svg, tag):
    return ElementTree.fromstring(svg).findall(f".//{tag}")


def test_histogram_has_the_whole_of_each_series():
    values = np.array([1.0, 1, 1, 2, np.nan, np.inf])
    svg = draw_histogram({"a & b": values, "c": np.array([5.0])})
    first, second = elements(svg, "polygon")
    heights = [float(point.split(",")[1]) for point in first.get("points").split()]
    # Three quarters are 1, one quarter is 2: shares above the base line.
    base = max(heights)
    tops = sorted({round(base - height, 1) for height in heights} - {0.0})
    assert len(tops) == 2
    assert abs(tops[1] / tops[0] - 3) < 0.02
    assert second is not None
    assert "a &amp; b" in svg
    assert draw_histogram({"a": np.array([np.nan])}) == ""
    assert draw_histogram({"same": np.full(9, 3.0)}) != ""


def test_curves_need_two_steps():
    line = [(100, 0.5, 0.4, 0.6), (200, 0.7, 0.7, 0.7)]
    assert draw_curves({"a": line[:1]}) == ""
    assert draw_curves({}) == ""
    svg = draw_curves({"a": line})
    dots = [(float(d.get("cx")), float(d.get("cy"))) for d in elements(svg, "circle")]
    assert dots[0][0] < dots[1][0]
    assert dots[0][1] > dots[1][1], "up is more"


def test_means_are_drawn_in_the_order_of_their_bins():
    bins = [Bin("few <1>", 2, 0.2, (0.1, 0.4)), Bin("none", 0, np.nan, (np.nan, np.nan)),
            Bin("many", 9, 0.8, (0.7, 0.9))]  # fmt: skip
    svg = draw_means({"a": bins, "b": bins})
    dots = [(float(d.get("cx")), float(d.get("cy"))) for d in elements(svg, "circle")]
    assert len(dots) == 4
    assert dots[0][0] < dots[1][0]
    assert dots[0][1] < dots[1][1]
    assert "few &lt;1&gt;" in svg
    assert draw_means({"a": bins[1:2]}) == ""
