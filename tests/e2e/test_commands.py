"""usher as a person types it: help, mistakes, exit codes."""

import csv
import io
import json

import pytest

from usher import usherd

COMMANDS = ['lists', 'check', 'log', 'stats', 'status', 'reload', 'flush']


@pytest.fixture(scope='module')
def u(lab):
    with usherd(lists={'gambling': ['casino.com']}) as u:
        yield u


def test_usage_names_every_command(u):
    usage = u.cli('help').stdout
    assert all(command in usage for command in COMMANDS)
    for command in COMMANDS:
        assert command in u.cli('help', command).stdout


@pytest.mark.parametrize('words', [[], ['nonsense'], ['lists'], ['lists', 'nonsense'], ['check'], ['flush'], ['check', 'a', 'b'], ['check', 'x.com', '--client'],
                                   ['stats', '--nonsense'], ['lists', 'find']])
def test_wrong_usage_is_two_and_one_sentence(u, words):
    result = u.cli(*words, expect=2)
    assert result.stderr and 'Sanitizer' not in result.stderr


@pytest.mark.parametrize('words', [['check', 'a..b'], ['check', 'x.com', '--client', 'nobody'], ['check', 'x.com', '--profile', 'nobody'],
                                   ['check', 'x.com', '--type', 'NOTYPE'], ['check', 'x.com', '--at', 'someday'], ['flush', 'a..b'], ['lists', 'find', 'a..b']])
def test_value_that_makes_no_sense_is_named(u, words):
    result = u.cli(*words, expect=(1, 2))
    assert words[-1] in result.stderr


def test_check_needs_no_daemon_and_takes_what_people_type(u):
    assert u.check('Casino.COM.', '--profile', 'pupils')['name'] == 'casino.com'
    assert u.check('b\u00fccher.com', '--profile', 'pupils')['name'] == 'xn--bcher-kva.com'
    assert u.check('casino.com', '--client', '203.0.113.5')['verdict'] == 'refuse'
    assert u.check('casino.com', '--client', '10.30.0.1')['profile'] == 'staff'
    for key in 'name', 'type', 'profile', 'verdict', 'category', 'rule', 'source', 'target', 'reason', 'steps':
        assert key in u.check('plain.com', '--profile', 'staff')
    assert u.check('www.google.com', '--profile', 'pupils')['target'] == 'forcesafesearch.google.com'


def test_json_may_stand_anywhere_and_is_one_object_a_line(u):
    for words in (['--json', 'check', 'casino.com'], ['check', '--json', 'casino.com'], ['check', 'casino.com', '--json']):
        lines = u.cli(*words).stdout.splitlines()
        assert len(lines) == 1 and json.loads(lines[0])['verdict'] == 'block'


def test_check_as_csv_is_a_header_and_a_row(u):
    result = json.loads(u.cli('--json', 'check', 'www.casino.com', '--profile', 'pupils').stdout)
    result.pop('steps')
    header, row = csv.reader(io.StringIO(u.cli('--csv', 'check', 'www.casino.com', '--profile', 'pupils').stdout))
    assert dict(zip(header, row, strict=True)) == {key: value or '' for key, value in result.items()}


def test_check_tells_the_steps_to_a_person(u):
    text = u.cli('check', 'www.casino.com', '--profile', 'pupils').stdout
    assert 'gambling' in text and 'block' in text.lower() and 'casino.com' in text


def test_reload_and_flush_say_that_they_did(u):
    u.cli('reload')
    u.cli('flush', 'casino.com')
