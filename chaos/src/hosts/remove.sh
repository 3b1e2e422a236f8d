# Removes the hosts of one run, whatever state they are in: on its standard input it waits for the end of the process
# that made them. Arguments: the run's name, its bridge, its folder.
# Whoever interrupts the tests from a terminal must not end this.
trap '' INT TERM HUP
cat >/dev/null
run=$1 bridge=$2 folder=$3

# A process of a host is in its namespace or, in a container, below its cgroup. The loop meets those that were being
# started.
processes() {
    for host in $(ip netns list | awk '{print $1}' | grep "^$run-"); do ip netns pids "$host"; done
    find /sys/fs/cgroup -path "*/$run-*/cgroup.procs" -exec cat {} +
}
rounds=0
while found=$(processes 2>/dev/null | sort -u) && [ -n "$found" ] && [ $rounds -lt 250 ]; do
    kill -9 $found 2>/dev/null
    rounds=$((rounds + 1))
    sleep 0.02
done
for host in $(ip netns list | awk '{print $1}' | grep "^$run-"); do ip netns del "$host"; done
ip link del "$bridge" 2>/dev/null
iptables -w -D FORWARD -i "$bridge" -o "$bridge" -j ACCEPT 2>/dev/null
find /sys/fs/cgroup -depth -type d -path "*/$run-*" -exec rmdir {} + 2>/dev/null
# Only what lies in the run's own folder.
case $folder in */muster-hosts-*) rm -rf "$folder" ;; esac
