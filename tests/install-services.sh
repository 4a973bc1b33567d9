#!/bin/sh
# Makes sure that what the tests need is installed: the servers that they start for themselves, RabbitMQ and
# PostgreSQL, and Python for the receivers that are written in it.
# Does nothing if they are; installs them from the distribution if it may; otherwise says in one line what to
# install, and fails. It never leaves a server running that was not running before.
set -eu

present() { [ -n "$(ls $1 2>/dev/null)" ]; }

missing=
if ! present '/usr/lib/rabbitmq/bin/rabbitmq-server' && ! present '/usr/lib/rabbitmq/lib/*/sbin/rabbitmq-server' \
    && ! present '/opt/rabbitmq/sbin/rabbitmq-server'; then
    missing="rabbitmq-server"
fi
if ! present '/usr/lib/postgresql/*/bin/initdb' && ! command -v initdb >/dev/null 2>&1; then
    missing="$missing postgresql"
fi
# For the receivers in Python: `venv` alone is there without `ensurepip` on Debian.
if ! python3 -c 'import venv, ensurepip' >/dev/null 2>&1; then
    missing="$missing python3 python3-venv"
fi
missing=${missing# }
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then as_root="sudo -n"; fi
if ! command -v apt-get >/dev/null 2>&1 || { [ -n "$as_root" ] && ! sudo -n true 2>/dev/null; }; then
    echo "the tests need these packages, please install them: $missing" >&2
    exit 1
fi

# Debian's packages start their servers unless this says no. One that is there already is left as it is.
policy=/usr/sbin/policy-rc.d
made_policy=
give_back() { [ -z "$made_policy" ] || $as_root rm -f "$policy"; }
trap give_back EXIT
trap 'exit 1' INT TERM HUP
if [ ! -e "$policy" ]; then
    made_policy=yes
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
fi

echo "installing $missing for the tests"
log=$(mktemp)
if ! { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    echo "the tests need these packages, and installing them failed: $missing" >&2
    exit 1
fi
rm -f "$log"
