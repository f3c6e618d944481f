#!/bin/sh
# Get the servers that tests talk to, where this may be done: root, or sudo without a password, on Debian.
# Elsewhere the tests that need them say what to install.
set -eu
missing=""
for package in prometheus prometheus-alertmanager; do
    command -v "$package" >/dev/null || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
command -v apt-get >/dev/null || exit 0
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || exit 0
    as_root="sudo -n"
fi
# The packages start their servers as they are installed, on every address; tests start their own, on loopback.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod +x "$policy"
    trap '$as_root rm -f "$policy"' EXIT
fi
echo "installing$missing"
$as_root apt-get update -qq
# shellcheck disable=SC2086 # the list is meant to split
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
