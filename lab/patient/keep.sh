#!/bin/sh
# Keeps a patient host alive for exactly as long as standard input stays open, then removes every trace of it.
# The owner holds the other end: whatever ends the owner, even SIGKILL, closes it.
# usage: keep.sh FOLDER CGROUP NAME [MOUNT:BYTES]...
set -u
folder=$1 cgroup=$2 name=$3
shift 3
here=$(dirname "$0")

mkdir "$cgroup" || exit 1
# The shell joins the control group and becomes unshare, so that the host's own view of control groups starts there.
sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$cgroup" \
    unshare --mount --propagation private --pid --fork --kill-child=KILL --uts --ipc --cgroup \
    sh "$here/boot.sh" "$folder" "$name" "$@" </dev/null &
host=$!
echo "$host" >"$folder/host.pid"

while read -r _; do :; done

# Killing pid 1 of the namespace ends everything in it; unshare returns when all of it is gone.
for init in $(cat "/proc/$host/task/$host/children" 2>/dev/null); do kill -9 "$init"; done
kill -9 "$host" 2>/dev/null && wait "$host" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do
    find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null
    [ -d "$cgroup" ] || break
    sleep 0.1
done
rm -rf "$folder"
[ ! -d "$cgroup" ]
