#!/bin/sh
# Runs a server in a folder of its own until standard input ends or the server does, then stops it and removes the folder:
# supervise.sh DIR PROGRAM [ARG…]
#
# Standard input is a pipe from `cargo xtask`. It ends also when that program is killed, so that no server outlives its run. The server
# is in a process group of its own, so that all that it started goes with it.
set -u
dir=$1
shift
mkdir "$dir" || exit
exec 3<&0
(cd "$dir" && exec setsid "$@") </dev/null 3<&- &
server=$!
(
    read -r _ <&3
    kill -s TERM -- "-$server"
    sleep 5
    kill -s KILL -- "-$server"
) 2>/dev/null &
watcher=$!
wait "$server"
status=$?
kill "$watcher" 2>/dev/null
kill -s KILL -- "-$server" 2>/dev/null
rm -rf "$dir"
exit "$status"
