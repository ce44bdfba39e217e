#!/bin/sh
# Install the system libraries that headless rendering, OpenCV and RealSense cameras need, or print the exact line to run.
# With `browser`, also a Chromium, in which the operator's page is tested; where there is none those tests skip.
set -eu
missing=""
have() { ldconfig -p 2>/dev/null | grep -q "$1"; }
have libEGL.so.1 || missing="$missing libegl1"
have libGL.so.1 || missing="$missing libgl1"
have libgthread-2.0.so.0 || missing="$missing libglib2.0-0"
have libusb-1.0.so.0 || missing="$missing libusb-1.0-0"
python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"

line() { echo "apt-get install -y --no-install-recommends$1"; }

install() { # packages; 1 where that needs a person
    if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
        echo "installing:$1"
        apt-get update -qq && $(line "$1") -qq
    elif command -v apt-get >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        echo "installing:$1"
        sudo apt-get update -qq && sudo $(line "$1") -qq
    else
        return 1
    fi
}

if [ -n "$missing" ] && ! install "$missing"; then
    echo "system libraries are missing. Run this once, then try again:" >&2
    echo "    sudo $(line "$missing")" >&2
    exit 1
fi

[ "${1:-}" = browser ] || exit 0
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    "$name" --version >/dev/null 2>&1 && exit 0 # Ubuntu's package of this name is a stub that wants snap: it fails
done
package=" chromium fonts-liberation"
if [ "$(. /etc/os-release 2>/dev/null && echo "${ID:-}")" != debian ]; then
    echo "no Chromium here: the tests of the operator's page in a browser will be skipped" >&2
elif ! install "$package"; then
    echo "no Chromium here: the tests of the operator's page in a browser will be skipped. To have one:" >&2
    echo "    sudo $(line "$package")" >&2
fi
