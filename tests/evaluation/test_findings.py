"""What is noted beside the metrics of an evaluation."""

import numpy as np

from faceshifter_jax.evaluation.findings import Findings, build_record


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
