"""Proof that filtering is on: usherd is asked as each profile, the record is dated, and a failure is seen by whoever watches."""

import json
import threading
import time

import pytest

from usher import eventually, profile, usherd

LISTS = {'gambling': ['casino.com', 'poker.net'], 'malware': ['vpn.net'], 'illegal': ['illegal.net']}
GOOD = {'protected-names': ['help.many.com'], 'selftest': {'must-pass': ['www.many.com'], 'must-block': ['vpn.net']},
        'profiles': [profile('pupils'), profile('staff'), profile('guest')]}


@pytest.fixture(scope='module')
def u(lab):
    with usherd(GOOD, LISTS) as u:
        yield u


def run(u, expect=0):
    return u.json('selftest', expect=expect)[0]


def test_every_profile_is_asked_and_gets_what_it_should(u):
    record = run(u, expect=None)
    assert [case for case in record['cases'] if not case['passed'] and case['want'] != 'safe name works'] == []
    kinds = {(case['profile'], case['want']) for case in record['cases']}
    for name in 'pupils', 'staff', 'guest':
        assert {(name, 'blocked'), (name, 'resolves'), (name, 'not blocked'), (name, 'safe search'), (name, 'no such name')} <= kinds
    assert record['generation'] == u.generation() and len(record['hash']) == 32
    assert any('phishing' in note and 'pupils' in note for note in record['notes']), 'an empty category is no green tick'


def test_record_is_kept_and_in_the_ledger(u):
    run(u, expect=None)
    folder = u.folder / 'state/selftest'
    last = json.loads((folder / 'last.json').read_text())
    assert last['passed'] > 20 and (folder / 'last.json').is_symlink()
    entry = [json.loads(line) for line in u.cli('ledger', '--json').stdout.splitlines()]
    assert any(e['what'] == 'selftest' and e['detail']['passed'] == last['passed'] for e in entry)


def test_a_year_of_records_does_not_fill_the_disk(u):
    """One every quarter of an hour: of older days the first one stays, and each that failed."""
    folder, day = u.folder / 'state/selftest', time.strftime('%Y-%m-%d', time.gmtime(time.time() - 20 * 86400))
    old = {f'{day}T000000Z.json': 0, f'{day}T001500Z.json': 0, f'{day}T003000Z.json': 1, '2020-01-01T000000Z.json': 1}
    for name, failed in old.items():
        (folder / name).write_text(json.dumps({'failed': failed}))
    run(u, expect=None)
    assert {name for name in old if (folder / name).exists()} == {f'{day}T000000Z.json', f'{day}T003000Z.json'}


def test_selftest_leaves_no_trace_in_the_log_and_the_figures_of_lookups_and_is_not_limited(u):
    before = u.stats()
    u.configure({'profiles': [profile('pupils', **{'rate-limit': 1}), profile('staff'), profile('guest')]})
    u.reload()
    try:
        record = run(u, expect=None)
        assert record['passed'] > 20
        after = u.stats()
        for lookups in 'queries', 'answers', 'blocked', 'rewritten', 'profiles', 'cache', 'latency_us':
            for figure in 'entries', 'bytes':
                before[lookups].pop(figure, None), after[lookups].pop(figure, None)
            assert after[lookups] == before[lookups]
        assert after['log']['events'] == before['log']['events']
        assert after['selftest']['questions'] - before['selftest']['questions'] > 20
        assert u.json('log') == []
    finally:
        u.configure(GOOD)
        u.reload()


def test_page_for_governors(u):
    text = u.cli('selftest', expect=None).stdout
    assert 'Selftest of the DNS filter' in text and 'What was asked' in text
    assert '<svg' not in u.cli('selftest', '--format', 'html', expect=None).stdout
    assert u.cli('selftest', '--format', 'html', expect=None).stdout.startswith('<!DOCTYPE html>')


def test_a_name_that_should_be_blocked_and_is_not_fails_it(u):
    u.configure({'selftest': {'must-block': ['www.many.com'], 'must-pass': ['casino.com']}})
    record = run(u, expect=1)
    wrong = {case['name'] for case in record['cases'] if not case['passed']}
    assert {'www.many.com', 'casino.com'} <= wrong
    # As the timer's service: not a page every quarter of an hour into the system's log.
    brief = u.cli('selftest', '--brief', expect=1)
    assert brief.stdout == f'{record["passed"]} of {len(record["cases"])} names got what they should\n'
    assert brief.stderr.count('should be:') == len(record['cases']) - record['passed']
    assert 'pupils: casino.com (must-pass): should be: resolves, is: NXDOMAIN' in brief.stderr
    u.configure(GOOD)


def test_engine_whose_safe_name_does_not_exist_is_blocked_until_it_does(lab):
    engine = {'engine': 'seek', 'target': 'no-such-name.many.com', 'names': ['www.many.com']}
    with usherd({**GOOD, 'selftest': {'must-pass': [], 'must-block': []}, 'safe-search': [engine]}, LISTS) as u:
        record = run(u, expect=1)
        assert record['engines'] == ['seek']
        answer = u.ask('www.many.com')
        assert answer.blocked and u.check('www.many.com', '--profile', 'pupils')['verdict'] == 'block'
        assert 'seek' in u.cli('status', expect=None).stdout
        u.restart()
        assert u.ask('www.many.com').blocked, 'a restart forgets nothing'
        engine['target'] = 'ceop.police.uk'
        u.configure({'safe-search': [engine]})
        u.reload()
        assert run(u, expect=None)['engines'] == []
        assert u.check('www.many.com', '--profile', 'pupils')['verdict'] == 'rewrite'


def test_engine_whose_safe_name_leads_where_it_is_is_blocked(lab):
    engine = {'engine': 'seek', 'target': 'safe.many.com', 'names': ['www.many.com']}
    with usherd({**GOOD, 'selftest': {'must-pass': [], 'must-block': []}, 'safe-search': [engine]}, LISTS) as u:
        record = run(u, expect=1)
        assert record['engines'] == ['seek'] and any('leads where' in case['found'] for case in record['cases'])


def test_without_usherd_it_fails_and_says_so(lab):
    u = usherd(GOOD, LISTS)
    assert 'usherd does not run' in u.cli('selftest', expect=1).stderr
    u._forget()


def test_door_refuses_what_is_no_question(u):
    for body, sentence in [({}, 'client'), ({'client': '10.20.0.0/16', 'name': 'a.b'}, 'client'), ({'client': '10.20.0.5', 'name': 'a..b'}, 'name'),
                           ({'client': '10.20.0.5', 'name': 'a.b', 'type': 'NOPE'}, 'type')]:
        status, said, _ = u.http('control.sock', '/v1/probe', 'POST', json.dumps(body))
        assert status == 400 and sentence in said
    status, said, _ = u.http('control.sock', '/v1/engines', 'POST', json.dumps({'failed': ['nosuch']}))
    assert status == 400 and 'nosuch' in said


def test_probe_from_an_unserved_address_is_refused_as_from_the_network(u):
    status, said, _ = u.http('control.sock', '/v1/probe', 'POST', json.dumps({'client': '203.0.113.5', 'name': 'casino.com'}))
    assert status == 200 and json.loads(said)['answer'][7] == '5'


def test_stop_while_a_probe_waits_answers_it_and_leaks_nothing(lab):
    """The sanitizer looks at the end whether all was freed."""
    with usherd() as u:
        answers = []
        body = json.dumps({'client': '10.20.0.5', 'name': 'd4000.waits.slow.com'})
        asking = threading.Thread(target=lambda: answers.append(u.http('control.sock', '/v1/probe', 'POST', body)[1]))
        asking.start()
        time.sleep(0.3)
        u.stop()
        asking.join()
        assert answers == ['{"answer":null}'] or 'answer' in answers[0]
