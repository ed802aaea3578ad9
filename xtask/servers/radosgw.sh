#!/bin/bash
# Runs a throwaway Ceph RADOS gateway (S3) on loopback, in the foreground: radosgw.sh DIR PORT MON_PORT ACCESS_KEY SECRET_KEY
#
# Four processes: monitor, manager, one OSD that keeps all data in RAM, gateway. They are children of this script and end with it; the
# user exists before the gateway listens, so an answer on PORT means ready. Everything is logged to standard error; nothing is written
# outside of DIR, and no unix socket is made (the path of one has at most 107 bytes). Needs the Debian packages
# `radosgw ceph-mon ceph-osd ceph-mgr`.
set -euo pipefail
dir=$1 port=$2 mon_port=$3 access_key=$4 secret_key=$5

mkdir -p "$dir"/{mon,osd,mgr,rgw,crash}
cat >"$dir/ceph.conf" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon_host = v2:127.0.0.1:$mon_port
mon_initial_members = a
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv4 = true
ms_bind_ipv6 = false
auth_allow_insecure_global_id_reclaim = false
keyring = $dir/keyring
mon_data = $dir/mon
mgr_data = $dir/mgr
osd_data = $dir/osd
rgw_data = $dir/rgw
crash_dir = $dir/crash
run_dir = $dir
pid_file =
admin_socket =
log_to_file = false
log_to_stderr = true
mon_cluster_log_to_file = false
# One OSD, one copy; a few placement groups for each of the gateway's dozen pools.
osd_pool_default_size = 1
osd_pool_default_min_size = 1
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
osd_crush_chooseleaf_type = 0
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
mon_max_pg_per_osd = 1000
# Refuse nothing because the disk of this machine is nearly full.
mon_data_avail_crit = 1
mon_data_avail_warn = 2
osd_objectstore = memstore
memstore_device_bytes = 8589934592
# An S3 key may have 1024 bytes; the gateway puts its own prefix before it.
osd_max_object_name_len = 2048
[client.rgw]
# What a client that is gone leaves behind must end within the margin of the tests that kill one: with the default of 65 s
# multi-deletes of dead clients took effect that late.
rgw_frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1 request_timeout_ms=1500
# Both `localhost/BUCKET` and `BUCKET.localhost` are understood.
rgw_dns_name = localhost
rgw_enable_usage_log = false
CONF
export CEPH_CONF=$dir/ceph.conf

pids=()
stop() {
    # Exactly our children. The OSD and the monitor have nothing to save; the gateway would wait for its peers.
    [ ${#pids[@]} = 0 ] || kill -KILL "${pids[@]}" 2>/dev/null || true
    wait
}
trap stop EXIT
trap 'exit 143' TERM INT HUP

start() {
    "$@" --foreground </dev/null &
    pids+=($!)
}

key() {
    ceph-authtool "$dir/keyring" --gen-key --name "$1" "${@:2}" >/dev/null
}
all=(--cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *')
ceph-authtool --create-keyring "$dir/keyring" >/dev/null
key mon. --cap mon 'allow *'
for name in client.admin mgr.x osd.0 client.rgw; do key "$name" "${all[@]}"; done

fsid=$(sed -n 's/^fsid = //p' "$CEPH_CONF")
monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$mon_port]" "$dir/monmap" >/dev/null
ceph-mon --id a --mkfs --monmap "$dir/monmap" --keyring "$dir/keyring"
start ceph-mon --id a
start ceph-mgr --id x
osd=$(cat /proc/sys/kernel/random/uuid)
ceph --connect-timeout 60 osd new "$osd" >/dev/null
ceph-osd --id 0 --mkfs --osd-uuid "$osd"
start ceph-osd --id 0
timeout --foreground 120 radosgw-admin user create --uid=live --display-name=live --access-key="$access_key" --secret-key="$secret_key" >/dev/null
start radosgw --name client.rgw

# A server without one of its parts is no server: end when the first of them ends.
wait -n
echo "radosgw.sh: one of the four processes ended early" >&2
exit 1
