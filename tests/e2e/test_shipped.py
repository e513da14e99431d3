"""The configuration as it is shipped, with no list but the starter: what a school has on the first day without touching anything."""

import re
import subprocess

import pytest
import yaml

from usher import ENVIRONMENT, ROOT, Usherd

# What pupils must not get by default, and guests neither but for what visitors do in their own time.
LEISURE = ['social', 'games']
DENIED = ['adult', 'gambling', 'drugs', 'self-harm', 'hate', 'violence', 'piracy', 'bypass']
WAYS_AROUND = ['dns.google', 'cloudflare-dns.com', 'nordvpn.com', 'www.torproject.org', 'croxyproxy.com']
HELP = ['ceop.police.uk', 'iwf.org.uk', 'www.childline.org.uk', 'samaritans.org', 'reportharmfulcontent.com']


def starter():
    """category -> names of the shipped starter list."""
    names, category = {}, None
    for line in (ROOT / 'conf/starter.txt').read_text().splitlines():
        if match := re.fullmatch(r'\[(.+)\]', line):
            category = match[1]
        elif line and line[0] != '#':
            names.setdefault(category, []).append(line)
    return names


@pytest.fixture(scope='module')
def u(lab):
    """No usherd, but what its commands say."""
    u = Usherd()
    config = yaml.safe_load((ROOT / 'conf/usher.yaml').read_text())
    config['include'] = [str(ROOT / 'conf' / name) for name in config['include'] if name != 'sources.yaml']
    config |= {'user': 'root', 'state-dir': f'{u.folder}/state', 'run-dir': f'{u.folder}/run'}
    u.config = config
    u.configure()
    u.cli('lists', 'update')
    yield u
    u._forget()


def verdicts(u, names, who):
    """name -> (verdict, category)"""
    result = subprocess.run([u.build / 'usher', '-c', u.file, 'check', '--batch', '--json'], input=''.join(f'{name} {who}\n' for name in names),
                            capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    assert result.returncode == 0, result.stderr
    rows = [yaml.safe_load(line) for line in result.stdout.splitlines()]
    return {row['name']: (row['verdict'], row['category']) for row in rows}


@pytest.mark.parametrize('profile, categories', [('pupils', [*LEISURE, *DENIED]), ('guest', DENIED)])
def test_every_listed_name_of_these_categories_is_blocked(u, profile, categories):
    names = starter()
    for category in categories:
        passed = [name for name, (verdict, _) in verdicts(u, names[category], profile).items() if verdict != 'block']
        assert passed == [], category


def test_guests_may_use_social_networks(u):
    assert verdicts(u, ['www.instagram.com'], 'guest')['www.instagram.com'][0] == 'resolve'


@pytest.mark.parametrize('profile', ['pupils', 'guest'])
def test_ways_around_are_blocked_as_such(u, profile):
    assert set(verdicts(u, WAYS_AROUND, profile).values()) == {('block', 'bypass')}


@pytest.mark.parametrize('profile', ['pupils', 'staff', 'guest'])
def test_help_lines_resolve_though_a_list_has_them(u, profile):
    u.write('help.txt', '\n'.join(HELP) + '\n')
    u.configure({'lists': {'sources': [{'name': 'help', 'url': f'file://{u.folder}/help.txt', 'format': 'domains', 'category': 'adult'}]}})
    u.cli('lists', 'update', expect=(0, 3))
    assert {verdict for verdict, _ in verdicts(u, HELP, profile).values()} == {'resolve'}


def test_every_row_of_the_table_is_there_and_an_empty_one_says_so(u):
    rows = yaml.safe_load((ROOT / 'conf/categories.yaml').read_text())['uksic']
    coverage = u.json('lists', 'coverage')
    assert [row['row'] for row in coverage] == [row['row'] for row in rows]
    assert all(row['data'] == (row['names'] > 0) and (row['sources'] or not row['data']) for row in coverage)
    empty = {row['title'] for row in coverage if not row['data']}
    shown = [line for line in u.cli('lists', 'coverage').stdout.splitlines() if 'NO DATA' in line]
    assert 'Child sexual abuse (IWF list)' in empty and len(shown) == len(empty)
    assert all(any(line.startswith(title) for line in shown) for title in empty)


def test_limits_are_published():
    page = (ROOT / 'README.md').read_text().split('## What it cannot do')[1].split('\n## ')[0].lower()
    for limit in 'search terms', 'page content', 'ai services', 'iwf', 'connections by address', 'devices elsewhere':
        assert limit in page, limit
