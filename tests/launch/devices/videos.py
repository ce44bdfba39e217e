"""Videos in place of cameras."""

import av
import numpy as np


def video(path, values, *, size=(64, 48), moving=True):
    """Pictures of one grey each, 30 a second; a stripe wanders through them."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("h264", rate=30)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for k, value in enumerate(values):
            picture = np.full((size[1], size[0], 3), value, np.uint8)
            if moving:
                picture[:, (4 * k) % size[0] :][:, :8] = value // 2
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode())
    return path
