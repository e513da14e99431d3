"""What every benchmark of the whole path needs: Debian's packages, the programs built for release, and the inputs of one size."""

import hashlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import inputs
import servers

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / 'build-bench'
CLONE_NEWNET = 0x40000000


def say(text=''):
    print(text, file=sys.stderr, flush=True)


# ---- what is needed ----------------------------------------------------------------------------------------------------------

def is_installed(package):
    status = subprocess.run(['dpkg-query', '-W', '-f', '${db:Status-Status}', package], capture_output=True, text=True)
    return status.stdout == 'installed'


def install(packages):
    """Installed, not started: they would take port 53."""
    missing = [package for package in dict.fromkeys(packages) if not is_installed(package)]
    if not missing:
        return
    if os.geteuid() != 0:
        raise SystemExit(f'these packages are missing and only root can install them: {" ".join(missing)}')
    policy = Path('/usr/sbin/policy-rc.d')
    ours = not policy.exists()
    if ours:
        policy.write_text('#!/bin/sh\nexit 101\n')
        policy.chmod(0o755)
    try:
        subprocess.run(['apt-get', 'install', '-y', '-qq', '--no-install-recommends', *missing], check=True, stdout=sys.stderr,
                       env={**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'})
    finally:
        if ours:
            policy.unlink()
    if shutil.which('systemctl'):
        for unit in [*missing, 'named', 'kresd@1']:
            subprocess.run(['systemctl', 'disable', '--quiet', unit], stderr=subprocess.DEVNULL)


def build():
    if not (BUILD / 'build.ninja').exists():
        subprocess.run(['meson', 'setup', str(BUILD), str(ROOT), '--buildtype=release'], check=True, stdout=subprocess.DEVNULL)
    programs = ['usherd', 'usher', *(f'tests/bench_{noun}' for noun in ('echo', 'load', 'log'))]
    result = subprocess.run(['ninja', '-C', str(BUILD), *programs], stdout=subprocess.PIPE, text=True)
    if result.returncode != 0:
        raise SystemExit(f'the build failed:\n{result.stdout}')


def enter_network():
    """A network namespace of its own: no port is taken there, and nothing else is asked or answers. Without the right to one: the machine's."""
    if servers.libc.unshare(CLONE_NEWNET) == 0:
        subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)


def configure(folder, sources, port=servers.USHERD_PORT):
    """usherd as a school has it, but for what a laboratory needs: one worker, no limits for the one client, a forwarder on loopback."""
    config = {
        'listen': [f'127.0.0.1@{port}'],
        'workers': 1,
        'user': pwd.getpwuid(os.geteuid()).pw_name,
        'state-dir': str(folder / 'state'),
        'run-dir': str(folder / 'run'),
        'recursion': {'forward': [f'127.0.0.1@{servers.NSD_PORT}'], 'allow-loopback': True, 'dnssec': False},
        'lists': {'starter': False, 'sources': sources},
        'limits': {'in-flight-per-client': 4096},
        'default-profile': 'pupils',
        'profiles': [{'name': 'pupils', 'networks': ['127.0.0.0/8'], 'block': inputs.CATEGORIES, 'rate-limit': 0, 'log': 'full'}],
    }
    path = folder / f'usher-{port}.yaml'
    path.write_text(json.dumps(config, indent=1))        # JSON is YAML
    return path


def usher(config, *arguments):
    return subprocess.run([str(BUILD / 'usher'), '-c', str(config), *arguments], check=True, capture_output=True, text=True).stdout


def update_lists(config):
    """`usher lists update`: (seconds, seconds of CPU, MiB at its largest)."""
    began, said = time.monotonic(), config.with_name('update.log')
    pid = os.posix_spawn(BUILD / 'usher', ['usher', '-c', str(config), 'lists', 'update'], os.environ,
                         file_actions=[(os.POSIX_SPAWN_OPEN, 1, said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
                                       (os.POSIX_SPAWN_DUP2, 1, 2)])
    _, status, usage = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f'usher lists update failed:\n{said.read_text()}')
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def listed_names(config, path):
    """What usherd blocks: everything on the lists but the protected names, which resolve whatever lists say."""
    import yaml                                  # may just have been installed
    protected = yaml.safe_load((ROOT / 'conf/protected-names.yaml').read_text())['protected-names']
    endings = tuple('.' + name for name in protected)
    exported = subprocess.Popen([str(BUILD / 'usher'), '-c', str(config), 'lists', 'export', '--format', 'domains'], stdout=subprocess.PIPE,
                                text=True)
    with open(path, 'w') as out:
        out.writelines(line for line in exported.stdout if line[0] != '#' and not ('.' + line.rstrip()).endswith(endings))
    if exported.wait() != 0:
        raise SystemExit('usher lists export failed')
    return path


# ---- the machine -------------------------------------------------------------------------------------------------------------

def keep_awake():
    """A process that spins on the servers' core whenever nobody else wants it: a virtual processor that halts is slow to come back,
    and that would be charged to the server it was woken for."""
    pid = os.fork()
    if pid == 0:
        servers.libc.prctl(servers.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.sched_setaffinity(0, {servers.SERVER_CORE})
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        while True:
            pass
    return pid


def stop_child(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def stolen_s():
    """Seconds the hypervisor gave to others so far, of all cores together."""
    return int(Path('/proc/stat').read_text().split('\n')[0].split()[8]) * servers.TICK_S


def machine():
    model = next((line.split(':', 1)[1].strip() for line in open('/proc/cpuinfo') if line.startswith('model name')), 'unknown processor')
    return f'{os.cpu_count()} processors ({model}), {os.uname().sysname} {os.uname().release}'


# ---- the inputs --------------------------------------------------------------------------------------------------------------

class World:
    """Lists and questions of one size, in a folder of their own that later runs find again, and usherd's configuration for them."""

    def __init__(self, names):
        self.names = names
        self.folder = BUILD / f'world-{names}'
        self.listed = self.folder / 'listed'     # what usherd blocks, a name a line

    def _write_inputs(self, what, argument):
        subprocess.run([sys.executable, inputs.__file__, what, self.folder, str(argument)], check=True)

    def make(self):
        """The lists are compiled anew; returns what update_lists() does."""
        version = hashlib.sha256(Path(inputs.__file__).read_bytes()).hexdigest()
        made = self.folder / 'made'
        if not made.exists() or made.read_text() != version:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            say(f'{self.names} names are being made in {self.folder}')
            self._write_inputs('lists', self.names)
        self.small().write_text('listed-from-the-start.com\n')
        self.config = self.configure()
        shutil.rmtree(self.folder / 'state', ignore_errors=True)
        cost = update_lists(self.config)
        if not made.exists():
            self._write_inputs('questions', listed_names(self.config, self.listed))
            made.write_text(version)
        return cost

    def configure(self, *port):
        return configure(self.folder, json.loads((self.folder / 'sources').read_text()), *port)

    def small(self):
        """The file of a list to which an update may add names."""
        return self.folder / 'small.txt'

    def probe(self):
        """A listed name."""
        with open(self.listed) as file:
            return file.readline().strip()

    def store(self):
        """The file of the current generation."""
        return (self.folder / 'state/lists/current').resolve()
