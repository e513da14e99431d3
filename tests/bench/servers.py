"""The programs that are measured, and NSD behind them: how each is configured and started, and what it cost."""

import ctypes
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

SERVER_CORE, LOAD_CORE = 0, 1
NSD_PORT, USHERD_PORT, UNBOUND_PORT, ECHO_PORT = 53530, 53531, 53532, 53533
TICK_S = 1 / os.sysconf('SC_CLK_TCK')
START_LIMIT_S = 120
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


def query_of(name, id):
    labels = b''.join(bytes([len(label)]) + label.encode() for label in name.split('.'))
    return struct.pack('>6H', id, 0x100, 1, 0, 0, 0) + labels + b'\0\0\1\0\1'


def ask(port, name, timeout_s=0.1):
    """The rcode of one answer, None without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout_s)
        s.connect(('127.0.0.1', port))
        try:
            s.send(query_of(name, 4711))
            return s.recv(2048)[3] & 15
        except OSError:
            return None


class Server:
    """A program on one core. It ends with this one, whatever happens to this one."""

    def __init__(self, name, command, port, folder, core=SERVER_CORE):
        self.name, self.command, self.port, self.core = name, [str(word) for word in command], port, core
        self.log = Path(folder) / f'{name}.log'

    def _prepare(self):
        os.sched_setaffinity(0, {self.core})
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    def start(self, probe, rcode):
        """Seconds until probe gets the answer it should."""
        begin = time.monotonic()
        with open(self.log, 'w') as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=self._prepare)
        while ask(self.port, probe) != rcode:
            if self.process.poll() is not None or time.monotonic() - begin > START_LIMIT_S:
                self.stop()
                raise SystemExit(f'{self.name} does not answer as it should:\n{self.log.read_text()[-2000:]}')
            time.sleep(0.005)
        return time.monotonic() - begin

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def pids(self):
        """The process and all below it."""
        parents = {}
        for folder in Path('/proc').glob('[0-9]*'):
            try:
                parents[int(folder.name)] = int((folder / 'stat').read_text().rsplit(')', 1)[1].split()[1])
            except OSError:
                pass                             # ended meanwhile
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def cpu(self):
        """(user + system, user) seconds so far: every thread of every process, and those that ended."""
        total = user = 0
        for pid in self.pids():
            utime, stime, ended_user, ended_system = map(int, Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[11:15])
            total += utime + stime + ended_user + ended_system
            user += utime + ended_user
        return total * TICK_S, user * TICK_S

    def memory(self):
        """(private, mapped) MiB. Mapped is what belongs to files: programs, libraries, the lists, the log's rings. The kernel may
        drop and read it again, and pages that several processes share count once."""
        private = mapped = 0
        for pid in self.pids():
            sizes = dict(re.findall(r'^(\w+):\s+(\d+) kB', Path(f'/proc/{pid}/smaps_rollup').read_text(), re.M))
            private += int(sizes['Pss_Anon'])
            mapped += int(sizes['Pss_File']) + int(sizes['Pss_Shmem'])
        return private / 1024, mapped / 1024


def nsd(folder):
    (folder / 'nsd.conf').write_text(f'''
server:
  ip-address: 127.0.0.1@{NSD_PORT}
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  pidfile: ""
  xfrdfile: ""
  zonelistfile: "{folder}/zone.list"
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: "."
  zonefile: "root.zone"
''')
    return Server('nsd', ['/usr/sbin/nsd', '-d', '-c', folder / 'nsd.conf'], NSD_PORT, folder, core=LOAD_CORE)


def usherd(build, config, folder):
    return Server('usherd', [build / 'usherd', '-c', config], USHERD_PORT, folder)


def unbound(folder, listed):
    with open(folder / 'unbound-lists.conf', 'w') as lists:
        lists.write('server:\n')
        lists.writelines(f'local-zone: "{name}" always_nxdomain\n' for name in listed)
    (folder / 'unbound.conf').write_text(f'''
server:
  num-threads: 1
  interface: 127.0.0.1@{UNBOUND_PORT}
  access-control: 127.0.0.0/8 allow
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  do-not-query-localhost: no
  module-config: "iterator"
  msg-cache-size: 64m
  rrset-cache-size: 128m
  outgoing-range: 4096
  num-queries-per-thread: 2048
  so-rcvbuf: 4m
  so-sndbuf: 4m
include: "{folder}/unbound-lists.conf"
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{NSD_PORT}
''')
    # Debian's AppArmor profile goes by the path of the program and would keep it out of this folder.
    program = folder / 'unbound'
    shutil.copy('/usr/sbin/unbound', program)
    return Server('unbound', [program, '-d', '-c', folder / 'unbound.conf'], UNBOUND_PORT, folder)


def echo(build, folder):
    return Server('echo', [build / 'tests/bench_echo', ECHO_PORT], ECHO_PORT, folder)
