"""What long jobs need from the machine: devices, processes, signals, faults, progress."""
