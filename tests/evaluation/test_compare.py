"""`faceshifter compare` on evaluations whose values are made up."""

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from faceshifter_jax import cli
from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.compare import find_difference, find_result
from faceshifter_jax.evaluation.findings import Findings, Total, build_record, write_record

PAIRS = 80


def write(
    directory,
    shift=0.0,
    *,
    noise=0,
    with_values=True,
    pairs=PAIRS,
    more=None,
    totals=None,
    ceilings=None,
    **given,
):
    """An evaluation with a metric that varies much from pair to pair, and `shift` between them."""
    directory.mkdir(parents=True)
    random = np.random.default_rng(0)
    hard = random.normal(20, 5, PAIRS)
    small = np.random.default_rng(noise).normal(0, 0.2, PAIRS)
    values = {"psnr_swap": hard + small + shift, "id_retrieval_top1": (hard > 18).astype(float)}
    values = {name: numbers[:pairs] for name, numbers in (values | (more or {})).items()}
    facts = {"data_sha256": "d"}
    findings = Findings(
        values, [], [], facts,
        totals=totals or {}, missing=["pose_error"], ceilings=ceilings or {},
    )  # fmt: skip
    record = build_record(
        findings,
        {
            "protocol": "pairs", "protocol_version": 1, "judge_sha256": "j", "step": 5,
            "checkpoint_name": directory.parts[-1], "checkpoint": f"{directory}/checkpoints/5",
        } | given,
    )  # fmt: skip
    write_record(directory, findings, record)
    if not with_values:
        (directory / "values.npz").unlink()
    return directory


def test_small_differences_show_over_the_same_pairs_alone(tmp_path):
    first = find_result(write(tmp_path / "a"), None)
    other = find_result(write(tmp_path / "b", 0.3, noise=1), None)
    paired = find_difference("psnr_swap", first, other)
    assert paired.paired
    assert paired.value == pytest.approx(0.3, abs=0.1)
    assert paired.beyond_chance
    assert paired.interval[1] - paired.interval[0] < 0.2
    alone = find_result(write(tmp_path / "c", 0.3, noise=1, with_values=False), None)
    apart = find_difference("psnr_swap", first, alone)
    assert not apart.paired
    assert apart.value == pytest.approx(paired.value)
    assert not apart.beyond_chance
    assert apart.interval[1] - apart.interval[0] > 2
    assert not find_difference("id_retrieval_top1", first, other).beyond_chance
    assert find_difference("pose_error", first, other) is None


def test_the_command_prints_and_writes_a_table(tmp_path, capfd):
    write(tmp_path / "a")
    write(tmp_path / "aei" / "evaluation" / "pairs", 2, checkpoint_name="aei")
    words = ["compare", tmp_path / "a" / "metrics.json", tmp_path / "aei"]
    assert cli.main([*map(str, words), "--output", str(tmp_path / "table.csv")]) == 0
    printed = capfd.readouterr().out
    (line,) = [line for line in printed.splitlines() if line.startswith("psnr_swap")]
    assert "+2.00 dB (2.00 dB to 2.00 dB) *" in line
    assert "a@5" in printed
    assert "aei@5" in printed
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["metric"] == "psnr_swap"
    assert float(rows[0]["difference"]) == pytest.approx(2)
    assert rows[0]["beyond_interval"] == "True"


def test_who_pleases_the_judge_is_named(tmp_path, capfd):
    right = {"answer_retrieval_top1": (np.arange(PAIRS) < 8).astype(float)}
    write(tmp_path / "a", more=right)
    write(tmp_path / "b", 2, more=right, ceilings={"id_retrieval_top1": "answer_retrieval_top1"})
    assert cli.main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    (line,) = [line for line in capfd.readouterr().out.splitlines() if "pleases" in line]
    assert line.startswith("b@5: id_retrieval_top1 of ")
    assert line.endswith("pleases the judge: above the right answers' 10.0 % (5.2 % to 18.5 %)")


def test_a_page_shows_what_each_is_its_figures_and_pictures(tmp_path, capfd):
    more = {"face_psnr_gain": np.full(PAIRS, 1.5), "answer_retrieval_top1": np.ones(PAIRS)}
    given = {"protocol": "ground-truth", "protocol_version": 6, "more": more}
    ours = {"checkpoint": "shipped:hear", "checkpoint_name": "shipped:hear", "step": 0}
    first = write(tmp_path / "a", **given, **ours)
    write(tmp_path / "<b>", 1, **given, step=1600)
    Image.new("RGB", (30, 20), "red").save(first / "report.png")
    words = ["compare", str(first), str(tmp_path / "<b>"), "--report", str(tmp_path / "p.html")]
    assert cli.main(words) == 0
    assert f"wrote {tmp_path / 'p.html'}" in capfd.readouterr().out
    text = (tmp_path / "p.html").read_text()
    assert "which come with the package" in text
    assert "&lt;b&gt;@1600" in text
    assert "<b>@1600" not in text
    assert text.count("<b>1.50 dB</b>") == 2
    assert text.count("<small>copy of the target: 0.00 dB</small>") == 4
    assert text.count("<small>right answer: 100.0 %</small>") == 2
    assert text.count('src="data:image/jpeg') == 1, "one of them has no report.png"
    assert not re.search(r"https?://|<script|url\(", text)
    assert cli.main(words) == 2
    assert "p.html" in capfd.readouterr().err
    assert cli.main([*words, "--overwrite", "--output", str(tmp_path / "p.html")]) == 2
    assert "are both" in capfd.readouterr().err
    assert (tmp_path / "p.html").read_text() == text


def test_json_has_what_the_table_has(tmp_path, capfd):
    names = [str(write(tmp_path / name, shift)) for name, shift in (("a", 0.0), ("b", 0.3))]
    table = tmp_path / "table.csv"
    assert cli.main(["compare", *names, "--json", "--output", str(table)]) == 0
    record = json.loads(capfd.readouterr().out)
    assert [found["name"] for found in record["evaluations"]] == ["a@5", "b@5"]
    row = next(row for row in record["differences"] if row["metric"] == "psnr_swap")
    assert row["difference"] == pytest.approx(0.3)
    assert row["beyond_interval"] is True
    with table.open() as file:
        written = {line["metric"]: line for line in csv.DictReader(file)}["psnr_swap"]
    assert {key: str(value) for key, value in row.items()} == written


def test_other_data_are_pointed_out(tmp_path, capfd):
    write(tmp_path / "a")
    write(tmp_path / "b", judge_sha256="other")
    assert cli.main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert capfd.readouterr().out.startswith("note: these have different judges")
    write(tmp_path / "c", pose_sha256="1", expression_part="80:144", features_range="unit")
    assert cli.main(["compare", str(tmp_path / "a"), str(tmp_path / "c")]) == 0
    note = capfd.readouterr().out.splitlines()[0]
    assert "features of the distances between sets and estimators of poses and" in note
    assert "estimators of expressions" in note


def test_a_checkpoint_means_the_evaluation_of_its_step(tmp_path, capfd):
    top = tmp_path / "aei" / "evaluation" / "pairs"
    write(top, 9, step=7)
    write(top / "steps" / "5", 1, step=5)
    (tmp_path / "aei" / "checkpoints" / "7").mkdir(parents=True)
    for step in ("5", "7"):
        found = find_result(tmp_path / "aei" / "checkpoints" / step, None)
        assert found.record["step"] == int(step)
        assert len(found.values["psnr_swap"]) == PAIRS
    both = [str(tmp_path / "aei" / "checkpoints" / step) for step in ("5", "7")]
    assert cli.main(["compare", *both]) == 0, "the checkpoint was removed, its evaluation was not"
    assert "+8.00 dB" in capfd.readouterr().out


def difference_of(tmp_path, metric, first, other):
    """The difference of two evaluations with these facts or values."""
    found = []
    for given in (first, other):
        place = tmp_path / f"{metric}-{len(list(tmp_path.iterdir()))}"
        found.append(find_result(write(place, **given), None))
    return find_difference(metric, *found)


def test_distances_between_sets_differ_by_the_same_groups_of_pairs(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.3, 20)
    own = np.tile([0.01, -0.01], 10)
    first, other = Total(2.0, 2 + noise), Total(2.1, 2.1 + noise + own)
    found = difference_of(
        tmp_path, "frechet_distance",
        *({"totals": {"frechet_distance": total}} for total in (first, other)),
    )  # fmt: skip
    # 20 groups, half of them 0.01 above, half below: a standard error of sqrt(19 / 20 x 20) 0.01.
    half = 1.96 * np.sqrt(19) * 0.01
    assert found.paired
    assert found.interval == pytest.approx((0.1 - half, 0.1 + half), abs=1e-4)
    assert found.beyond_chance
    apart = difference_of(
        tmp_path, "frechet_distance",
        {"totals": {"frechet_distance": first}},
        {"totals": {"frechet_distance": other}, "data_sha256": "others"},
    )  # fmt: skip
    assert not apart.paired
    assert not apart.beyond_chance


def test_independent_shares_differ_by_wilsons_intervals(tmp_path):
    """7 of 10 against 0 of 10; each interval from scipy, put together by hand."""
    shares = [{"id_retrieval_top1": np.repeat([1.0, 0.0], [k, 10 - k])} for k in (0, 7)]
    low, high = zip(*(binomtest(k, 10).proportion_ci(method="wilson") for k in (0, 7)), strict=True)
    found = difference_of(
        tmp_path, "id_retrieval_top1",
        {"more": shares[0], "pairs": 10},
        {"more": shares[1], "pairs": 10, "data_sha256": "others"},
    )  # fmt: skip
    assert found.value == pytest.approx(0.7)
    assert found.interval[0] == pytest.approx(0.7 - np.hypot(0.7 - low[1], high[0]), abs=1e-6)
    assert found.interval[1] == pytest.approx(0.7 + np.hypot(high[1] - 0.7, 0), abs=1e-6)


def test_a_share_that_rose_on_every_pair_is_not_certain(tmp_path):
    found = difference_of(
        tmp_path, "id_retrieval_top1",
        *({"more": {"id_retrieval_top1": np.full(7, x)}, "pairs": 7} for x in (0.0, 1.0)),
    )  # fmt: skip
    assert found.paired
    low = binomtest(7, 7).proportion_ci(method="wilson").low
    assert found.interval == pytest.approx((2 * low - 1, 1))


def test_what_a_pair_lacks_in_one_is_left_out_of_both(tmp_path):
    before, after = np.arange(4.0), np.array([3, 4, np.nan, 6])
    found = difference_of(
        tmp_path, "occluder_ms_distance_aei",
        *({"more": {"occluder_ms_distance_aei": x}, "pairs": 4} for x in (before, after)),
    )  # fmt: skip
    assert found.value == 3
    assert found.interval == (3, 3)


def test_what_only_one_of_them_has_is_shown(tmp_path, capfd):
    write(tmp_path / "a")
    write(tmp_path / "b", more={"occluder_error_hear": np.arange(PAIRS) / PAIRS})
    for names in (("a", "b"), ("b", "a")):
        assert cli.main(["compare", *(str(tmp_path / name) for name in names)]) == 0
        lines = capfd.readouterr().out.splitlines()
        (line,) = [line for line in lines if line.startswith("occluder_error_hear")]
        assert line.endswith("not measured")
        assert "0.49" in line


def test_trainings_of_one_name_are_told_apart(tmp_path, capfd):
    for place in ("one/aei", "other/aei"):
        write(tmp_path / place, checkpoint_name="aei")
    write(tmp_path / "third")
    write(
        tmp_path / "one/aei/evaluation/strict",
        checkpoint_name="aei", checkpoint=str(tmp_path / "one/aei/checkpoints/5"),
    )  # fmt: skip

    def names_of(*places):
        assert cli.main(["compare", *(str(tmp_path / place) for place in places)]) == 0
        return capfd.readouterr().out.split("difference")[0].split()

    assert names_of("one/aei", "third") == ["aei@5", "third@5"]
    assert names_of("one/aei", "other/aei") == ["one/aei@5", "other/aei@5"]
    of_one_training = "one/aei/metrics.json", "one/aei/evaluation/strict"
    assert names_of(*of_one_training) == ["aei@5", "strict@5"]
    assert names_of("third", "third") == ["third@5", "third@5"]


def test_the_usual_place_comes_before_others(tmp_path):
    top = tmp_path / "aei" / "evaluation"
    write(top / "pairs", 1)
    write(top / "zz", 2)
    psnr = find_result(top / "pairs", None).record["psnr_swap"]
    assert find_result(tmp_path / "aei", None).record["psnr_swap"] == psnr
    (top / "pairs").rename(top / "yy")
    with pytest.raises(UserError, match="several evaluations by pairs"):
        find_result(tmp_path / "aei", None)


def test_one_pair_shows_nothing_beyond_chance(tmp_path, capfd):
    write(tmp_path / "a", pairs=1)
    write(tmp_path / "b", 1, pairs=1)
    assert cli.main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    printed = capfd.readouterr().out
    assert "+1.00 dB (no interval)" in printed
    assert " *" not in printed


def test_bad_input_is_one_line(tmp_path, capfd):
    write(tmp_path / "a")
    write(tmp_path / "b", protocol_version=2)
    two = tmp_path / "two"
    for name in ("pairs", "ground-truth"):
        write(two / "evaluation" / name, protocol=name)
    (tmp_path / "none" / "checkpoints").mkdir(parents=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "other.json").write_text(json.dumps({"step": 1}))
    record = json.loads((tmp_path / "a" / "metrics.json").read_text())
    for key in ("step", "data_sha256", "checkpoint_name"):
        rest = {name: value for name, value in record.items() if name != key}
        (tmp_path / f"no_{key}.json").write_text(json.dumps(rest))
    (tmp_path / "no_metrics.json").write_text(json.dumps(record | {"intervals": {}}))
    write(tmp_path / "cut")
    whole = (tmp_path / "cut" / "values.npz").read_bytes()
    (tmp_path / "cut" / "values.npz").write_bytes(whole[: len(whole) // 2])
    write(tmp_path / "mixed")
    (tmp_path / "mixed" / "values.npz").write_bytes(
        (write(tmp_path / "far", noise=1) / "values.npz").read_bytes()
    )
    broken = {"step": None, "intervals": {"psnr_swap": 3}, "psnr_swap": "high", "jackknife": []}
    for key, value in broken.items():
        (tmp_path / f"odd_{key}.json").write_text(json.dumps(record | {key: value}))
    (tmp_path / "none" / "checkpoints" / "latest").mkdir()
    cases = {
        ("a",): "one evaluation alone",
        ("a", "b"): "measured in different ways",
        ("a", "none"): "none has no metrics: make them with `faceshifter evaluate",
        ("a", "two"): "choose one with --protocol",
        ("a", "missing.json"): "missing.json does not exist",
        ("a", "other.json"): "does not hold metrics of an evaluation",
        ("a", "no_step.json"): "does not hold metrics of an evaluation",
        ("a", "no_data_sha256.json"): "does not hold metrics of an evaluation",
        ("a", "no_checkpoint_name.json"): "does not hold metrics of an evaluation",
        ("a", "no_metrics.json"): "does not hold metrics of an evaluation",
        **{("a", f"odd_{key}.json"): "does not hold metrics of an evaluation" for key in broken},
        ("a", "cut"): "values.npz cannot be read: evaluate again",
        ("a", "mixed"): "is of another evaluation",
        ("a", "nowhere"): "nowhere does not exist",
        ("a", "none/checkpoints"): "holds checkpoints: name one of them, or",
        ("a", "none/checkpoints/latest"): "has no metrics",
        ("a", "photos"): "cannot be compared with each other",
        ("photos",): "name one with --identity",
    }
    for names, reason in cases.items():
        assert cli.main(["compare", *(str(tmp_path / name) for name in names)]) == 2
        errors = capfd.readouterr().err
        assert reason in errors, errors
        assert errors.count("\n") == 1
    words = ["compare", str(two), str(two), "--protocol", "pairs"]
    assert cli.main(words) == 0
