"""The scores of the last day or more on this machine, kept over restarts at little cost.

One entry stands for SAMPLE_SECONDS of frames, or for one frame where frames come less often. It has the score of the
first frame, which is a sample that does not depend on the scores, and the highest score, from which follows what
another threshold would have done (threshold_replay.py). The file holds 20,000 entries, which is 27 hours of a camera
that runs all the time.

Entries are written in blocks, every FLUSH_SECONDS and when the daemon stops; nothing is synced. A power cut costs the
last minutes; a damaged block costs its own entries; a disk that takes nothing costs the history, never the daemon.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections import deque
from pathlib import Path

import msgspec
import numpy as np

from ..atomic_file import open_private
from ..camera.frame import FrameTime
from .score_blocks import ALARM, ALARM_WITHIN, ENTRIES, ENTRY, MAX_DEBOUNCE, MODEL_BYTES, ScoreBlock, read_blocks

log = logging.getLogger(__name__)

FILE_NAME = "scores.bin"
SAMPLE_SECONDS = 5.0
FLUSH_SECONDS = 300.0


class ScoreHistory:
    """The daemon's side; `read_scores` (scores.py) is the reader's.

    Args:
        folder: the camera's state folder
        model: the bundle's `model_id`
        threshold: score from which the model reports an alarm
        debounce: frames in a row that a score must last for an alarm
    """

    def __init__(self, folder: Path, model: str, threshold: float, debounce: int = 1) -> None:
        self.path = folder / FILE_NAME
        self.written = 0
        """Bytes written to the file since the start."""
        self.is_failing = False
        self.entries = np.zeros(ENTRIES, ENTRY)
        self.count = 0
        """Complete entries of the block."""
        self.unwritten = 0
        self.began: FrameTime | None = None
        """First frame of the entry that is not complete yet; it stands behind the complete ones."""
        self.recent: deque[float] = deque(maxlen=min(debounce, MAX_DEBOUNCE))
        self.last_flush, self.flush_seconds = time.monotonic(), FLUSH_SECONDS
        model = model.encode()[:MODEL_BYTES].decode(errors="ignore")
        self.block = ScoreBlock(1, model, threshold, min(debounce, MAX_DEBOUNCE), self.entries[:0])
        self._continue_file()

    def add(self, when: FrameTime, score: float, alarm: bool) -> None:
        """Takes the score of a frame.

        Args:
            when: the frame's time
            score: its score; one that is no number is left out
            alarm: True if an event is open in this frame
        """
        if not math.isfinite(score):
            return
        if self.began is None or not 0 <= when.moment - self.began.moment < SAMPLE_SECONDS:
            self._complete_entry()
            self.began = when
            self.entries[self.count] = (when.taken, score, -math.inf, score, ALARM * alarm)
        self.recent.append(score)
        entry = self.entries[self.count]
        if len(self.recent) == self.recent.maxlen:
            entry["peak"] = max(entry["peak"], min(self.recent))
        entry["last"] = score
        if alarm:
            entry["flags"] |= ALARM_WITHIN

    def flush(self) -> None:
        """Writes what is not written yet. A disk that does not take it is logged once."""
        self.last_flush = time.monotonic()
        if not self.unwritten:
            return
        self.unwritten = 0
        block = msgspec.structs.replace(self.block, entries=self.entries[: self.count])
        try:
            descriptor = open_private(str(self.path), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                self.written += os.pwrite(descriptor, block.encode(), block.offset)
            finally:
                os.close(descriptor)
            self.is_failing = False
        except OSError as error:
            if not self.is_failing:
                log.warning("the scores are not kept: %s: %s", self.path, error.strerror)
            self.is_failing = True

    def close(self) -> None:
        """Ends the present entry and writes everything."""
        self._complete_entry()
        self.flush()

    def _complete_entry(self) -> None:
        if self.began is None:
            return
        self.began = None
        self.count += 1
        self.unwritten += 1
        if self.count == ENTRIES:
            self.flush()
            self._start_block()
        elif time.monotonic() - self.last_flush >= self.flush_seconds:
            self.flush()

    def _start_block(self) -> None:
        self.block, self.count = msgspec.structs.replace(self.block, sequence=self.block.sequence + 1), 0

    def _continue_file(self) -> None:
        """Goes on in the last block of the file if it is of the same model, and otherwise behind it."""
        try:
            newest = read_blocks(self.path)[-1:]
        except OSError as error:
            log.warning("the scores before this start cannot be read: %s: %s", self.path, error.strerror)
            return
        for block in newest:
            if block.is_like(self.block) and len(block.entries) < ENTRIES:
                self.block, self.count = block, len(block.entries)
                self.entries[: self.count] = block.entries
            else:
                self.block = msgspec.structs.replace(self.block, sequence=block.sequence + 1)
