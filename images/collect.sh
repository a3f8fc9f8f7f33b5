#!/bin/sh
# Collects programs with all that they need to run (libraries, links on the way, plug-ins) into /collected.tar: a base for
# images that is no distribution. Arguments: programs, and folders to take whole (patterns are expanded here).
set -eu
list=$(mktemp)

# A path, and every link on the way to what it means.
trace() {
    path=$1
    while :; do
        echo "$path" >>"$list"
        [ -L "$path" ] || break
        target=$(readlink "$path")
        case $target in
            /*) path=$target ;;
            *) path=$(dirname "$path")/$target ;;
        esac
    done
}

libraries() {
    ldd "$1" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do trace "$library"; done
}

# shellcheck disable=SC2048
for wanted in $*; do
    case $wanted in
        /*) [ ! -d "$wanted" ] || { find "$wanted" ! -type d | while read -r file; do trace "$file"; libraries "$file"; done; continue; }
            program=$wanted ;;
        *) program=$(command -v "$wanted") || { echo "the rootfs has no '$wanted'" >&2; exit 1; } ;;
    esac
    trace "$program"
    libraries "$(readlink -f "$program")"
done
# Today's /bin, /lib and so on are links into /usr.
for link in /bin /sbin /lib /lib64; do [ ! -L $link ] || echo $link >>"$list"; done
sed -E 's#^/(bin|sbin|lib|lib64)/#/usr/\1/#; s#/[^/]+/\.\./#/#' "$list" | sort -u |
    tar --create --file /collected.tar --owner=0 --group=0 --mtime=@0 --no-recursion --files-from=- 2>/dev/null
