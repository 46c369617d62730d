"""Converting published weights to our networks."""
