#!/usr/bin/env bash
# OpenStack Swift 2.38.3 from PyPI, to be measured beside this store in the same topology: one machine, loopback, three
# replicas on four devices, memcached, two processes each of proxy, object and container server and one of the account's.
#   peer.sh setup | start | stop
# Everything lies below PEER_HOME [~/.cache/objstore-peers/swift-bench]. Needs memcached; listens on 127.0.0.1:
# 8190 (proxy), 6390 (object), 6391 (container), 6392 (account), 11490 (memcached). Measure it with
#   objstore bench --auth http://127.0.0.1:8190/auth/v1.0 --pid-dir ~/.cache/objstore-peers/swift-bench/run
# Swift reads its cluster's secrets from /etc/swift, which setup makes a link; an /etc/swift of yours is left alone.
set -euo pipefail
PEER_HOME=${PEER_HOME:-$HOME/.cache/objstore-peers/swift-bench}
BIN=$PEER_HOME/venv/bin
ETC=$PEER_HOME/etc
RUN=$PEER_HOME/run
SERVERS=(account container object proxy)
declare -A PORT=([proxy]=8190 [object]=6390 [container]=6391 [account]=6392)
declare -A WORKERS=([proxy]=2 [object]=2 [container]=2 [account]=1)

install_swift() {
  [ -x "$BIN/swift-proxy-server" ] && return
  python3 -m venv "$PEER_HOME/venv"
  "$BIN/pip" install --quiet swift==2.38.3
}

general_section() { # server
  printf '[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = %s\nworkers = %s\n' "${PORT[$1]}" "${WORKERS[$1]}"
  printf 'user = %s\nswift_dir = %s\nlog_level = WARNING\n' "$(id -un)" "$ETC"
  printf 'devices = %s\nmount_check = false\ndisable_fallocate = true\n' "$PEER_HOME/devices"
}

filter() { # name [option...]
  printf '[filter:%s]\nuse = egg:swift#%s\n' "$1" "${1//-/_}"
  shift
  [ $# -eq 0 ] || printf '%s\n' "$@"
}

write_storage_server() { # server
  {
    general_section "$1"
    printf '[pipeline:main]\npipeline = healthcheck %s-server\n[app:%s-server]\nuse = egg:swift#%s\n' "$1" "$1" "$1"
    filter healthcheck
  } > "$ETC/$1-server.conf"
}

write_proxy() {
  {
    general_section proxy
    printf '[pipeline:main]\npipeline = catch_errors gatekeeper healthcheck proxy_logging memcache listing_formats '
    printf 'tempauth copy container_quotas account_quotas proxy-server\n'
    filter catch_errors
    filter gatekeeper
    filter healthcheck
    filter proxy_logging
    filter memcache 'memcache_servers = 127.0.0.1:11490'
    filter listing_formats
    filter tempauth 'user_test_tester = testing .admin'
    filter copy
    filter container_quotas
    filter account_quotas
    printf '[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n'
  } > "$ETC/proxy-server.conf"
}

write_ring() { # builder name, port
  local builder=$ETC/$1.builder device
  rm -f "$builder" "$ETC/$1.ring.gz"
  "$BIN/swift-ring-builder" "$builder" create 8 3 1 > /dev/null
  for device in 1 2 3 4; do
    "$BIN/swift-ring-builder" "$builder" add "r1z$device-127.0.0.1:$2/d$device" 100 > /dev/null
  done
  "$BIN/swift-ring-builder" "$builder" rebalance > /dev/null
}

setup() {
  mkdir -p "$ETC" "$RUN" "$PEER_HOME"/log "$PEER_HOME"/devices/d{1,2,3,4}
  install_swift
  [ -e /etc/swift ] || ln -s "$ETC" /etc/swift
  if ! [ /etc/swift -ef "$ETC" ]; then
    echo "peer.sh: /etc/swift exists and is not ours; move it away first" >&2
    exit 2
  fi
  printf '[swift-hash]\nswift_hash_path_prefix = bench\nswift_hash_path_suffix = bench\n' > "$ETC/swift.conf"
  printf '[storage-policy:0]\nname = gold\ndefault = yes\n' >> "$ETC/swift.conf"
  for server in account container object; do write_storage_server "$server"; done
  write_proxy
  for server in account container object; do write_ring "$server" "${PORT[$server]}"; done
}

launch() { # name command...
  local name=$1
  shift
  setsid "$@" >> "$PEER_HOME/log/$name.log" 2>&1 < /dev/null &
  echo $! > "$RUN/$name.pid"
}

healthy() { # port
  [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$1/healthcheck" || true)" = 200 ]
}

start() {
  launch memcached memcached -u "$(id -un)" -l 127.0.0.1 -p 11490 -U 0 -m 64
  for server in "${SERVERS[@]}"; do launch "$server" "$BIN/swift-$server-server" "$ETC/$server-server.conf"; done
  for server in "${SERVERS[@]}"; do
    for _ in $(seq 120); do
      healthy "${PORT[$server]}" && continue 2
      sleep 0.25
    done
    echo "peer.sh: the $server server did not come up; see $PEER_HOME/log/$server.log" >&2
    exit 1
  done
  echo "swift runs; log in at http://127.0.0.1:8190/auth/v1.0"
}

stop() { # the process groups that start recorded, and no other
  local file
  for signal in TERM KILL; do
    for file in "$RUN"/*.pid; do
      [ -e "$file" ] && kill "-$signal" -- "-$(cat "$file")" 2> /dev/null || true
    done
    sleep 1
  done
  rm -f "$RUN"/*.pid
}

case ${1:-} in
  setup | start | stop) "$1" ;;
  *)
    sed -n '2,10s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
