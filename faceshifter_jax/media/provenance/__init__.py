"""Statements of where a picture comes from: written into outputs, read by `inspect`."""
