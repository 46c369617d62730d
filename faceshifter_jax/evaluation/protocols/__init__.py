"""What an evaluation measures: pairs of pictures and the scores of their swaps."""
