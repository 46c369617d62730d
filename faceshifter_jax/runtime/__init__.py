"""Services for long jobs: devices, processes, signals, faults, progress."""
