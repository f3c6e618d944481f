#!/bin/sh
# Get the servers that tests talk to, where this may be done: root, or sudo without a password, on Debian.
# Elsewhere the tests that need them say what to install.
set -eu
missing=""
has() { command -v "$1" >/dev/null; }
has prometheus && has promtool || missing="$missing prometheus"
has amtool && { has prometheus-alertmanager || has alertmanager; } || missing="$missing prometheus-alertmanager"
has prometheus-node-exporter || has node_exporter || missing="$missing prometheus-node-exporter"
has redis-server || missing="$missing redis-server"
has chromium || has chromium-browser || has google-chrome || missing="$missing chromium"
# Debian keeps PostgreSQL's programs off PATH.
has postgres || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
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
    trap 'exit 130' INT # which runs the other
    trap 'exit 143' TERM HUP
fi
echo "installing$missing"
# shellcheck disable=SC2086 # the list is meant to split
if $as_root apt-get update -qq &&
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 $missing >/dev/null; then
    # Nor are they to start with the machine from now on; the units bear the packages' names.
    [ ! -d /run/systemd/system ] || $as_root systemctl disable --quiet $missing || true
else
    echo "could not install$missing; tests that need it are skipped, and fail where CI=true" >&2
fi
