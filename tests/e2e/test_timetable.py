"""Issue point 2: the timetable, terms and holidays, and that no answer outlives what the policy says of it."""

import subprocess
from datetime import datetime, timedelta, timezone

from usher import BUILD, ENVIRONMENT, PUPIL, STAFF, eventually, profile, usherd

HOLIDAYS = """BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//council//holidays//EN\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY:Half\r\n  term\r
DTSTART;VALUE=DATE:20261026\r\nDTEND;VALUE=DATE:20261031\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"""


def clock(when):
    return when.strftime('%H:%M')


def test_answers_end_with_the_period(lab):
    """Games are open until the end of a period that is near: TTLs shrink to it, and then it is blocked."""
    now = datetime.now(timezone.utc)
    # The next full minute but one, so that there is time to look at it.
    end = (now + timedelta(seconds=20)).replace(second=0, microsecond=0) + timedelta(minutes=1)
    config = {
        'periods': {'open': {'from': clock(end - timedelta(minutes=10)), 'to': clock(end), 'when': 'always'},
                    'far': {'from': clock(end + timedelta(hours=3)), 'to': clock(end + timedelta(hours=4)), 'when': 'always'}},
        'profiles': [profile('pupils', periods={'open': {'unblock': ['games']}}), profile('staff', periods={'far': {'block': ['games']}}),
                     profile('guest')],
        'cache': {'max-ttl': '40s'},
    }
    with usherd(config, {'games': ['plain.com'], 'gambling': ['casino.com']}) as u:
        answer = u.ask('www.plain.com')
        assert answer.addresses
        left = (end - datetime.now(timezone.utc)).total_seconds()
        assert left - 2 <= min(answer.ttl, 40) <= left or answer.ttl == 40 <= left
        # max-ttl alone bounds who has no change ahead
        assert u.ask('www.plain.com', client=STAFF).ttl == 40
        assert u.check('www.plain.com', '--profile', 'pupils')['verdict'] == 'resolve'
        assert u.check('www.plain.com', '--profile', 'pupils', '--at', '90s')['verdict'] == 'block'


def test_answers_end_with_a_rule(lab):
    """A grant and a block for a time: neither the answer nor the block is kept beyond its end."""
    with usherd(lists={'gambling': ['casino.com']}) as u:
        u.cli('block', 'plain.com', '--for', '10s', '--reason', 'ten seconds')
        assert u.ask('www.plain.com').soa[0] in (8, 9)
        assert u.ask('mail.plain.com').soa[0] <= 9
        u.cli('rules', 'remove', 'plain.com', '--reason', 'over')
        u.cli('allow', 'plain.com', '--for', '3s', '--profile', 'pupils', '--reason', 'three seconds')
        assert u.ask('www.plain.com', client=PUPIL).ttl <= 3
        assert u.ask('www.plain.com', client=STAFF).ttl > 10
        assert eventually(lambda: u.ask('www.plain.com', client=PUPIL).ttl > 10, 4)


def test_terms_and_holidays(lab):
    config = {
        'terms': {'holidays': ['{folder}/holidays.ics', '2026-12-21..2027-01-03', '2027-05-03']},
        'periods': {'lunch': {'days': 'mon-fri', 'from': '12:10', 'to': '13:00'},
                    'free': {'from': '00:00', 'to': '24:00', 'when': 'holidays'},
                    'assembly': {'days': 'mon', 'from': '09:00', 'to': '09:20', 'when': 'always'}},
        'profiles': [profile('pupils', periods={'lunch': {'unblock': ['games']}, 'free': {'unblock': ['social']}, 'assembly': {'block': ['drugs']}}),
                     profile('staff'), profile('guest')],
    }
    u = usherd(config)
    try:
        broken = u.cli('check', 'a.example', expect=1).stderr
        assert 'terms.holidays[0]' in broken and 'No such file' in broken
        u.write('holidays.ics', HOLIDAYS.replace('SUMMARY', 'RRULE:FREQ=YEARLY\r\nSUMMARY'))
        said = subprocess.run([str(BUILD / 'usherd'), '-n', '-c', str(u.file)], capture_output=True, text=True, env=ENVIRONMENT, check=False)
        assert said.returncode == 1 and 'line 6: events that repeat' in said.stderr
        u.write('holidays.ics', HOLIDAYS)
        u.config['lists']['sources'] = [u.source('games', ['games.org']), u.source('social', ['chat.org'])]
        u.configure()
        u.cli('lists', 'update')

        def verdicts(name, *times):
            return [u.check(name, '--profile', 'pupils', '--at', time)['verdict'] for time in times]

        assert verdicts('games.org', '2026-10-23 12:30', '2026-10-26 12:30', '2026-10-30 12:30', '2026-11-02 12:30') == ['resolve', 'block', 'block', 'resolve']
        assert verdicts('games.org', '2026-12-21 12:30', '2027-01-01 12:30', '2027-01-04 12:30', '2027-05-03 12:30') == ['block', 'block', 'resolve', 'block']
        assert verdicts('chat.org', '2026-10-25 23:59', '2026-10-26 00:00', '2026-10-30 23:59', '2026-10-31 00:00') == ['block', 'resolve', 'resolve', 'block']
        u.start()
        assert 'not in effect' not in u.said()
        u.write('holidays.ics', 'nonsense')
        assert 'holidays.ics' in u.cli('reload', expect=1).stderr
        # The process that reads the log does not need the file, and is started at any time.
        assert u.http('log.sock', '/v1/log')[0] == 200
        u.stop()
    finally:
        u._forget()


def test_nights_in_which_clocks_change(lab):
    config = {
        'periods': {'night': {'from': '01:30', 'to': '02:30'}},
        'profiles': [profile('pupils', periods={'night': {'unblock': ['games']}}), profile('staff'), profile('guest')],
    }
    u = usherd(config, {'games': ['games.org']})
    try:
        def verdict(at):
            said = subprocess.run([str(BUILD / 'usher'), '-c', str(u.file), 'check', 'games.org', '--profile', 'pupils', '--at', at, '--csv'],
                                  capture_output=True, text=True, env={**ENVIRONMENT, 'TZ': 'Europe/London'}, check=True)
            return said.stdout.splitlines()[1].split(',')[3]

        # 2026-10-25: 01:30 comes twice, and both times it is night; in between it is 01:00 again.
        autumn = ['00:29', '00:30', '00:59', '01:00', '01:29', '01:30', '02:29', '02:30']
        assert [verdict(f'2026-10-25T{t}:00Z') for t in autumn] == ['block', 'resolve', 'resolve', 'block', 'block', 'resolve', 'resolve', 'block']
        # 2027-03-28: 01:30 never comes; at 02:00 it is night until 02:30.
        spring = ['00:59', '01:00', '01:29', '01:30']
        assert [verdict(f'2027-03-28T{t}:00Z') for t in spring] == ['block', 'resolve', 'resolve', 'block']
    finally:
        u._forget()
