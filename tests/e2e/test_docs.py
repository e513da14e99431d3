"""What is written down agrees with the programs: headers, man pages, sample configuration, counters."""

import json
import re
import shutil
import subprocess

import pytest

from usher import BUILD, ENVIRONMENT, ROOT

HEADERS = sorted(path.relative_to(ROOT) for folder in ('blocklists', 'resolver', 'tools') for path in (ROOT / folder).glob('*.h'))
SOURCES = sorted(path.relative_to(ROOT) for folder in ('blocklists', 'resolver', 'tools', 'tests') for path in (ROOT / folder).rglob('*.c'))
PAGES = ['resolver/usherd.8', 'tools/usher.8', 'conf/usher.yaml.5']


def flags_of_the_build():
    """The -I and -D options that the build itself uses."""
    commands = json.loads((BUILD / 'compile_commands.json').read_text())
    command = next(c['command'] for c in commands if c['file'].endswith('resolver/log.c'))
    return [word for word in command.replace('\\"', '"').split() if word.startswith(('-I', '-D')) and 'USHER_VERSION' not in word]


@pytest.mark.parametrize('header', HEADERS, ids=str)
def test_header_compiles_alone(header):
    flags = [f'-I{(BUILD / f[2:]).resolve()}' if f.startswith('-I') and not f.startswith('-I/') else f for f in flags_of_the_build()]
    result = subprocess.run(['cc', '-std=gnu17', '-fsyntax-only', '-Wall', '-Wextra', '-Wno-unused-parameter', '-Werror', *flags, f'-I{ROOT}', '-x', 'c',
                             '-include', str(ROOT / header), '/dev/null'], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not shutil.which('clang-format'), reason='clang-format is not installed')
def test_sources_are_formatted():
    result = subprocess.run(['clang-format', '--dry-run', '-Werror', *map(str, SOURCES)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert sorted({line.split(':')[0] for line in result.stderr.splitlines() if 'error:' in line}) == []


def text_of(page):
    """A man page's words, without the escapes; of the sample configuration, that of all its files."""
    paths = (ROOT / 'conf').glob('*.yaml') if page == 'conf/*.yaml' else [ROOT / page]
    return re.sub(r'\\f.|\\&|\\', '', ''.join(path.read_text() for path in paths))


def top_keys():
    sample = subprocess.run([str(BUILD / 'usherd'), '-c', str(ROOT / 'conf/usher.yaml'), '-p'], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    return re.findall(r'^([a-z-]+):', sample.stdout, re.M)


@pytest.mark.parametrize('page', ['conf/*.yaml', 'conf/usher.yaml.5'])
def test_every_option_is_documented(page):
    words = text_of(page)
    assert len(top_keys()) > 15
    assert [key for key in top_keys() if key not in words] == []


@pytest.mark.parametrize('page', ['conf/*.yaml', 'conf/usher.yaml.5'])
@pytest.mark.parametrize('key', ['networks', 'devices', 'block', 'allow-names', 'block-names', 'safe-search', 'youtube', 'block-answer', 'block-ttl', 'periods', 'internal',
                                 'rate-limit', 'default', 'log', 'keep', 'on-list-failure', 'strip-ech', 'forward', 'dnssec', 'trust-anchor', 'root-hints',
                                 'allow-loopback', 'serve-stale', 'max-ttl', 'keep-generations', 'max-shrink', 'must-pass', 'must-block', 'sources', 'tcp-clients', 'tcp-per-client',
                                 'tcp-idle', 'in-flight', 'in-flight-per-client', 'cookies', 'cookie-secrets', 'nsid', 'version', 'rebinding-exempt', 'blocked-networks', 'blocked-network-files',
                                 'why-zone', 'lookalikes', 'known-names', 'tunnelling', 'tunnel-exempt', 'block-for', 'entropy', 'watch', 'match', 'max-size', 'ring'])
def test_every_nested_option_is_documented(page, key):
    assert re.search(rf'\b{key}\b', text_of(page))


def commands():
    """The commands of usher's own usage."""
    usage = subprocess.run([str(BUILD / 'usher'), 'help'], capture_output=True, text=True, env=ENVIRONMENT, check=False).stdout
    return re.findall(r'^ +(?:usher )?([a-z]+)\b', usage, re.M)


def test_every_command_is_documented():
    found = commands()
    assert {'lists', 'check', 'log', 'stats', 'status', 'reload', 'flush'} <= set(found)
    words = text_of('tools/usher.8')
    assert [command for command in found if not re.search(rf'\b{command}\b', words)] == []


def test_every_counter_is_documented():
    counters = re.findall(r'^\s+X\([A-Z_]+, "([a-z]+)", "([a-z_]+)"', (ROOT / 'resolver/stats.h').read_text(), re.M)
    assert len(counters) > 15
    words = text_of('resolver/usherd.8') + text_of('tools/usher.8')
    assert [f'{section}.{key}' for section, key in counters if not re.search(rf'\b{key}\b', words)] == []


@pytest.mark.parametrize('page', PAGES)
@pytest.mark.skipif(not shutil.which('groff'), reason='groff is not installed')
def test_man_page_renders_without_a_warning(page):
    result = subprocess.run(['groff', '-mandoc', '-Tutf8', '-ww', '-Kutf8', str(ROOT / page)], capture_output=True, text=True, check=False)
    assert result.returncode == 0 and not result.stderr, result.stderr
    assert len(result.stdout) > 500


def test_tree_holds_no_unfinished_marks():
    marks = re.compile(r'\b(TODO|FIXME|XXX|HACK)\b')
    tracked = subprocess.run(['git', 'ls-files'], cwd=ROOT, capture_output=True, text=True, check=False).stdout.splitlines()
    found = [path for path in tracked if (ROOT / path).is_file() and path != 'tests/e2e/test_docs.py'
             and marks.search((ROOT / path).read_text(errors='replace'))]
    assert found == []
