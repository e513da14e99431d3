"""Issue point 13: the laboratory itself: what the other stories take for granted."""

import subprocess
import time

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest
from zones import DEAD, FLAKY, HOST, INTERNAL, ROOT, SILENT, SLOW, TLD, ZONES



def ask(server, name, type='A', **more):
    return dns.query.udp(dns.message.make_query(name, type, **more), server, timeout=3)


def test_every_zone_is_served_where_it_is_delegated(lab):
    silent = [name for name, zone in lab.zones.items()
              if zone.server in (ROOT, TLD, HOST, INTERNAL) and name != 'lame.com' and not ask(zone.server, name, 'SOA').answer]
    assert not silent


def test_root_delegates_and_does_not_answer(lab):
    reply = ask(ROOT, 'www.plain.com')
    assert not reply.answer and reply.authority and not reply.flags & dns.flags.AA


def test_signed_zones_have_signatures_and_a_way_up_to_the_anchor(lab):
    for name in (name for name, zone in ZONES.items() if zone.signed and not zone.fault):
        assert any(r.rdtype == 46 for r in ask(ZONES[name].server, name, 'DNSKEY', want_dnssec=True).answer), name
        if name != '.':
            assert ask(lab.zones[lab._parent(name)].server, name, 'DS').answer, name
    assert 'DNSKEY' in lab.trust_anchor.read_text()


def test_misbehaving_servers_misbehave(lab):
    assert ask(FLAKY, 'x.flaky.com').answer
    lab.flaky.mode = 'servfail'
    assert ask(FLAKY, 'x.flaky.com').rcode() == dns.rcode.SERVFAIL
    began = time.monotonic()
    assert ask(SLOW, 'd300.slow.com').answer and 0.25 < time.monotonic() - began < 3
    for server in SILENT, DEAD:
        with pytest.raises((dns.exception.Timeout, OSError)):
            dns.query.udp(dns.message.make_query('x.silent.com', 'A'), server, timeout=0.3)


def test_the_internet_is_out_of_reach(lab):
    routes = subprocess.run(['ip', '-o', 'link'], capture_output=True, text=True, check=True).stdout
    assert all('lo' in line or 'DOWN' in line for line in routes.splitlines())
