"""The pictures of one camera of the open episode: encoded while recording, readable after a kill."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from ..robot.types import U8
from .codec import VideoCodec

SAMPLES = 64  # pictures kept for the statistics of an episode
SAMPLE_PX = 60  # about this many pixels along the shorter side of a sample
_NICE = 5  # encoding gives way to the control loop


def thinned(picture: U8) -> U8:
    """A coarse copy of a picture (h, w, 3) for statistics: every k-th pixel both ways."""
    step = max(1, min(picture.shape[:2]) // SAMPLE_PX)
    return picture[::step, ::step].copy()


class VideoLog:
    """Encodes one camera to mkv from a thread of its own (PyAV releases the GIL).

    `put` waits only where `wait` says so. Clusters of at most 0.1 s go straight to the file, so a kill costs
    at most those.
    A fault of the disk or encoder is kept in `error` and ends the log.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], fps: int, codec: VideoCodec, *, limit: int, wait: bool
    ) -> None:
        self._path = path
        self._height, self._width = size
        self._fps = fps
        self._codec = codec
        self._wait = wait
        self._room = threading.Semaphore(limit)  # pictures that may still queue up
        self._queue: queue.SimpleQueue[U8 | bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"video {path.stem}", daemon=True)
        self._opened = False
        self._last: av.VideoFrame | None = None
        self._given = self._encoded = 0  # pictures
        self._stride = 1  # every stride-th picture becomes a sample
        self.samples: list[U8] = []
        self.error: OSError | None = None

    def open(self) -> None:
        """Create the file and the encoder. `OSError` when the disk or the encoder refuses."""
        self._container = av.open(
            str(self._path),
            "w",
            format="matroska",
            options={"cluster_time_limit": "100", "flush_packets": "1"},
        )
        stream = self._container.add_stream(
            self._codec.name, rate=self._fps, options=self._codec.encoder_options()
        )
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = self._width, self._height, self._codec.pix_fmt
        stream.time_base = Fraction(1, self._fps)
        stream.codec_context.thread_count = 1  # one thread delays nothing and costs the least
        self._stream = stream
        self._reformatter = VideoReformatter()
        self._container.start_encoding()
        self._opened = True
        self._thread.start()

    def put(self, picture: U8 | None) -> bool:
        """Queue one picture (h, w, 3) RGB; None repeats the previous one.

        Returns False when the row has no picture of its own: none was given, or too many were waiting.
        Either way the video grows by exactly one picture.
        """
        self._given += 1
        if picture is None or not self._room.acquire(blocking=self._wait):
            self._queue.put(True)
            return False
        self._queue.put(picture.copy())  # whoever owns the buffer may reuse it
        return True

    @property
    def backlog(self) -> int:
        """Pictures that were given and are not encoded yet."""
        return self._given - self._encoded

    def close(self) -> None:
        """Encode what is waiting and end the file; may be called twice."""
        if not self._opened:
            return
        self._opened = False
        self._queue.put(False)
        self._thread.join()
        try:
            if self.error is None:
                self._container.mux(self._stream.encode(None))
            self._container.close()
        except (OSError, av.error.FFmpegError, ValueError) as error:
            self.error = self.error or _as_os_error(error)

    def _work(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # a wish, not a need
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while (item := self._queue.get()) is not False:
            picture = None if item is True else item
            if picture is not None:
                self._room.release()
            try:
                if self.error is None:
                    self._encode(picture, self._encoded)
            except (OSError, av.error.FFmpegError, ValueError) as error:
                self.error = _as_os_error(error)
            self._encoded += 1

    def _encode(self, picture: U8 | None, index: int) -> None:
        if picture is not None:
            self._sample(picture, index)
        elif self._last is None:
            picture = np.zeros((self._height, self._width, 3), np.uint8)
        if picture is not None:
            frame = av.VideoFrame.from_numpy_buffer(picture, format="rgb24")
            self._last = self._reformatter.reformat(frame, format=self._codec.pix_fmt)
        assert self._last is not None
        self._last.pts = index
        self._last.time_base = Fraction(1, self._fps)
        self._container.mux(self._stream.encode(self._last))

    def _sample(self, picture: U8, index: int) -> None:
        if index % self._stride:
            return
        self.samples.append(thinned(picture))
        if len(self.samples) >= SAMPLES:  # thin out: samples stay spread over the whole episode
            del self.samples[1::2]
            self._stride *= 2


def _as_os_error(error: Exception) -> OSError:
    if isinstance(error, OSError) and error.errno:
        return error
    return OSError(0, f"video encoder: {error}")
