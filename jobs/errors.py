"""What can go wrong before a ready-made job runs.

JobsError
├── UnknownJobError (LookupError)    no job has this name
└── JobOptionsError (ValueError)     the job is there, but cannot be built from what was given
"""


class JobsError(Exception):
    """Base class of every error raised by this package."""


class UnknownJobError(JobsError, LookupError):
    """Raised when a name is not in the catalogue."""


class JobOptionsError(JobsError, ValueError):
    """Raised when a job lacks an option, gets one it does not know, or cannot use its value."""
