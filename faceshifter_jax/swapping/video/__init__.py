"""Videos: people found and tracked, and swapped frame by frame."""
