"""What a file says about where its picture comes from: written into outputs, read by `inspect`."""
