#!/bin/sh
# Runs a test binary against the servers of another Debian release, in a root of its own:
#   tests/on-debian.sh trixie target/debug/deps/conformance-… [ARGUMENTS]
# The root has 700 MB, is made the first time, and is kept in the target folder; mounts end with the run.
# Needs root and debootstrap.
set -eu

release=$1 binary=$2
shift 2
repository=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-target}
# Cargo takes a relative one from where it was called; tests are run elsewhere.
case $target in /*) ;; *) target=$repository/$target ;; esac
root=$target/debian-$release

if [ ! -e "$root/is-complete" ]; then
    if [ "$(id -u)" -ne 0 ] || ! command -v debootstrap >/dev/null 2>&1; then
        echo "the servers of another release need root and debootstrap" >&2
        exit 1
    fi
    echo "making a root of Debian $release" >&2
    rm -rf "$root"
    mkdir -p "$target"
    log=$root.log
    if ! debootstrap --variant=minbase --include=rabbitmq-server,postgresql,python3,python3-venv,openssl \
        "$release" "$root" >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        exit 1
    fi
    touch "$root/is-complete"
fi

mkdir -p "$root$repository" "$root$target"
export RELEASE_ROOT="$root" REPOSITORY="$repository" TARGET="$target" WORKING_IN="$PWD"
# The mounts are this run's own, and gone when it has ended, however it ends. The root is moved and not only changed:
# from within a changed one no test could make mounts of its own.
exec unshare --mount sh -euc '
    mount --bind "$RELEASE_ROOT" "$RELEASE_ROOT"
    mount --bind "$REPOSITORY" "$RELEASE_ROOT$REPOSITORY"
    mount --bind "$TARGET" "$RELEASE_ROOT$TARGET"
    mount -t proc proc "$RELEASE_ROOT/proc"
    mount --rbind /dev "$RELEASE_ROOT/dev"
    mount --bind /sys "$RELEASE_ROOT/sys"
    cd "$RELEASE_ROOT"
    pivot_root . mnt
    umount -l /mnt
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
    cd "$WORKING_IN"
    exec "$@"
' sh "$binary" "$@"
