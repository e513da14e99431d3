"""The programs that are measured, and NSD behind them: how each is configured and started, and what it cost.

A peer blocks what usherd blocks: every listed name and all below it, with NXDOMAIN. Of those that can do it in several ways (Unbound)
each way is a peer of its own. All forward to NSD, validate nothing, log nothing and have one thread for queries.
"""

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
NSD_PORT = 53530
USHERD_PORT, ECHO_PORT, IDEAL_PORT, SMALLER_PORT, FIRST_PEER_PORT = range(53531, 53536)
TICK_S = 1 / os.sysconf('SC_CLK_TCK')
START_LIMIT_S = 600
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


def stat_ticks(path):
    """utime, stime, and those of ended children, in ticks."""
    return tuple(map(int, Path(path).read_text().rsplit(')', 1)[1].split()[11:15]))


class Server:
    """A program on one core. It ends with this one, whatever happens to this one."""

    def __init__(self, name, command, port, folder, core=SERVER_CORE):
        self.name, self.command, self.port, self.core = name, [str(word) for word in command], port, core
        self.log = Path(folder) / f'{name}.log'
        self.folder = folder

    def _prepare(self):
        os.sched_setaffinity(0, {self.core})
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    def start(self, probe, rcode):
        """Seconds until probe gets the answer it should."""
        begin = time.monotonic()
        with open(self.log, 'w') as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                                            preexec_fn=self._prepare)
        while ask(self.port, probe) != rcode:
            if self.process.poll() is not None or time.monotonic() - begin > START_LIMIT_S:
                self.stop()
                raise SystemExit(f'{self.name} does not answer as it should:\n{self.log.read_text()[-2000:]}')
            time.sleep(0.002)
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
        ticks = [stat_ticks(f'/proc/{pid}/stat') for pid in self.pids()]
        return sum(map(sum, ticks)) * TICK_S, sum(user + ended_user for user, _, ended_user, _ in ticks) * TICK_S

    def worker_cpu(self):
        """Seconds of the threads that answer: those named worker."""
        return sum(sum(stat_ticks(task / 'stat')[:2]) for task in Path(f'/proc/{self.process.pid}/task').iterdir()
                   if (task / 'comm').read_text() == 'worker\n') * TICK_S

    def memory(self):
        """(private, mapped) MiB. Mapped is what belongs to files: programs, libraries, the lists, the log's rings. The kernel may
        drop and read it again, and pages that several processes share count once."""
        private = mapped = 0
        for pid in self.pids():
            sizes = dict(re.findall(r'^(\w+):\s+(\d+) kB', Path(f'/proc/{pid}/smaps_rollup').read_text(), re.M))
            private += int(sizes['Pss_Anon'])
            mapped += int(sizes['Pss_File']) + int(sizes['Pss_Shmem'])
        return private / 1024, mapped / 1024


# ---- ours, the ceilings, and the servers behind ------------------------------------------------------------------------------

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


def usherd(build, config, folder, name='usherd', port=USHERD_PORT):
    return Server(name, [build / 'usherd', '-c', config], port, folder)


def echo(build, folder):
    return Server('echo', [build / 'tests/bench_echo', ECHO_PORT], ECHO_PORT, folder)


def ideal(build, folder, listed):
    return Server('ideal', [build / 'tests/bench_echo', IDEAL_PORT, listed], IDEAL_PORT, folder)


# ---- peers -------------------------------------------------------------------------------------------------------------------

def list_as(listed, path, form, head=''):
    """The list in a peer's own words, a line or more a name."""
    with open(listed) as names, open(path, 'w') as out:
        out.write(head)
        out.writelines(form.format(line.rstrip('\n')) for line in names)
    return path


def rpz(folder, listed):
    """As a response policy zone: the name, and all below it."""
    head = '$TTL 3600\n@ SOA localhost. root.localhost. 1 3600 600 86400 3600\n@ NS localhost.\n'
    path = folder.parent / 'rpz.zone'
    return path if path.exists() else list_as(listed, path, '{0} CNAME .\n*.{0} CNAME .\n', head)


def copy_of(program, folder):
    """Debian's AppArmor profiles go by the path of the program and would keep it out of this folder."""
    return shutil.copy(program, folder / Path(program).name)


def unbound_with(folder, port, modules, lists):
    (folder / 'unbound.conf').write_text(f'''
server:
  num-threads: 1
  interface: 127.0.0.1@{port}
  access-control: 127.0.0.0/8 allow
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  do-not-query-localhost: no
  module-config: "{modules}"
  msg-cache-size: 64m
  rrset-cache-size: 128m
  outgoing-range: 4096
  num-queries-per-thread: 2048
  so-rcvbuf: 4m
  so-sndbuf: 4m
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{NSD_PORT}
{lists}
''')
    return [copy_of('/usr/sbin/unbound', folder), '-d', '-c', folder / 'unbound.conf']


def unbound(folder, listed, port):
    zones = list_as(listed, folder / 'zones.conf', 'local-zone: "{0}" always_nxdomain\n', 'server:\n')
    return unbound_with(folder, port, 'iterator', f'include: "{zones}"')


def unbound_rpz(folder, listed, port):
    return unbound_with(folder, port, 'respip iterator', f'rpz:\n  name: "rpz.bench"\n  zonefile: "{rpz(folder, listed)}"')


def bind(folder, listed, port):
    (folder / 'named.conf').write_text(f'''
options {{
  directory "{folder}"; pid-file none; session-keyfile none; lock-file none;
  listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
  recursion yes; allow-query {{ any; }}; dnssec-validation no; minimal-responses yes;
  forwarders {{ 127.0.0.1 port {NSD_PORT}; }}; forward only; querylog no; notify no; max-cache-size 512m;
  response-policy {{ zone "rpz.bench"; }} qname-wait-recurse no break-dnssec yes nsip-enable no nsdname-enable no;
}};
controls {{ }};
zone "rpz.bench" {{ type primary; file "{rpz(folder, listed)}"; allow-query {{ none; }}; }};
logging {{ category default {{ default_stderr; }}; category rpz {{ null; }}; }};
''')
    return [copy_of('/usr/sbin/named', folder), '-f', '-n', '1', '-U', '1', '-c', folder / 'named.conf']


def kresd(folder, listed, port):
    (folder / 'kresd.conf').write_text(f'''
net.listen('127.0.0.1', {port}, {{ kind = 'dns' }})
for _, name in ipairs({{ 'ta_update', 'ta_signal_query', 'priming', 'detect_time_skew', 'detect_time_jump' }}) do
  modules.unload(name)
end
trust_anchors.remove('.')
cache.open(256 * MB, 'lmdb://{folder}/cache')
modules = {{ 'policy' }}
policy.add(policy.rpz(policy.DENY, '{rpz(folder, listed)}', false))
policy.add(policy.all(policy.FORWARD({{ '127.0.0.1@{NSD_PORT}' }})))
''')
    return ['/usr/sbin/kresd', '-n', '-c', folder / 'kresd.conf', folder]


def pdns(folder, listed, port):
    (folder / 'rpz.lua').write_text(f'rpzFile("{rpz(folder, listed)}", {{policyName="bench"}})\n')
    (folder / 'recursor.conf').write_text(f'''
local-address=127.0.0.1
local-port={port}
threads=1
pdns-distributes-queries=no
daemon=no
socket-dir={folder}
lua-config-file={folder}/rpz.lua
forward-zones-recurse=.=127.0.0.1:{NSD_PORT}
dont-query=
dnssec=off
quiet=yes
loglevel=3
disable-syslog=yes
write-pid=no
max-cache-entries=1000000
max-packetcache-entries=500000
security-poll-suffix=
''')
    return ['/usr/sbin/pdns_recursor', f'--config-dir={folder}']


def dnsmasq(folder, listed, port):
    servers = list_as(listed, folder / 'servers', 'server=/{0}/\n', f'server=127.0.0.1#{NSD_PORT}\n')
    (folder / 'dnsmasq.conf').write_text(f'''
port={port}
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-hosts
user=root
group=root
cache-size=50000
dns-forward-max=1000
pid-file=
servers-file={servers}
''')
    return ['/usr/sbin/dnsmasq', '-k', '-C', folder / 'dnsmasq.conf']


def dnsdist(folder, listed, port):
    (folder / 'dnsdist.conf').write_text(f'''
setLocal('127.0.0.1:{port}')
newServer({{address='127.0.0.1:{NSD_PORT}', healthCheckMode='up'}})
setSecurityPollSuffix('')
getPool(''):setCache(newPacketCache(500000))
local names = newSuffixMatchNode()
for line in io.lines('{listed}') do
  names:add(newDNSName(line))
end
addAction(SuffixMatchNodeRule(names), RCodeAction(DNSRCode.NXDOMAIN))
''')
    return ['/usr/bin/dnsdist', '--supervised', '-C', folder / 'dnsdist.conf']


# name: (Debian's package, how it is started)
PEERS = {
    'unbound': ('unbound', unbound),
    'unbound-rpz': ('unbound', unbound_rpz),
    'bind': ('bind9', bind),
    'kresd': ('knot-resolver', kresd),
    'pdns': ('pdns-recursor', pdns),
    'dnsmasq': ('dnsmasq-base', dnsmasq),
    'dnsdist': ('dnsdist', dnsdist),
}


def peer(name, folder, listed):
    """listed: a file of all names that are to be blocked."""
    own = folder / name
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    port = FIRST_PEER_PORT + list(PEERS).index(name)
    return Server(name, PEERS[name][1](own, listed, port), port, own)
