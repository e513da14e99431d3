"""Issue 6's proof: a school's week with what a DSL must not miss in it, and the morning on which one screen tells all of it."""

import fcntl
import os
import pty
import re
import shlex
import socket
import struct
import subprocess
import termios
import time

import pytest

import week
from usher import BUILD, ENVIRONMENT, PLAIN_BUILD, ROOT, Usherd, eventually, profile

BUILT = PLAIN_BUILD if (PLAIN_BUILD / 'tests/write_log').exists() else BUILD     # half a million events
IP_PKTINFO = 8                      # linux/in.h; Python 3.11 does not name it
SCREEN = 45                         # lines
OUTSTANDING = 256


def wire(number, name, type):
    labels = b''.join(bytes([len(label)]) + label.encode() for label in name.split('.'))
    return struct.pack('!6H', number, 0x0100, 1, 0, 0, 0) + labels + struct.pack('!BHH', 0, type, 1)


class Replay:
    """Asks from any client's address over one socket, never more than some at once, and counts what was answered."""

    def __init__(self, u):
        self.to = (u.server, 53)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.settimeout(5)
        self.sent = self.answered = self.blocked = 0

    def _receive(self):
        reply = self.socket.recv(4096)
        self.answered += 1
        self.blocked += reply[3] & 15 == 3

    def ask(self, client, name, type):
        source = struct.pack('=I4s4s', 0, socket.inet_aton(client), bytes(4))
        self.socket.sendmsg([wire(self.sent & 0xffff, name, type)], [(socket.IPPROTO_IP, IP_PKTINFO, source)], 0, self.to)
        self.sent += 1
        while self.sent - self.answered >= OUTSTANDING:
            self._receive()

    def finish(self):
        while self.answered < self.sent:
            self._receive()
        self.socket.close()


@pytest.fixture(scope='module')
def school(lab):
    """usherd with the log of a month, after this morning's lookups were asked of it: (u, the week, the replay, blocked lookups)."""
    lists = week.categories()
    profiles = [profile(name, block=list(lists), keep='90d') for name in ('pupils', 'staff', 'guest')]
    generated = week.Week(time.time_ns() // 1000)
    u = Usherd({'profiles': profiles, 'log': {'ring': '16MiB'}, 'leases': [{'file': '{folder}/kea.csv'}]}, lists, build=BUILT)
    u.write('kea.csv', generated.leases())
    generated.write(BUILT / 'tests/write_log', u.folder / 'state/log')
    (u.folder / 'state/names').mkdir()
    for day, lines in generated.names().items():
        (u.folder / 'state/names' / day).write_text(lines)
    with u:
        for address in generated.newcomer():
            assert u.ask(f'www.{week.NEW_NAME}', client=address).rcode == 'NOERROR'
        u.restart()                     # what was counted is told at once, not in twenty seconds
        replay = Replay(u)
        for client in generated.clients:
            replay.ask(client.address, week.USUAL_NAMES[0], week.A)
        blocked = 0
        for client, name, type in generated.morning():
            replay.ask(client.address, name, type)
            blocked += 1
        replay.finish()
        assert eventually(lambda: u.stats()['log']['pending'] == 0, 5)
        yield u, generated, replay, blocked


def test_every_lookup_was_answered_and_every_blocked_one_logged(school):
    u, generated, replay, blocked = school
    assert replay.answered == replay.sent and replay.blocked == blocked
    rows = [row for row in u.json('log', '--since', 'today', '--count-by', 'client', '--limit', '2000') if row['client']]
    assert len(rows) == week.CLIENTS and sum(row['count'] for row in rows) == blocked and u.stats()['log']['lost'] == 0


def test_what_was_laid_down_reads_as_what_usherd_writes(school):
    """Or the past would prove nothing about the present."""
    u = school[0]
    now, before = (u.json('log', '--client', week.BURNER, '--name', week.BURN_NAME, *words)[0]
                   for words in (['--since', 'today'], ['--until', 'today']))
    assert {key for key in now if now[key] != before[key]} == {'time'}
    assert now['identity'] == week.BURNER_MAC


@pytest.fixture(scope='module')
def episodes(school):
    return school[0].cli('episodes', '--since', 'yesterday').stdout


def stories(generated):
    """The words that each story must be told with, in one line."""
    return [('slow-burn', week.BURNER, week.BURN_NAME), ('chase', week.CHASER, week.CHASE[0]), ('swarm', '24 devices', week.SWARM_NAME), ('swarm', ' devices', week.NEW_NAME),
            *(('danger', client, name) for client, name in zip(generated.danger_clients(), week.DANGER))]


def untold(text, stories):
    lines = text.splitlines()[:SCREEN]
    return [words for words in stories if not any(all(word in line for word in words) for line in lines)]


def test_episodes_of_the_morning_tell_every_story_on_one_screen(school, episodes):
    assert untold(episodes, stories(school[1])) == [] and len(episodes.splitlines()) <= SCREEN, episodes
    assert episodes.count('slow-burn') == episodes.count('chase') == 1 and episodes.count('swarm') == 2, episodes


def on_terminal(u, columns, *words):
    """What a person sees on a terminal of that width: lines."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('4H', 24, columns, 0, 0))
    process = subprocess.Popen([BUILT / 'usher', '-c', u.file, *words], stdin=subprocess.DEVNULL, stdout=theirs, env=ENVIRONMENT, cwd=u.folder)
    os.close(theirs)
    text = b''
    while True:
        try:
            text += os.read(ours, 65536)
        except OSError:                 # the end
            break
    os.close(ours)
    assert process.wait() == 0
    return text.decode().splitlines()


@pytest.mark.parametrize('columns, words', [(80, ['episodes', '--since', 'yesterday']), (120, ['episodes', '--since', 'yesterday']),
                                            (80, ['report', 'daily'])])
def test_no_name_of_a_story_is_cut_on_a_narrow_terminal(school, columns, words):
    lines = on_terminal(school[0], columns, *words)
    first = '\n'.join(lines[:SCREEN])
    assert [word for story in stories(school[1]) for word in story[1:] if word not in first] == [], first
    assert words[0] == 'report' or max(map(len, lines)) <= columns


def test_daily_report_tells_every_story_on_one_screen(school):
    u, generated, *_ = school
    text = u.cli('report', 'daily').stdout
    told = [('again and again', week.BURNER, week.BURN_NAME), ('ways around', week.CHASER, week.CHASE[2]), *(words[1:] for words in stories(generated)[2:])]
    assert untold(text, told) == [], text


def test_signals_of_a_month_replayed_name_the_stories_and_nothing_else(school):
    u, generated, *_ = school
    text = u.cli('signals', '--since', '30d', '--dry-run').stdout
    assert untold(text, stories(generated)) == [], text
    trends = [s for s in u.json('signals', '--since', '30d') if s['kind'] != 'threshold']
    assert {(s['kind'], s['client']) for s in trends} == {('slow-burn', week.BURNER), ('chase', week.CHASER), ('swarm', None)}, text
    swarms = {(s['evidence'][0]['name'], s['action']): s['clients'] for s in trends if s['kind'] == 'swarm'}
    assert swarms.keys() == {(week.SWARM_NAME, 'block'), (week.NEW_NAME, 'watch')} and swarms[week.SWARM_NAME, 'block'] == week.SWARM_CLIENTS
    assert 5 <= swarms[week.NEW_NAME, 'watch'] <= week.NEW_CLIENTS, 'so many at least: told when five were there'


def test_slow_burn_is_one_devices_though_it_got_another_address_and_a_tablet_its_old_one(school):
    burns = [s for s in school[0].json('signals', '--since', '30d') if s['kind'] == 'slow-burn']
    assert {(s['identity'], s['device'], s['randomised']) for s in burns} == {(week.BURNER_MAC, 'laptop-77', False)}
    assert {e['client'] for e in burns[0]['evidence']} == {week.BURNER, week.BURNER_BEFORE}, 'today and in its first weeks'
    assert {r['device'] for r in school[0].log('--client', week.BURNER_BEFORE)} == {'laptop-77'}


def test_twenty_lookups_make_one_event_and_danger_makes_its_own(school):
    u, generated, *_ = school
    episodes = u.json('episodes', '--since', 'yesterday')
    shown = [e for e in episodes if not e['background']]
    lookups, acted = sum(e['count'] for e in episodes), sum(e['count'] for e in shown)
    assert lookups >= 20 * len(shown) and acted >= 20 * len(shown), f'{lookups} lookups, {acted} without background, {len(shown)} events'
    assert len(episodes) < 10000, 'all of them are here'
    danger = {(e['client'], name) for e in shown if e['severity'] == 'danger' for name in e['names']}
    assert danger == {(week.BURNER, week.BURN_NAME), *zip(generated.danger_clients(), week.DANGER)}
    assert not any(set(e['names']) & {week.BURN_NAME, *week.DANGER} for e in episodes if e['severity'] != 'danger')
    assert {name for e in shown for name in e['names']} & set(week.CHATTER) == set(), 'phones at night'


def test_lesser_rows_are_not_buried_under_thirty_who_did_the_same(school, episodes):
    assert episodes.count(week.SWARM_NAME) == 2, 'the signal, and one row for all'
    alone = school[0].json('episodes', '--since', 'yesterday', '--name', week.SWARM_NAME)
    assert len({e['client'] for e in alone}) == week.SWARM_CLIENTS, 'each by itself when asked for'


# ---- the page that the DSL reads -------------------------------------------------------------------------------------------

JARGON = ('dns', 'resolver', 'query', 'queries', 'nxdomain', 'domain', 'hostname', 'packet', 'upstream', 'ttl', 'record type', 'aaaa', 'zone',
          'recursion', 'cache', 'nameserver', 'port', 'lookup type', 'database')


@pytest.fixture(scope='module')
def page():
    return re.search(r'^## For the safeguarding lead\n(.*?)^## ', (ROOT / 'README.md').read_text(), re.M | re.S).group(1)


def test_page_for_the_dsl_has_no_word_of_jargon(page):
    assert len(page) > 3000 and [word for word in JARGON if re.search(rf'\b{word}\b', page, re.I)] == []


def test_every_command_of_the_page_does_what_it_says(school, page):
    """In their order: what is held for a case cannot be erased, what is erased is gone."""
    u = school[0]
    said = {}
    for line in re.findall(r'^    usher (.*)$', page, re.M):
        words = shlex.split(line, comments=True)
        said[' '.join(words[:2])] = u.cli(*words).stdout
    assert set(said) >= {'report daily', 'case hold', 'case list', 'case release', 'forget --client', 'report subject-access', 'signals --since'}
    assert 'case 2026-4' in said['case list'] and week.BURNER in said['case list']
    assert week.BURN_NAME in said['episodes --name'] and week.CHASER not in said['episodes --name']
    assert week.BURN_NAME in (u.folder / f'{week.BURNER}.html').read_text()
    assert 'Student' in (u.folder / 'cases.csv').read_text()
    assert u.log('--client', week.CHASER) == [] and u.log('--client', week.BURNER) != []
