"""Issue point 2: the configuration: every mistake is told with file, line, key, what was found and what is expected."""

import subprocess

import pytest

from usher import BUILD, ENVIRONMENT, ROOT, make_folder, remove_folder

GOOD = '''\
listen: [127.0.0.1@5300]
state-dir: /tmp/usher-no-such/state
run-dir: /tmp/usher-no-such/run
default-profile: pupils
profiles:
  - name: pupils
    networks: [10.20.0.0/16]
    block: [gambling]
  - name: staff
    networks: [10.30.0.0/16]
'''


@pytest.fixture
def folder():
    folder = make_folder('config')
    yield folder
    remove_folder(folder)


def usherd(folder, text, *options, name='usher.yaml'):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return subprocess.run([str(BUILD / 'usherd'), '-c', str(folder / name), *options], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env=ENVIRONMENT, timeout=20, cwd=folder)


def test_good_configuration_passes(folder):
    result = usherd(folder, GOOD, '-n')
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize('key', ['user', 'recursor-user'])
def test_an_account_that_does_not_exist_is_told_before_a_start(folder, key):
    result = usherd(folder, f'{GOOD}{key}: no-such-user\n', '-n')
    assert result.returncode == 1
    assert f"usher.yaml: {key}: found 'no-such-user', expected an account of this machine" in result.stderr, result.stderr
    assert usherd(folder, f'{GOOD}{key}: nobody\n', '-n').returncode == 0


# what is changed, the line it is then on, words the sentence must hold: the key, what was found
MISTAKES = {
    'unknown key': ('state-dir:', 'stat-dir:', 2, ['stat-dir']),
    'unknown key of a profile': ('    block: [gambling]', '    blok: [gambling]', 8, ['blok']),
    'bad network': ('10.20.0.0/16', '10.20.0.0/33', 7, ['networks', '10.20.0.0/33']),
    'not a network': ('10.20.0.0/16', 'ten.twenty', 7, ['networks', 'ten.twenty']),
    'category that does not exist': ('[gambling]', '[gambeling]', 8, ['block', 'gambeling']),
    'two profiles with one network': ('10.30.0.0/16', '10.20.0.0/16', 10, ['networks', '10.20.0.0/16']),
    'two profiles with one name': ('name: staff', 'name: pupils', 9, ['pupils']),
    'port too large': ('127.0.0.1@5300', '127.0.0.1@70000', 1, ['listen', '70000']),
    'port that is no number': ('127.0.0.1@5300', '127.0.0.1@dns', 1, ['listen', '@dns']),
    'address that is none': ('127.0.0.1@5300', '127.0.0.256@5300', 1, ['listen', '127.0.0.256']),
    'duration without unit': ('    block: [gambling]', '    block-ttl: 30', 8, ['block-ttl', '30']),
    'duration with a strange unit': ('    block: [gambling]', '    keep: 3 fortnights', 8, ['keep', '3 fortnights']),
    'negative duration': ('    block: [gambling]', '    block-ttl: -30s', 8, ['block-ttl', '-30s']),
    'size without sense': ('default-profile: pupils', 'default-profile: pupils\ncache: {size: big}', 5, ['size', 'big']),
    'number too large': ('default-profile: pupils', 'default-profile: pupils\nworkers: 99999999999999999999', 5, ['workers', '99999999999999999999']),
    'boolean that is none': ('    block: [gambling]', '    safe-search: perhaps', 8, ['safe-search', 'perhaps']),
    'word that is none of the choices': ('    block: [gambling]', '    youtube: sometimes', 8, ['youtube', 'sometimes', 'moderate']),
    'block answer of no known form': ('    block: [gambling]', '    block-answer: explode', 8, ['block-answer', 'explode', 'nxdomain']),
    'default profile that does not exist': ('default-profile: pupils', 'default-profile: pupil', 4, ['default-profile', 'pupil']),
    'list where a word belongs': ('default-profile: pupils', 'default-profile: [pupils]', 4, ['default-profile']),
    'word where a list belongs': ('    networks: [10.20.0.0/16]', '    networks: {a: b}', 7, ['networks']),
    'key given twice': ('default-profile: pupils', 'default-profile: pupils\ndefault-profile: staff', 5, ['default-profile']),
    'tab': ('    block: [gambling]', '\tblock: [gambling]', 8, []),
    'broken yaml': ('[10.20.0.0/16]', '[10.20.0.0/16', None, []),
    'name that is none': ('    block: [gambling]', '    block-names: [a..b]', 8, ['block-names', 'a..b']),
    'local record that is none': ('default-profile: pupils', 'default-profile: pupils\nlocal-records: ["intranet A nowhere"]', 5, ['local-records', 'nowhere']),
    'internal zone without server': ('default-profile: pupils', 'default-profile: pupils\ninternal-zones: [{zone: a.example, servers: []}]', 5, ['servers']),
    'source without url': ('default-profile: pupils', 'default-profile: pupils\nlists: {sources: [{name: a, format: hosts, category: gambling}]}', 5, ['url']),
    'source of unknown format': ('default-profile: pupils', 'default-profile: pupils\nlists: {sources: [{name: a, url: "file:///a", format: word, category: gambling}]}', 5, ['format', 'word']),
    'source into no category': ('default-profile: pupils', 'default-profile: pupils\nlists: {sources: [{name: a, url: "file:///a", format: hosts, category: nothing}]}', 5, ['category', 'nothing']),
    'period with an odd time': ('default-profile: pupils', 'default-profile: pupils\nperiods: {lunch: {days: mon-fri, from: "12:61", to: "13:00"}}', 5, ['12:61']),
    'period on an odd day': ('default-profile: pupils', 'default-profile: pupils\nperiods: {lunch: {days: mon-fry, from: "12:01", to: "13:00"}}', 5, ['mon-fry']),
    'profile with an unknown period': ('    block: [gambling]', '    periods: {lunch: {unblock: [games]}}', 8, ['lunch']),
    'more than 64 categories': ('default-profile: pupils', 'default-profile: pupils\ncategories: [' + ', '.join(
        f'{{name: c{i}, title: C{i}, risk: content, severity: caution}}' for i in range(65)) + ']', 5, ['categories', '64']),
    'category of unknown severity': ('default-profile: pupils', 'default-profile: pupils\ncategories: [{name: gambling, title: G, risk: content, severity: bad}]', 5, ['severity', 'bad']),
    'forwarder that is none': ('default-profile: pupils', 'default-profile: pupils\nrecursion: {forward: ["upstream"]}', 5, ['forward', 'upstream']),
    'include that is missing': ('default-profile: pupils', 'default-profile: pupils\ninclude: [nowhere.yaml]', 5, ['nowhere.yaml']),
}


@pytest.mark.parametrize('what', MISTAKES)
def test_mistake_is_told_with_file_line_key_found_and_expected(folder, what):
    old, new, line, words = MISTAKES[what]
    assert old in GOOD
    result = usherd(folder, GOOD.replace(old, new, 1), '-n')
    assert result.returncode == 1
    assert 'Sanitizer' not in result.stderr and 'runtime error' not in result.stderr, result.stderr
    first = next((s for s in result.stderr.splitlines() if 'usher.yaml' in s), '')
    assert first, result.stderr
    if line:
        assert f'usher.yaml:{line}:' in first, result.stderr
    for word in words:
        assert word in first, result.stderr
    if words:
        assert 'expected' in result.stderr


@pytest.mark.parametrize('what', ['unknown key', 'bad network', 'tab'])
def test_mistake_at_start_ends_it_with_one(folder, what):
    old, new, _, words = MISTAKES[what]
    result = usherd(folder, GOOD.replace(old, new, 1))
    assert result.returncode == 1 and all(word in result.stderr for word in words)


def test_missing_file_is_said(folder):
    result = subprocess.run([str(BUILD / 'usherd'), '-c', str(folder / 'none.yaml'), '-n'], capture_output=True, text=True, env=ENVIRONMENT, timeout=20)
    assert result.returncode == 1 and 'none.yaml' in result.stderr


def test_mistake_in_an_include_names_the_include(folder):
    (folder / 'more.yaml').write_text('\n\nperiods: {lunch: {days: mon-fri, from: noon, to: "13:00"}}\n')
    result = usherd(folder, 'include: [more.yaml]\n' + GOOD, '-n')
    assert result.returncode == 1 and 'more.yaml:3:' in result.stderr and 'noon' in result.stderr


@pytest.mark.parametrize('content', [b'\0' * 100, b'\xff\xfe' * 50, b'[' * 10000, b'a: &a [*a]\n', b'{' * 5000 + b'}' * 5000, b'a: b: c: d\n', b'- just\n- a list\n',
                                     b'x: &x [1,1]\ny: [*x,*x]\nz: [*x]\n', b'\xef\xbb\xbf\xef\xbb\xbf'])
def test_file_that_is_no_configuration(folder, content):
    result = usherd(folder, content, '-n')
    assert result.returncode == 1 and result.stderr
    assert 'Sanitizer' not in result.stderr and 'runtime error' not in result.stderr, result.stderr


def test_empty_file_and_ten_lines_are_enough(folder):
    assert usherd(folder, GOOD, '-n').returncode == 0
    result = usherd(folder, 'profiles: [{name: pupils, networks: [10.0.0.0/8], block: [gambling]}]\n', '-n')
    assert result.returncode == 0, result.stderr


def test_what_is_printed_back_reads_to_the_same(folder):
    once = usherd(folder, GOOD, '-p')
    assert once.returncode == 0 and '10.20.0.0/16' in once.stdout and 'block-ttl: 30s' in once.stdout
    again = usherd(folder, once.stdout, '-p', name='again.yaml')
    assert again.returncode == 0, again.stderr
    assert again.stdout == once.stdout


def test_shipped_configuration_passes_and_prints_back():
    path = ROOT / 'conf/usher.yaml'
    checked = subprocess.run([str(BUILD / 'usherd'), '-c', str(path), '-n'], capture_output=True, text=True, env=ENVIRONMENT, timeout=20)
    assert checked.returncode == 0, checked.stderr
    printed = subprocess.run([str(BUILD / 'usherd'), '-c', str(path), '-p'], capture_output=True, text=True, env=ENVIRONMENT, timeout=20)
    assert printed.returncode == 0 and 'profiles' in printed.stdout


def test_defaults_of_a_profile(folder):
    printed = usherd(folder, GOOD, '-p').stdout
    for words in 'safe-search: true', 'youtube: strict', 'block-answer: nxdomain', 'block-ttl: 30s', 'internal: true', 'rate-limit: 300', 'keep: 90d':
        assert words in printed, words
