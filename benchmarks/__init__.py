"""Benchmarks: peer and project in the same run, quoted as ratios. Never run as tests."""
