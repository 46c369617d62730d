"""The protocols of evaluations: pairs of pictures and the scores of their swaps."""
