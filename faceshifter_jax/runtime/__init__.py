"""What long work needs of the machine: devices, processes, signals, faults, progress."""
