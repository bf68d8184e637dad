"""Schedules of faults, deaths and edits against the real domain code and the real sandbox, in simulated time."""
