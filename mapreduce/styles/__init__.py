"""Other people's ways to write a MapReduce program, each a module; all run as a `MapReduceJob`.

A program written for one of them runs here with its import changed. Where it runs is said by ``space``:
None is this machine, and a URI, or what `tuplespace.connect` returns, is the cluster behind it.
"""
