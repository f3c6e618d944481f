#!/bin/sh
# The linters that the field uses, on our rules and dashboards: pint, promtool of Prometheus 3, Grafana's dashboard-linter.
# They are Go programs, built once in .venv/go-bin. Names as arguments choose among them: pint promtool dashboard-linter
# Exit status: 0 where all that was asked for ran and found nothing, or where there is no Go; 1 otherwise.
set -u
cd "$(dirname "$0")/.."
bin=$PWD/.venv/go-bin
PATH=$PATH:${GOROOT:-/usr/local/go}/bin
failed=""

for name in ${*:-pint promtool dashboard-linter}; do
    case $name in
    pint | promtool | dashboard-linter) ;;
    *)
        echo "lint-mixin: there is no $name; give any of pint, promtool, dashboard-linter" >&2
        exit 1
        ;;
    esac
done

if ! command -v go >/dev/null; then
    echo "lint-mixin: there is no Go toolchain, so nothing was checked; from https://go.dev/dl/, or on Debian: apt-get install golang" >&2
    exit 0
fi

# build NAME MODULE VERSION PACKAGE [OPTION...]: a module of its own, since `go install` asks for the list of all versions, too
build() {
    name=$1 module=$2 version=$3 package=$4
    shift 4
    program=$bin/$name-$version
    [ -x "$program" ] && return 0
    echo "building $name $version"
    folder=$(mktemp -d)
    (
        cd "$folder" && export GOFLAGS="-mod=mod -modcacherw" && go mod init lint >/dev/null 2>&1 &&
            go mod edit -require="$module@$version" && go build -o "$program" "$@" "$package"
    ) >"$folder/log" 2>&1
    status=$?
    [ $status -eq 0 ] || { grep -v '^go: downloading' "$folder/log" | tail -n 5 >&2; }
    rm -rf "$folder"
    return $status
}

# run NAME COMMAND...: what it prints counts where it fails alone
run() {
    name=$1
    shift
    log=$(mktemp)
    "$@" >"$log" 2>&1 || { failed="$failed $name"; cat "$log" >&2; }
    rm -f "$log"
}

lint_pint() {
    build pint github.com/cloudflare/pint v0.87.0 github.com/cloudflare/pint/cmd/pint || return 1
    run pint "$program" --offline --no-color lint --min-severity=warning --fail-on=warning alerts/rules
}

lint_promtool() {
    # without service discovery, which no rule needs
    build promtool github.com/prometheus/prometheus v0.316.0 github.com/prometheus/prometheus/cmd/promtool -tags remove_all_sd ||
        return 1
    run "promtool-check-rules" "$program" check rules --lint=all --lint-fatal alerts/rules/*.yml
    for cases in alerts/tests/*.yml; do
        run "promtool:$(basename "$cases")" "$program" test rules "$cases"
    done
}

lint_dashboard_linter() {
    build dashboard-linter github.com/grafana/dashboard-linter v0.1.1 github.com/grafana/dashboard-linter || return 1
    for board in dashboards/*.json; do
        run "dashboard-linter:$(basename "$board")" "$program" lint --strict --config dashboards/.lint "$board"
    done
}

for linter in ${*:-pint promtool dashboard-linter}; do
    before=$failed
    if ! "lint_$(echo "$linter" | tr - _)"; then
        failed="$failed $linter"
        echo "$linter: could not be built, so it checked nothing" >&2
    elif [ "$before" = "$failed" ]; then
        echo "$linter: nothing to report"
    fi
done
[ -z "$failed" ] && exit 0
echo "lint-mixin: failed:$failed" >&2
exit 1
