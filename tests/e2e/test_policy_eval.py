"""The truths of tests/policy.eval once more, through `usher check` on compiled lists: what the unit test says of the policy must
hold for the command.
"""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from usher import ROOT, Usherd

# A week without holidays; times of policy.eval are local, and the commands run in UTC.
DATES = {day: f'2026-11-{23 + i}' for i, day in enumerate(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'])}


def read_eval():
    lists, truths = {}, []
    for number, line in enumerate((ROOT / 'tests/policy.eval').read_text().splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith('#'):
            continue
        if words[0] == 'list':
            lists.setdefault(words[1], []).append(words[2])
        else:
            truths.append((number, *words))
    return lists, truths


@pytest.fixture(scope='module')
def school():
    lists, _ = read_eval()
    u = Usherd()
    settings = {'state-dir': f'{u.folder}/state', 'run-dir': f'{u.folder}/run',
                'lists': {'starter': False, 'sources': [u.source(category, names) for category, names in lists.items()]}}
    text = (ROOT / 'tests/policy.conf').read_text() + ''.join(f'{key}: {json.dumps(value)}\n' for key, value in settings.items())
    # An update holds a list back that names help pages or the school's own zones, but here they must be listed.
    u.file.write_text(re.sub(r'^internal-zones:.*?(?=^categories:)', '', text, flags=re.DOTALL | re.MULTILINE))
    u.cli('lists', 'update')
    u.file.write_text(text)
    yield u
    u._forget()


def test_every_truth_holds_for_usher_check(school):
    _, truths = read_eval()

    def wrong(truth):
        number, verdict, category, profile, day, time, name = truth
        said = school.check(name, '--profile', profile, '--at', f'{DATES[day]} {time}')
        got = said['verdict'], said['category'] or '-'
        return None if got == (verdict, category) else f'policy.eval:{number}: {name} for {profile}: {got}, {said["steps"]}'

    with ThreadPoolExecutor(4) as pool:
        failures = [failure for failure in pool.map(wrong, truths) if failure]
    assert len(truths) >= 60
    assert not failures, '\n'.join(failures)
