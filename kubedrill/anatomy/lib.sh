# What node.sh and api.sh share: parts that are gathered side by side, each printed after a line "MARK NAME".
set -u
umask 077
work=$(mktemp -d /run/kubedrill-anatomy.XXXXXX)
trap 'rm -rf "$work"' EXIT
# Some hundred processes here would each get as much of the processors as all pods of the node together, by cgroups: etcd
# could not answer, and the looker would see a component unwell that it made so.
renice -n 19 $$ >/dev/null
count=0
queue=()

# begin NAME: the file of the next part
begin() {
    count=$((count + 1))
    out=$work/$(printf %04d $count).part
    echo "$mark $1" >"$out"
}

# part NAME COMMAND...: its output, taken in the background
part() {
    begin "$1"
    shift
    "$@" >>"$out" 2>/dev/null </dev/null &
}

# later NAME COMMAND...: the same, once what was begun by `part` is through
later() {
    begin "$1"
    shift
    queue+=("$(printf '%q ' "$@")>>$(printf %q "$out")")
}

finish() {
    wait
    for one in "${queue[@]}"; do
        eval "$one" 2>/dev/null </dev/null &
    done
    wait
    for one in "$work"/*.part; do
        cat "$one"
        echo
    done
    echo "$mark end"
}

# The administrator's certificate, as files for curl; the folder is gone when the script ends.
credentials=""
if [ -r /etc/kubernetes/admin.conf ]; then
    for field in client-certificate-data client-key-data; do
        sed -n "s/^ *$field: *//p" /etc/kubernetes/admin.conf | head -n 1 | base64 -d >"$work/$field"
    done
    credentials="--cert $work/client-certificate-data --key $work/client-key-data"
fi

# as KIND: the header that asks a z-page for JSON (1.36 and later; before it, there is only text)
as() {
    echo "Accept: application/json;v=v1beta1;g=config.k8s.io;as=$1, application/json;v=v1alpha1;g=config.k8s.io;as=$1"
}

# get URL [CURL'S ARGUMENTS]: the body, then a line "STATUS URL ERROR"; status 000 where nothing answers
get() {
    # shellcheck disable=SC2086
    curl -sk --connect-timeout 5 --max-time 15 $credentials -w '\n%{http_code} %{url_effective} %{errormsg}\n' "$@"
}

# metrics URL: only the lines that are looked at, of megabytes
metrics() {
    get "$1" | grep -E '^[0-9]{3} http|^(kubernetes_feature_enabled|kubernetes_build_info|coredns_build_info|coredns_plugin_enabled|etcd_server_(feature_enabled|has_leader|is_leader|version))\{?'
}

# zpages PREFIX BASE PAGE...: some of flagz statusz configz metrics, and health pages
zpages() {
    prefix=$1 base=$2
    shift 2
    for page in "$@"; do
        case $page in
        flagz) later "$prefix flagz" get "$base/flagz" -H "$(as Flagz)" ;;
        statusz) later "$prefix statusz" get "$base/statusz" -H "$(as Statusz)" ;;
        configz) later "$prefix configz" get "$base/configz" ;;
        metrics) later "$prefix metrics" metrics "$base/metrics" ;;
        *) part "$prefix $page" get "$base/$page" ;;
        esac
    done
}
