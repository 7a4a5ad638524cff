"""Races: ours and the peer's in one run, on the same work, as a ratio. `python -m benchmarks [names] [--quick]`."""
