#!/bin/sh
# Installs the muster binary and its systemd unit on this host, or takes them away again.
# Running it twice is the same as running it once; running it with another binary is the upgrade.
set -eu
umask 022

usage() {
    cat <<'TEXT'
usage: install.sh [options]

  --binary PATH   the muster binary (default: target/release/muster of this checkout)
  --prefix DIR    where bin/muster goes (default: /usr/local)
  --destdir DIR   put everything under DIR and start nothing, for packages (default: $DESTDIR)
  --no-start      install, and neither start nor restart the daemon
  --uninstall     stop the daemon and remove what was installed; its folder and containers stay
  --purge         with --uninstall: remove /var/lib/muster and /etc/muster too
  -h, --help      this text
TEXT
}

say() { printf '%s\n' "$*"; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
misused() { printf 'install.sh: %s\n' "$*" >&2; usage >&2; exit 2; }

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
binary=
prefix=/usr/local
destdir=${DESTDIR:-}
start=yes
action=install
purge=no

while [ $# -gt 0 ]; do
    case $1 in
        --binary | --prefix | --destdir)
            [ $# -ge 2 ] || misused "$1 needs a value"
            case $1 in
                --binary) binary=$2 ;;
                --prefix) prefix=$2 ;;
                --destdir) destdir=$2 ;;
            esac
            shift ;;
        --no-start) start=no ;;
        --uninstall) action=uninstall ;;
        --purge) purge=yes ;;
        -h | --help) usage; exit 0 ;;
        *) misused "unknown option $1" ;;
    esac
    shift
done

case $prefix in /*) ;; *) misused "--prefix must be an absolute path, not $prefix" ;; esac
# The path goes into the unit, where a space would end it and a % means something.
case $prefix in *[!A-Za-z0-9/._-]*) misused "--prefix may have letters, digits and / . _ - only" ;; esac
case $destdir in '' | /*) ;; *) misused "--destdir must be an absolute path, not $destdir" ;; esac
[ "$purge" = no ] || [ "$action" = uninstall ] || misused "--purge goes with --uninstall"

command_path=$prefix/bin/muster
unit_path=/etc/systemd/system/muster.service
target_binary=$destdir$command_path
target_unit=$destdir$unit_path
settings=$destdir/etc/muster/daemon.env
state=$destdir/var/lib/muster

# Nothing is started, stopped or asked of systemd below a destdir: it is another machine's tree.
runs_here() { [ -z "$destdir" ]; }
has_systemd() { [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; }

check_host() {
    runs_here || return 0
    [ "$(uname -s)" = Linux ] || fail "muster runs on Linux, this is $(uname -s)"
    [ "$(id -u)" -eq 0 ] || fail "this needs root; run it with sudo, or with --destdir"
}

# put MODE FILE TARGET: whole or not at all, also under a daemon that runs the old one. Says whether it changed.
changed=no
staged=
put() {
    if [ -f "$3" ] && cmp -s -- "$2" "$3"; then
        return 0
    fi
    mkdir -p -- "$(dirname -- "$3")"
    staged=$3.new.$$
    cp -- "$2" "$staged"
    chmod "$1" "$staged"
    mv -f -- "$staged" "$3"
    changed=yes
    say "installed $3"
}

install_files() {
    scratch=$(mktemp -d)
    trap 'rm -rf -- "$scratch" ${staged:+"$staged"}' EXIT
    trap 'exit 1' HUP INT TERM

    sed "s|^ExecStart=/usr/local/bin/muster|ExecStart=$command_path|" "$here/muster.service" >"$scratch/unit"
    grep -q "^ExecStart=$command_path daemon" "$scratch/unit" || fail "muster.service has no ExecStart to set"

    put 0755 "$binary" "$target_binary"
    put 0644 "$scratch/unit" "$target_unit"

    if [ ! -e "$settings" ]; then
        cat >"$scratch/settings" <<'TEXT'
# Options of `muster daemon`, as --advertise-addr 10.0.0.1:7377. See `muster daemon --help`.
MUSTER_DAEMON_ARGS=
TEXT
        put 0644 "$scratch/settings" "$settings"
    fi
    if [ ! -d "$state" ]; then
        mkdir -p -- "$state"
        say "made $state"
    fi
    chmod 0700 "$state"
}

# Half a second apart: recovery takes milliseconds, a loaded host takes longer.
answers_tried=40

start_daemon() {
    runs_here || return 0
    if ! has_systemd; then
        say "this host does not run systemd: start \`$command_path daemon\` with your own init"
        return 0
    fi
    systemctl daemon-reload
    systemctl enable --quiet muster.service
    if [ "$start" = no ]; then
        say "not started, as asked; \`systemctl restart muster\` does"
        return 0
    fi
    if [ "$changed" = yes ] || ! systemctl is-active --quiet muster.service; then
        systemctl restart muster.service
    fi
    # `restart` returns once the program runs; a daemon that refuses its folder ends just after.
    tries=0
    until "$command_path" info >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -le "$answers_tried" ] || fail "the daemon does not come up; \`journalctl -u muster -n 20\` says why"
        sleep 0.5
    done
    say "the daemon runs; on a first install go on with \`muster init\`"
}

install_muster() {
    [ -n "$binary" ] || binary=$here/../target/release/muster
    [ -f "$binary" ] || fail "there is no $binary; build it with \`cargo build --release\`, or name it with --binary"
    [ -x "$binary" ] || fail "$binary cannot be executed; is it the muster binary?"
    [ -f "$here/muster.service" ] || fail "muster.service is not beside install.sh"
    # A binary for another machine or of another program is found out before anything is replaced.
    if runs_here && ! "$binary" daemon --help >/dev/null 2>&1; then
        fail "$binary does not run here as muster; is it built for this machine?"
    fi
    install_files
    if runs_here && ! [ -S /var/run/docker.sock ]; then
        say "note: no Docker Engine answers at /var/run/docker.sock; tasks wait until one does"
    fi
    start_daemon
    [ "$changed" = yes ] || say "everything was in place already"
}

take_away() {
    if [ -e "$1" ]; then
        rm -f -- "$1"
        say "removed $1"
    fi
}

uninstall_muster() {
    if runs_here && has_systemd && [ -e "$target_unit" ]; then
        systemctl disable --now --quiet muster.service
    fi
    take_away "$target_unit"
    take_away "$target_binary"
    if runs_here && has_systemd; then
        systemctl daemon-reload
    fi
    if [ "$purge" = yes ]; then
        rm -rf -- "$state" "$destdir/etc/muster"
        say "removed $state and $destdir/etc/muster"
    elif [ -d "$state" ]; then
        say "kept $state and $destdir/etc/muster; --purge removes them"
    fi
    if runs_here; then
        say "containers still run unless \`muster leave\` came first: \`docker ps --filter label=muster.cluster\` shows them"
    fi
}

check_host
case $action in
    install) install_muster ;;
    uninstall) uninstall_muster ;;
esac
