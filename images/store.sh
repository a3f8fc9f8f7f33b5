#!/bin/sh
# Fills an image store: unpacks every archive in /build with a containerd of its own, and keeps of it what nodes need:
# snapshots (mounted read-only by all nodes), and containerd's metadata (copied into each node).
set -eu
root=/store/.root
rm -rf "$root" /store/containerd
containerd --root "$root" --state /run/containerd-build --address /run/build.sock --log-level warn 2>/build/containerd.log &
daemon=$!
ctr() { command ctr --address /run/build.sock --namespace k8s.io --connect-timeout 60s "$@"; }
# `until` of kubedrill/wait.py does not reach into this container.
timeout 60 sh -c 'while [ ! -S /run/build.sock ]; do kill -0 "$1" || exit 1; sleep 0.1; done' wait "$daemon" &&
    ctr version >/dev/null || { cat /build/containerd.log >&2; exit 1; }
for archive in /build/*.tar; do
    ctr images import --local --snapshotter overlayfs "$archive" || { tail -n 5 /build/containerd.log >&2; exit 1; }
done
for image in $(ctr images list -q); do
    ctr images label "$image" io.cri-containerd.image=managed io.cri-containerd.pinned=pinned >/dev/null
done
kill "$daemon"
wait "$daemon" || true

metadata=/store/containerd/metadata
snapshotter=io.containerd.snapshotter.v1.overlayfs
mkdir -p "$metadata/io.containerd.metadata.v1.bolt" "$metadata/$snapshotter" "$metadata/io.containerd.content.v1.content/blobs/sha256"
cp "$root/io.containerd.metadata.v1.bolt/meta.db" "$metadata/io.containerd.metadata.v1.bolt/"
cp "$root/$snapshotter/metadata.db" "$metadata/$snapshotter/"
# Manifests and configurations; the layers are unpacked already.
find "$root/io.containerd.content.v1.content/blobs/sha256" -type f -size -256k \
    -exec cp {} "$metadata/io.containerd.content.v1.content/blobs/sha256/" \;
mv "$root/$snapshotter/snapshots" /store/containerd/snapshots
rm -rf "$root"
mkdir -p /store/bin
cp /build/bin/* /store/bin/
cp /build/sandbox-image /store/sandbox-image
[ ! -e /build/bootstrap-objects ] || cp /build/bootstrap-objects /store/bootstrap-objects
sync
