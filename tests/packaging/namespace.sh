#!/bin/sh
# namespace.sh ROOT [INIT...]: runs INIT (default: nothing but a sleep) as process 1 of the Debian system in folder ROOT, with
# processes, mounts, network and control groups of its own. Root only. Ends with all that is in it when this script is killed.
# namespace.sh --forget PID: takes away the control groups of one that has ended.
set -e
root=$1; shift
cgroup=$(mktemp -d)
mount -t cgroup2 cgroup2 "$cgroup"
if [ "$root" = --forget ]; then
  for try in 1 2 3 4 5 6 7 8 9 10; do
    find "$cgroup/edgebms-test-$1" -depth -type d -exec rmdir {} + 2>/dev/null && break
    sleep 0.2
  done
else
  mkdir -p "$cgroup/edgebms-test-$$"
  echo $$ > "$cgroup/edgebms-test-$$/cgroup.procs"
fi
umount "$cgroup"
rmdir "$cgroup"
[ "$root" != --forget ] || exit 0
[ $# -gt 0 ] || set -- /bin/sleep infinity
exec unshare --mount --pid --fork --uts --ipc --net --cgroup --kill-child --propagation private sh -ec '
  root=$1; shift
  mount --bind "$root" "$root"
  cd "$root"
  mount -t proc proc proc
  mount -t sysfs sysfs sys
  mount -t cgroup2 cgroup2 sys/fs/cgroup
  mount -t tmpfs tmpfs run
  mount -t tmpfs tmpfs tmp
  mount -t tmpfs -o mode=755 tmpfs dev
  for device in null zero full random urandom tty; do touch dev/$device; mount --bind /dev/$device dev/$device; done
  mkdir -p dev/pts dev/shm
  mount -t tmpfs tmpfs dev/shm
  mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
  ln -s pts/ptmx dev/ptmx
  ln -s /proc/self/fd dev/fd
  ip link set lo up
  ip route add 224.0.0.0/4 dev lo
  mkdir -p .outside
  pivot_root . .outside
  umount -l .outside
  rmdir .outside
  exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"
' namespace "$root" "$@"
