"""What can go wrong before a ready-made job runs, or a command begins.

JobsError
├── UnknownJobError (LookupError)    no job has this name
├── JobOptionsError (ValueError)     the job is there, but cannot be built from what was given
└── NotationError (ValueError)       the text on the command line is no tuple, or no template
"""


class JobsError(Exception):
    """Base class of every error raised by this package."""


class UnknownJobError(JobsError, LookupError):
    """Raised when a name is not in the catalogue."""


class JobOptionsError(JobsError, ValueError):
    """Raised when a job lacks an option, gets one it does not know, or cannot use its value."""


class NotationError(JobsError, ValueError):
    """Raised when a text is no tuple, or no template, as Python writes them."""
