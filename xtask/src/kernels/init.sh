#!/bin/sh
# The first process of a guest: asks a server with the probe beside it, once for each way in, and says on the console what the
# probe told. `ways=` on the kernel's command line names the ways.
export PATH=/bin HOME=/
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs trace /sys/kernel/tracing
ip link set lo up
cd /tmp
echo hello > index.html
python -m http.server 8000 --bind 127.0.0.1 > server.log 2>&1 &
server=$!
until wget -q -O /dev/null http://127.0.0.1:8000/; do sleep 1; done
ways=$(sed 's/.*ways=\([^ ]*\).*/\1/; s/,/ /g' /proc/cmdline)
for way in $ways; do
    STARDUST_PROBE_KERNEL_WAY=$way probe --pid $server --format json --log-level debug > spans 2> log &
    probe=$!
    until grep -q 'attached to' log || ! kill -0 $probe; do sleep 1; done
    for _ in 1 2 3; do
        wget -q -O /dev/null http://127.0.0.1:8000/
        wget -q -O /dev/null http://127.0.0.1:8000/missing 2> /dev/null
    done
    sleep 1
    kill -INT $probe
    wait $probe
    echo "=== $way exit $?"
    grep -e 'attached to' -e 'does not work' -e 'load failed' -e 'kernel refused' -e 'stardust-probe:' log
    cat spans
done
echo "=== end"
poweroff -f
