"""What `benchmarks.mapreduce` compares with: each a program that does one job and says how it went.

They run in a Python of their own, which has the peer and need not have the project: they import the
standard library, each other, and their peer.
"""
