"""The truths of tests/policy.eval once more, through `usher check` on compiled lists: what the unit test says of the policy must
hold for the command.
"""

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest

import usher
from usher import BUILD, PLAIN_BUILD, ROOT, Usherd

# Days of policy.eval are those of this week of term, or dates; times are London's, or UTC with Z.
DATES = {day: f'2026-11-{23 + i}' for i, day in enumerate(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'])}
LONDON = ZoneInfo('Europe/London')


def read_eval():
    lists, rules, truths = {}, [], []
    for number, line in enumerate((ROOT / 'tests/policy.eval').read_text().splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith('#'):
            continue
        if words[0] == 'list':
            lists.setdefault(words[1], []).append(words[2])
        elif words[0] == 'rule':
            rules.append(words[1:])
        else:
            truths.append((number, *words))
    return lists, rules, truths


def utc(day, time):
    """In RFC 3339."""
    zone = timezone.utc if time.endswith('Z') else LONDON
    moment = datetime.fromisoformat(f'{DATES.get(day, day)} {time.rstrip("Z")}').replace(tzinfo=zone)
    return moment.astimezone(timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')


def is_client(who):
    return who[0].isdigit()


def write_rules(u, rules):
    """The store as usherd publishes it."""
    entries = [{'revision': 1, 'change': {}}]
    for action, who, day, time, name in rules:
        entries.append({'name': name.lstrip('='), 'exact': name.startswith('='), 'action': action,
                        'profile': None if who == 'all' or is_client(who) else who, 'client': who if is_client(who) else None,
                        'until': None if day == '-' else utc(day, time), 'reason': 'policy.eval', 'author': 'jsmith', 'uid': 1000,
                        'added': '2026-01-01T00:00:00Z'})
    body = ''.join(json.dumps(entry) + '\n' for entry in entries)
    folder = u.folder / 'state/rules'
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'rules').write_text(f'usher-rules 1 {hashlib.sha256(body.encode()).hexdigest()}\n{body}')


@pytest.fixture(scope='module')
def school():
    lists, rules, _ = read_eval()
    # Hundreds of runs: the programs without sanitizers where they were built; the unit test has run the same code with them.
    u = Usherd(build=PLAIN_BUILD if (PLAIN_BUILD / 'usher').exists() else BUILD)
    settings = {'state-dir': f'{u.folder}/state', 'run-dir': f'{u.folder}/run',
                'lists': {'starter': False, 'sources': [u.source(category, names) for category, names in lists.items()]}}
    text = (ROOT / 'tests/policy.conf').read_text() + ''.join(f'{key}: {json.dumps(value)}\n' for key, value in settings.items())
    # An update holds a list back that names help pages or the school's own zones, but here they must be listed.
    u.file.write_text(re.sub(r'^internal-zones:.*?(?=^categories:)', '', text, flags=re.DOTALL | re.MULTILINE))
    u.cli('lists', 'update')
    u.file.write_text(text)
    write_rules(u, rules)
    yield u
    u._forget()


def test_every_truth_holds_for_usher_check(school, monkeypatch):
    monkeypatch.setitem(usher.ENVIRONMENT, 'TZ', 'Europe/London')
    _, _, truths = read_eval()

    def wrong(truth):
        number, verdict, category, who, day, time, name = truth
        said = school.check(name, '--client' if is_client(who) else '--profile', who, '--at', utc(day, time))
        got = said['verdict'], said['category'] or '-'
        return None if got == (verdict, category) else f'policy.eval:{number}: {name} for {who}: {got}, {said["steps"]}'

    with ThreadPoolExecutor(4) as pool:
        failures = [failure for failure in pool.map(wrong, truths) if failure]
    assert len(truths) >= 250
    assert not failures, '\n'.join(failures)
