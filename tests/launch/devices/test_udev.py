"""udev rules are shown, and installed only by root, only when asked."""

import shutil
import subprocess

import pytest
from twinloop.launch.devices.dialogue import Dialogue
from twinloop.launch.devices.ports import SerialDevice
from twinloop.launch.devices.udev import offer, rules

ARM = SerialDevice("/dev/serial/by-id/x", "/dev/ttyACM0", "1a86:55d3", 'odd"serial\n', "Bus")


def answers(*lines):
    left = iter(lines)
    return Dialogue(read=lambda: f"{next(left)}\n")


def test_rules_name_the_arms_adapter_and_quote_nothing_foreign():
    text = rules(
        {"left arm": ARM, "bare": SerialDevice("/dev/ttyUSB0", "/dev/ttyUSB0", "1a86:7523")}, "my/cell"
    )
    (link,) = [line for line in text.splitlines() if "SYMLINK" in line]
    assert link == (
        'SUBSYSTEM=="tty", ATTRS{idVendor}=="1a86", ATTRS{idProduct}=="55d3", ATTRS{serial}=="odd?serial?", '
        'SYMLINK+="twinloop/my_cell_left_arm"'
    )
    assert 'DRIVER=="ftdi_sio", ATTR{latency_timer}="1"' in text and 'TAG+="uaccess"' in text


@pytest.mark.skipif(shutil.which("udevadm") is None, reason="udevadm is not installed")
def test_udev_itself_takes_them(tmp_path):
    path = tmp_path / "70-twinloop.rules"
    path.write_text(rules({"arm": ARM}, "so101"))
    done = subprocess.run(["udevadm", "verify", str(path)], capture_output=True, text=True, check=False)
    if "Unknown command" in done.stderr:
        pytest.skip("this udevadm cannot verify")
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_root_is_asked_and_no_is_the_default(tmp_path, capsys):
    file = tmp_path / "rules.d" / "70-twinloop.rules"
    assert not offer("rules\n", answers(), file, root=False)
    assert f"put this into {file} (as root)" in capsys.readouterr().out
    assert not offer("rules\n", answers(""), file, root=True) and not file.exists()
    assert offer("rules\n", answers("y", "n", "n"), file, root=True)
    assert file.read_text() == "rules\n" and file.stat().st_mode & 0o777 == 0o644
    assert not offer("rules\n", answers(), file, root=True)
    assert "says the same already" in capsys.readouterr().out
    assert not offer("other\n", answers("n"), file, root=True) and file.read_text() == "rules\n"
