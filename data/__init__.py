"""Episodes on disk: LeRobotDataset v3.0, crash-safe, with what was asked and what was sent."""

from .codec import VideoCodec
from .reader import Dataset, Episode
from .recorder import Recorder, recorder_spec
from .spec import DatasetSpec
from .writer import DatasetWriter

__all__ = [
    "Dataset",
    "DatasetSpec",
    "DatasetWriter",
    "Episode",
    "Recorder",
    "VideoCodec",
    "recorder_spec",
]
