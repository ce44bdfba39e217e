"""`twinloop` in processes that fork from one with the imports done: a command takes tenths of a second then."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HEAVY = ["numpy", "mujoco", "cv2", "pyarrow.parquet", "av", "tyro", "torch", "twinloop.launch.cli"]


def twinloop(*args, cwd=None):
    """As `subprocess.run` would tell of it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(HEAVY)
    with tempfile.TemporaryDirectory() as folder:
        done = context.Process(target=_run, args=([str(a) for a in args], folder, str(cwd or os.getcwd())))
        done.start()
        done.join(timeout=120)
        if done.is_alive():
            done.kill()
            raise TimeoutError(f"twinloop {args}")
        out, err = (Path(folder, name).read_text() for name in ("out", "err"))
    return subprocess.CompletedProcess(args, done.exitcode, out, err)


def _run(args, folder, cwd):
    for number, name in ((1, "out"), (2, "err")):
        opened = os.open(Path(folder, name), os.O_CREAT | os.O_WRONLY)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(cwd)
    os.environ["MUJOCO_GL"] = "egl"
    from twinloop.launch.cli import main

    sys.exit(main(args))
