"""Jobs against Dask distributed, Ray, PySpark, SimpleMapReduce, bare processes and one plain process."""
