#!/bin/sh
# Make .freethreaded/venv, an environment on a CPython without the GIL: the one that PYTHON_FREETHREADED names, else a
# python3.14t or python3.13t on PATH, else one that is built here, once, from Debian's source package of Python 3.13.
set -eu
cd "$(dirname "$0")/../.."
folder=$PWD/.freethreaded
venv=$folder/venv
built=$folder/python/bin/python3.13t
package=python3.13
suite=trixie  # the first release of Debian that has it; its source builds on older ones too

# Builds in $folder and installs nothing outside; apt looks for the source in a list of its own, at the mirror that it uses already.
build() {
    command -v apt-get >/dev/null || fail "there is no apt-get to fetch its source with"
    for header in zlib.h openssl/ssl.h sqlite3.h bzlib.h lzma.h ffi.h; do
        echo "#include <$header>" | cc -E -I"/usr/include/$(uname -m)-linux-gnu" - >/dev/null 2>&1 ||
            fail "<$header> is missing: apt-get install build-essential zlib1g-dev libssl-dev libsqlite3-dev libbz2-dev liblzma-dev libffi-dev"
    done
    # shellcheck disable=SC2016 # apt expands it
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' 'Created-By: Packages' | head -n 1)
    [ -n "$mirror" ] || fail "apt knows no mirror of Debian: run apt-get update"
    apt=$folder/apt
    mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$folder/source" "$folder/build"
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$apt/sources.list"
    set -- -qq -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt" -o APT::Sandbox::User=
    echo "building $package without the GIL from Debian's source; this takes some minutes"
    apt-get "$@" update
    (cd "$apt" && apt-get "$@" source --download-only "$package")
    # The tarball alone: Debian's patches are for Debian's own layout.
    tar -xf "$apt/$package"_*.orig.tar.xz -C "$folder/source" --strip-components=1
    (
        cd "$folder/build"
        nice -n 10 ../source/configure --quiet --prefix="$folder/python" --disable-gil
        nice -n 10 make -s -j2
        nice -n 10 make -s altinstall
    ) >"$folder/build.log" 2>&1 || fail "see $folder/build.log"
    rm -rf "$folder/source" "$folder/build"
}

fail() {
    echo "no free-threaded Python: $1; or name one: make test-freethreaded PYTHON_FREETHREADED=/path/to/python3.14t" >&2
    exit 1
}

has_no_gil() { "$1" -c 'import sysconfig, sys; sys.exit(not sysconfig.get_config_var("Py_GIL_DISABLED"))' 2>/dev/null; }

python=${PYTHON_FREETHREADED:-}
if [ -n "$python" ]; then
    has_no_gil "$python" || fail "$python has a GIL, or does not run"
else
    for python in python3.14t python3.13t "$built"; do
        has_no_gil "$python" && break
    done
    has_no_gil "$python" || build
fi

if [ "$("$venv/bin/python" -VV 2>/dev/null)" != "$("$python" -VV)" ]; then
    "$python" -m venv --clear "$venv"
fi
# hypothesis as a wheel: its newest releases are built with Rust where there is none for this interpreter.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary hypothesis \
    --editable . pytest pytest-asyncio hypothesis
