#!/bin/sh
# Builds the patient host's root and becomes its systemd. Runs as pid 1 of fresh namespaces.
# Programs and configuration come from this machine through overlays that keep every write in memory; nothing else of
# the machine is there: no homes, no logs, no disks, no units.
# usage: boot.sh FOLDER NAME [MOUNT:BYTES]...   (FOLDER/seed is copied over the root)
set -eu
folder=$1 name=$2
shift 2

memory=$folder/memory root=$folder/memory/root
mkdir "$memory"
mount -t tmpfs -o mode=755 patient-layers "$memory"
mkdir "$root"
mount -t tmpfs -o mode=755,size=256m patient-root "$root"

overlay() { # the machine's directory $1, writable without touching it
    layer=$memory/layer$(echo "$1" | tr / -)
    mkdir -p "$layer/upper" "$layer/work" "$root$1"
    mount -t overlay -o "lowerdir=$1,upperdir=$layer/upper,workdir=$layer/work" patient-overlay "$root$1"
}
for top in /bin /sbin /lib /lib32 /lib64 /libx32; do
    if [ -L "$top" ]; then cp -P "$top" "$root$top"; elif [ -d "$top" ]; then overlay "$top"; fi
done
overlay /usr
overlay /etc
# Seen through the overlay only: the machine keeps its units, keys and disks to mount.
rm -rf "$root"/etc/systemd/system/* "$root"/etc/ssh/ssh_host_* "$root/etc/crypttab" "$root/etc/fstab"
sed -i 's/^root:[^:]*:/root:*:/' "$root/etc/shadow" # sshd lets nobody in whose account is locked with '!'

cd "$root"
mkdir -p proc sys dev run tmp root home var
for filesystem in "$@"; do
    mount=${filesystem%:*} bytes=${filesystem##*:}
    image=$memory/$(basename "$folder")$(echo "$mount" | tr / -)
    truncate -s "$bytes" "$image"
    mkfs.ext4 -q -F -m 0 -e remount-ro "$image"
    mkdir -p ".$mount"
    mount -o loop "$image" ".$mount"
done
mkdir -p var/cache/apt/archives/partial var/lib/apt/lists/partial var/lib/systemd/coredump var/log/journal var/tmp
if [ -d /var/lib/dpkg ]; then overlay /var/lib/dpkg; fi

mount -t proc proc proc
for shared in proc/sys proc/sysrq-trigger; do # the kernel is the machine's: look, do not turn
    [ -e "$shared" ] || continue
    mount --bind "$shared" "$shared"
    mount -o remount,bind,ro "$shared"
done
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 patient-dev dev
mount -t tmpfs -o mode=755 patient-run run
mount -t tmpfs -o mode=1777 patient-tmp tmp
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "dev/${node%:*}" c 1 "${node#*:}"; done
mknod -m 666 dev/tty c 5 0
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd

cp -R "$folder/seed/." .
chmod 600 etc/ssh/patient_host_key
hostname "$name"
mkdir machine
pivot_root . machine
# shellcheck disable=SC2016  # expanded by the inner shell
exec chroot . env -i container=patient PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    sh -c 'umount -l /machine && rmdir /machine && exec /lib/systemd/systemd --system --unit=patient.target --show-status=0'
