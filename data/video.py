"""Video files: count, move to mp4 without encoding again, decode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame

from ..robot.errors import DatasetError
from ..robot.types import F64, U8


@dataclass(frozen=True, slots=True)
class Pictures:
    """What a video file holds."""

    times_s: F64  # (n,) when each picture is shown, s, sorted
    fault: str = ""  # what kept the rest from being read

    @property
    def count(self) -> int:
        return len(self.times_s)


def pictures(path: Path, *, deep: bool = False) -> Pictures:
    """The whole pictures of a video, however the file ends; `deep` decodes each, else packets are counted."""
    times: list[float] = []
    fault = ""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.time_base is not None
            if deep:
                stream.thread_type = "AUTO"
            for item in container.decode(stream) if deep else container.demux(stream):
                if isinstance(item, Packet) and not item.size:
                    continue  # the one that ends the stream
                if item.pts is None or item.is_corrupt:
                    fault = "damaged pictures"
                    continue
                times.append(float(item.pts * stream.time_base))
    except (OSError, av.error.FFmpegError, IndexError, ValueError) as error:  # ValueError: names not in UTF-8
        fault = f"cannot be read after {len(times)} pictures: {error}"
    return Pictures(np.sort(np.array(times, np.float64)), fault)


def remux(source: Path, target: Path, count: int, fps: int) -> None:
    """Copy the first `count` pictures to an mp4 with presentation times k / fps, without encoding again.

    `DatasetError` when the source holds fewer or cannot be copied; `OSError` when the disk refuses.
    """
    try:
        done = _copied(source, target, count, fps)
    except (av.error.FFmpegError, ValueError) as error:
        if isinstance(error, OSError):
            raise
        raise DatasetError(f"{source}: cannot be copied: {error}") from error
    if done < count:
        raise DatasetError(f"{source}: {done} pictures, expected {count}")


def _copied(source: Path, target: Path, count: int, fps: int) -> int:
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        with av.open(str(target), "w", format="mp4") as output:
            copy = output.add_stream_from_template(stream, opaque=True)
            copy.time_base = Fraction(1, fps)
            done = 0
            for packet in container.demux(stream):
                if done == count:
                    break
                if not packet.size or packet.pts is None:
                    continue
                packet.pts = packet.dts = done
                packet.duration = 1
                packet.time_base = Fraction(1, fps)
                packet.stream = copy
                output.mux(packet)
                done += 1
    return done


def decode(path: Path, start_s: float, count: int, fps: int) -> Iterator[U8]:
    """Yield `count` RGB pictures (h, w, 3) from `start_s` on, in order, at 1/fps.

    `DatasetError` names the file when it is missing, damaged or too short.
    """
    first = round(start_s * fps)
    wanted = first
    for frame in _frames_from(path, start_s):
        k = _position(frame, fps)
        if k < wanted:
            continue
        if k > wanted:
            break
        yield _rgb(frame)
        wanted += 1
        if wanted == first + count:
            return
    raise DatasetError(
        f"{path}: picture {wanted - first} of {count} at {wanted / fps:.3f} s is not in the video; "
        f"`twinloop dataset check` tells which episodes are hurt"
    )


def _rgb(frame: VideoFrame) -> U8:
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def _position(frame: VideoFrame, fps: int) -> int:
    assert frame.pts is not None and frame.time_base is not None
    return round(frame.pts * frame.time_base * fps)


def _frames_from(path: Path, start_s: float) -> Iterator[VideoFrame]:
    if not path.exists():
        raise DatasetError(f"{path}: no such video; copy it back, or train without this camera")
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if start_s > 0:
                assert stream.time_base is not None
                container.seek(int(start_s / stream.time_base), stream=stream, backward=True)
            for frame in container.decode(stream):
                if frame.pts is not None:
                    yield frame
    except (OSError, av.error.FFmpegError, IndexError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be decoded: {error}") from error
