"""The recursor in its sandbox, which only programs built without sanitizers have: everything it does, it can do in there."""

import pwd
from pathlib import Path

import pytest

from usher import PLAIN_BUILD, descendants, eventually, signal_process, usherd

pytestmark = pytest.mark.skipif(not (PLAIN_BUILD / 'usherd').exists(), reason='there are no programs without sanitizers')


@pytest.fixture(scope='module')
def u(lab):
    config = {'user': 'nobody', 'recursor-user': 'daemon',
              'internal-zones': [{'zone': 'ad.school.example', 'servers': ['127.0.53.10']}]}
    with usherd(config, {'gambling': ['casino.com']}, build=PLAIN_BUILD) as u:
        yield u


def status(pid):
    """The fields of /proc/PID/status."""
    return dict(line.split(':\t', 1) for line in Path(f'/proc/{pid}/status').read_text().splitlines() if ':\t' in line)


def test_recursor_is_caged(u):
    assert eventually(lambda: status(u.recursor_pid())['Seccomp'] == '2', 5)
    seen = status(u.recursor_pid())
    assert seen['NoNewPrivs'] == '1' and int(seen['CapEff'], 16) == int(seen['CapPrm'], 16) == 0
    assert set(seen['Uid'].split()) == {str(pwd.getpwnam('daemon').pw_uid)}
    assert 'sandbox' not in u.said()


def test_alerter_is_fenced(u):
    """It runs as `user`, and so does the sendmail that it starts (test_alerts)."""
    def alerter():
        return next((seen for seen in map(status, descendants(u.process.pid)) if seen['Name'].strip() == 'usherd: alerter'), None)
    assert eventually(lambda: alerter() and alerter()['Seccomp'] == '2', 5)
    seen = alerter()
    assert seen['NoNewPrivs'] == '1' and all(int(seen[key], 16) == 0 for key in ('CapEff', 'CapPrm', 'CapBnd'))
    assert set(seen['Uid'].split()) == {str(pwd.getpwnam('nobody').pw_uid)}


def test_recursion_of_every_kind_works_in_the_cage(lab, u):
    assert u.ask('www.plain.com').addresses == ['192.0.2.1']
    assert u.ask('www.signed.com', do=True).ad and u.ask('nosuch.signed3.org', do=True).rcode == 'NXDOMAIN'
    assert u.ask('www.bogus.com').rcode == 'SERVFAIL'
    assert len(u.ask('huge.big.com', 'TXT', tcp=True).records('TXT')) == 80, 'an answer that the recursor fetches over TCP'
    assert u.ask('files.ad.school.example').addresses == ['10.0.0.20']
    assert u.ask('d400.caged.slow.com').addresses == ['192.0.2.70']
    assert u.ask('a.dead.com').rcode == 'SERVFAIL'
    lab.flaky.mode = 'garbage'
    assert u.ask('caged.flaky.com').rcode == 'SERVFAIL'
    pid = u.recursor_pid()
    with u.load([f'n{i}.many.com' for i in range(3000)], rate=2000, waiting=400) as load:
        assert eventually(lambda: load.sent > 3000, 20)
    assert load.lost == 0 and u.recursor_pid() == pid, 'the recursor died in its cage'


def test_a_new_recursor_is_caged_like_the_first(u):
    first = u.recursor_pid()
    signal_process(first)
    assert eventually(lambda: u.ask('after-death.many.com', timeout=6).addresses, 3)
    second = eventually(lambda: (lambda pid: pid if pid != first else None)(u.recursor_pid()), 3)
    assert status(second)['Seccomp'] == '2'


def test_a_reloaded_recursor_reads_its_files_before_it_is_caged(u):
    u.configure({'recursion': {'dnssec': False}})
    u.reload()
    assert eventually(lambda: u.ask('other.bogus.com', timeout=6).addresses == ['192.0.2.36'], 3)
    u.configure({'recursion': {'dnssec': True}})
    u.reload()
    assert eventually(lambda: u.ask('www.signed3.org', do=True, timeout=6).ad, 3)
