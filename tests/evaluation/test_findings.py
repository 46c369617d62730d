"""What is noted next to the metrics of an evaluation."""

import numpy as np

from faceshifter_jax.evaluation.evaluate import describe
from faceshifter_jax.evaluation.findings import Findings, build_record
from faceshifter_jax.evaluation.presentation import Headline, Table
from faceshifter_jax.evaluation.report.html_report import write_html


def share(of_hundred):
    return (np.arange(100) < of_hundred).astype(float)


def test_more_than_the_right_answers_by_more_than_chance_is_noted():
    """Wilson's interval of 60 of 100 ends at 69.1 %."""
    ceilings = {"swap_nearer_source": "answer_nearer_source", "id_cosine_hear": "id_cosine_answer"}
    for swaps, noted in ((60, {}), (69, {}), (70, {"swap_nearer_source": "answer_nearer_source"})):
        values = {"swap_nearer_source": share(swaps), "answer_nearer_source": share(60)}
        findings = Findings(values, [], [], {}, ceilings=ceilings)
        assert findings.above_right_answers() == noted
        assert build_record(findings, {})["above_right_answers"] == noted


def pleasing():
    values = {"id_retrieval_top1": share(90), "answer_retrieval_top1": share(60)}
    pictures = {"swap": np.zeros((100, 8, 8, 3), np.uint8)}
    ceilings = {"id_retrieval_top1": "answer_retrieval_top1"}
    return Findings(values, [], [pictures], {"pairs": 100}, ceilings=ceilings)


SAID = "pleases the judge: above the right answers&#x27; 60.0 % (50.2 % to 69.1 %)"


def test_console_and_report_mark_it_and_nothing_else(tmp_path):
    given = {
        **{"checkpoint_name": "aei", "checkpoint": "aei", "step": 5, "protocol": "ground-truth"},
        **{"protocol_version": 6, "image_size": 8, "time": "now", "warnings": []},
    }
    record = build_record(pleasing(), given)
    first, second = describe(record)
    assert first.endswith(SAID.replace("&#x27;", "'"))
    assert "pleases" not in second
    table = Table(
        "Identity",
        "",
        ("swap", "right answer", "copy", "unused"),
        (("recognised", ("id_retrieval_top1", "answer_retrieval_top1", 0.0, None)),),
    )
    write_html(
        tmp_path / "report.html",
        pleasing(),
        record,
        headlines=[Headline("recognised", "id_retrieval_top1")],
        tables=[table],
        history=[],
        training={},
    )
    text = (tmp_path / "report.html").read_text()
    assert text.count(SAID) == 2, "in the tile and in the table"
    assert "unused" not in text


def test_what_earlier_versions_wrote_is_shown_without_marks():
    record = build_record(pleasing(), {})
    del record["above_right_answers"]
    assert not [line for line in describe(record) if "pleases" in line]
