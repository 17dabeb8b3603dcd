"""From a job's data to splits, and from a split to records.

::

    splits       data -> M planned splits          stream       data that is read while the job runs
    textfiles    which files, cut where            picklefiles  files that `PickleOutput` has written
    filesplit    a split whose records are in      readers, textlines    records in a range of one
    counted      how many of them are read
    filerange    ranges of local files             urls         of URLs           compressed   of .gz ...
"""
