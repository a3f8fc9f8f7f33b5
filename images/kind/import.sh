#!/bin/sh
# Takes images into kind's node image as kind's own build does it (pkg/build/nodeimage/imageimporter.go): their layers as
# they are, unpacked by each node when it needs them.
set -eu
containerd --log-level warn 2>/tmp/containerd.log &
daemon=$!
ctr() { command ctr --namespace k8s.io --connect-timeout 60s "$@"; }
# `until` of kubedrill/wait.py does not reach into this container.
timeout 60 sh -c 'while [ ! -S /run/containerd/containerd.sock ]; do kill -0 "$1" || exit 1; sleep 0.1; done' wait "$daemon" &&
    ctr version >/dev/null || { cat /tmp/containerd.log >&2; exit 1; }
for archive in /archives/*.tar; do
    ctr images import --label=io.cri-containerd.pinned=pinned --all-platforms --no-unpack --digests "$archive" ||
        { tail -n 5 /tmp/containerd.log >&2; exit 1; }
done
# kind's configuration of containerd names a pause image of its own.
wanted=$(sed -n 's/^ *sandbox_image = "\(.*\)"/\1/p' /etc/containerd/config.toml)
ctr images tag --force "$(cat /archives/sandbox-image)" "$wanted"
kill "$daemon"
wait "$daemon" || true
