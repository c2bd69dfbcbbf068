"""The pure part: no await, clock, randomness, logging or I/O; time and chance are arguments."""
