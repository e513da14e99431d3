"""What a school uses (names/), and what an update of the lists would change for it."""

import re
from datetime import datetime, timezone

from usher import GUEST, PUPIL, STAFF, usherd

PUPILS = [f'10.20.0.{n}' for n in (5, 6, 7)]


def today():
    return datetime.now(timezone.utc).strftime('%Y-%m-%d')


def stored(u):
    """Today's file of names/: name -> count."""
    path = u.folder / 'state/names' / today()
    lines = path.read_text().splitlines() if path.exists() else []
    return {name: int(count) for count, name in (line.split(' ') for line in lines)}


def test_names_that_three_clients_asked_are_counted_without_clients(lab):
    with usherd(lists={'gambling': ['casino.com']}) as u:
        for client in PUPIL, STAFF, GUEST:
            for _ in range(2):
                assert u.ask('www.plain.com', client=client).rcode == 'NOERROR'
            u.ask('www.plain.com', 'AAAA', client=client)
            u.ask('casino.com', client=client)
            u.ask('no-such-name.plain.com', client=client)
        for client in PUPIL, STAFF:
            u.ask('www.bbc.co.uk', client=client)
        u.stop()
        files = list((u.folder / 'state/names').iterdir())
        assert [f.name for f in files] == [today()]
        text = files[0].read_text()
        assert text == '9 www.plain.com\n'
        assert files[0].stat().st_mode & 0o777 == 0o600


def test_switched_off_nothing_is_counted_and_the_old_goes(lab):
    with usherd(lists={'gambling': ['casino.com']}) as u:
        for client in PUPIL, STAFF, GUEST:
            u.ask('www.plain.com', client=client)
        u.stop()
        assert stored(u) == {'www.plain.com': 3}
        u.configure({'names': {'enabled': False}})
        u.start()
        for client in PUPIL, STAFF, GUEST:
            u.ask('www.plain.com', client=client)
        u.stop()
        assert list((u.folder / 'state/names').iterdir()) == []


def school(lists, **config):
    """An usherd with those lists, whose pupils, staff and guests asked for some names; it has ended."""
    u = usherd({'names': {'enabled': True}, **config}, lists=lists)
    u.start()
    for client in PUPIL, STAFF, GUEST:
        for name in 'www.plain.com', 'plain.com', 'www.bbc.co.uk', 'casino.com':
            u.ask(name, client=client)
    for _ in range(3):
        u.ask('www.plain.com')
    u.stop()
    return u


def changes(lines):
    return {(line['change'], line['name'], tuple(line['profiles'])) for line in lines if 'change' in line}


def test_preview_names_what_this_school_uses_and_publishes_nothing(lab):
    u = school({'gambling': ['casino.com', 'poker.net'], 'social': ['facebook.com']})
    try:
        u.write('gambling.txt', 'poker.net\nmore.net\n' + ''.join(f'n{i}.example\n' for i in range(50)))
        u.write('social.txt', 'facebook.com\nplain.com\nnobody-asked.com\n')
        before = u.json('lists', 'history')
        *lines, result = u.json('lists', 'update', '--preview')
        assert changes(lines) == {('blocked', 'plain.com', ('pupils',)), ('blocked', 'www.plain.com', ('pupils',)),
                                  ('unblocked', 'casino.com', ('pupils', 'guest'))}
        blocked = [line for line in lines if line.get('change') == 'blocked']
        assert [line['name'] for line in blocked] == ['www.plain.com', 'plain.com'], 'what is asked most comes first'
        assert blocked[0] == {'change': 'blocked', 'name': 'www.plain.com', 'profiles': ['pupils'], 'category': 'social', 'source': 'social',
                              'asked': 6, 'logged': 0, 'protected': False}
        freed = next(line for line in lines if line.get('change') == 'unblocked')
        assert (freed['category'], freed['source'], freed['asked'], freed['logged']) == ('gambling', 'gambling', 0, 2)
        assert (result['preview'], result['published'], result['newly_blocked'], result['newly_unblocked']) == (True, False, 2, 1)
        assert u.json('lists', 'history') == before
        assert u.check('plain.com', '--profile', 'pupils')['verdict'] == 'resolve'
        assert not list((u.folder / 'state/lists/work').iterdir()), 'a generation nobody needs is left behind'
        *_, result = u.json('lists', 'update')
        assert (result['published'], result['newly_blocked']) == (True, 2), 'what was previewed is published by the next update'
        assert u.check('plain.com', '--profile', 'pupils')['verdict'] == 'block'
    finally:
        u._forget()


def test_preview_agrees_with_check(lab):
    u = school({'gambling': ['casino.com']}, **{'local-records': ['www.bbc.co.uk. 300 IN A 10.0.0.5']})
    try:
        u.configure({'profiles': [{**p, 'allow-names': ['plain.com']} if p['name'] == 'guest' else p for p in u.config['profiles']]})
        u.write('gambling.txt', 'plain.com\nwww.bbc.co.uk\n')
        lines = u.json('lists', 'update', '--preview')
        names = ['www.plain.com', 'plain.com', 'www.bbc.co.uk', 'casino.com']
        profiles = ['pupils', 'staff', 'guest']
        before = {(n, p): u.check(n, '--profile', p)['verdict'] for n in names for p in profiles}
        u.cli('lists', 'update')
        after = {(n, p): u.check(n, '--profile', p)['verdict'] for n in names for p in profiles}
        expected = {(n, p) for n, p in before if before[n, p] != 'block' and after[n, p] == 'block'}
        assert expected == {('www.plain.com', 'pupils'), ('plain.com', 'pupils')}
        assert {(line['name'], p) for line in lines if line.get('change') == 'blocked' for p in line['profiles']} == expected
    finally:
        u._forget()


def test_preview_for_people(lab):
    u = school({'gambling': ['casino.com'], 'social': ['facebook.com']})
    try:
        u.write('social.txt', 'facebook.com\nplain.com\n')
        said = u.cli('lists', 'update', '--preview').stdout
        assert re.search(r'blocked +www\.plain\.com +pupils +social +social +6', said), said
        assert 'newly blocked: 2, newly unblocked: 0' in said and 'nothing was published' in said
        update = u.cli('lists', 'update')
        assert 'of 3 names that this school used in the last 14 days, 2 are newly blocked: www.plain.com, plain.com' in update.stdout + update.stderr
        again = u.cli('lists', 'update', '--preview').stdout
        assert 'nothing new' in again
    finally:
        u._forget()


def test_preview_without_names_says_so(lab):
    with usherd({'names': {'enabled': False}}, lists={'gambling': ['casino.com']}) as u:
        u.ask('casino.com')
        u.log(count=1)
        u.write('gambling.txt', 'casino.com\nplain.com\n')
        said = u.cli('lists', 'update', '--preview')
        assert 'names/ holds nothing' in said.stderr
        u.write('gambling.txt', 'plain.com\npoker.net\n')
        *lines, _ = u.json('lists', 'update', '--preview')
        assert changes(lines) == {('unblocked', 'casino.com', ('pupils', 'guest'))}
        update = u.cli('lists', 'update')
        assert 'this school used' not in update.stdout + update.stderr


def test_preview_is_recorded_as_a_read_of_the_log(lab):
    u = school({'gambling': ['casino.com']})
    try:
        ledger = u.folder / 'state/ledger/ledger.jsonl'
        u.cli('lists', 'update')
        assert not ledger.exists() or 'log.read' not in ledger.read_text(), 'an update reads no log'
        u.cli('lists', 'update', '--preview')
        assert ledger.read_text().count('"log.read"') == 1 and 'lists update --preview' in ledger.read_text()
    finally:
        u._forget()


def test_preview_of_the_first_update_and_under_a_pin(lab):
    u = usherd(lists=None)
    try:
        u.configure({'lists': {'sources': [u.source('gambling', ['casino.com'])]}})
        said = u.cli('lists', 'update', '--preview').stdout
        assert 'no generation to compare' in said and u.json('lists', 'history') == []
        u.cli('lists', 'update')
        u.write('gambling.txt', 'casino.com\npoker.net\n')
        u.cli('lists', 'update')
        u.cli('lists', 'rollback')
        *_, result = u.json('lists', 'update', '--preview')
        assert (result['preview'], result['published'], result['generation'], result['names']) == (True, False, 1, 2)
        assert u.json('lists', 'history')[-1]['pinned'], 'a preview has ended the pin'
        assert u.cli('lists', 'update', '--preview', '--resume', expect=2)
    finally:
        u._forget()


def test_protected_names_come_first(lab):
    """Only a sealed category can block them, and then it must be seen."""
    u = school({'illegal': ['nobody-asked.com'], 'social': ['facebook.com']}, **{'protected-names': ['www.bbc.co.uk']})
    try:
        u.write('illegal.txt', 'nobody-asked.com\nwww.bbc.co.uk\n')
        u.write('social.txt', 'facebook.com\nplain.com\n')
        *lines, _ = u.json('lists', 'update', '--preview')
        told = [(line['name'], line['protected']) for line in lines if 'change' in line]
        assert told == [('www.bbc.co.uk', True), ('www.plain.com', False), ('plain.com', False)]
    finally:
        u._forget()


def test_preview_judges_by_the_moment(lab):
    """A category that the timetable lifts just now is not newly blocked."""
    always = {'free': {'days': 'daily', 'from': '00:00', 'to': '24:00'}}
    pupils = {'name': 'pupils', 'networks': ['10.20.0.0/16'], 'block': ['social', 'gambling'], 'rate-limit': 0, 'periods': {'free': {'unblock': ['social']}}}
    u = school({'gambling': ['casino.com'], 'social': ['facebook.com']}, periods=always, profiles=[pupils])
    try:
        u.write('social.txt', 'facebook.com\nplain.com\n')
        u.write('gambling.txt', 'casino.com\nwww.bbc.co.uk\n')
        *lines, _ = u.json('lists', 'update', '--preview')
        assert changes(lines) == {('blocked', 'www.bbc.co.uk', ('pupils',))}
    finally:
        u._forget()
