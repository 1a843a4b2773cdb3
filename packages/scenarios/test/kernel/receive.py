"""What this machine's kernel makes of IPv4 frames that a device receives in one go: stdin and stdout are JSON.

stdin: a list of cases, each {"frames": [hex, ...]}, to 10.0.0.2; of UDP ports 2000 (which asks for UDP_GRO) and 2001.
stdout: {"kernel": release, "cases": [{"reads": [[port, hex, gso_size], ...], "packets": [[hex, gso_size], ...]}, ...]}: what each read
gave, in order, by port; and what a tap behind GRO saw, from the IP header on.
As root; makes two network namespaces, and removes them.
"""
import ctypes, json, os, platform, socket, struct, subprocess, sys, time

UDP_GRO = 104
FLUSH_NS = 100_000_000
CLONE_NEWNET = 0x40000000
SOL_PACKET = 263
PACKET_VNET_HDR = 15
SO_RCVBUFFORCE = 33
ETH_P_IP = 0x0800


def run(*command):
    subprocess.run(command, check=True)


def enter(namespace):
    with open(f"/run/netns/{namespace}") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def bound(port, gro):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    if gro:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    sock.bind(("0.0.0.0", port))
    sock.setblocking(False)
    return sock


def reads(port, sock):
    got = []
    while True:
        try:
            data, ancillary, _flags, _address = sock.recvmsg(1 << 17, 256)
        except BlockingIOError:
            return got
        sizes = [struct.unpack("i", value[:4])[0] for level, kind, value in ancillary if (level, kind) == (socket.IPPROTO_UDP, UDP_GRO)]
        got.append([port, data.hex(), sizes[0] if sizes else 0])


def tap(dev):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    sock.bind((dev, ETH_P_IP))
    sock.setblocking(False)
    return sock


def packets(sock):
    got = []
    while True:
        try:
            data = sock.recv(1 << 17)
        except BlockingIOError:
            return got
        _flags, _type, _header, gso_size, _start, _offset = struct.unpack("<BBHHHH", data[:10])
        got.append([data[24:].hex(), gso_size])


def main():
    names = [f"netmem-receive-{os.getpid()}-{side}" for side in ("tx", "rx")]
    try:
        for name in names:
            run("ip", "netns", "add", name)
        run("ip", "-n", names[0], "link", "add", "veth0", "type", "veth", "peer", "name", "veth1", "netns", names[1])
        run("ip", "-n", names[1], "link", "set", "veth1", "address", "02:00:00:00:00:02")
        run("ip", "-n", names[1], "address", "add", "10.0.0.2/24", "dev", "veth1")
        # An instance of veth polls, and so merges, what a device sends that cannot itself send several segments at once.
        run("ip", "netns", "exec", names[0], "ethtool", "-K", "veth0", "tso", "off")
        run("ip", "netns", "exec", names[1], "ethtool", "-K", "veth1", "gro", "on")
        for name, dev in zip(names, ("veth0", "veth1")):
            run("ip", "-n", name, "link", "set", dev, "up")
        # What is held is held until a timer ends it, long after the last frame.
        for file, value in (("napi_defer_hard_irqs", 1000), ("gro_flush_timeout", FLUSH_NS)):
            run("ip", "netns", "exec", names[1], "sh", "-c", f"echo {value} > /sys/class/net/veth1/{file}")
        run("ip", "netns", "exec", names[1], "sh", "-c", "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.veth1.rp_filter=0")
        time.sleep(1)
        enter(names[0])
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sender.bind(("veth0", 0))
        enter(names[1])
        sockets = [(2000, bound(2000, True)), (2001, bound(2001, False))]
        tapped = tap("veth1")
        results = []
        for case in json.load(sys.stdin):
            for frame in case["frames"]:
                sender.send(bytes.fromhex(frame))
            time.sleep(3 * FLUSH_NS / 1e9)
            results.append({"reads": [read for port, sock in sockets for read in reads(port, sock)], "packets": packets(tapped)})
        json.dump({"kernel": platform.release(), "cases": results}, sys.stdout)
    finally:
        for name in names:
            subprocess.run(("ip", "netns", "delete", name), stderr=subprocess.DEVNULL)


main()
