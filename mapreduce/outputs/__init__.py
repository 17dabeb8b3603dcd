"""From what the reduces return to what the job gives back.

::

    results      values, secured in the driver     formats, parquet     items -> bytes of a file
    committing   files, renamed by the driver      folders              directories and URLs
    chained      blocks that stay with workers     ownership            what goes when its owner does
    batches      how many items at a time
"""
