"""Faults that were found and mended, each by the name of what one saw."""

import signal
import stat
import socket
import subprocess
import struct
import threading
import time
from contextlib import ExitStack

import pytest

from usher import ENVIRONMENT, PUPIL, STAFF, alive, eventually, framed, signal_process, usherd, wire

LISTS = {'gambling': ['casino.com']}


def read_frames(connection, count):
    data = b''
    got = 0
    while got < count:
        piece = connection.recv(65536)
        if not piece:
            break
        data += piece
        while len(data) >= 2 and len(data) >= 2 + struct.unpack('!H', data[:2])[0]:
            data = data[2 + struct.unpack('!H', data[:2])[0]:]
            got += 1
    return got


def test_one_pupil_with_many_slow_names_leaves_the_others_their_answers(lab):
    with usherd({'workers': 1, 'limits': {'in-flight-per-client': 50}}, LISTS) as u:
        with u.datagrams('10.20.0.5') as greedy:
            for i in range(60):
                greedy.send(wire(f'd4000.x{i}.slow.com', number=i))
            time.sleep(0.3)
            assert u.ask('www.plain.com', client='10.20.0.6').addresses == ['192.0.2.1']
            assert u.ask('www.plain.com', client=STAFF).addresses == ['192.0.2.1']
        assert u.stats()['answers']['limited'] == 10


def test_thousand_pipelined_questions_with_large_answers_all_come_back(lab):
    with usherd({'workers': 1}, LISTS) as u:
        assert u.ask('big.big.com', 'TXT', tcp=True).types == ['TXT']
        with u.connect(timeout=10) as connection:
            connection.sendall(b''.join(framed(wire('big.big.com', 'TXT', i)) for i in range(1000)))
            assert read_frames(connection, 1000) == 1000


def test_client_that_sends_its_end_still_gets_its_answers(lab):
    with usherd({'workers': 1}, LISTS) as u:
        with u.connect(timeout=10) as connection:
            connection.sendall(b''.join(framed(wire(f'd50.n{i}.slow.com', number=i)) for i in range(40)))
            connection.shutdown(socket.SHUT_WR)
            assert read_frames(connection, 40) == 40
            assert connection.recv(1) == b'', 'and then the connection ends'


def test_end_comes_in_two_seconds_in_the_middle_of_a_flood(lab):
    with usherd({'workers': 1, 'profiles': [{'name': 'pupils', 'networks': ['10.20.0.0/16'], 'rate-limit': 0}]}, LISTS) as u:
        ending = threading.Event()

        def flood():
            with u.datagrams() as s:
                packet = wire('casino.com')
                until = time.monotonic() + 8
                while not ending.is_set() and time.monotonic() < until:
                    try:
                        s.send(packet)
                    except OSError:
                        return

        floods = [threading.Thread(target=flood) for _ in range(3)]
        for thread in floods:
            thread.start()
        try:
            time.sleep(0.5)
            assert u.stop(within_s=6) < 4       # 2 s, and what the sanitizers and this machine's two cores add
        finally:
            ending.set()
            for thread in floods:
                thread.join()


def test_moved_state_folder_is_refused_and_later_reloads_work(lab):
    with usherd(None, LISTS) as u:
        text = u.file.read_text()
        u.file.write_text(text.replace('/state', '/elsewhere'))
        assert 'state-dir' in u.cli('reload', expect=1).stderr
        u.file.write_text(text)
        u.cli('reload')
        u.source('gambling', ['casino.com', 'bingo.com'])
        u.cli('lists', 'update', '--force')
        assert eventually(lambda: u.ask('bingo.com').blocked, 3), 'new generations are still noticed'


def test_restored_list_file_serves_after_a_reload(lab):
    u = usherd({'lists': {'starter': False}}, LISTS)
    current = (u.folder / 'state/lists/current').resolve()
    kept = current.with_suffix('.kept')
    current.rename(kept)
    with u:
        assert u.ask('www.plain.com').ede == 14, 'closed without lists'
        kept.rename(current)
        u.cli('reload')
        assert eventually(lambda: u.ask('casino.com').blocked, 3)


def test_school_name_does_not_lead_around_the_filter(lab):
    records = ['evil.school.example. 300 IN CNAME casino.com.', 'search.school.example. 300 IN CNAME www.google.com.',
               'plain.school.example. 300 IN CNAME www.plain.com.', 'gone.school.example. 300 IN CNAME nothing.plain.com.']
    with usherd({'local-records': records}, {'illegal': ['casino.com'], 'gambling': ['bingo.com']}) as u:
        assert u.ask('evil.school.example').ede == 16
        assert u.log('--name', 'evil.school.example', count=1)[0]['matched'] == 'casino.com'
        assert u.ask('search.school.example').cnames == ['forcesafesearch.google.com']
        assert u.ask('plain.school.example').addresses == ['192.0.2.1']
        assert u.ask('gone.school.example').rcode == 'NXDOMAIN'
        assert u.ask('plain.school.example', 'AXFR').rcode == 'REFUSED'
        assert u.ask('plain.school.example', rd=False).rcode == 'REFUSED'


def test_nobody_waits_for_a_popular_name_that_has_just_expired(lab):
    with usherd({'workers': 1}, LISTS) as u:
        lab.flaky.ttl = 11
        assert u.ask('popular.flaky.com').addresses == ['192.0.2.70']
        lab.flaky.record = '192.0.2.73'
        lab.flaky.delay_s = 0.8
        slowest = 0
        until = time.monotonic() + 17
        seen = set()
        while time.monotonic() < until:
            began = time.monotonic()
            seen.update(u.ask('popular.flaky.com').addresses)
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.2)
        assert seen == {'192.0.2.70', '192.0.2.73'}, 'the new answer came'
        assert slowest < 0.6, 'and nobody waited for it'


def test_signed_answer_is_remembered_though_its_first_asker_got_a_stale_one(lab):
    with usherd({'workers': 1}, LISTS) as u:
        lab.flaky.ttl = 1
        assert u.ask('late.flaky.com', do=True).addresses == ['192.0.2.70']
        time.sleep(2.1)
        lab.flaky.mode = 'silent'
        assert u.ask('late.flaky.com', do=True).ede == 3
        lab.flaky.mode, lab.flaky.record, lab.flaky.ttl = 'answer', '192.0.2.74', 60
        time.sleep(3.5)                         # the question goes on by itself
        asked = u.stats()['upstream']['queries']
        assert u.ask('late.flaky.com', do=True).addresses == ['192.0.2.74']
        assert u.stats()['upstream']['queries'] == asked, 'from the cache'


def test_counts_of_answers_add_up(lab):
    with usherd({'workers': 1}, LISTS) as u:
        before = sum(u.stats()['answers'].values())
        latency = sum(u.stats()['latency_us']['count'])
        for i in range(10):
            u.ask(f'd20.c{i}.slow.com')
            u.ask('casino.com')
            u.ask('version.bind', 'TXT', rdclass='CH')
        stats = u.stats()
        assert sum(stats['answers'].values()) - before == 30
        assert sum(stats['latency_us']['count']) - latency == 30
        assert stats['answers']['refused'] >= 10


def test_recursor_that_hangs_is_replaced(lab):
    with usherd({'workers': 2}, LISTS) as u:
        assert u.ask('www.plain.com').addresses == ['192.0.2.1']
        hung = u.recursor_pid()
        signal_process(hung, signal.SIGSTOP)
        try:
            assert u.ask('casino.com').blocked and u.ask('www.plain.com').addresses == ['192.0.2.1'], 'blocks and cache go on'
            assert eventually(lambda: u.stats()['faults']['recursor'], 20, every_s=0.2)
            assert eventually(lambda: u.ask('www.signed.com', timeout=8).rcode == 'NOERROR', 30)
            assert eventually(lambda: not alive(hung), 10), 'the hung one is gone'
            assert 'does not answer any more' in u.said()
        finally:
            if alive(hung):
                signal_process(hung, signal.SIGKILL)


def test_without_rights_a_command_says_so_and_nothing_else(lab):
    # On an installed machine `usher ledger` showed an empty ledger, and `usher lists status` lists that were never fetched.
    with usherd(None, LISTS) as u:
        (u.folder / 'state').chmod(0o700)
        u.folder.chmod(0o755)
        for words in ('check casino.com', 'ledger', 'ledger --verify', 'lists status', 'lists history', 'lists find casino.com', 'lists update', 'selftest'):
            result = subprocess.run([str(u.build / 'usher'), '-c', str(u.file), *words.split()], capture_output=True, text=True,
                                    stdin=subprocess.DEVNULL, env=ENVIRONMENT, user='nobody', group='nogroup', cwd='/')
            if 'usher.yaml' in result.stderr or result.returncode == 126:
                pytest.skip('the build or the test folder is not open to other users')
            assert (result.returncode, result.stdout) == (1, ''), words
            assert 'permission denied' in result.stderr and 'sudo' in result.stderr, words


def test_state_folder_that_may_only_be_passed_is_enough_for_a_check(lab):
    # `usher check` opens only paths that it knows; with mode 0711 of the folder it was refused.
    with usherd(None, LISTS) as u:
        (u.folder / 'state').chmod(0o711)
        u.folder.chmod(0o755)
        subprocess.run(['chmod', '-R', 'a+rX', str(u.folder / 'state/lists')], check=True)

        def check():
            return subprocess.run([str(u.build / 'usher'), '-c', str(u.file), 'check', 'casino.com'], capture_output=True, text=True,
                                  stdin=subprocess.DEVNULL, env=ENVIRONMENT, user='nobody', group='nogroup', cwd='/')

        result = check()
        if 'usher.yaml' in result.stderr or result.returncode == 126:
            pytest.skip('the build or the test folder is not open to other users')
        assert 'permission denied: this is for root' not in result.stderr and 'blocked' in result.stdout, result
        (u.folder / 'state/lists').chmod(0o700)
        result = check()
        assert result.returncode == 1 and 'blocked' not in result.stdout and result.stderr, result


def test_sockets_in_another_folder_can_be_reached_whatever_the_umask(lab):
    # The service's UMask=0077 made a run-dir other than the unit's own one that only usherd itself could pass.
    u = usherd()
    u.inside = ['sh', '-c', 'umask 077 && exec "$0" "$@"']
    with u:
        assert stat.S_IMODE((u.folder / 'run').stat().st_mode) == 0o755
        assert stat.S_IMODE((u.folder / 'state').stat().st_mode) == 0o750
        assert stat.S_IMODE((u.folder / 'state/log').stat().st_mode) == 0o700


def test_mistake_in_the_configuration_keeps_nobody_from_asking_the_usherd_that_runs(lab):
    # `usher status` and the safeguarding lead's `usher log` failed as long as a technician's typing mistake stood in the file.
    with usherd(None, LISTS) as u:
        assert u.ask('casino.com').rcode == 'NXDOMAIN'
        good = u.file.read_text()
        for right, wrong in ('"profiles"', '"bogus"'), ('10.20.0.0/16', '10.20.0.0/99'):
            u.file.write_text(good.replace(right, wrong))
            reload = u.cli('reload', expect=1)
            assert reload.stderr.count('usher.yaml:') == 1, 'told once'
            parts = {part['part']: part['state'] for part in u.json('status')[0]['parts']}
            assert parts['reload'] == 'warning' and parts['workers'] == 'ok'
            assert u.cli('--json', 'stats').stdout and 'usher.yaml:' in u.cli('stats').stderr
            assert eventually(lambda: 'casino.com' in u.cli('log').stdout, 2)
            # Profiles and categories are usherd's to know, not those of the file as far as it can be read.
            assert 'casino.com' in u.cli('log', '--profile', 'pupils', '--category', 'gambling').stdout
            assert u.json('episodes', '--profile', 'pupils') != []
            assert "there is no 'teachers'" in u.cli('log', '--profile', 'teachers', expect=1).stderr
            [case] = u.json('case', 'hold', '--client', PUPIL, '--since', '1h', '--reason', 'urgent')
            assert case['case'] in [held['case'] for held in u.json('case', 'list')]
            u.cli('case', 'release', case['case'], '--reason', 'test')
            u.cli('allow', 'casino.com', '--reason', 'test')
            u.cli('rules', 'remove', 'casino.com', '--reason', 'test')
            for words in ['check', 'casino.com'], ['lists', 'update'], ['report', 'daily']:
                assert 'usher.yaml:' in u.cli(*words, expect=1).stderr, words
        u.file.write_text('{')
        assert 'usher.yaml:1' in u.cli('reload', expect=1).stderr
        u.file.write_text(good.replace('10.20.0.0/16', '10.20.0.0/99'))
        u.stop()
        for words in ['log'], ['status'], ['episodes'], ['case', 'list'], ['log', '--profile', 'pupils']:
            assert u.cli(*words, expect=1).stdout == '', words


def test_second_usherd_with_other_folders_does_not_share_the_port_in_silence(lab):
    with usherd(None, LISTS) as first:
        second = usherd(None, LISTS, server=first.server)
        try:
            second.start(wait=False)
            assert eventually(lambda: second.process.poll() is not None, 10), 'it runs'
            assert second.process.returncode == 1
            assert first.server in second.said() and 'in use' in second.said()
            second.process = None
        finally:
            second._forget()
        assert first.ask('casino.com').blocked


def test_new_list_is_in_effect_on_every_worker_when_the_count_says_so(lab):
    with usherd({'workers': 4}, {'gambling': ['casino.com']}) as u:
        for round in range(5):
            name = f'new{round}.net'
            u.source('gambling', ['casino.com', name])
            before = u.stats()['generation']['id']
            u.cli('lists', 'update')
            assert eventually(lambda: u.stats()['generation']['id'] > before, 3)
            assert all(u.ask(name, edns=True).blocked for _ in range(16)), 'each question comes from another port'


def answers(connection):
    """Whether a question is answered on it; what has been closed answers nothing."""
    try:
        connection.sendall(framed(wire('www.many.com')))
        return read_frames(connection, 1) == 1
    except ConnectionError:
        return False


def test_connections_of_one_device_do_not_use_up_those_of_its_ipv6_room(lab):
    """All devices of a room are in one /64."""
    greedy, other = 'fd00:20::5', 'fd00:20::6'
    with usherd({'limits': {'tcp-per-client': 4}}, LISTS) as u, ExitStack() as held:
        connections = [held.enter_context(u.connect(greedy)) for _ in range(20)]
        assert sum(answers(connection) for connection in connections) == 4
        assert u.ask('casino.com', client=other, tcp=True).blocked
