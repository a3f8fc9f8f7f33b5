# What one node tells of the components on it. It only reads.

# flag PID NAME DEFAULT: the value of a flag of a running process
flag() {
    value=$(tr '\0' '\n' <"/proc/$1/cmdline" | sed -n "s/^--\{0,1\}-$2=//p" | tail -n 1)
    echo "${value:-$3}"
}

# field FILE NAME DEFAULT: the value of a top-level field of a YAML file
field() {
    value=$(sed -n "s/^$2: *\"\{0,1\}\([^\"]*\)\"\{0,1\}$/\1/p" "$1" 2>/dev/null | head -n 1)
    echo "${value:-$3}"
}

# The address to ask on this node of one that is listened on.
local_address() {
    case $1 in
    0.0.0.0 | :: | "[::]" | "") echo 127.0.0.1 ;;
    *) echo "$1" ;;
    esac
}

# One line a process: PID, program, its cgroup, its command line in base64.
list_processes() {
    find /proc -maxdepth 2 -path '/proc/[0-9]*/exe' -printf '%h %l\n' 2>/dev/null | while read -r folder exe _; do
        case ${exe##*/} in
        kubelet | containerd | kube-apiserver | kube-controller-manager | kube-scheduler | kube-proxy | etcd | coredns | flanneld)
            # Of cgroup v1's many lines, some are the root's; the longest path says most.
            group=$(awk -F: 'length($3) > n { n = length($3); path = $3 } END { print path ? path : "/" }' "$folder/cgroup")
            line=$(base64 -w 0 <"$folder/cmdline")
            # A process that has ended and was not waited for yet has none.
            [ -n "$line" ] && echo "${folder#/proc/} ${exe##*/} $group $line"
            ;;
        esac
    done
}

containers() {
    crictl --timeout 5s pods -o json | jq -c '[.items[] | {id, uid: .metadata.uid, name: .metadata.name,
        namespace: .metadata.namespace, state, source: .annotations["kubernetes.io/config.source"]}]'
    crictl --timeout 5s ps --all -o json | jq -c '[.containers[] | {id, pod: .labels["io.kubernetes.pod.uid"],
        name: .metadata.name, state, attempt: .metadata.attempt, created: .createdAt, image: .image.userSpecifiedImage}]'
}

# Which of the paths that flags, manifests and settings name are there, on the node: device:inode, path.
files() {
    {
        printf '%s\n' /etc/kubernetes/*.conf /etc/default/kubelet /var/lib/kubelet /var/lib/kubelet/* /var/lib/kubelet/pki/* /etc/containerd/* \
            /var/lib/containerd /run/containerd /run/containerd/containerd.sock /run/flannel/subnet.env /etc/cni/net.d /etc/cni/net.d/* \
            /var/log/pods/*/* /var/log/journal "$static" "$static"/* /etc/systemd/system/*.service /etc/systemd/system/*.d/*
        for pid in $(cut -d' ' -f1 "$work/processes"); do tr '\0' '\n' <"/proc/$pid/cmdline"; done |
            grep -oE '(^|=|unix://)/[^ ",:=]+' | sed -E 's#^(=|unix://)##'
        grep -ohE '/(etc|var|run|usr|opt)/[^ ",:=]+' "$kubelet_config" "$static"/* 2>/dev/null
    } | sort -u | tr '\n' '\0' | xargs -0 stat --format='%d:%i %n'
}

# The same as the process sees it: what is mounted into its container has another inode than the node's file.
files_inside() {
    {
        tr '\0' '\n' <"/proc/$1/cmdline" | grep -oE '(^|=)/[^ ",:=]+' | tr -d =
        [ -z "$2" ] || grep -ohE '/(etc|var|run|usr|opt)/[^ ",:=]+' "$2"
    } | sort -u | sed "s#^#/proc/$1/root#" | tr '\n' '\0' | xargs -0 stat --format='%d:%i %n'
}

manifests() {
    for file in "$static"/*; do
        [ -f "$file" ] && jq -cn --arg path "$file" --rawfile text "$file" '{path: $path, text: $text}'
    done
}

corefile_port() {
    port=$(sed -n "s/^ *$2 *[^ ]*:\([0-9]*\).*/\1/p" "$1" 2>/dev/null | head -n 1)
    echo "${port:-$3}"
}

list_processes >"$work/processes"
part processes cat "$work/processes"
kubelet_config=/var/lib/kubelet/config.yaml
while read -r pid program _; do
    [ "$program" = kubelet ] && kubelet_config=$(flag "$pid" config "$kubelet_config")
done <"$work/processes"
static=$(field "$kubelet_config" staticPodPath /etc/kubernetes/manifests)

for unit in kubelet containerd; do
    later "unit $unit" systemctl show "$unit" --property=Id,LoadState,ActiveState,SubState,UnitFileState,FragmentPath,DropInPaths,EnvironmentFiles,MainPID,ExecMainStatus,NRestarts,Result
done
later containers containers
later manifests manifests
later files files
later "text /run/flannel/subnet.env" cat /run/flannel/subnet.env

while read -r pid program group _; do
    config=""
    [ "$program" = kube-proxy ] && config=/proc/$pid/root$(flag "$pid" config /var/lib/kube-proxy/config.conf)
    later "$pid inside" files_inside "$pid" "$config"
    case $program in
    kube-apiserver | kube-controller-manager | kube-scheduler | kube-proxy | kubelet)
        # The same program tells its own defaults.
        later "$pid help" sh -c "timeout 10 /proc/$pid/exe --help 2>&1 | grep -E '=true\|false \('"
        ;;
    esac
    case $program in
    kube-apiserver)
        base=https://$(local_address "$(flag "$pid" bind-address "")"):$(flag "$pid" secure-port 6443)
        zpages "$pid" "$base" flagz statusz metrics livez readyz
        ;;
    kube-controller-manager)
        base=https://$(local_address "$(flag "$pid" bind-address "")"):$(flag "$pid" secure-port 10257)
        zpages "$pid" "$base" flagz statusz configz metrics healthz
        ;;
    kube-scheduler)
        base=https://$(local_address "$(flag "$pid" bind-address "")"):$(flag "$pid" secure-port 10259)
        zpages "$pid" "$base" flagz statusz configz metrics livez readyz
        ;;
    kube-proxy)
        address=$(field "$config" metricsBindAddress 127.0.0.1:10249)
        zpages "$pid" "http://$(local_address "${address%:*}"):${address##*:}" flagz statusz configz metrics
        address=$(field "$config" healthzBindAddress 0.0.0.0:10256)
        zpages "$pid" "http://$(local_address "${address%:*}"):${address##*:}" healthz
        ;;
    kubelet)
        address=$(local_address "$(field "$kubelet_config" healthzBindAddress 127.0.0.1)")
        zpages "$pid" "http://$address:$(field "$kubelet_config" healthzPort 10248)" healthz
        later "$pid version" timeout 5 "/proc/$pid/exe" --version
        ;;
    etcd)
        base=$(flag "$pid" listen-metrics-urls http://127.0.0.1:2381)
        zpages "$pid" "${base%%,*}" metrics health readyz
        client=$(flag "$pid" listen-client-urls https://127.0.0.1:2379)
        id=$(echo "$group" | grep -oE '[0-9a-f]{64}' | tail -n 1)
        [ -n "$id" ] && later "$pid etcdctl" timeout 10 crictl exec "$id" etcdctl --endpoints "${client%%,*}" \
            --cacert "$(flag "$pid" trusted-ca-file "")" --cert "$(flag "$pid" peer-cert-file "")" \
            --key "$(flag "$pid" peer-key-file "")" endpoint status --write-out json
        ;;
    coredns)
        config=/proc/$pid/root$(tr '\0' '\n' <"/proc/$pid/cmdline" | sed -n '/^--\{0,1\}conf$/{n;p;q;}')
        address=$(nsenter --target "$pid" --net ip -4 -oneline address show scope global | awk '{ sub("/.*", "", $4); print $4; exit }')
        zpages "$pid" "http://$address:$(corefile_port "$config" health 8080)" health
        zpages "$pid" "http://$address:$(corefile_port "$config" ready 8181)" ready
        zpages "$pid" "http://$address:$(corefile_port "$config" prometheus 9153)" metrics
        later "$pid corefile" cat "$config"
        ;;
    flanneld)
        # It prints its version to standard error.
        later "$pid version" sh -c "timeout 5 /proc/$pid/exe --version 2>&1"
        port=$(flag "$pid" healthz-port 0)
        [ "$port" = 0 ] || zpages "$pid" "http://$(local_address "$(flag "$pid" healthz-ip "")"):$port" healthz
        ;;
    containerd)
        later "$pid dump" timeout 5 containerd --config "$(flag "$pid" config /etc/containerd/config.toml)" config dump
        later "$pid version" timeout 5 ctr version
        ;;
    esac
done <"$work/processes"
finish
