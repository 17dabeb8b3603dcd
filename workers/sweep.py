"""The sweep: ends what is left of jobs that have ended, in the space and on this host's disk."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tuplespace.interface import Space
from workers.child import Child
from workers.claims import Claims, clear_job, deserted_jobs
from workers.folders import remove_deserted, remove_unused
from workers.shelf import Shelf

#: After so many seconds a job that has ended is cleared away once more: by then a result that a dead
#: driver had claimed is back, and one of an agent that was frozen has come.
_ONCE_MORE: Final = 40.0
#: Modules of jobs that nobody has used for so many seconds go, and how often we look for them.
_CODE_SECONDS: Final = 24 * 3600.0
_LOOK_SECONDS: Final = 3600.0


class Sweep:
    """One agent's.

    Args:
        space: Where the jobs are. claims: Knows them. shelf: Holds their tasks. root: The folder
            of blocks, with one for each job.

    Attributes:
        over: Jobs that we have served and that have ended.
    """

    def __init__(self, space: Space, claims: Claims, shelf: Shelf, root: Path) -> None:
        self.over: set[str] = set()
        self._space, self._claims, self._shelf, self._root = space, claims, shelf, root
        self._once_more: dict[str, float] = {}
        self._look_at = 0.0

    def folders(self) -> dict[str, Path]:
        """Return the folders of blocks there are, by job."""
        try:
            return {folder.name: folder for folder in self._root.iterdir() if folder.is_dir()}
        except FileNotFoundError:  # somebody has cleared the temporary folder
            return {}

    def sweep(self, running: Iterable[Child]) -> None:
        """Clear ended jobs away, with the workers that run them, and folders nobody works for.

        Raises:
            TupleSpaceError: The space is away, or was lost.
        """
        folders, claims = self.folders(), self._claims
        held = {errand.value[1] for errand in self._shelf.held()}
        claims.served_jobs |= held
        served = set(claims.served_jobs)  # as it was before we ask: the claimer adds new ones
        deserted = deserted_jobs(self._space)  # before we ask which jobs there are
        if folders or served or deserted:
            live = claims.live_jobs()
            self.over = served - live
            for child in running:
                child.end_jobs(self.over)
            now = time.monotonic()
            for job in self.over | (deserted - live):
                self._once_more[job] = now + _ONCE_MORE
                clear_job(self._space, job)
            claims.served_jobs -= self.over - held
            for job in folders.keys() - live:
                shutil.rmtree(folders[job], ignore_errors=True)
        self._sweep_once_more()
        remove_deserted(self._root.parent)
        self._sweep_code()

    def _sweep_code(self) -> None:
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            remove_unused(self._root.parent / "code", _CODE_SECONDS)

    def _sweep_once_more(self) -> None:
        now = time.monotonic()
        for job in [job for job, due in self._once_more.items() if due <= now]:
            clear_job(self._space, job)
            del self._once_more[job]
