"""Ready-made jobs to run or to copy, and the command line that runs them.

Each job is one short module with the same five names, so that the command line can run any of
them and a reader can copy any of them:

- ``TITLE`` and ``COLUMNS`` say what its result is called and what its rows hold;
- ``job(paths, **options)`` builds the ``MapReduceJob``, which the caller runs where they like;
  one that needs several jobs is a generator of them, see ``steps``;
- ``table(results)`` turns the results of that job into rows for a person;
- ``sample(folder, size)`` writes input to try it with, see ``samples``.

``catalogue`` lists them, ``terminal`` shows progress and results, ``commands`` holds the commands and
``cli`` puts them together.
"""
