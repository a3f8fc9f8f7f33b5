#!/bin/sh
# Pulls every image that /build/pull names into an archive in /build, then has store.sh fill the store with those.
set -eu
containerd --root /build/pulled --state /run/containerd-pull --address /run/pull.sock --log-level warn 2>/build/pull.log &
daemon=$!
trap 'kill "$daemon"' EXIT
ctr() { command ctr --address /run/pull.sock --namespace pull --connect-timeout 60s "$@"; }
# `until` of kubedrill/wait.py does not reach into this container.
timeout 60 sh -c 'while [ ! -S /run/pull.sock ]; do kill -0 "$1" || exit 1; sleep 0.1; done' wait "$daemon" ||
    { cat /build/pull.log >&2; exit 1; }
platform=linux/$(dpkg --print-architecture)
number=0
while read -r image; do
    number=$((number + 1))
    # Not `images pull`, which unpacks too: store.sh does that, on the store's own filesystem.
    ctr content fetch --platform "$platform" "$image" >/build/pull.out 2>&1 ||
        { echo "could not pull $image" >&2; tail -n 5 /build/pull.out /build/pull.log >&2; exit 1; }
    ctr images export --local --platform "$platform" "/build/pull-$number.tar" "$image" >/build/pull.out 2>&1 ||
        { echo "could not save $image" >&2; tail -n 5 /build/pull.out >&2; exit 1; }
done </build/pull
trap - EXIT
kill "$daemon"
wait "$daemon" || true
rm -rf /build/pulled
exec /store.sh
