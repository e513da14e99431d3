"""The DSL's morning, the head's, the governors' and a pupil's right to see: reports say what each may read, and nothing more."""

import csv
import io
import os
import re
import stat
import subprocess
import time
import xml.etree.ElementTree as xml
from html.parser import HTMLParser

import pytest

from usher import eventually, profile, usherd

DANGER, CAUTION = 'self-harm-forum.org', 'casino.com'


@pytest.fixture(scope='module')
def u(lab):
    config = {'profiles': [profile('pupils'), profile('staff'), profile('guest')]}
    lists = {'gambling': [CAUTION, 'poker.net'], 'self-harm': [DANGER], 'malware': ['vpn.net']}
    with usherd(config, lists) as u:
        for i in range(1, 8):
            u.ask(f'www.{CAUTION}', client=f'10.20.5.{i}')
        u.ask(DANGER, client='10.20.5.1')
        u.ask('poker.net', client='10.20.5.9')
        u.ask('vpn.net', client='10.30.5.1')
        assert eventually(lambda: len(u.json('log', '--limit', '100')) == 10, 3)
        yield u


def report(u, *words, expect=0):
    return u.cli('report', *words, expect=expect).stdout


class Page(HTMLParser):
    """What a browser would fetch or run, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.fetched, self.text = [], [], ''
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.fetched += [value for name, value in attributes if name in ('src', 'href', 'action', 'data') or name.startswith('on')]

    def handle_data(self, data):
        self.text += data


def test_daily_report_puts_danger_first(u):
    text = report(u, 'daily')
    assert text.index('Needs your attention') < text.index(DANGER) < text.index('Worth a look') < text.index(CAUTION)
    assert '1 event of severity danger' in text and '10.20.5.1' in text
    assert 'vpn.net' not in text and '10.30.5.1' not in text, 'staff matters are not in the report on pupils'


def test_staff_report_is_of_staff_alone(u):
    text = report(u, 'staff')
    assert 'vpn.net' in text and DANGER not in text and CAUTION not in text
    assert 'Blocked lookups by day' in text and 'by hour' not in text, 'two Sundays have the same hours'


def test_a_dsl_who_reads_staff_too_gets_them_in_a_report_of_their_own(u):
    try:
        u.configure({'access': {'dsl': {'profiles': ['pupils', 'guest', 'staff']}}})
        assert 'vpn.net' not in report(u, 'daily') and 'vpn.net' in report(u, 'staff')
    finally:
        del u.config['access']
        u.configure()


def test_page_is_one_file_that_fetches_and_runs_nothing(u):
    file = u.folder / 'daily.html'
    report(u, 'daily', '--format', 'html', '--output', str(file))
    text = file.read_text()
    page = Page(text)
    assert page.fetched == [] and not {'script', 'link', 'img', 'iframe', 'object', 'form', 'base'} & set(page.tags)
    assert 'svg' in page.tags and DANGER in page.text and "default-src 'none'" in text
    assert '<td class="short">10.20.5.1</td>' in text and '<td class="short">pupils</td>' in text, 'an address is not broken in two'
    for picture in re.findall(r'<svg.*?</svg>', text, re.S):
        xml.fromstring(picture)
    assert file.stat().st_mode & 0o777 == 0o640 and [f.name for f in u.folder.glob('daily.html*')] == ['daily.html']


def test_report_that_cannot_be_written_leaves_the_one_before(u):
    folder = u.folder / 'none'
    assert 'No such file or directory' in u.cli('report', 'daily', '--output', str(folder / 'x.html'), expect=1).stderr
    file = u.folder / 'kept.txt'
    file.write_text('before')
    u.cli('report', 'daily', '--since', 'nonsense', '--output', str(file), expect=2)
    assert file.read_text() == 'before'


def test_a_report_to_a_device_or_pipe_does_not_replace_it(u):
    pipe = u.folder / 'pipe'
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    report(u, 'daily', '--format', 'csv', '--output', str(pipe))
    assert stat.S_ISFIFO(pipe.stat().st_mode) and os.read(reader, 65536)
    os.close(reader)


def test_folder_gets_a_file_named_by_what_it_is(u):
    folder = u.folder / 'reports'
    folder.mkdir()
    report(u, 'weekly', '--format', 'html', '--output', f'{folder}/')
    [file] = folder.iterdir()
    assert re.fullmatch(r'weekly-\d{4}-\d\d-\d\d\.html', file.name)


def test_report_that_root_makes_in_the_reports_folder_can_be_forgotten_by_usherd(u):
    folder = u.folder / 'reports'
    folder.mkdir(exist_ok=True)
    os.chown(folder, 65534, 65534)
    report(u, 'daily', '--format', 'html', '--output', f'{folder}/')
    [file] = folder.glob('daily-*')
    assert (file.stat().st_uid, file.stat().st_gid, file.stat().st_mode & 0o777) == (65534, 65534, 0o640)
    elsewhere = u.folder / 'elsewhere'
    elsewhere.mkdir()
    os.chown(elsewhere, 65534, 65534)
    report(u, 'daily', '--output', f'{elsewhere}/')
    assert [f.stat().st_uid for f in elsewhere.iterdir()] == [0], 'what root makes elsewhere stays root\'s'


def test_weekly_report_names_devices_and_the_week_before(u):
    text = report(u, 'weekly')
    assert 'Beside the week before' in text and re.search(r'10\.20\.5\.1 +1 +1', text), text


def test_governors_see_no_names_and_no_small_groups(u):
    for words in ['term'], ['term', '--format', 'html'], ['term', '--format', 'csv']:
        text = report(u, *words)
        assert not re.search(r'10\.(20|30)\.', text) and 'casino' not in text and DANGER not in text and 'vpn.net' not in text
    rows = {row['category']: row for row in csv.DictReader(io.StringIO(report(u, 'term', '--format', 'csv')))}
    gambling, harm = rows['Gambling'], next(row for title, row in rows.items() if 'harm' in title.lower())
    assert (gambling['devices'], gambling['lookups']) == ('8', '8')
    assert (harm['devices'], harm['lookups']) == ('fewer than 5', 'not shown')
    text = report(u, 'term')
    assert 'The ledger is whole' in text and 'look at what was blocked for whom' in text and 'log.read' not in text
    assert len(re.findall('week of', text)) == 13 and 'too few to show' not in text


def numbers(text):
    """The rows of the report's first tables: (what, lookups, devices), and the sum of the weeks."""
    row = re.compile(r'^(.+?)  +(?:\w+  +){0,2}(\d+|not shown)  +(\d+|fewer than 5)$', re.M)
    return {m[1].strip(): (m[2], m[3]) for m in row.finditer(text)}, sum(int(m) for m in re.findall(r'week of .*# (\d+)$', text, re.M))


def test_small_groups_cannot_be_worked_out_from_what_is_shown(lab):
    """Two of staff among seven pupils: categories, less pupils, would have been the two."""
    config = {'profiles': [profile('pupils'), profile('staff')]}
    with usherd(config, {'malware': ['vpn.net'], 'self-harm': [DANGER]}) as u:
        u.ask(DANGER, client='10.20.5.8')
        u.log(count=1)
        assert report(u, 'term').count('too few to show') == 1, 'a week of few is not a week of none'
        for i in range(1, 8):
            u.ask('vpn.net', client=f'10.20.5.{i}')
        for client in '10.30.5.1', '10.30.5.2':
            u.ask('vpn.net', client=client)
        assert eventually(lambda: len(u.json('log')) == 10, 3)
        rows, weeks = numbers(report(u, 'term'))
        assert rows['staff'] == ('not shown', 'fewer than 5') and rows['Malware'] == rows['pupils'] == ('7', '7') and weeks == 7, rows


def test_one_device_of_many_addresses_is_no_group(lab):
    """Laptops take a new IPv6 address every day, and by DHCP another IPv4 address: seven addresses of one child are not seven children."""
    config = {'profiles': [profile('pupils')], 'leases': [{'file': '{folder}/kea.csv'}]}
    now = int(time.time())
    for i in range(1, 8):
        subprocess.run(['ip', 'addr', 'replace', f'fd00:20::770{i}/128', 'dev', 'lo', 'nodad'], check=True)
    with usherd(config, {'malware': ['vpn.net'], 'self-harm': [DANGER]}) as u:
        u.write('kea.csv', 'address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n' +
                ''.join(f'10.20.5.{i},a8:bb:cc:00:00:01,,7200,{now + 3600},1,0,0,laptop,0,\n' for i in range(1, 8)))
        assert eventually(lambda: list((u.folder / 'state/devices').iterdir()), 3)
        for i in range(1, 8):
            u.ask('vpn.net', client=f'fd00:20::770{i}')
            u.ask(DANGER, client=f'10.20.5.{i}')
        assert eventually(lambda: len(u.json('log')) == 14, 3)
        rows, weeks = numbers(report(u, 'term'))
        assert set(rows.values()) == {('not shown', 'fewer than 5')} and weeks == 0, rows
        assert [e['count'] for e in u.json('episodes', '--name', DANGER)] == [7], 'one device did it'
        assert '1 event of severity danger' in report(u, 'daily')


def test_subject_access_by_a_name_that_two_devices_have_is_refused(lab):
    now = int(time.time())
    with usherd({'profiles': [profile('pupils')], 'leases': [{'file': '{folder}/kea.csv'}]}, {'self-harm': [DANGER]}) as u:
        u.write('kea.csv', 'address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n' +
                ''.join(f'10.20.5.{i},aa:bb:cc:00:00:0{i},,7200,{now + 3600},1,0,0,iPad,0,\n' for i in (1, 2)))
        assert eventually(lambda: list((u.folder / 'state/devices').iterdir()), 3)
        for i in 1, 2:
            u.ask(DANGER, client=f'10.20.5.{i}')
        assert eventually(lambda: len(u.json('log')) == 2, 3)
        said = u.cli('report', 'subject-access', '--device', 'iPad', expect=1)
        assert 'of 2 devices' in said.stderr and 'iPad (aa:bb:cc:00:00:02)' in said.stderr and DANGER not in said.stdout
        rows = list(csv.DictReader(io.StringIO(report(u, 'subject-access', '--device', 'AA-BB-CC-00-00-02', '--format', 'csv'))))
        assert [row['client'] for row in rows] == ['10.20.5.2']
        assert [c['device'] for c in u.json('log', '--count-by', 'device')] == [f'iPad (aa:bb:cc:00:00:0{i})' for i in (1, 2)]
        assert 'iPad (randomised)' in u.cli('log').stdout
        assert {(e['identity'], e['randomised'], e['confidence']) for e in u.json('episodes')} == {(f'aa:bb:cc:00:00:0{i}', True, 'lease') for i in (1, 2)}


def test_subject_access_is_all_of_one_and_nothing_of_others(u):
    rows = list(csv.DictReader(io.StringIO(report(u, 'subject-access', '--client', '10.20.5.1', '--format', 'csv'))))
    assert sorted(row['name'] for row in rows) == [DANGER, f'www.{CAUTION}'] and {row['client'] for row in rows} == {'10.20.5.1'}
    text = report(u, 'subject-access', '--client', '10.20.5.1')
    assert '10.20.5.2' not in text and 'poker' not in text and '90 days' in text
    for words, sentence in [([], 'needs --client'), (['--client', '10.20.0.0/16'], 'more than one person')]:
        assert sentence in u.cli('report', 'subject-access', *words, expect=2).stderr


def test_rows_for_a_safeguarding_system_and_for_a_spreadsheet(u):
    rows = list(csv.DictReader(io.StringIO(report(u, 'daily', '--format', 'cpoms'))))
    assert set(rows[0]) == {'Date', 'Time', 'Student', 'Category', 'Level', 'Incident', 'Source'}
    assert any(row['Level'] == 'danger' and DANGER in row['Incident'] for row in rows)
    assert all(re.fullmatch(r'\d\d/\d\d/\d{4}', row['Date']) and row['Student'] == '' for row in rows)
    rows = list(csv.DictReader(io.StringIO(report(u, 'daily', '--format', 'csv'))))
    assert sum(int(row['count']) for row in rows) == 9 and {row['profile'] for row in rows} == {'pupils'}


def test_counters_that_may_not_be_read_are_not_silently_well(u):
    sock, away = u.folder / 'run/stats.sock', u.folder / 'run/away.sock'
    sock.rename(away)
    try:
        said = u.cli('report', 'daily')
    finally:
        away.rename(sock)
    assert 'counters could not be read' in said.stdout and 'No event was lost' not in said.stdout and said.stderr == ''
    assert 'No event was lost' in report(u, 'daily')


def test_report_is_recorded_in_the_ledger(u):
    before = len(u.json('ledger', '--reads'))
    report(u, 'daily')
    assert len(u.json('ledger', '--reads')) > before


def test_a_name_that_would_be_markup_or_a_formula_is_neither(lab):
    lists = {'gambling': ['casino.com']}
    with usherd({'profiles': [profile('pupils')]}, lists) as u:
        u.ask(r'\<script\>alert\(1\)\</script\>.casino.com')
        u.ask('=cmd.casino.com')
        assert eventually(lambda: len(u.json('log')) == 2, 3)
        page = report(u, 'daily', '--format', 'html')
        assert '<script' not in page and '&lt;script' in page
        cells = [cell for row in csv.reader(io.StringIO(report(u, 'subject-access', '--client', '10.20.0.5', '--format', 'csv'))) for cell in row]
        assert not any(cell.startswith('=') for cell in cells)


def test_names_of_a_thousand_characters_stay_in_their_cell(lab):
    """Once they ran over the end of the buffer: each octet that is no letter is four characters of text."""
    with usherd({'profiles': [profile('pupils')]}, {'gambling': ['casino.com']}) as u:
        for i in range(8):
            u.ask('.'.join([rf'{i}' + r'\001' * 60, r'\002' * 62, r'\003' * 62, r'\004' * 24]) + '.casino.com')
        assert eventually(lambda: len(u.json('log')) == 8, 3)
        [cell] = [row['names'] for row in csv.DictReader(io.StringIO(report(u, 'daily', '--format', 'csv')))]
        assert cell.endswith('.casino.com and 6 more names') and cell.count('casino.com') == 2
        assert 'and 6 more names' in report(u, 'daily', '--format', 'html')


def test_unknown_report_format_and_time_are_named(u):
    for words, sentence in [(['monthly'], 'there is no report monthly'), ([], 'expected one of'), (['daily', '--format', 'pdf'], "found 'pdf'"),
                            (['daily', '--since', 'soon'], "found 'soon'"), (['daily', '--client', '10.20.5.1'], 'subject-access'),
                            (['daily', '--day', 'today', '--since', '1h'], 'excludes')]:
        assert sentence in u.cli('report', *words, expect=2).stderr
