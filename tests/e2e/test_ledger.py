"""Issue point 3: who changed what, when and why, and who read personal data; and what is missing is found."""

import json
import os
import signal

import pytest

from usher import eventually, usherd


@pytest.fixture(scope='module')
def u(lab):
    with usherd(lists={'gambling': ['casino.com']}) as u:
        yield u


def whats(u, *words):
    return [entry['what'] for entry in u.json('ledger', *words)]


def test_every_change_and_every_read_is_in_the_ledger(u):
    u.cli('block', 'plain.com', '--reason', 'a reason')
    u.cli('allow', 'plain.com', '--for', '1h', '--profile', 'staff', '--reason', 'an hour')
    u.cli('rules', 'remove', 'plain.com', '--reason', 'over')
    u.cli('reload')
    u.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: whats(u).count('reload') == 2, 3)
    by_command, by_signal = [entry for entry in u.json('ledger') if entry['what'] == 'reload']
    assert by_signal['detail']['signal'] == 'SIGHUP' and by_signal['detail']['pid'] == os.getpid() and by_signal['user'] == 'root'
    assert 'signal' not in by_command['detail']
    u.cli('flush', 'plain.com')
    u.cli('log')
    u.write('gambling.txt', 'casino.com\npoker.net\n')
    u.cli('lists', 'update')
    u.cli('lists', 'rollback')
    u.cli('lists', 'update', '--resume')
    assert whats(u) == ['lists.publish', 'start', 'rules.block', 'rules.allow', 'rules.remove', 'reload', 'reload', 'flush', 'log.read',
                        'lists.publish', 'lists.rollback', 'lists.resume', 'lists.publish']
    assert whats(u, '--reads') == ['log.read']
    assert whats(u, '--since', '1h') == whats(u)
    u.cli('ledger', '--verify')


def test_an_entry_says_who_when_what_why_and_until(u):
    entries = u.json('ledger')
    keys = ['seq', 'time', 'uid', 'user', 'what', 'why', 'until', 'detail', 'hash']
    assert all(list(entry) == keys for entry in entries)
    allow = next(e for e in entries if e['what'] == 'rules.allow')
    assert (allow['uid'], allow['user'], allow['why'], allow['detail']['profile']) == (0, 'root', 'an hour', 'staff')
    assert allow['until'] > allow['time']
    by_signal = [e for e in entries if e['what'] == 'reload'][1]
    assert by_signal['uid'] == 0 and by_signal['user'] == 'root'
    start = next(e for e in entries if e['what'] == 'start')
    assert len(start['detail']['sha256']) == 64 and start['detail']['generation'] == 1
    people = u.cli('ledger').stdout
    assert 'an hour' in people and 'plain.com' in people
    assert u.cli('ledger', '--csv').stdout.splitlines()[0] == ','.join(keys)


def test_sudo_is_seen_through(u):
    body = {'name': 'sudo.example', 'action': 'block', 'reason': 'x', 'by': 'jsmith'}
    assert u.http('control.sock', '/v1/rules', 'POST', json.dumps(body))[0] == 200
    assert u.json('ledger')[-1]['user'] == 'jsmith (sudo)'


def test_wrong_usage_is_told(u):
    for words in (['x'], ['--since', 'once'], ['--verify', '--reads'], ['--all']):
        assert 'usher help' in u.cli('ledger', *words, expect=2).stderr


def test_what_was_altered_or_taken_away_is_found(lab):
    with usherd(lists={'gambling': ['casino.com']}) as u:
        for number in range(4):
            u.cli('block', f'n{number}.example', '--reason', 'ledger')
        file, head = u.folder / 'state/ledger/ledger.jsonl', u.folder / 'state/ledger/ledger.head'
        good, good_head = file.read_bytes(), head.read_bytes()
        lines = good.splitlines(keepends=True)

        def wrong(content, head_content=good_head):
            file.write_bytes(content)
            head.write_bytes(head_content)
            said = u.cli('ledger', '--verify', expect=1).stderr
            assert 'ledger.jsonl:' in said
            assert u.json('ledger', '--verify', expect=1)[0]['verified'] is False
            return said

        assert ':4: entry was altered' in wrong(good.replace(b'n1.example', b'n9.example'))
        wrong(b''.join(lines[:2] + lines[3:]))
        wrong(b''.join(lines[1:]))
        wrong(b''.join(lines + lines[-1:]))
        wrong(b''.join([*lines[:-2], lines[-1], lines[-2]]))
        assert 'removed at the end' in wrong(b''.join(lines[:-2]))
        wrong(good, b'')
        file.write_bytes(b''.join(lines[:-2]))
        head.write_bytes(good_head)
        u.cli('block', 'later.example', '--reason', 'hides nothing')
        assert 'found missing' in u.cli('ledger', '--verify', expect=1).stderr
        file.write_bytes(good)
        head.write_bytes(good_head)
        said = u.json('ledger', '--verify')[0]
        assert said == {'verified': True, 'entries': len(lines), 'why': None}


def test_a_ledger_that_cannot_be_written_is_a_failed_part(lab):
    with usherd(lists={'gambling': ['casino.com']}) as u:
        file = u.folder / 'state/ledger/ledger.jsonl'
        good = eventually(lambda: b'"start"' in file.read_bytes() and file.read_bytes(), 5)       # it answers before it has noted that
        file.write_bytes(good.replace(b'"start"', b'"stars"'))
        u.cli('reload')
        part = next(p for p in u.json('status', expect=1)[0]['parts'] if p['part'] == 'ledger')
        assert part['state'] == 'failed' and 'reload could not be written down' in part['text']
        file.write_bytes(good)
        u.cli('reload')
        assert next(p for p in u.json('status')[0]['parts'] if p['part'] == 'ledger')['state'] == 'ok'


def test_a_rule_that_the_ledger_missed_is_added_at_the_next_start(lab):
    """Killed between rule and ledger: the rule is there, so its entry is made."""
    with usherd(lists={'gambling': ['casino.com']}) as u:
        u.cli('block', 'first.example', '--reason', 'kept')
        u.cli('block', 'second.example', '--reason', 'missed')
        u.kill()
        folder = u.folder / 'state/ledger'
        lines = (folder / 'ledger.jsonl').read_bytes().splitlines(keepends=True)
        before = json.loads(lines[-2])
        (folder / 'ledger.jsonl').write_bytes(b''.join(lines[:-1]))
        (folder / 'ledger.head').write_text(f'{before["seq"]:020} {before["hash"]}\n')
        u.start()
        missed = [e for e in u.json('ledger') if e['what'] == 'rules.block']
        assert [e['why'] for e in missed] == ['kept', 'missed']
        u.restart()
        assert len([e for e in u.json('ledger') if e['what'] == 'rules.block']) == 2
        u.cli('ledger', '--verify')
