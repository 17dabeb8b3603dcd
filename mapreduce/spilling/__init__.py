"""Grouping and reducing more than memory holds.

::

    allowance    how much a task may hold          sizes        how much it holds, about
    groups       pairs by key                      partials     partials by key
    runs         sorted runs on disk, and their merge
"""
