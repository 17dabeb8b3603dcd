"""PySpark: RDDs in local mode."""

from __future__ import annotations

import os
import shutil
import sys
from importlib import import_module
from operator import add
from pathlib import Path
from typing import Any

from benchmarks.peer_programs.program import Order, serve
from benchmarks.peer_programs.workload import pairs_of_split, summary


def start(order: Order) -> Any:
    """Start Spark on this machine."""
    java = shutil.which("java")
    if java and "JAVA_HOME" not in os.environ:
        os.environ["JAVA_HOME"] = str(Path(java).resolve().parents[1])
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    settings = {
        "spark.ui.enabled": "false",
        "spark.local.dir": order.folder,
        "spark.sql.warehouse.dir": order.folder,
        "spark.driver.memory": "4g",
    }
    if order.memory:  # Spark has no less than 471 MB for its own process
        megabytes = order.memory // 1_000_000
        settings["spark.driver.memory"] = f"{max(512, megabytes * order.workers)}m"
        settings["spark.python.worker.memory"] = f"{megabytes}m"
    conf = import_module("pyspark").SparkConf().setMaster(f"local[{order.workers}]")
    conf.setAll(list(settings.items()))
    context = import_module("pyspark").SparkContext(conf=conf)
    context.setLogLevel("ERROR")
    return context


def lines(context: Any, order: Order) -> Any:
    """Count words."""
    text = context.textFile(",".join(order.paths))
    pairs = text.flatMap(lambda line: line.split()).map(lambda word: (word, 1))
    return pairs.reduceByKey(add).collect()


def sort(context: Any, order: Order) -> Path:
    """Sort lines by their first 10 characters."""
    records = context.textFile(order.paths[0]).map(lambda line: (line[:10], line))
    output = Path(order.folder) / "sorted"
    records.sortByKey().values().saveAsTextFile(str(output))
    return output


def group(context: Any, order: Order) -> Any:
    """Group pairs."""
    count = order.pairs
    splits = context.parallelize(range(order.splits), order.splits)
    pairs = splits.flatMap(lambda number: pairs_of_split(number, count))
    return pairs.groupByKey(4 * order.workers).mapValues(summary).collect()


if __name__ == "__main__":
    serve(
        {"lines": lines, "sort": sort, "group": group},
        start=start, stop=lambda context: context.stop(),
    )  # fmt: skip
