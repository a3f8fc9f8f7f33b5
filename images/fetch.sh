#!/bin/sh
# Fetches what nodes are made of from the Kubernetes project's sites and GitHub's releases, each part verified, into TARGET:
#   fetch.sh TARGET runtime MINOR CONTAINERD   bin/ (containerd, its shim, ctr, crictl) and cni/ (the CNI plugins)
#   fetch.sh TARGET kubernetes MINOR VERSION   bin/ (kubeadm, kubelet, kubectl) and images, a list of what a cluster pulls
# MINOR is 1.37, CONTAINERD and VERSION are v2.4.2 and v1.37.2. Status 3: the repository lacks that version.
set -eu
target=$1 what=$2 minor=$3 version=$4
work=$(mktemp -d)
# apt reads the key and writes packages as a user of its own.
chmod 755 "$work"
mkdir -p "$target/bin"

get() { curl --proto '=https' --fail --silent --show-error --location --retry 3 --output "$work/$1" "$2"; }

# The packages of one Kubernetes minor and no others, believed for the signature of their own key alone. apt takes a key
# with armour by the end of its name, so that no gpg is needed (apt-key(8), "supported keyring files").
# https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/
repository() {
    url=https://pkgs.k8s.io/core:/stable:/v$minor/deb/
    get kubernetes.asc "${url}Release.key"
    chmod 644 "$work/kubernetes.asc"
    echo "deb [signed-by=$work/kubernetes.asc] $url /" >"$work/kubernetes.list"
    cat >"$work/apt.conf" <<APT
Dir::Etc::SourceList "$work/kubernetes.list";
Dir::Etc::SourceParts "/dev/null";
APT::Update::Error-Mode "any";
APT
    export APT_CONFIG="$work/apt.conf"
    apt-get --quiet update
}

# Unpacks a package into $work/root: none of its scripts run, and its systemd units stay out of the node.
package() {
    (cd "$work" && apt-get --quiet download "$1")
    dpkg-deb --extract "$work/${1%%=*}"_*.deb "$work/root"
}

offered() { apt-cache madison "$1" | awk '{ print $3 }'; }

# Exactly the patch version, in its newest revision: 1.37.2 is packed as 1.37.2-1.1.
exactly() {
    revision=$(offered "$1" | awk -v wanted="${version#v}-" 'index($0, wanted) == 1 { print; exit }')
    if [ -z "$revision" ]; then
        echo "pkgs.k8s.io has no $1 ${version#v}; of Kubernetes $minor it has:" $(offered "$1") >&2
        exit 3
    fi
    package "$1=$revision"
}

runtime() {
    archive=containerd-${version#v}-linux-$(dpkg --print-architecture).tar.gz
    release=https://github.com/containerd/containerd/releases/download/$version
    get "$archive" "$release/$archive"
    get "$archive.sha256sum" "$release/$archive.sha256sum"
    (cd "$work" && sha256sum --check --strict "$archive.sha256sum")
    tar --extract --gzip --file "$work/$archive" --directory "$target" \
        bin/containerd bin/containerd-shim-runc-v2 bin/ctr
    repository
    # A minor's repository holds only the version of these that belongs to it.
    package cri-tools
    package kubernetes-cni
    cp "$work/root/usr/bin/crictl" "$target/bin/"
    mkdir "$target/cni"
    # Beside the plugins lie their licence and a README.
    find "$work/root/opt/cni/bin" -type f -perm -u=x -exec cp {} "$target/cni/" \;
}

kubernetes() {
    repository
    for program in kubeadm kubelet kubectl; do
        exactly "$program"
        cp "$work/root/usr/bin/$program" "$target/bin/"
    done
    "$target/bin/kubeadm" config images list --kubernetes-version "$version" >"$target/images"
    # The end-to-end tests of a version name the agnhost that was published for it.
    get manifest.go "https://raw.githubusercontent.com/kubernetes/kubernetes/$version/test/utils/image/manifest.go"
    agnhost=$(sed -n 's/.*configs\[Agnhost\] = .*, "agnhost", "\([^"]*\)".*/\1/p' "$work/manifest.go")
    [ -n "$agnhost" ] || { echo "test/utils/image/manifest.go of $version names no agnhost" >&2; exit 1; }
    echo "registry.k8s.io/e2e-test-images/agnhost:$agnhost" >>"$target/images"
}

"$what"
rm -rf "$work"
