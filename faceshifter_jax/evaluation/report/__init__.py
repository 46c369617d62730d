"""Reports of an evaluation: charts, pictures and one HTML file."""
