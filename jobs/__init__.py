"""Ready-made jobs to run or to copy, and the command line that runs them.

Each job is one short module with the same four names, so that the command line can run any of
them and a reader can copy any of them:

- ``TITLE`` and ``COLUMNS`` say what its result is called and what its rows hold;
- ``job(paths, **options)`` builds the ``MapReduceJob``, which the caller runs where they like;
- ``table(results)`` turns the results of that job into rows for a person.

``catalogue`` lists them, ``display`` shows progress and results, ``cli`` holds the commands.
"""
