#!/usr/bin/env bash
# Patroni keeps a PostgreSQL primary and its replica on three Holdfast nodes: bootstrap, switchover, the primary's
# host dies, and then the primary's host and the Holdfast leader at once. No acknowledged row is lost, and at no time do
# two nodes take writes. About three minutes; see README.md.
#
#   BIN=target/debug   where `holdfast` and `holdfastctl` are (default: target/debug)
#   KEEP=1             leave the data folder and the logs behind
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

bin=$(realpath "${BIN:-target/debug}")
# Longest wait, in seconds, for anything that should happen soon.
readonly patience_s=90
readonly pg_names=(alpha beta)

skip() { echo "SKIPPED: $*"; exit 0; }
[ -x "$bin/holdfast" ] || { echo "$bin/holdfast is missing: cargo build --workspace --bins, or set BIN." >&2; exit 1; }
[ "$(id -u)" = 0 ] || skip "PostgreSQL must not run as root, and this script starts it as the user postgres: run it as root"
id postgres >/dev/null 2>&1 || skip "there is no user postgres: apt-get install postgresql"
pg_bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -1)
[ -n "$pg_bin" ] || skip "PostgreSQL is not installed: apt-get install postgresql"

# A Python that the user postgres may run, too.
python=""
for candidate in "$(command -v python3)" /usr/bin/python3; do
    if setpriv --reuid postgres --regid postgres --init-groups sh -c "'$candidate' -c 'import venv'" 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || skip "there is no Python that the user postgres may run"

folder=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-patroni.XXXXXX")
chmod 755 "$folder"
holdfast_pids=("" "" "")
patroni_pids=("" "")
writer_pid=""

# The processes of one PostgreSQL host: Patroni, the postmaster, and its children.
host_pids() { # <number>
    local postmaster
    [ -z "${patroni_pids[$1]}" ] || echo "${patroni_pids[$1]}"
    postmaster=$(head -1 "$folder/${pg_names[$1]}/data/postmaster.pid" 2>/dev/null || true)
    # The file may be older than the process: the id counts only if it is a server of this folder.
    if [ -n "$postmaster" ] && tr '\0' ' ' <"/proc/$postmaster/cmdline" 2>/dev/null | grep -qF "$folder/"; then
        echo "$postmaster"
        pgrep -P "$postmaster" || true
    fi
}

kill_host() { # <number>
    local pids
    mapfile -t pids < <(host_pids "$1")
    kill -9 "${pids[@]}" 2>/dev/null || true
    patroni_pids[$1]=""
}

clean_up() {
    local status=$? pid
    touch "$folder/stop"
    [ -z "$writer_pid" ] || kill -9 "$writer_pid" 2>/dev/null || true
    kill_host 0
    kill_host 1
    for pid in "${holdfast_pids[@]}"; do
        [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    sleep 0.5
    if [ -n "${KEEP:-}" ] || [ "$status" != 0 ]; then
        echo "Data and logs are in $folder"
    else
        rm -rf "$folder"
    fi
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

step() { printf '\n== %s\n' "$*"; }
say() { printf '   %s\n' "$*"; }
fail() {
    printf '\nFAILED: %s\n' "$*" >&2
    tail -n 5 "$folder"/*.log >&2
    exit 1
}

# until_true <what> <command>...
until_true() {
    local what=$1 end=$((SECONDS + patience_s))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || fail "after $patience_s s there is still no $what"
        sleep 0.2
    done
}

ports=()
port=$((20000 + RANDOM % 10000))
while [ "${#ports[@]}" -lt 10 ]; do
    port=$((port + 1))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || ports+=("$port")
done
client_port() { echo "${ports[$1]}"; }
peer_port() { echo "${ports[$1 + 3]}"; }
rest_port() { echo "${ports[$1 + 6]}"; }
pg_port() { echo "${ports[$1 + 8]}"; }

start_holdfast() { # <number>
    local cluster
    cluster="n0=http://127.0.0.1:$(peer_port 0),n1=http://127.0.0.1:$(peer_port 1),n2=http://127.0.0.1:$(peer_port 2)"
    "$bin/holdfast" serve --name "n$1" --zone "z$1" --data-dir "$folder/n$1" \
        --listen-client-urls "http://127.0.0.1:$(client_port "$1")" \
        --advertise-client-urls "http://127.0.0.1:$(client_port "$1")" \
        --listen-peer-urls "http://127.0.0.1:$(peer_port "$1")" \
        --initial-advertise-peer-urls "http://127.0.0.1:$(peer_port "$1")" \
        --initial-cluster "$cluster" --initial-cluster-token patroni >>"$folder/n$1.log" 2>&1 &
    holdfast_pids[$1]=$!
}

configure() { # <number>
    local name=${pg_names[$1]}
    mkdir -p "$folder/$name"
    cat >"$folder/$name/patroni.yml" <<YAML
scope: demo
name: $name
restapi: { listen: "127.0.0.1:$(rest_port "$1")", connect_address: "127.0.0.1:$(rest_port "$1")" }
etcd3:
  hosts: ["127.0.0.1:$(client_port 0)", "127.0.0.1:$(client_port 1)", "127.0.0.1:$(client_port 2)"]
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 2
    retry_timeout: 5
    maximum_lag_on_failover: 1048576
    synchronous_mode: true
    postgresql: { use_pg_rewind: true, parameters: { wal_log_hints: "on", shared_buffers: 16MB, max_connections: 30 } }
  initdb: [{ encoding: UTF8 }, data-checksums]
postgresql:
  listen: "127.0.0.1:$(pg_port "$1")"
  connect_address: "127.0.0.1:$(pg_port "$1")"
  data_dir: $folder/$name/data
  bin_dir: $pg_bin
  pgpass: $folder/$name/pgpass
  pg_hba: ["local all all trust", "host all all 127.0.0.1/32 md5", "host replication all 127.0.0.1/32 md5"]
  parameters: { unix_socket_directories: "$folder/$name" }
  authentication:
    superuser: { username: postgres, password: postgres }
    replication: { username: replicator, password: replicator }
YAML
    chown -R postgres: "$folder/$name"
}

start_host() { # <number>
    local name=${pg_names[$1]}
    # exec: the id is that of Patroni itself.
    (cd "$folder/$name" && exec env HOME="$folder/$name" setpriv --reuid postgres --regid postgres --init-groups \
        "$venv/bin/python" "$venv/bin/patroni" "$folder/$name/patroni.yml") >>"$folder/$name.log" 2>&1 &
    patroni_pids[$1]=$!
}

# What Patroni's health checks say: `primary` and `replica` answer 200 if the node is that.
is_primary() { "$venv/bin/python" "$here/ask.py" "http://127.0.0.1:$(rest_port "$1")/primary"; }
is_replica() { "$venv/bin/python" "$here/ask.py" "http://127.0.0.1:$(rest_port "$1")/replica?lag=1MB"; }
is_sync() { "$venv/bin/python" "$here/ask.py" "http://127.0.0.1:$(rest_port "$1")/sync"; }
primary() { if is_primary 0; then echo 0; elif is_primary 1; then echo 1; fi; }
holdfast_leader() {
    local i
    for i in 0 1 2; do
        [ -z "${holdfast_pids[$i]}" ] || [ "$("$venv/bin/python" "$here/ask.py" \
            "http://127.0.0.1:$(client_port "$i")/v3/maintenance/status" leads)" != yes ] || { echo "$i"; return; }
    done
}

leads() { [ -n "$(holdfast_leader)" ]; }

step "Patroni, from PyPI"
venv=${PATRONI_VENV:-$folder/venv}
if [ ! -x "$venv/bin/patroni" ]; then
    "$python" -m venv "$venv" >"$folder/venv.log" 2>&1 || skip "no virtual environment: apt-get install python3-venv"
    "$venv/bin/pip" install -q 'patroni[etcd3]' psycopg2-binary >>"$folder/venv.log" 2>&1 ||
        skip "Patroni cannot be installed"
fi
say "$("$venv/bin/patroni" --version), $("$pg_bin/postgres" --version), $("$bin/holdfast" --version | grep -im1 holdfast || true)"

step "Three Holdfast nodes; then two PostgreSQL hosts"
for i in 0 1 2; do start_holdfast "$i"; done
until_true "Holdfast leader" leads
configure 0
configure 1
start_host 0
until_true "primary" is_primary 0
start_host 1
until_true "synchronous replica" is_sync 1
say "${pg_names[0]} is the primary, ${pg_names[1]} its synchronous replica"

step "A writer that writes to both, and notes what each takes"
PGPASSWORD=postgres "$pg_bin/psql" -qh 127.0.0.1 -p "$(pg_port 0)" -U postgres \
    -c 'CREATE TABLE writes (n bigint PRIMARY KEY, node text NOT NULL)'
"$venv/bin/python" "$here/writer.py" run "$folder/stop" "$folder/acknowledged" \
    "alpha=$(pg_port 0)" "beta=$(pg_port 1)" >"$folder/writer.log" 2>&1 &
writer_pid=$!
sleep 3

step "Switchover"
"$venv/bin/patronictl" -c "$folder/alpha/patroni.yml" switchover demo --leader alpha --candidate beta --force >"$folder/switchover.log" 2>&1 ||
    fail "patronictl refused the switchover: $(tail -3 "$folder/switchover.log")"
until_true "primary on beta" is_primary 1
until_true "synchronous replica on alpha" is_sync 0
say "beta is the primary"
sleep 3

step "The primary's host dies"
begun=$SECONDS
kill_host 1
until_true "primary on alpha" is_primary 0
say "alpha is the primary after $((SECONDS - begun)) s"
start_host 1
until_true "synchronous replica on beta" is_sync 1
say "beta is back as its replica"
sleep 3

step "The primary's host and the Holdfast leader die at once"
leader=$(holdfast_leader)
begun=$SECONDS
kill -9 "${holdfast_pids[$leader]}"
disown "${holdfast_pids[$leader]}" 2>/dev/null || true
kill_host 0
until_true "primary on beta" is_primary 1
say "n$leader led; beta is the primary after $((SECONDS - begun)) s"
start_holdfast "$leader"
start_host 0
until_true "synchronous replica on alpha" is_sync 0
sleep 3

step "What was acknowledged"
touch "$folder/stop"
wait "$writer_pid"
writer_pid=""
"$venv/bin/python" "$here/writer.py" check "$folder/acknowledged" "$(pg_port 1)" | sed 's/^/   /' || fail "see above"
