# What the API tells of the components: run on a control plane with names and addresses of nodes (NAME=ADDRESS) as
# arguments. It only reads.
server=$(sed -n 's/^ *server: *//p' /etc/kubernetes/admin.conf | head -n 1)

# list PATH FILTER: what jq's filter leaves of a list
list() {
    body=$work/$BASHPID.body
    # shellcheck disable=SC2086
    status=$(curl -sk --connect-timeout 5 --max-time 15 $credentials -o "$body" -w '%{http_code} %{url_effective} %{errormsg}' "$server$1")
    jq -c "$2" "$body" || head -c 300 "$body"
    echo "$status"
}

of_pod='{name: .metadata.name, namespace: .metadata.namespace, uid: .metadata.uid, node: .spec.nodeName,
    hash: .metadata.annotations["kubernetes.io/config.hash"], mirror: (.metadata.annotations["kubernetes.io/config.mirror"] != null),
    owner: ((.metadata.ownerReferences // [])[0] | "\(.kind // "")/\(.name // "")"), containers: [.spec.containers[].name],
    ending: (.metadata.deletionTimestamp != null), image: .spec.containers[0].image, phase: .status.phase, restarts: ([.status.containerStatuses[]?.restartCount] | add // 0)}'
of_workload='{name: .metadata.name, namespace: .metadata.namespace, containers: [.spec.template.spec.containers[].name],
    owner: ((.metadata.ownerReferences // [])[0] | "\(.kind // "")/\(.name // "")"),
    desired: (.status.desiredNumberScheduled // .spec.replicas), ready: (.status.numberReady // .status.readyReplicas // 0)}'

for namespace in kube-system kube-flannel; do
    part "list pods $namespace" list "/api/v1/namespaces/$namespace/pods" "[.items[] | $of_pod]"
    part "list DaemonSet $namespace" list "/apis/apps/v1/namespaces/$namespace/daemonsets" "[.items[] | $of_workload]"
done
for kind in Deployment ReplicaSet; do
    part "list $kind kube-system" list "/apis/apps/v1/namespaces/kube-system/${kind,,}s" "[.items[] | $of_workload]"
done
part "configmap kube-system coredns" list /api/v1/namespaces/kube-system/configmaps/coredns .data
part "configmap kube-system kube-proxy" list /api/v1/namespaces/kube-system/configmaps/kube-proxy '.data | keys'
part "configmap kube-flannel kube-flannel-cfg" list /api/v1/namespaces/kube-flannel/configmaps/kube-flannel-cfg .data
for node in "$@"; do
    name=${node%%=*}
    zpages "kubelet $name" "$server/api/v1/nodes/$name/proxy" flagz configz metrics
    # The API server's own certificate may not read this one (nodes/statusz), the administrator's may.
    zpages "kubelet $name" "https://${node#*=}:10250" statusz
done
finish
