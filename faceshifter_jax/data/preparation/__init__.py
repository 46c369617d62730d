"""From photographs or embedded faces to a prepared dataset."""
