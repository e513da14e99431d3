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
    ('mapped', 'AAAA'),
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
