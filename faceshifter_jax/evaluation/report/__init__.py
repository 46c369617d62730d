"""What an evaluation shows: charts, pictures and one HTML file."""
