"""Issue 6, point 2: people read the block log side by side, each what the configuration gives them, each read on record; whoever follows it
misses nothing and sees nothing twice, whatever happens to usherd."""

import fcntl
import grp
import http.client
import json
import os
import pwd
import shutil
import signal
import subprocess
import threading
from contextlib import contextmanager

import pytest

from usher import BUILD, ENVIRONMENT, Connection, command_line, descendants, eventually, usherd

LISTS = {'gambling': ['casino.com', 'poker.net'], 'malware': ['vpn.net']}


def account(command, name, *words):
    subprocess.run([command, *words, name], check=True, capture_output=True)


@pytest.fixture(scope='module')
def people():
    """Accounts of the groups usher-dsl, usher-head and usher-it, and one of none. name -> uid."""
    groups, members = ['usher-dsl', 'usher-head', 'usher-it'], {'tdsl': 'usher-dsl', 'thead': 'usher-head', 'tit': 'usher-it', 'tnobody': None}
    made = [g for g in groups if not any(known.gr_name == g for known in grp.getgrall())]
    for group in made:
        account('groupadd', group)
    for name, group in members.items():
        account('useradd', name, '--no-create-home', '--no-user-group', *(['--groups', group] if group else []))
    yield {name: pwd.getpwnam(name).pw_uid for name in members}
    for name in members:
        account('userdel', name)
    for group in made:
        account('groupdel', group)


def as_user(uid, u, path, method='GET', body=None):
    """(status, body) of a request that a person makes: the socket tells who it is."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setuid(uid)
            status, text, _ = u.http('log.sock', path, method, body)
            os.write(writer, json.dumps([status, text]).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, 'rb') as pipe:
        answer = json.loads(pipe.read())
    os.waitpid(pid, 0)
    return tuple(answer)


def rows(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope='module')
def u(lab, people):
    config = {'access': {'dsl': {'profiles': ['pupils', 'guest']}, 'head': {'profiles': ['staff']}, 'it': {'profiles': ['pupils'], 'fields': 'counts'}}}
    with usherd(config, LISTS) as u:
        for client, name in ('10.20.1.1', 'casino.com'), ('10.20.1.2', 'poker.net'), ('10.30.1.1', 'vpn.net'), ('10.99.1.1', 'casino.com'):
            u.ask(name, client=client)
        u.log(count=4)
        yield u


def test_each_group_reads_what_access_gives_it(u, people):
    assert {r['profile'] for r in rows(as_user(people['tdsl'], u, '/v1/log')[1])} == {'pupils', 'guest'}
    assert {r['profile'] for r in rows(as_user(people['thead'], u, '/v1/log')[1])} == {'staff'}
    assert len(rows(as_user(0, u, '/v1/log')[1])) == 4
    assert as_user(people['tdsl'], u, '/v1/log?profile=staff')[0] == 403
    assert as_user(people['tnobody'], u, '/v1/log')[0] == 403


def test_it_sees_numbers_but_neither_names_nor_clients(u, people):
    it = people['tit']
    status, text = as_user(it, u, '/v1/log?count-by=category')
    assert (status, rows(text)) == (200, [{'category': 'gambling', 'count': 2}]), 'of pupils only'
    assert rows(as_user(it, u, '/v1/log?count-by=severity')[1]) == [{'severity': 'caution', 'count': 2}]
    assert as_user(it, u, '/v1/log?count-by=hour')[0] == 200
    for query in '', '?count-by=client', '?count-by=name', '?count-by=category&client=10.20.1.1', '?count-by=hour&name=casino.com', '?profile=pupils':
        status, text = as_user(it, u, '/v1/log' + query)
        assert status == 403 and '10.20' not in text and 'casino' not in text, query
    assert as_user(it, u, '/v1/log/follow')[0] == 403


def test_each_read_is_on_record_with_who_and_what(u, people):
    as_user(people['tdsl'], u, '/v1/log?client=10.20.1.1&since=1h')
    as_user(people['tdsl'], u, '/v1/log?profile=staff')
    read, refused = u.ledger()[-2:]
    assert (read['uid'], read['what'], read['detail']) == (people['tdsl'], 'log.read', {'client': '10.20.1.1', 'since': '1h'})
    assert (refused['uid'], refused['what']) == (people['tdsl'], 'log.refused')
    assert refused['detail'] == {'profile': 'staff', 'route': '/v1/log'}


def test_taking_access_out_again_opens_the_log_to_nobody(lab, people):
    """The socket, which every group of `access` may connect to, stays as it was until a restart."""
    with usherd({'access': {'head': {'profiles': ['staff']}}}, LISTS) as u:
        u.ask('vpn.net', client='10.30.1.1')
        u.log(count=1)
        del u.config['access']
        u.configure()
        u.reload()
        assert eventually(lambda: 'vpn.net' in as_user(people['tdsl'], u, '/v1/log')[1], 3), 'usher-dsl reads all'
        for name in 'tnobody', 'thead':
            status, text = as_user(people[name], u, '/v1/log')
            assert status == 403 and 'vpn' not in text, name


def reader_pid(u):
    return eventually(lambda: next((pid for pid in descendants(u.process.pid) if 'reader' in command_line(pid)), None), 5)


@contextmanager
def long_search(u):
    """A day of the log that no search gets past: a search of it lasts as long as the test wants. Yields its path."""
    store = next((u.folder / 'state/log').glob('*.mdb'))
    old = [shutil.copy(f'{store}{end}', u.folder / f'state/log/2026-01-05-90d.mdb{end}') for end in ('', '-lock')]
    with open(old[1], 'r+b') as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX, 1)
        yield '/v1/log?until=2026-01-06T12:00:00Z'
    for path in old:
        path.unlink()


def child_of(pid):
    return eventually(lambda: next(iter(descendants(pid)), None), 3)


def ask_in_background(u, path):
    answer = {}

    def run():
        try:
            answer['status'], answer['body'], _ = u.http('log.sock', path)
        except (OSError, http.client.HTTPException) as error:
            answer['error'] = error
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, answer


def test_a_long_search_holds_up_nobody(u):
    with long_search(u) as path:
        thread, answer = ask_in_background(u, path)
        assert child_of(reader_pid(u))
        assert len(u.log('--since', '1h')) == 4
        assert thread.is_alive()
    thread.join(5)
    assert answer['status'] == 200


def test_a_search_that_is_killed_is_an_error_and_the_reader_goes_on(u):
    reader = reader_pid(u)
    with long_search(u) as path:
        thread, answer = ask_in_background(u, path)
        os.kill(child_of(reader), signal.SIGKILL)
        thread.join(5)
        assert answer['status'] == 503 and 'unexpectedly' in answer['body']
    assert len(u.log('--since', '1h')) == 4 and reader_pid(u) == reader


def test_a_search_whose_client_has_gone_ends(u):
    reader = reader_pid(u)
    with long_search(u) as path:
        connection = Connection(u.folder / 'run/log.sock')
        connection.request('GET', path)
        child = child_of(reader)
        connection.close()
        assert eventually(lambda: child not in descendants(reader), 3), 'the child goes on for nobody'


def test_one_person_leaves_room_for_others(u, people):
    with long_search(u) as path:
        greedy = [ask_in_background(u, path) for _ in range(12)]
        assert eventually(lambda: len(descendants(reader_pid(u))) == 4, 3)
        assert as_user(people['tdsl'], u, '/v1/log?since=1h')[0] == 200
    for thread, answer in greedy:
        thread.join(5)
        assert answer['status'] == 200


class Follower:
    """`usher log --follow --json` and the names it has printed."""

    def __init__(self, u, *words):
        self.names = []
        self.process = subprocess.Popen([str(BUILD / 'usher'), '-c', str(u.file), 'log', '--follow', '--json', *words],
                                        stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
        threading.Thread(target=self.read, daemon=True).start()
        assert eventually(lambda: (u.folder / 'state/ledger/ledger.jsonl').exists() and any(e['what'] == 'log.follow' for e in u.ledger()), 5)

    def read(self):
        for line in self.process.stdout:
            record = json.loads(line)
            assert 'id' not in record
            self.names.append(record['name'])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(5)


def test_follow_misses_nothing_and_doubles_nothing_over_reload_kill_and_restart(lab):
    with usherd(lists=LISTS) as u:
        u.ask('before.casino.com')
        u.log(count=1)
        with Follower(u) as follower:
            asked = []

            def ask(name):
                u.ask(name)
                asked.append(name)
            ask('first.casino.com')
            assert eventually(lambda: follower.names == asked, 2)
            u.configure({'log': {'max-size': '7GiB'}})
            for i in range(20):
                ask(f'reload{i}.casino.com')
                if i == 5:
                    u.reload()
            assert eventually(lambda: follower.names == asked, 3), (follower.names, asked)
            os.kill(reader_pid(u), signal.SIGKILL)
            ask('killed.casino.com')
            assert eventually(lambda: follower.names == asked, 5), (follower.names, asked)
            u.stop()
            u.start()
            ask('restarted.casino.com')
            assert eventually(lambda: follower.names == asked, 5), (follower.names, asked)


def test_follower_sees_an_event_half_a_second_after_its_answer(lab):
    with usherd(lists=LISTS) as u, Follower(u) as follower:
        for i in range(5):
            u.ask(f'n{i}.casino.com')
            assert eventually(lambda: len(follower.names) == i + 1, 0.6, every_s=0.005), f'lookup {i} is late'


def test_after_pages_through_the_log_by_id(u):
    first = rows(u.http('log.sock', '/v1/log?after=0&limit=3&ids=yes')[1])
    assert len(first) == 3 and list(first[0])[0] == 'id'
    rest = rows(u.http('log.sock', f'/v1/log?after={first[-1]["id"]}&ids=yes')[1])
    ids = [r['id'] for r in first + rest]
    assert len(ids) == 4 and ids == sorted(set(ids))
    assert u.http('log.sock', '/v1/log?after=x')[0] == 400


def test_refused_reads_in_masses_are_eleven_entries_and_none_is_lost(lab, people):
    """The first ten in full, the others as a count: here when the reader ends, else after a minute."""
    with usherd({'access': {'dsl': {'profiles': ['pupils']}}}, LISTS) as u:
        for i in range(300):
            status, _ = as_user(people['tnobody'], u, f'/v1/log?name=try{i}.{"x" * 50}')
            assert status == 403
        ledger = u.folder / 'state/ledger/ledger.jsonl'
        assert ledger.read_text().count('"log.refused"') == 10
        u.configure({'access': {'head': {'profiles': ['staff']}}})
        u.reload()
        assert eventually(lambda: ledger.read_text().count('"log.refused"') == 11, 8)
        first, *_, more = [entry for entry in u.json('ledger', '--reads') if entry['what'] == 'log.refused']
        assert first['detail']['name'].startswith('try0.') and more['detail'] == {'more': 290}
        assert first['uid'] == more['uid'] == people['tnobody'] and first['user'] == 'tnobody'


def test_group_of_access_that_the_machine_lacks_is_named_by_check_start_reload_and_status(lab, people):
    with usherd({'access': {'dsl': {'profiles': ['pupils']}, 'governors': {'profiles': ['staff'], 'fields': 'counts'}}}, LISTS) as u:
        checked = subprocess.run([BUILD / 'usherd', '-n', '-c', u.file], capture_output=True, text=True, env=ENVIRONMENT)
        assert checked.returncode == 0 and 'usher.yaml: access.governors: found no group usher-governors' in checked.stderr
        assert 'access.dsl' not in checked.stderr and u.said().count('access.governors: found no group') == 1
        u.reload()
        assert u.said().count('access.governors: found no group') == 2
        parts = u.json('status')[0]['parts']
        assert [part['text'] for part in parts if part['part'] == 'access' and part['state'] == 'warning'][0].startswith('access.governors')
