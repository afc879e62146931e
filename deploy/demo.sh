#!/usr/bin/env bash
# Three nodes in three zones on this machine; the leader dies; nothing is lost.
#
#   BIN=target/debug   where `holdfast` and `holdfastctl` are (default: target/debug)
#   KEEP=1             leave the data folder and the logs behind
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${BIN:-target/debug}
readonly serve="$bin/holdfast" ctl="$bin/holdfastctl"
readonly names=(n1 n2 n3) zones=(a b c)
readonly keys_before=30 keys_after=30
# Longest wait, in seconds, for anything that should happen soon.
readonly patience_s=60

for program in "$serve" "$ctl"; do
    [ -x "$program" ] || { echo "$program is missing: run 'make demo', or set BIN to the folder it is in." >&2; exit 1; }
done

folder=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-demo.XXXXXX")
pids=("" "" "")

# The only processes ended here are the ones started here, by their ids.
clean_up() {
    local status=$? pid
    for pid in "${pids[@]}"; do
        [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
    done
    for pid in "${pids[@]}"; do
        while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
    done
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
indent() { sed 's/^/   | /'; }

fail() {
    printf '\nFAILED: %s\n' "$*" >&2
    local name
    for name in "${names[@]}"; do
        [ -s "$folder/$name.log" ] && { echo "--- the end of $name's log" >&2; tail -n 5 "$folder/$name.log" >&2; }
    done
    exit 1
}

now_ms() { local now=$EPOCHREALTIME; echo $((${now/[.,]/} / 1000)); }

# Somebody listens on this loopback port.
port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

ports=()
find_ports() { # <how many>
    local port=$((20000 + RANDOM % 10000))
    while [ "${#ports[@]}" -lt "$1" ]; do
        port=$((port + 1))
        port_taken "$port" || ports+=("$port")
    done
}

client_url() { echo "http://127.0.0.1:${ports[$1]}"; }
peer_url() { echo "http://127.0.0.1:${ports[$1 + 3]}"; }

# The client URLs of all nodes but the given one.
urls_without() { # <number, or "none">
    local i urls=()
    for i in 0 1 2; do
        [ "$i" = "$1" ] || urls+=("$(client_url "$i")")
    done
    local IFS=,
    echo "${urls[*]}"
}

start_node() { # <number>
    local i=$1
    "$serve" serve --name "${names[i]}" --zone "${zones[i]}" --data-dir "$folder/${names[i]}" \
        --listen-client-urls "$(client_url "$i")" --advertise-client-urls "$(client_url "$i")" \
        --listen-peer-urls "$(peer_url "$i")" --initial-advertise-peer-urls "$(peer_url "$i")" \
        --initial-cluster "n1=$(peer_url 0),n2=$(peer_url 1),n3=$(peer_url 2)" \
        --initial-cluster-token demo --initial-cluster-state new \
        >>"$folder/${names[i]}.log" 2>&1 &
    pids[i]=$!
    # Out of the shell's job list, or it would announce the kill in the middle of the story.
    disown
}

# What /readyz answers: "200" when the node can serve linearizable reads.
readiness() { # <number>
    local status=""
    {
        exec 3<>"/dev/tcp/127.0.0.1/${ports[$1]}" || return 0
        printf 'GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' >&3
        read -r -t 5 _ status _ <&3 || true
        exec 3>&-
    } 2>/dev/null
    echo "$status"
}

wait_ready() { # <number>
    local i=$1 until=$((SECONDS + patience_s))
    until [ "$(readiness "$i")" = 200 ]; do
        kill -0 "${pids[i]}" 2>/dev/null || fail "${names[i]} ended while starting"
        [ "$SECONDS" -lt "$until" ] || fail "${names[i]} is not ready after $patience_s s"
        sleep 0.1
    done
}

# One line of `endpoint status` for each node; the fifth field says whether it leads, as in etcdctl.
leader() {
    local i line
    for i in 0 1 2; do
        line=$("$ctl" --endpoints "$(client_url "$i")" endpoint status 2>/dev/null) || continue
        [ "$(cut -d, -f5 <<<"$line" | tr -d ' ')" = true ] && { echo "$i"; return; }
    done
    echo none
}

wait_leader() {
    local found until=$((SECONDS + patience_s))
    while found=$(leader); [ "$found" = none ]; do
        [ "$SECONDS" -lt "$until" ] || fail "no node leads after $patience_s s"
        sleep 0.1
    done
    echo "$found"
}

put_all() { # <first> <last> <endpoints>
    local n
    for n in $(seq "$1" "$2"); do
        "$ctl" --endpoints "$3" put "demo/$n" "value-$n" >/dev/null || fail "demo/$n could not be written"
    done
}

# Reads every key written so far and compares its value.
check_all() { # <last> <endpoints>
    local n value
    for n in $(seq 1 "$1"); do
        value=$("$ctl" --endpoints "$2" get "demo/$n" --print-value-only) || fail "demo/$n could not be read"
        [ "$value" = "value-$n" ] || fail "demo/$n is '$value' and should be 'value-$n': a write was lost"
    done
}

hashes() {
    local i
    for i in 0 1 2; do
        "$ctl" --endpoints "$(client_url "$i")" endpoint hashkv 2>/dev/null || echo "$(client_url "$i"), no answer"
    done
}

wait_equal_hashes() {
    local found different until=$((SECONDS + patience_s))
    while true; do
        found=$(hashes)
        different=$(cut -d, -f2- <<<"$found" | sort -u | wc -l)
        [ "$different" = 1 ] && [[ $found != *"no answer"* ]] && break
        [ "$SECONDS" -lt "$until" ] || { indent <<<"$found"; fail "the replicas differ after $patience_s s"; }
        sleep 0.2
    done
    indent <<<"$found"
}

# --- the story ---------------------------------------------------------------------------------------------------

find_ports 6
everyone=$(urls_without none)

step "1. Three nodes start, each in an availability zone of its own"
for i in 0 1 2; do
    start_node "$i"
    say "${names[i]} in zone ${zones[i]}: clients at $(client_url "$i"), peers at $(peer_url "$i"), pid ${pids[i]}"
done
for i in 0 1 2; do wait_ready "$i"; done
lead=$(wait_leader)
say "All three are ready; ${names[lead]} leads."

step "2. The cluster by zone: may any one zone be lost?"
"$ctl" --endpoints "$everyone" topology | indent

step "3. $keys_before writes, each on a quorum's disks before it is acknowledged"
put_all 1 "$keys_before" "$everyone"
say "Written: demo/1 to demo/$keys_before."
if command -v etcdctl >/dev/null 2>&1; then
    say "The same store through etcd's own client:"
    ETCDCTL_API=3 etcdctl --endpoints "$(client_url 0)" put demo/etcdctl hello | indent
    ETCDCTL_API=3 etcdctl --endpoints "$(client_url 1)" get demo/etcdctl | indent
fi

step "4. The leader dies: kill -9 ${pids[lead]} (${names[lead]}, zone ${zones[lead]})"
survivors=$(urls_without "$lead")
died_ms=$(now_ms)
kill -9 "${pids[lead]}"
attempts=0
until attempts=$((attempts + 1)); "$ctl" --endpoints "$survivors" --command-timeout 500ms put demo/after-the-kill yes \
    >/dev/null 2>&1; do
    [ $(($(now_ms) - died_ms)) -lt $((patience_s * 1000)) ] || fail "no write succeeded within $patience_s s"
    sleep 0.02
done
outage_ms=$(($(now_ms) - died_ms))
pids[lead]=""
say "The first write after the kill was acknowledged $outage_ms ms later (attempt $attempts)."
new_lead=$(wait_leader)
say "${names[new_lead]} in zone ${zones[new_lead]} leads now; nobody touched anything."

step "5. More writes on two nodes of three"
put_all $((keys_before + 1)) $((keys_before + keys_after)) "$survivors"
say "Written: demo/$((keys_before + 1)) to demo/$((keys_before + keys_after))."

step "6. Everything is read back"
check_all $((keys_before + keys_after)) "$survivors"
say "All $((keys_before + keys_after)) acknowledged writes are there with the right value."

step "7. ${names[lead]} comes back with the disk it died with"
start_node "$lead"
wait_ready "$lead"
say "It is ready again (pid ${pids[lead]}) and fetches what it missed."

step "8. The three replicas are compared: hash of all keys, values and revisions"
wait_equal_hashes
check_all $((keys_before + keys_after)) "$(client_url "$lead")"
say "Equal; and the node that was away serves every key."
"$ctl" --endpoints "$everyone" topology | indent

step "Done: the leader was killed, writes were back after $outage_ms ms, and no acknowledged write was lost."
