"""Issue 6, point 5 (B10): a site that nobody here asked for before and a class finds at once is told, though no list blocks it; who asked is stored nowhere."""

import ipaddress
import subprocess
import time
from datetime import datetime, timedelta, timezone

import pytest

from usher import Usherd, eventually

PUPILS = [f'10.20.3.{n}' for n in range(11, 17)]
STAFF = [f'10.30.3.{n}' for n in range(11, 17)]
NEW, KNOWN, FEW, STAFFROOM, ALONE = 'casino.com', 'poker.net', 'roblox.com', 'tiktok.com', 'plain.com'
DAYS = 7


class School(Usherd):
    """One whose names of some days are known: of KNOWN alone."""

    def __init__(self, days=DAYS, **config):
        super().__init__({'alerts': {'mail-to': ['dsl@school.example'], 'sendmail': '/bin/false', 'wait': '1s'}, **config}, {'gambling': ['listed.example']})
        names = self.folder / 'state/names'
        names.mkdir(parents=True, exist_ok=True)
        for ago in range(1, days + 1):
            (names / (datetime.now(timezone.utc) - timedelta(ago)).strftime('%Y-%m-%d')).write_text(f'9 www.{KNOWN}\n')

    def ask_all(self, name, clients):
        for client in clients:
            assert self.ask(name, client=client).rcode == 'NOERROR'

    def swarms(self):
        return [s for s in self.json('signals') if s['kind'] == 'swarm']


def files(folder):
    return [path for path in folder.rglob('*') if path.is_file()]


@pytest.fixture(scope='module')
def school(lab):
    """A lesson: five pupils are at a new site, and much that is no swarm beside it. (u, seconds until it was told)"""
    with School() as u:
        u.ask_all(f'www.{NEW}', PUPILS[:3])
        u.ask_all(NEW, PUPILS[3:5])
        u.ask_all(f'm.{KNOWN}', PUPILS)
        u.ask_all(f'www.{FEW}', PUPILS[:4])
        u.ask_all(f'www.{STAFFROOM}', STAFF)
        u.ask_all(f'www.{ALONE}', PUPILS[:1] * 10)
        began = time.monotonic()
        eventually(u.swarms, 60, 0.5)
        yield u, time.monotonic() - began


def test_five_pupils_at_a_new_site_are_told_within_a_minute(school):
    u, took = school
    swarm, = u.swarms()
    assert took < 45
    assert (swarm['severity'], swarm['profile'], swarm['client'], swarm['clients'], swarm['action']) == ('caution', 'pupils', None, 5, 'watch')
    assert swarm['text'] == '5 devices asked for a site that nobody here wanted before; it was not blocked' and swarm['sent']
    assert [(e['name'], e['client']) for e in swarm['evidence']] == [(NEW, None)]


def test_it_is_replayed_and_stands_where_the_dsl_looks(school):
    u, _ = school
    swarms = u.swarms()
    assert u.json('signals', '--since', '30d', '--dry-run') == swarms
    assert u.json('signals', '--profile', 'staff') == []
    line = next(line for line in u.cli('episodes').stdout.splitlines() if NEW in line)
    assert 'swarm' in line and '5 devices' in line
    assert u.json('episodes') == [], 'of nobody: no event of a device'
    assert any(NEW in line and '5 devices' in line for line in u.cli('report', 'daily').stdout.splitlines())
    assert eventually(lambda: ['swarm'] in [m['rules'] for m in u.json('alert', 'list')], 5)


def test_the_log_has_one_row_without_a_client(school):
    u, _ = school
    row, = u.log()
    assert (row['name'], row['client'], row['device'], row['profile'], row['category'], row['action']) == (NEW, None, None, 'pupils', None, 'watch')
    assert (row['source'], row['rule']) == ('names', '5 devices')


def test_it_is_kept_and_forgotten_as_the_rest_of_the_log(school):
    u, _ = school
    line, = u.json('retention', '--verify')
    assert (line['class'], line['profile'], line['rows'], line['verdict']) == ('90d', 'pupils', 1, 'ok')


def test_nowhere_is_written_who_asked(school):
    u, _ = school
    u.restart()
    written = {path: path.read_bytes() for path in files(u.folder / 'state')}
    assert any(NEW.split('.')[0].encode() in octets for octets in written.values()), 'the site itself is there'
    for client in PUPILS + STAFF:
        forms = [client.encode(), ipaddress.ip_address(client).packed]
        assert [path.name for path, octets in written.items() if any(form in octets for form in forms)] == []


def test_after_a_restart_it_is_no_news(school):
    u, _ = school
    u.ask_all(f'www.{NEW}', PUPILS)
    u.restart()
    assert len(u.swarms()) == 1 and u.swarms()[0]['clients'] == 5


def ip(*words):
    subprocess.run(['ip', *' '.join(words).split()], check=True, stdin=subprocess.DEVNULL)


def test_a_device_is_one_at_all_its_addresses_and_a_class_in_one_network_is_many(lab):
    ip('link add u9 type veth peer name u9p')
    ip('link set u9 up')
    try:
        for n in range(21, 26):
            ip(f'addr add fd00:20::{n}/128 dev lo nodad')
            for address in f'10.20.4.{n}', f'fd00:20::{n}':
                ip(f'neigh replace {address} lladdr aa:bb:cc:00:04:{n} dev u9 nud permanent')
        with School() as u:
            u.ask_all(FEW, [address for n in range(21, 24) for address in (f'10.20.4.{n}', f'fd00:20::{n}')])
            u.ask_all(NEW, [f'fd00:20::{n}' for n in range(21, 26)])
            u.restart()
            assert [s['evidence'][0]['name'] for s in u.swarms()] == [NEW]
    finally:
        ip('link del u9')
        for n in range(21, 26):
            ip(f'addr del fd00:20::{n}/128 dev lo')


def test_a_new_filter_learns_for_a_week_and_says_so(lab):
    with School(days=DAYS - 1) as u:
        u.ask_all(NEW, PUPILS)
        u.restart()
        assert u.swarms() == [] and 'known of 6 of 7 days' in u.cli('signals').stderr


def test_switched_off_it_says_so(lab):
    with School(names={'enabled': False}) as u:
        u.ask_all(NEW, PUPILS)
        u.restart()
        assert u.swarms() == [] and 'names.enabled is false: swarms are seen only at sites that are blocked' in u.cli('signals').stderr
        assert 'names: enabled: false counts no names, so swarms are seen only at sites that are blocked' in u.said()
