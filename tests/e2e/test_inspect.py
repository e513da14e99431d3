"""What an answer brings is judged too: cloaked names, private addresses under public names, encrypted client hello."""

import pytest

from usher import GUEST, PUPIL, STAFF, profile, usherd

KEEPS_ECH = '10.77.1.5'


@pytest.fixture(scope='module')
def u(lab):
    config = {
        'internal-zones': [{'zone': 'ad.school.example', 'servers': ['127.0.53.10']}],
        'dns': {'rebinding-exempt': ['dnsbl.org']},
        'profiles': [profile('pupils'), profile('staff'), profile('guest'),
                     profile('keeps-ech', networks=['10.77.1.0/24'], block=[], strip_ech=False)],
    }
    with usherd(config, {'gambling': ['casino.com'], 'games': ['games.org'], 'illegal': ['illegal.net']}) as u:
        yield u


# ---- cloaking ----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('name, type', [
    ('shop.cloak.com', 'A'), ('shop.cloak.com', 'AAAA'), ('shop.cloak.com', 'HTTPS'), ('hop1.cloak.com', 'A'), ('x.old.cloak.com', 'A'),
    ('svc.cloak.com', 'HTTPS'), ('service.cloak.com', 'HTTPS'), ('svcb.cloak.com', 'SVCB'),
])
def test_name_that_leads_to_a_listed_one_is_blocked(u, name, type):
    for _ in 'fresh', 'cached':
        a = u.ask(name, type)
        assert a.rcode == 'NXDOMAIN' and a.ede == 15 and 'gambling' in a.ede_text.lower() and not a.message.answer
    assert u.ask(name, type, STAFF).rcode == 'NOERROR', 'staff may see gambling'


def test_hop_in_a_category_that_only_pupils_may_not_see(u):
    assert u.ask('games.cloak.com').ede == 15
    assert u.ask('games.cloak.com', client=GUEST).addresses == ['192.0.2.1']


def test_hop_into_sealed_is_censored_for_everybody(u):
    for client in PUPIL, STAFF, GUEST:
        assert u.ask('sealed.cloak.com', client=client).ede == 16


def test_clean_alias_and_a_service_at_its_own_name_resolve(u):
    assert u.ask('clean.cloak.com').addresses == ['192.0.2.1']
    assert u.ask('self.cloak.com', 'HTTPS').types == ['HTTPS']


def test_log_holds_the_asked_and_the_matched_name(u):
    u.ask('hop1.cloak.com', client='10.20.3.3')
    [record] = u.log('--client', '10.20.3.3', count=1)
    assert (record['name'], record['matched']) == ('hop1.cloak.com', 'www.casino.com')
    assert (record['rule'], record['category']) == ('casino.com', 'gambling')


def test_internal_alias_to_a_listed_name_resolves(u):
    assert u.ask('cloaked.ad.school.example').addresses == ['192.0.2.1']


# ---- rebinding ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('name, type', [
    ('loop', 'A'), ('ten', 'A'), ('oneseven', 'A'), ('oneninetwo', 'A'), ('link', 'A'), ('six', 'AAAA'), ('ula', 'AAAA'), ('linksix', 'AAAA'),
    ('mapped', 'AAAA'), ('zero', 'A'), ('zerosix', 'AAAA'),
])
def test_private_address_under_a_public_name_is_removed(u, name, type):
    for client in PUPIL, GUEST, STAFF:
        a = u.ask(f'{name}.rebind.com', type, client)
        assert a.rcode == 'NOERROR' and not a.addresses


def test_only_the_private_addresses_are_removed(u):
    assert u.ask('mixed.rebind.com').addresses == ['192.0.2.9']
    assert u.ask('mixedsix.rebind.com', 'AAAA').addresses == ['2001:db8::9']
    assert u.ask('public172.rebind.com').addresses == ['172.32.0.1']
    assert u.ask('shared.rebind.com').addresses == ['100.64.0.1']
    assert '10.1.2.3' not in u.ask('chain.rebind.com').addresses


def test_private_hints_are_removed(u):
    text = str(u.ask('hint.rebind.com', 'HTTPS').message)
    assert '192.0.2.7' in text and '2001:db8::7' in text
    assert '10.0.0.1' not in text and 'fd00::7' not in text
    a = u.ask('onlyhint.rebind.com', 'HTTPS')
    assert '10.0.0.1' not in str(a.message)


def test_altered_answer_is_not_authentic_any_more(u):
    a = u.ask('rebind.signed.com', do=True)
    assert a.addresses == ['192.0.2.33'] and not a.ad and 'RRSIG' not in a.types


def test_internal_zones_and_exempt_names_keep_their_private_addresses(u):
    assert u.ask('files.ad.school.example').addresses == ['10.0.0.20']
    assert u.ask('2.0.0.127.dnsbl.org').addresses == ['127.0.0.2']
    assert u.ask('zero.dnsbl.org').addresses == ['0.0.0.0']


# ---- encrypted client hello ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('name, type', [('www.https.com', 'HTTPS'), ('svcb.https.com', 'SVCB')])
def test_ech_is_removed_and_the_rest_stays(u, name, type):
    for _ in 'fresh', 'cached':
        a = u.ask(name, type)
        assert a.types == [type] and 'ech' not in str(a.message) and 'alpn' in str(a.message)
    assert 'ech=' in str(u.ask(name, type, KEEPS_ECH).message)
    assert 'ech' not in str(u.ask(name, type).message)


def test_hints_stay_when_ech_goes(u):
    text = str(u.ask('www.https.com', 'HTTPS').message)
    assert '192.0.2.80' in text and '2001:db8::80' in text


def test_signed_record_without_its_ech_loses_signature_and_ad(u):
    a = u.ask('ech.signed.com', 'HTTPS', do=True)
    assert 'ech' not in str(a.message).replace('ech.signed.com', '') and not a.ad and 'RRSIG' not in a.types
    a = u.ask('ech.signed.com', 'HTTPS', KEEPS_ECH, do=True)
    assert a.ad and 'RRSIG' in a.types


def test_record_without_ech_is_left_alone(u):
    assert 'alpn="h2"' in str(u.ask('noech.https.com', 'HTTPS').message)


# ---- networks that no answer may point to ------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def walled(lab):
    config = {
        'dns': {'blocked-networks': {
            'malware': ['192.0.2.20', '2001:db8::80/128', '192.0.2.9/32'] + [f'100.{i}.{k}.0/24' for i in range(64, 96) for k in range(0, 256, 4)],
            'games': ['192.0.2.0/30'], 'illegal': ['172.32.0.0/16']}},
        'internal-zones': [{'zone': 'ad.school.example', 'servers': ['127.0.53.10']}],
        'protected-names': ['plain.com'],
        'profiles': [profile('pupils', allow_names=['www.https.com'], periods={'always': {'unblock': ['games']}}),
                     profile('staff', periods={'always': {'block': ['games']}}), profile('guest'),
                     profile('clean', networks=['10.77.1.0/24'], block=[])],
        'periods': {'always': {'from': '00:00', 'to': '24:00'}},
    }
    with usherd(config, {'gambling': ['casino.com']}) as u:
        yield u


def test_answer_in_a_blocked_network_is_blocked_and_logged(walled):
    for _ in 'fresh', 'cached':
        a = walled.ask('x.many.com', client='10.20.7.1')
        assert (a.rcode, a.ede) == ('NXDOMAIN', 15) and 'malware' in a.ede_text and not a.message.answer
    records = walled.log('--client', '10.20.7.1', count=2)
    assert {(r['name'], r['category'], r['rule'], r['source'], r['action']) for r in records} == {
        ('x.many.com', 'malware', '192.0.2.20/32', 'blocked-networks', 'block')}
    assert walled.ask('x.many.com', client=KEEPS_ECH).addresses == ['192.0.2.20'], 'for profiles that block the category alone'


def test_one_blocked_address_among_others_is_enough(walled):
    assert walled.ask('mixed.rebind.com').blocked
    assert walled.ask('www.https.com', 'HTTPS', GUEST).blocked, 'a hint is an address'
    assert walled.ask('shared.rebind.com', client=GUEST).blocked


def test_blocked_networks_follow_the_timetable(walled):
    assert walled.ask('clean.cloak.com').addresses == ['192.0.2.1']
    a = walled.ask('clean.cloak.com', client=STAFF)
    assert a.blocked and 'games' in a.ede_text


def test_networks_come_from_files_too(lab, tmp_path):
    drop = tmp_path / 'drop.txt'
    drop.write_text('; Spamhaus DROP\n203.0.113.0/24 ; SBL1\n\n192.0.2.16/29 # here\n2001:db8:dead::/48\n')
    with usherd({'dns': {'blocked-network-files': {'malware': [str(drop)]}}}, {'gambling': ['casino.com']}) as u:
        assert u.ask('x.many.com').blocked
        [record] = u.log('--name', 'x.many.com', count=1)
        assert (record['rule'], record['category']) == ('192.0.2.16/29', 'malware')
        drop.write_text('203.0.113.0/24\n')
        u.reload()
        assert u.ask('x.many.com').addresses == ['192.0.2.20']
        drop.write_text('203.0.113.0/24\nnonsense\n')
        said = u.cli('reload', expect=1)
        assert 'line 2' in said.stderr and 'drop.txt' in said.stderr
        drop.unlink()
        assert 'No such file' in u.cli('reload', expect=1).stderr
        assert u.ask('x.many.com').addresses == ['192.0.2.20']


def test_sealed_network_is_censored_for_everybody(walled):
    assert walled.ask('public172.rebind.com', client=KEEPS_ECH).ede == 16


def test_protected_internal_and_allowed_names_may_point_there(walled):
    assert walled.ask('www.plain.com', client=STAFF).addresses == ['192.0.2.1']
    assert walled.ask('cloaked.ad.school.example', client=STAFF).addresses == ['192.0.2.1']
    assert walled.ask('www.https.com', 'HTTPS').types == ['HTTPS']
