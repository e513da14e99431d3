"""tools/install, tried on this machine without touching it: in a mount, process and network namespace where /etc, /usr/local, /var/lib and
the sources are overlays and /run is empty. systemd does not run there; where a story needs it, `systemctl` is a script that notes its words.
"""

import re
import shutil
import subprocess

import pytest

from usher import BUILD, ENVIRONMENT, ROOT, command_line, descendants, eventually, make_folder, remove_folder

OVERLAID = ('/etc', '/usr/local', '/var/lib', str(ROOT))
CONF, STATE, SHARE = '/etc/usher', '/var/lib/usher', '/usr/local/share/usher'

SETUP = r'''
set -e
folder=$0
mount -t tmpfs tmpfs "$folder"
for path; do
    layers=$folder/$(echo "$path" | tr / _)
    mkdir -p "$layers/upper" "$layers/work"
    mount -t overlay overlay -o "lowerdir=$path,upperdir=$layers/upper,workdir=$layers/work" "$path"
done
mount -t tmpfs -o mode=0755 tmpfs /run
mount -t proc proc /proc
ip link set lo up
mkdir "$folder/bin"
echo ready
exec sleep 600
'''

SYSTEMCTL = '''#!/bin/sh
echo "$*" >>{folder}/systemctl
case "$*" in *is-active*) test -e /run/resolved-runs ;; esac
'''


class Machine:
    """This machine as it was before, and free to be changed."""

    def __init__(self):
        self.folder = make_folder('install')
        self.process = subprocess.Popen(['unshare', '--mount', '--net', '--pid', '--fork', '--kill-child', '--propagation', 'private', 'sh', '-c', SETUP,
                                         str(self.folder), *OVERLAID], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        first = self.process.stdout.readline()
        self.reason = '' if first == 'ready\n' else first + self.process.stdout.read()
        if self.reason:
            return
        self.inside = ['nsenter', '--target', str(descendants(self.process.pid)[0]), '--mount', '--net', '--pid',
                       'env', f'--chdir={ROOT}']   # nsenter's own --wd would be a folder of the world outside
        self.environment = {**ENVIRONMENT, 'PATH': f'{self.folder}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'}
        # The build of the tests stands in for the one of tools/install: the same but for the sanitizers.
        self.run('ln', '-sfn', BUILD.name, 'build-install')
        self.run('rm', '-rf', CONF, STATE, SHARE)

    def end(self):
        self.process.kill()
        self.process.wait()
        remove_folder(self.folder)

    def popen(self, *words, **options):
        return subprocess.Popen([*self.inside, *words], stdin=subprocess.DEVNULL, env=self.environment, text=True, **options)

    def run(self, *words, expect=0):
        """What a command says, standard error and all."""
        process = self.popen(*words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said, _ = process.communicate(timeout=300)
        assert expect is None or process.returncode == expect, f'{words} ended with {process.returncode}:\n{said}'
        return said

    def install(self, *words, expect=0):
        return self.run('tools/install', *words, expect=expect)

    def has(self, path):
        return self.run('sh', '-c', 'test -e "$0" || test -L "$0" && echo yes || echo no', path) == 'yes\n'

    def read(self, path):
        return self.run('cat', path)

    def append(self, path, text):
        self.run('sh', '-c', 'printf "%s\\n" "$1" >>"$0"', path, text)

    def listing(self):
        """Every file there is, but for the books of accounts, which are compared by their lines."""
        # In /var/lib the folders alone: the package manager of the world outside may be at work there.
        files = self.run('find', '/etc', '/usr/local', '/var/lib', '-path', '/var/lib/*/*', '-prune', '-o', '-printf', r'%p %y %m %u %g %l\n').splitlines()
        accounts = sorted(self.run('cat', '/etc/passwd', '/etc/group').splitlines())
        return sorted(f for f in files if not f.startswith(('/etc/passwd', '/etc/group', '/etc/shadow', '/etc/gshadow', '/etc/.pwd.lock'))) + accounts

    # ---- systemd's part ----

    def with_systemd(self, resolved):
        self.run('mkdir', '-p', '/run/systemd/system', '/run/systemd/resolve')
        self.append(f'{self.folder}/bin/systemctl', SYSTEMCTL.format(folder=self.folder))
        self.run('chmod', '755', f'{self.folder}/bin/systemctl')
        if resolved:
            self.run('touch', '/run/resolved-runs', '/run/systemd/resolve/stub-resolv.conf')
            self.run('ln', '-sf', '../run/systemd/resolve/stub-resolv.conf', '/etc/resolv.conf')

    def systemctl(self):
        """What systemctl was told since the last look."""
        path = f'{self.folder}/systemctl'
        said = self.read(path).splitlines() if self.has(path) else []
        self.run('rm', '-f', path)
        return said


@pytest.fixture
def machine():
    if BUILD.parent != ROOT:
        pytest.skip('the build folder is not one of this tree')
    machine = Machine()
    try:
        if machine.reason:
            pytest.skip(f'no overlays in a namespace here: {machine.reason.strip()}')
        yield machine
    finally:
        machine.end()


def accounts_of(machine, daemon):
    """{title: account} of usherd's processes."""
    accounts = {line.split(':')[2]: line.split(':')[0] for line in machine.read('/etc/passwd').splitlines()}
    found = {}
    for pid in descendants(daemon.pid):
        uid = next(line.split()[1] for line in open(f'/proc/{pid}/status') if line.startswith('Uid:'))
        found.setdefault(command_line(pid).split(' --')[0].strip(), set()).add(accounts.get(uid, uid))
    return found


def test_without_systemd_it_installs_all_and_starts_nothing(machine):
    said = machine.install()
    assert 'nothing was started' in said and '/usr/local/sbin/usherd' in said
    for path in ('/usr/local/sbin/usherd', '/usr/local/bin/usher', '/usr/local/share/man/man8/usherd.8', '/usr/local/share/man/man8/usher.8',
                 '/usr/local/share/man/man5/usher.yaml.5', '/usr/local/lib/systemd/system/usherd.service',
                 '/usr/local/lib/systemd/system/usher-lists.service', '/usr/local/lib/systemd/system/usher-lists.timer', f'{CONF}/usher.yaml',
                 '/usr/local/lib/systemd/system/usher-report@.service', '/usr/local/lib/systemd/system/usher-report-daily.timer',
                 '/usr/local/lib/systemd/system/usher-report-weekly.timer', '/usr/local/lib/systemd/system/usher-ship@.service', '/usr/local/lib/systemd/system/usher-selftest.timer',
                 f'{CONF}/guest-wifi.yaml'):
        assert machine.has(path), path
    assert machine.run('stat', '-c', '%U %G %a', STATE) == 'usher usher 750\n'
    assert machine.run('stat', '-c', '%U %G %a', '/var/lib/usher-reports') == 'usher usher-dsl 2750\n'
    for group in ('usher-stats', 'usher-admin', 'usher-dsl'):
        machine.run('getent', 'group', group)


def test_started_by_root_it_becomes_its_users_and_filters(machine):
    machine.install()
    daemon = machine.popen('/usr/local/sbin/usherd', stderr=subprocess.PIPE)
    try:
        def blocked():
            return 'NXDOMAIN' in machine.run('sh', '-c', 'dig +tries=1 +time=1 @127.0.0.1 bet365.com || true')
        assert eventually(blocked, 15, 0.1), daemon.poll() is not None and daemon.stderr.read()
        assert eventually(lambda: 'usherd: reader' in accounts_of(machine, daemon), 5)
        found = accounts_of(machine, daemon)
        assert found['/usr/local/sbin/usherd'] == {'usher'} and found['usherd: recursor'] == {'usher-recursor'} and found['usherd: reader'] == {'usher'}
        modes = machine.run('stat', '-c', '%n %G %a', '/run/usher/stats.sock', '/run/usher/control.sock', '/run/usher/log.sock').splitlines()
        assert modes == ['/run/usher/stats.sock usher-stats 660', '/run/usher/control.sock usher-admin 660', '/run/usher/log.sock usher-dsl 660']
        assert eventually(lambda: 'bet365.com' in machine.run('usher', 'log'), 2)
        # As the timers' services run: as usher, without groups and rights.
        as_usher = ['setpriv', '--reuid', 'usher', '--regid', 'usher', '--clear-groups', '--no-new-privs', 'usher']
        machine.run(*as_usher, 'report', 'daily', '--format', 'html', '--output', '/var/lib/usher-reports/')
        assert machine.run('sh', '-c', 'stat -c "%U %G %a" /var/lib/usher-reports/daily-*.html') == 'usher usher-dsl 640\n'
        assert 'bet365.com' in machine.run(*as_usher, 'log')
        for words in as_usher, ['usher']:
            assert 'may not ask' not in machine.run(*words, 'selftest', expect=None)
        assert machine.run('sh', '-c', f'ls {STATE}/selftest').count('Z.json') >= 1
        assert 'stop it first' in machine.install('--remove', expect=1)
        machine.run('/usr/local/sbin/usherd', '-n')
        said = machine.install()
        assert 'old usherd still runs' in said
    finally:
        for pid in descendants(daemon.pid)[:1]:
            subprocess.run(['kill', str(pid)], check=False)
        daemon.communicate(timeout=10)


def test_upgrade_keeps_data_and_edited_files(machine):
    machine.install()
    machine.append(f'{STATE}/mark', 'data')
    machine.append(f'{CONF}/usher.yaml', '# the school')
    for name in ('usher.yaml', 'canaries.yaml'):
        machine.append(f'conf/{name}', '# a newer version')
    said = machine.install()
    assert 'usher.yaml.new' in said and 'canaries.yaml' not in said
    assert machine.read(f'{CONF}/usher.yaml').endswith('# the school\n')
    assert machine.read(f'{CONF}/usher.yaml.new').endswith('# a newer version\n')
    assert machine.read(f'{CONF}/canaries.yaml').endswith('# a newer version\n') and not machine.has(f'{CONF}/canaries.yaml.new')
    assert machine.read(f'{STATE}/mark') == 'data\n'
    assert 'yours' not in machine.install(), 'told once'
    assert machine.has(f'{CONF}/usher.yaml.new')


def test_upgrade_with_a_mistake_in_the_configuration_starts_nothing(machine):
    machine.with_systemd(resolved=False)
    machine.install()
    machine.systemctl()
    machine.append(f'{CONF}/usher.yaml', 'bogus: 1')
    said = machine.install(expect=1)
    assert 'bogus' in said and 'nothing was started' in said
    assert not any('restart' in call for call in machine.systemctl())


def test_remove_keeps_data_and_purge_leaves_nothing(machine):
    before = machine.listing()
    machine.install()
    machine.append(f'{STATE}/mark', 'data')
    machine.append(f'{CONF}/usher.yaml', '# the school')
    machine.install('--remove')
    assert not machine.has('/usr/local/sbin/usherd') and not machine.has(SHARE)
    assert machine.read(f'{STATE}/mark') == 'data\n' and machine.read(f'{CONF}/usher.yaml').endswith('# the school\n')
    machine.install()
    assert machine.read(f'{CONF}/usher.yaml').endswith('# the school\n')
    stamp = '/var/lib/systemd/timers/stamp-usher-lists.timer'   # systemd's own, when the timer ran last
    machine.run('install', '-D', '/dev/null', stamp)
    machine.run(f'{SHARE}/uninstall', '--purge')
    assert not machine.has(stamp)
    assert machine.listing() == before


def test_systemd_is_told_to_start_it_and_to_stop_it(machine):
    machine.with_systemd(resolved=False)
    machine.install()
    timers = 'usher-lists.timer usher-report-daily.timer usher-report-weekly.timer usher-selftest.timer'
    calls = [call for call in machine.systemctl() if 'is-active' not in call]
    assert calls == ['daemon-reload', f'enable --quiet usherd.service {timers}', 'restart usherd.service', f'start {timers}',
                     'start --no-block usher-lists.service']
    machine.install('--remove')
    assert machine.systemctl() == [f'disable --quiet --now {timers} usher-ship@clickhouse.service usher-ship@syslog.service usher-lists.service usherd.service',
                                   'daemon-reload']


def test_systemd_resolved_gives_way_and_comes_back(machine):
    machine.with_systemd(resolved=True)
    before = machine.listing()
    assert 'no longer listens on port 53' in machine.install()
    assert 'DNSStubListener=no' in machine.read('/etc/systemd/resolved.conf.d/usher.conf')
    assert machine.run('readlink', '/etc/resolv.conf') == '/run/systemd/resolve/resolv.conf\n'
    calls = machine.systemctl()
    assert calls.index('restart systemd-resolved') < calls.index('restart usherd.service')
    machine.install()
    assert 'restart systemd-resolved' not in machine.systemctl(), 'once is enough'
    machine.install('--remove', '--purge')
    assert machine.run('readlink', '/etc/resolv.conf') == '../run/systemd/resolve/stub-resolv.conf\n'
    assert 'restart systemd-resolved' in machine.systemctl()
    assert machine.listing() == before


@pytest.mark.skipif(not shutil.which('ss'), reason='ss is not installed')
def test_another_server_on_port_53_is_named_and_nothing_is_changed(machine):
    before = machine.listing()
    other = machine.popen('/usr/bin/python3', '-c', 'import socket, time; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(("127.0.0.1", 53)); '
                          'print("bound", flush=True); time.sleep(60)', stdout=subprocess.PIPE)
    assert other.stdout.readline() == 'bound\n'
    said = machine.install(expect=1)
    other.kill()
    other.wait()
    other.stdout.close()
    assert 'port 53 is held by: python3' in said
    assert machine.listing() == before


@pytest.mark.parametrize('words', [['--bogus'], ['--remove', '--all'], ['--purge']])
def test_wrong_words_are_named_and_nothing_is_changed(machine, words):
    assert f"found '{' '.join(words)}'" in machine.install(*words, expect=1)
    assert not machine.has('/usr/local/sbin/usherd') and not machine.has(CONF)


def test_no_timer_starts_an_usherd_that_somebody_has_stopped():
    for unit in (ROOT / 'conf/systemd').glob('usher-*.service.in'):
        assert not re.search('^(Requires|BindsTo)=.*usherd', unit.read_text(), re.M), unit.name


def test_folder_that_cannot_be_made_keeps_nobody_from_being_filtered():
    # Without "-", a reports folder on a read-only disk or a group that was removed kept usherd from being started; it says itself what it misses.
    unit = (ROOT / 'conf/systemd/usherd.service.in').read_text()
    before = re.findall('^ExecStartPre=(.*)$', unit, re.M)
    assert before and all(line.startswith('-') for line in before)


@pytest.mark.skipif(not shutil.which('systemd-tmpfiles'), reason='systemd is not installed')
def test_folders_keep_the_owner_that_an_administrator_gave_them(machine):
    # Each start gave them back to usher: with another `user` in usher.yaml usherd could not write its log any more.
    machine.install()
    for folder in '/run/usher', STATE:
        machine.run('mkdir', '-p', folder)
        machine.run('chown', 'daemon', folder)
        machine.run('chmod', '711', folder)
    machine.run('systemd-tmpfiles', '--create', 'usher.conf')
    for folder in '/run/usher', STATE:
        assert machine.run('stat', '-c', '%U %a', folder) == 'daemon 711\n', folder


@pytest.mark.skipif(not shutil.which('systemd-tmpfiles'), reason='systemd is not installed')
def test_folder_of_its_sockets_is_usherds_own_after_each_boot(machine):
    # On a running systemd, RuntimeDirectory= of a unit without User= is root's, and usherd, by then user usher, could not open its rings.
    unit = (ROOT / 'conf/systemd/usherd.service.in').read_text()
    assert not re.search('^(RuntimeDirectory|User)=', unit, re.M)
    before = re.search(r'^ExecStartPre=-\+(.*)$', unit, re.M).group(1)
    machine.install()
    folders = re.findall('^ReadWritePaths=(.*)$', unit, re.M)
    machine.run('rm', '-rf', STATE)
    for _ in range(2):
        machine.run('sh', '-c', before)
        for folder in folders:
            # Without "-", a folder that is not there yet keeps what makes it from being started: 226/NAMESPACE.
            assert folder.startswith('-')
            folder = folder[1:]
            assert machine.run('stat', '-c', '%U', folder) == 'usher\n', folder


@pytest.mark.skipif(not shutil.which('systemd-analyze'), reason='systemd is not installed')
def test_units_are_understood_by_systemd(machine):
    machine.install()
    said = machine.run('sh', '-c', 'cd /usr/local/lib/systemd/system && systemd-analyze verify --man=no ./usherd.service ./usher-lists.service ./usher-lists.timer ./usher-report@daily.service ./usher-report-daily.timer ./usher-report-weekly.timer ./usher-ship@syslog.service ./usher-selftest.service ./usher-selftest.timer')
    assert [line for line in said.splitlines() if 'usher' in line] == [], 'of other units of this machine it may say what it likes'


def test_configuration_of_the_readme_is_a_whole_one(tmp_path):
    example = re.search(r'^```yaml\n(.*?)^```', (ROOT / 'README.md').read_text(), re.M | re.S).group(1)
    shutil.copy(ROOT / 'conf/sources.yaml', tmp_path)
    (tmp_path / 'usher.yaml').write_text(example)
    result = subprocess.run([str(BUILD / 'usherd'), '-n', '-c', str(tmp_path / 'usher.yaml')], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert (result.returncode, result.stderr) == (0, '')
