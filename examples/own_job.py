"""Which modules does Python's own standard library import most often?"""

import re
import sys
import sysconfig

from mapreduce import MapReduceJob, TextFiles, each, sum_values

IMPORT = re.compile(r"\s*(?:import|from) (\w+)")
LIBRARY = sysconfig.get_path("stdlib")

job = MapReduceJob(data=TextFiles(f"{LIBRARY}/*.py", errors="replace"))
job.map = each(lambda line: [(found[1], 1)] if (found := IMPORT.match(line)) else [])
job.combine = job.reduce = sum_values
job.reduce_tasks = 4

results = job.run(*sys.argv[1:])  # the URI of a space, or nothing: a private one, here
counts = [pair for partition in results for pair in partition]
for name, count in sorted(counts, key=lambda pair: (-pair[1], pair[0]))[:10]:
    print(f"{count:5} {name}")
