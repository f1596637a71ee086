"""How does a process become a machine of its own? By namespaces of the Linux kernel; all of it needs root.

A machine has its own processes, mounts, name, and network: one interface at a switch, which is a bridge in
a namespace of its own. From the switch a link goes to the network of whoever made it, so that machines can
dial out and nothing can dial in. No namespace has a name in the file system: with its last process it is
gone.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from functools import cache

_NEW_NS, _NEW_UTS, _NEW_IPC, _NEW_PID, _NEW_NET = (
    0x20000,
    0x4000000,
    0x8000000,
    0x20000000,
    0x40000000,
)  # linux/sched.h
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000  # linux/mount.h
_SET_ADDRESS, _SET_MASK, _GET_FLAGS, _SET_FLAGS = 0x8916, 0x891C, 0x8913, 0x8914  # linux/sockios.h
_UP_AND_RUNNING = 0x41  # linux/if.h

BRIDGE = "sw0"
UPLINK = "up0"
"""Port of the switch that leads home."""
_MASK = "255.255.252.0"
_N_NETWORKS = 1 << 13
_PER_NETWORK = 1 << 10
_FIRST = 0x0A800000  # 10.128.0.0: the upper half of a block that is private everywhere


@cache
def are_possible() -> bool:
    """Tell whether this process may make machines."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    probe = subprocess.run(
        ["unshare", "--net", "--pid", "--mount", "--fork", "true"],  # noqa: S607
        capture_output=True,
        check=False,
    )
    return probe.returncode == 0


def _call(name: str, *args: object) -> None:
    """Call a function of the C library.

    Raises:
        OSError: it failed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


class Switch:
    """The network that machines are plugged into; the process that makes it moves into it.

    Attributes:
        address: of the other end of its link, at home: what machines dial.
    """

    def __init__(self) -> None:
        self._pids = os.open("/proc/self/ns/pid", os.O_RDONLY)
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self._network = _FIRST + os.getpid() % _N_NETWORKS * _PER_NETWORK
        self.address = self._nth(1)
        uplink = f"rr{os.getpid()}"
        _call("unshare", _NEW_NET)
        switch = os.open("/proc/self/ns/net", os.O_RDONLY)
        _ip(f"link add {BRIDGE} up type bridge")
        _ip(f"link add {UPLINK} up master {BRIDGE} type veth peer name {uplink} netns {os.getppid()}")
        _call("setns", home, _NEW_NET)
        _configure(uplink, self.address)
        _call("setns", switch, _NEW_NET)
        os.close(home)
        os.close(switch)

    def _nth(self, number: int) -> str:
        return socket.inet_ntoa(struct.pack("!I", self._network + number))

    def fork(self, number: int, name: str) -> int:
        """Fork the first process of a new machine; return 0 there, its process id here."""
        ready_read, ready_write = os.pipe()
        plugged_read, plugged_write = os.pipe()
        _call("unshare", _NEW_PID)
        pid = os.fork()
        if pid:
            _call("setns", self._pids, _NEW_PID)
            for handle in (ready_write, plugged_read):
                os.close(handle)
            try:
                if os.read(ready_read, 1):
                    _ip(f"link add {port(number)} up master {BRIDGE} type veth peer name eth0 netns {pid}")
                    os.write(plugged_write, b"1")
            finally:
                for handle in (ready_read, plugged_write):
                    os.close(handle)
            return pid
        _call("unshare", _NEW_NET | _NEW_NS | _NEW_UTS | _NEW_IPC)
        os.write(ready_write, b"1")
        for handle in (ready_read, ready_write, plugged_write):
            os.close(handle)
        if not os.read(plugged_read, 1):
            os._exit(1)
        os.close(plugged_read)
        self._furnish(number, name)
        return 0

    def close(self) -> None:
        """Take down the link to where this was made from; the kernel would, a little later."""
        _ip(f"link delete {UPLINK}")

    def _furnish(self, number: int, name: str) -> None:
        """Give this machine a name, an address, and places of its own for processes and temporary files."""
        socket.sethostname(name)
        _configure("lo", "127.0.0.1")
        _configure("eth0", self._nth(number + 1))
        _call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)
        _call("mount", b"proc", b"/proc", b"proc", 0, None)
        _call("mount", b"tmpfs", b"/dev/shm", b"tmpfs", 0, None)


def port(number: int) -> str:
    """Return the name of the port of the switch that a machine is plugged into."""
    return f"m{number}"


def plug(switch_pid: int, interface: str, *, is_in: bool) -> None:
    """Plug a port into its switch, or out of it: its link stays up, and nothing gets through."""
    change = f"link set {interface} " + (f"master {BRIDGE}" if is_in else "nomaster")
    command = ["nsenter", "--net", "--target", str(switch_pid), "ip", *change.split()]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)  # noqa: S603, S607


def _configure(interface: str, address: str) -> None:
    """Give an interface of this namespace an address and bring it up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        name = interface.encode()
        values = (
            [(_SET_ADDRESS, address)] if interface == "lo" else [(_SET_ADDRESS, address), (_SET_MASK, _MASK)]
        )
        for request, value in values:
            where = struct.pack("!HH4s8x", 0, 0, socket.inet_aton(value))
            where = struct.pack("=H", socket.AF_INET) + where[2:]
            fcntl.ioctl(control, request, struct.pack("16s16s", name, where))
        flags = struct.unpack("16sh22x", fcntl.ioctl(control, _GET_FLAGS, struct.pack("16s24x", name)))[1]
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sh22x", name, flags | _UP_AND_RUNNING))
