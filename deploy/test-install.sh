#!/bin/sh
# Runs install.sh on a scratch tree with a binary that is none, and looks at what it leaves. Needs no root.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
tree=$scratch/tree
binary=$scratch/muster

broken() { printf 'test-install.sh: %s\n' "$*" >&2; exit 1; }
install() { "$here/install.sh" --destdir "$tree" --prefix /opt/muster "$@" >"$scratch/out" 2>&1; }
says() { grep -q -- "$1" "$scratch/out" || broken "no \"$1\" in: $(cat "$scratch/out")"; }
refuses() {
    code=$1 words=$2
    shift 2
    got=0
    install "$@" || got=$?
    [ "$got" -eq "$code" ] || broken "exit code $got instead of $code for: $*"
    says "$words"
}

printf '#!/bin/sh\nexit 0\n' >"$binary"
chmod +x "$binary"

refuses 1 'there is no .*/absent' --binary "$scratch/absent"
refuses 2 'needs a value' --binary
refuses 2 'unknown option --frobnicate' --frobnicate
refuses 2 'absolute path' --prefix opt
refuses 2 'goes with --uninstall' --purge
chmod -x "$binary"
refuses 1 'cannot be executed' --binary "$binary"
chmod +x "$binary"
[ ! -e "$tree" ] || broken "a refused install left something behind"

install --binary "$binary"
cmp -s "$binary" "$tree/opt/muster/bin/muster" || broken "the binary is not in place"
grep -q '^ExecStart=/opt/muster/bin/muster daemon ' "$tree/etc/systemd/system/muster.service" || broken "the unit runs another binary"
[ "$(stat -c %a "$tree/var/lib/muster")" = 700 ] || broken "the daemon's folder is open to others"

echo 'MUSTER_DAEMON_ARGS=--mine' >"$tree/etc/muster/daemon.env"
install --binary "$binary"
says 'everything was in place already'

echo '# another version' >>"$binary"
install --binary "$binary"
cmp -s "$binary" "$tree/opt/muster/bin/muster" || broken "the binary was not replaced"
grep -q -- --mine "$tree/etc/muster/daemon.env" || broken "the operator's settings were overwritten"

install --uninstall
[ ! -e "$tree/opt/muster/bin/muster" ] || broken "the binary is still there"
[ -d "$tree/var/lib/muster" ] || broken "the daemon's folder went without --purge"
install --uninstall --purge
[ ! -e "$tree/var/lib/muster" ] || broken "the daemon's folder is still there"
install --uninstall
[ -z "$(find "$tree" ! -type d)" ] || broken "left behind: $(find "$tree" ! -type d)"
echo "install.sh: all checks passed"
