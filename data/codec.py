"""How pictures become video while recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import av

from ..robot.errors import DatasetError, nearest


@dataclass(frozen=True, slots=True)
class VideoCodec:
    """An FFmpeg encoder and its options.

    The default costs about a tenth of a core for two 480x640 cameras at 30 fps. Every second picture is
    a key frame (`g=2`), so that a training loader decodes any picture from at most two. B-frames are off:
    the pictures then leave the encoder at once and in order, which is what makes a kill cheap.
    """

    name: str = "h264"
    pix_fmt: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=lambda: {"preset": "ultrafast", "crf": "23"})
    gop: int = 2  # pictures from one key frame to the next

    def check(self, camera: str, height: int, width: int) -> None:
        """Raise `DatasetError` when this codec is not there or cannot hold pictures of this size (px)."""
        if self.name not in av.codecs_available:
            usable = [name for name in ("h264", "hevc", "libsvtav1", "mpeg4") if name in av.codecs_available]
            raise DatasetError(f"video codec '{self.name}' is not in this FFmpeg{nearest(self.name, usable)}")
        if height < 16 or width < 16 or height > 8192 or width > 8192:
            raise DatasetError(f"camera {camera}: {height}x{width} px; video needs 16 to 8192 px a side")
        if self.pix_fmt.startswith("yuv420") and (height % 2 or width % 2):
            raise DatasetError(
                f"camera {camera}: {height}x{width} px; {self.name} with {self.pix_fmt} needs an even height "
                f"and width: crop or resize to {height - height % 2}x{width - width % 2}"
            )

    def encoder_options(self) -> dict[str, str]:
        """Options as FFmpeg takes them."""
        return {"g": str(self.gop), "bf": "0", **self.options}

    def feature_info(self, height: int, width: int, fps: int) -> dict[str, object]:
        """What `info.json` says of such a video, in LeRobot's words."""
        info: dict[str, object] = {
            "video.height": height,
            "video.width": width,
            "video.codec": self.name,
            "video.pix_fmt": self.pix_fmt,
            "video.fps": fps,
            "video.channels": 3,
            "has_audio": False,
            "is_depth_map": False,
            "video.g": self.gop,
        }
        for name in ("crf", "preset"):
            if name in self.options:
                value = self.options[name]
                info[f"video.{name}"] = int(value) if value.isdigit() else value
        return info
