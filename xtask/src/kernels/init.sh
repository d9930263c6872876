#!/bin/sh
# The first process of a guest: asks servers with the probe beside them, once for each way in, and says on the console what the
# probe told and what was asked. `ways=` on the kernel's command line names the ways.
export PATH=/bin HOME=/
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs trace /sys/kernel/tracing
ip link set lo up
for module in /modules/*; do insmod "$module"; done
cd /tmp
echo hello > index.html
dd if=/dev/zero of=large bs=1000 count=300 2> /dev/null
ways=$(sed 's/.*ways=\([^ ]*\).*/\1/; s/,/ /g' /proc/cmdline)
python -m http.server 8000 --bind 127.0.0.1 > server.log 2>&1 &
server=$!
python /https.py serve /certificate.pem /key.pem > https.log 2>&1 &
https=$!
nginx -c /nginx.conf -e /tmp/nginx.log -g 'daemon off;' &
# What does not come about is said, and the guest ends.
await() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        if [ $tries = 120 ]; then
            echo "no $*"
            cat *.log
            poweroff -f
        fi
        sleep 1
    done
}
await wget -q -O /dev/null http://127.0.0.1:8000/
await wget -q -O /dev/null http://127.0.0.1:8003/
await grep -q ':1F41 ' /proc/net/tcp
python /https.py ask /certificate.pem $ways > ask.log 2>&1 &
ask=$!
nginx=$(cat nginx.pid)
said() { grep -q 'attached to' log || ! kill -0 $probe; }
for way in $ways; do
    touch connect.$way
    await test -e connected.$way
    STARDUST_PROBE_KERNEL_WAY=$way probe --pid $server --pid $https --pid $nginx --pid $ask \
        --format json --log-level debug > spans 2> log &
    probe=$!
    await said
    for _ in 1 2 3; do
        wget -q -O /dev/null http://127.0.0.1:8000/
        wget -q -O /dev/null http://127.0.0.1:8000/missing 2> /dev/null
    done
    touch go.$way
    await test -e asked.$way
    sleep 1
    kill -INT $probe
    wait $probe
    echo "=== $way exit $?"
    grep -e 'attached to' -e 'does not work' -e 'load failed' -e 'kernel refused' -e 'stardust-probe:' log
    sed -n 's/^Tls\([TR]x\)Sw[ \t]*/KTLS \1 /p' /proc/net/tls_stat
    cat asked.$way spans
done
echo "=== end"
poweroff -f
