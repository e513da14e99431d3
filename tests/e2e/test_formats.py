"""Every format's lines, in all the forms that real lists have them: what is taken, and what is counted by which reason."""

import io
import subprocess
import tarfile

import pytest

from test_lists import add, made, source
from usher import usherd

NAMES = {
    # name of the list: (format, octets, names, skipped)
    'ends': ('domains', b'\xef\xbb\xbfFIRST.bom.example\r\nsecond.bom.example.\r\n\r\n# comment\r\nlast.bom.example',
             ['first.bom.example', 'second.bom.example', 'last.bom.example'], {}),
    'letters': ('domains', 'b\u00fccher.idn.example\nSTRASSE.idn.example\n\u0444\u0438\u043b\u044c\u043c.idn.example\n'.encode(),
                ['xn--bcher-kva.idn.example', 'strasse.idn.example', 'xn--h1agd3a5b.idn.example'], {}),
    'odd': ('domains', b'good.odd.example\ncaf\xe9.odd.example\na\0b.odd.example\na\x01b.odd.example\nno name.odd.example\n'
            b'a..b.odd.example\n192.0.2.1\nco.uk\n' + b'x' * 64 + b'.odd.example\n' + b'abcdefg.' * 32 + b'odd.example\n'
            + b'y' * 5000 + b'\nfine.odd.example\nalso.odd.example\n',
            ['good.odd.example', 'fine.odd.example', 'also.odd.example'],
            {'bad_text': 1, 'bad_octets': 2, 'bad_name': 2, 'address': 1, 'public_suffix': 1, 'too_long': 2, 'line_too_long': 1}),
    'urls': ('domains', b'host.urls.example\nslash.urls.example/\nhttp://scheme.urls.example\nsite.urls.example/page\nsite.urls.example?q=1\n',
             ['host.urls.example', 'slash.urls.example', 'scheme.urls.example'], {'path': 2}),
    'hosts': ('hosts', b'127.0.0.1 localhost\n::1 ip6-localhost\n0.0.0.0 a.hosts.example b.hosts.example # c.hosts.example\n'
              b'127.0.0.1\td.hosts.example\n:: e.hosts.example\n192.0.2.1 real.hosts.example\n0.0.0.0 0.0.0.0\n',
              ['a.hosts.example', 'b.hosts.example', 'd.hosts.example', 'e.hosts.example'], {'local': 3, 'rule': 1}),
    'wildcard': ('wildcard', b'*.a.wildcard.example\nb.wildcard.example\nad*.wildcard.example\n',
                 ['a.wildcard.example', 'x.a.wildcard.example', 'b.wildcard.example'], {'bad_name': 1}),
    'adblock': ('adblock', b'! Title\n[Adblock Plus]\n||a.adblock.example^\n||b.adblock.example^$important\n||c.adblock.example^$third-party\n'
                b'||d.adblock.example^$script,domain=x.example\n||e.adblock.example/path\n##.banner\nf.adblock.example##.ad\n/ads?/\n'
                b'||g.adblock.example^\n@@||ok.g.adblock.example^\n',
                ['a.adblock.example', 'b.adblock.example', 'x.g.adblock.example'], {'rule': 5, 'path': 1}),
    'dnsmasq': ('dnsmasq', b'# x\naddress=/a.dnsmasq.example/0.0.0.0\naddress=/b.dnsmasq.example/c.dnsmasq.example/::\nserver=/d.dnsmasq.example/\n'
                b'local=/e.dnsmasq.example/\nserver=/f.dnsmasq.example/192.0.2.1\naddress=/g.dnsmasq.example/192.0.2.1\ndomain-needed\n',
                ['a.dnsmasq.example', 'b.dnsmasq.example', 'c.dnsmasq.example', 'd.dnsmasq.example', 'e.dnsmasq.example'], {'rule': 3}),
    'unbound': ('unbound', b'server:\nlocal-zone: "a.unbound.example." always_nxdomain\nlocal-zone: b.unbound.example refuse\n'
                b'local-data: "c.unbound.example A 0.0.0.0"\nlocal-zone: "d.unbound.example" transparent\nlocal-data: "e.unbound.example A 192.0.2.1"\n',
                ['a.unbound.example', 'x.b.unbound.example', 'c.unbound.example'], {'rule': 2}),
    'rpz': ('rpz', b'$TTL 300\n@ SOA l. r. ( 1 3600\n 600 86400 60 )\n@ NS l.\na.rpz.example CNAME .\n*.b.rpz.example CNAME *.\nc.rpz.example CNAME rpz-drop.\n'
            b'd.rpz.example CNAME wall.example.\ne.rpz.example A 192.0.2.1\nf.rpz.example CNAME rpz-tcp-only.\n32.1.2.0.192.rpz-ip CNAME .\n'
            b'32.1.2.0.192.rpz-client-ip CNAME .\nns.x.rpz-nsdname CNAME .\n32.1.2.0.192.rpz-nsip CNAME .\n'
            b'*.g.rpz.example CNAME .\nok.g.rpz.example CNAME rpz-passthru.\n',
            ['a.rpz.example', 'x.b.rpz.example', 'c.rpz.example', 'x.g.rpz.example'], {'rule': 3, 'trigger': 4}),
}
NOT_BLOCKED = ['site.urls.example', 'real.hosts.example', 'c.adblock.example', 'ok.g.adblock.example', 'f.dnsmasq.example', 'd.unbound.example',
               'x.a.rpz.example', 'b.rpz.example', 'd.rpz.example', 'e.rpz.example', 'ok.g.rpz.example', 'g.rpz.example', 'x.c.unbound.example']


def account(u, name):
    return next(s for s in u.json('lists', 'status')[0]['sources'] if s['name'] == name)


def listed(u, name):
    return 'gambling' in (u.check(name, '--profile', 'pupils')['category'] or '')


@pytest.fixture(scope='module')
def lists_of_all_forms(lab):
    with made({f'{name}.txt': row[1] for name, row in NAMES.items()}, [source(name, form=row[0]) for name, row in NAMES.items()]) as u:
        u.stop()
        said = u.cli('lists', 'update').stderr
        assert 'odd: skipped: ' in said and ' not a domain name' in said and ' control characters' in said
        yield u


@pytest.mark.parametrize('name', NAMES)
def test_each_outcome_is_counted_by_its_reason(lists_of_all_forms, name):
    form, _, names, skipped = NAMES[name]
    a = account(lists_of_all_forms, name)
    assert a['format'] == form
    assert {reason: n for reason, n in a['skipped'].items() if n} == skipped
    assert a['read'] == a['taken'] + a['duplicate'] + a['covered'] + sum(a['skipped'].values())
    assert [n for n in names if not listed(lists_of_all_forms, n)] == []


def test_what_cannot_be_honoured_blocks_nothing(lists_of_all_forms):
    assert [n for n in NOT_BLOCKED if listed(lists_of_all_forms, n)] == []


def test_first_bad_lines_are_told_by_number(lists_of_all_forms):
    samples = account(lists_of_all_forms, 'odd')['samples']
    assert [(s['line'], s['reason']) for s in samples] == [(2, 'bad_text'), (3, 'bad_octets'), (4, 'bad_octets'), (5, 'bad_name'), (6, 'bad_name')]
    shown = lists_of_all_forms.cli('lists', 'status').stdout
    assert 'odd: line 2: not UTF-8' in shown


def test_ut1_tree_with_links_split_files_and_urls(lab):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w:gz') as tar:
        add(tar, 'blacklists', tarfile.DIRTYPE)
        for name, content in (('gambling/domains', b'one.ut1.example\n'), ('gambling/urls', b'two.ut1.example\nthree.ut1.example/page\n'),
                              ('adult/domains.aa', b'four.ut1.example\n'), ('adult/domains.ab', b'five.ut1.example\nfour.ut1.example\n'),
                              ('unmapped/domains', b'six.ut1.example\n')):
            add(tar, f'blacklists/{name}', content=content)
        add(tar, 'blacklists/porn', tarfile.SYMTYPE, link='adult')
    tree = {'name': 'ut1', 'url': 'file://{folder}/ut1.tar.gz', 'format': 'ut1', 'map': {'gambling': 'gambling', 'porn': 'adult'}}
    u = usherd()
    try:
        u.write('ut1.tar.gz', out.getvalue())
        u.configure({'lists': {'sources': [tree]}})
        said = u.cli('lists', 'update').stderr
        a = account(u, 'ut1')
        assert a['categories'] == {'gambling': 2, 'adult': 2} and a['duplicate'] == 1
        assert a['skipped']['path'] == 1 and a['ignored'] == ['unmapped']
        assert '1 skipped' in said
        assert [u.check(f'{n}.ut1.example', '--profile', 'pupils')['category'] for n in ('one', 'two', 'three', 'four', 'five', 'six')] == \
            ['gambling', 'gambling', None, 'adult', 'adult', None]
    finally:
        u._forget()


def exported(u, form):
    return u.cli('lists', 'export', '--format', form).stdout


@pytest.fixture(scope='module')
def export_file(lists_of_all_forms, tmp_path_factory):
    path = tmp_path_factory.mktemp('export') / 'rpz.example.zone'
    path.write_text(exported(lists_of_all_forms, 'rpz'))
    return path


@pytest.mark.parametrize('tool', [['nsd-checkzone'], ['named-checkzone']], ids=lambda tool: tool[0])
def test_exported_zone_is_one_to_other_servers(export_file, tool):
    done = subprocess.run([*tool, 'rpz.example', str(export_file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_exported_zone_loads_in_unbound(export_file, tmp_path):
    conf = tmp_path / 'unbound.conf'
    conf.write_text(f'server:\n  module-config: "respip validator iterator"\n  chroot: ""\n  username: ""\n'
                    f'rpz:\n  name: rpz.example\n  zonefile: "{export_file}"\n')
    done = subprocess.run(['unbound-checkconf', str(conf)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_exported_zone_says_the_same_when_read_again(lists_of_all_forms, export_file):
    with made({'back.zone': export_file.read_text()}, [{'name': 'back', 'url': 'file://{folder}/back.zone', 'format': 'rpz', 'category': 'gambling'}]) as u:
        u.stop()
        u.cli('lists', 'update')
        assert exported(u, 'rpz').splitlines()[2:] == exported(lists_of_all_forms, 'rpz').splitlines()[2:]
        blocked = [n for row in NAMES.values() for n in row[2]]
        assert [n for n in blocked if not listed(u, n)] == [] and [n for n in NOT_BLOCKED if listed(u, n)] == []
