#!/bin/sh
# Install the system libraries that headless rendering, OpenCV and RealSense cameras need, or print the exact line to run.
set -eu
missing=""
have() { ldconfig -p 2>/dev/null | grep -q "$1"; }
have libEGL.so.1 || missing="$missing libegl1"
have libGL.so.1 || missing="$missing libgl1"
have libgthread-2.0.so.0 || missing="$missing libglib2.0-0"
have libusb-1.0.so.0 || missing="$missing libusb-1.0-0"
python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
[ -z "$missing" ] && exit 0

line="apt-get install -y --no-install-recommends$missing"
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "installing system libraries:$missing"
    apt-get update -qq && $line -qq
elif command -v apt-get >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    echo "installing system libraries:$missing"
    sudo apt-get update -qq && sudo $line -qq
else
    echo "system libraries are missing. Run this once, then try again:" >&2
    echo "    sudo $line" >&2
    exit 1
fi
