"""Emulated cameras as streams on this machine: MJPEG over HTTP, which browsers and OpenCV read as they are."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ..robot.cameras.process import CameraProcess
from ..robot.clock import RealClock
from ..robot.errors import DeviceError, StaleData
from ..robot.rig import Rig
from ..sim.emulate.camera import FACTORY
from ..sim.emulate.process import EmulatorProcess
from ..sim.emulate.stage import Stage

BOUNDARY = "picture"
LOOK_NS = 3_000_000
QUALITY = 90  # of JPEG, percent


class CameraStreams:
    """All cameras of `rig` at the `emulator`, one URL each; on the loopback address only."""

    def __init__(self, rig: Rig, stage: Stage, emulator: EmulatorProcess) -> None:
        if stage.size is not None:
            width, height = stage.size
            rig = replace(
                rig, cameras={n: replace(c, width=width, height=height) for n, c in rig.cameras.items()}
            )
        clock = RealClock()
        options = {"folder": str(emulator.folder)}
        self._cameras = {  # a frozen picture is for those who look to find out
            name: CameraProcess(name, rig, clock, source=FACTORY, options=options, frozen=False)
            for name in rig.cameras
        }
        self._looking = {name: threading.Lock() for name in rig.cameras}  # a ring has one reader at a time
        self._server: ThreadingHTTPServer | None = None

    @property
    def urls(self) -> Mapping[str, str]:
        """Camera -> URL, while they are open."""
        if self._server is None:
            return {}
        return {name: f"http://127.0.0.1:{self._server.server_address[1]}/{name}" for name in self._cameras}

    def open(self) -> None:
        """Start the cameras. Raises `DeviceError` that says why one has no picture."""
        try:
            for camera in self._cameras.values():
                camera.open()
        except BaseException:
            self.close()
            raise
        cameras, looking = self._cameras, self._looking

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.strip("/")
                if name not in cameras:
                    self.send_error(404, f"cameras: {', '.join(cameras)}")
                    return
                self.send_response(200)
                self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
                self.end_headers()
                try:
                    _stream(self, cameras[name], looking[name])
                except (OSError, DeviceError):  # who looked has gone, or the camera
                    pass

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
        for camera in self._cameras.values():
            camera.close()

    def __enter__(self) -> CameraStreams:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _stream(handler: BaseHTTPRequestHandler, camera: CameraProcess, looking: threading.Lock) -> None:
    """Every new picture, until nobody looks or the camera is closed; a camera that delivers none sends none."""
    import cv2

    clock, seen = RealClock(), -1
    while True:
        clock.sleep_until(clock.now() + LOOK_NS)
        try:
            with looking:
                frame = camera.read()
        except StaleData:
            continue
        if frame.seq == seen:
            continue
        seen = frame.seq
        done, jpeg = cv2.imencode(
            ".jpg", cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
        )
        if not done:
            raise DeviceError("a picture that cannot be encoded")
        data = jpeg.tobytes()
        head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        handler.wfile.write(head.encode() + data + b"\r\n")
