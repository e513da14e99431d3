"""Issue 5 point 10: the public EDNS compliance checks as a black box, and what the RFCs say of every odd query.

The first table is the list of ISC's EDNS compliance tester, in its order, asked as a client asks its resolver (RD=1).
"""

import struct

import dns.flags
import dns.message
import dns.rdatatype
import pytest

from usher import PUPIL, STRANGER, usherd

NOERROR, FORMERR, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 3, 4, 5, 16
SECRET = '00112233445566778899aabbccddeeff'
DO, MBZ = 0x8000, 0x0040
NSID, ECS, EXPIRE, COOKIE, KEEPALIVE, PADDING, UNKNOWN = 3, 8, 9, 10, 11, 12, 100
CLIENT_COOKIE = b'\1\2\3\4\5\6\7\x08'
SUBNET = b'\0\1\x18\0\x0a\x14\0'


@pytest.fixture(scope='module')
def u(lab):
    with usherd({'workers': 1, 'dns': {'nsid': 'school-1', 'cookie-secrets': [SECRET]}}, {'gambling': ['casino.com']}) as u:
        yield u


def option(code, data=b''):
    return struct.pack('!HH', code, len(data)) + data


def opt(size=4096, ext=0, version=0, flags=0, options=b''):
    return b'\0' + struct.pack('!HHBBHH', 41, size, ext, version, flags, len(options)) + options


def name(text):
    return b''.join(bytes([len(label)]) + label.encode() for label in text.split('.')) + b'\0'


def query(owner='signed.com', type='SOA', rdclass=1, flags=0x0120, *additional, qd=1, rest=b''):
    number = type if isinstance(type, int) else int(dns.rdatatype.from_text(type))
    question = (name(owner) + struct.pack('!HH', number, rdclass)) * qd
    return struct.pack('!6H', 0x1234, flags, qd, 0, 0, len(additional)) + question + b''.join(additional) + rest


class Reply:
    """The reply's parts as octets say, for what dnspython makes nicer than it is."""

    def __init__(self, wire, tcp=False):
        assert wire is not None, 'silence'
        self.wire = wire
        self.number, self.flags, self.qd, self.an, self.ns, self.ar = struct.unpack('!6H', wire[:12])
        message = dns.message.from_wire(wire[:2] + bytes([wire[2] & 0x87]) + wire[3:])     # dnspython does not know every opcode
        self.message = message
        self.rcode = int(message.rcode())
        self.has_opt = message.edns >= 0
        self.version = message.edns
        self.edns_flags = message.ednsflags & 0xffff
        self.size = message.payload
        self.options = {int(o.otype): (o.to_wire() if hasattr(o, 'to_wire') else o.data) for o in message.options}
        self.types = [dns.rdatatype.to_text(rrset.rdtype) for rrset in message.answer]
        self.tc = bool(message.flags & dns.flags.TC)
        self.ad = bool(message.flags & dns.flags.AD)


def ask(u, wire, client=PUPIL):
    return Reply(u.ask_raw(wire, client, timeout=5))


def ask_tcp(u, wire):
    with u.connect() as s:
        s.sendall(struct.pack('!H', len(wire)) + wire)
        data = b''
        while len(data) < 2 or len(data) < 2 + struct.unpack('!H', data[:2])[0]:
            piece = s.recv(65535)
            assert piece, 'closed'
            data += piece
        return Reply(data[2:])


# What is asked, and what must be true of the reply: rcode, then whatever more.
CHECKS = {
    'plain DNS': (query(), lambda r: r.rcode == NOERROR and r.types == ['SOA'] and not r.has_opt),
    'plain EDNS': (query('signed.com', 'SOA', 1, 0x0120, opt()),
                   lambda r: r.rcode == NOERROR and r.types == ['SOA'] and r.has_opt and r.version == 0 and not r.options),
    'EDNS unknown version': (query('signed.com', 'SOA', 1, 0x0120, opt(version=100)),
                             lambda r: r.rcode == BADVERS and r.has_opt and r.version == 0 and not r.an),
    'EDNS unknown option': (query('signed.com', 'SOA', 1, 0x0120, opt(options=option(UNKNOWN))),
                            lambda r: r.rcode == NOERROR and r.types == ['SOA'] and r.version == 0 and UNKNOWN not in r.options),
    'EDNS unknown flag': (query('signed.com', 'SOA', 1, 0x0120, opt(flags=MBZ)),
                          lambda r: r.rcode == NOERROR and r.types == ['SOA'] and r.version == 0 and r.edns_flags == 0),
    'EDNS DO': (query('signed.com', 'SOA', 1, 0x0120, opt(flags=DO)),
                lambda r: r.rcode == NOERROR and r.types == ['SOA', 'RRSIG'] and r.edns_flags == DO),
    'EDNS DO and truncation at 512': (query('signed.com', 'DNSKEY', 1, 0x0120, opt(size=512, flags=DO)),
                                      lambda r: r.rcode == NOERROR and r.edns_flags == DO and len(r.wire) <= 512),
    'EDNS unknown version with unknown option': (query('signed.com', 'SOA', 1, 0x0120, opt(version=100, options=option(UNKNOWN))),
                                                 lambda r: r.rcode == BADVERS and r.version == 0 and UNKNOWN not in r.options),
    'EDNS unknown version with unknown flag': (query('signed.com', 'SOA', 1, 0x0120, opt(version=100, flags=MBZ)),
                                               lambda r: r.rcode == BADVERS and r.version == 0 and r.edns_flags == 0),
    'EDNS NSID': (query('signed.com', 'SOA', 1, 0x0120, opt(options=option(NSID))),
                  lambda r: r.rcode == NOERROR and r.types == ['SOA'] and r.options == {NSID: b'school-1'}),
    'DNS COOKIE': (query('signed.com', 'SOA', 1, 0x0120, opt(options=option(COOKIE, CLIENT_COOKIE))),
                   lambda r: r.rcode == NOERROR and r.types == ['SOA'] and r.options[COOKIE][:8] == CLIENT_COOKIE
                   and len(r.options[COOKIE]) == 24),
    'EDNS EXPIRE': (query('signed.com', 'SOA', 1, 0x0120, opt(options=option(EXPIRE))),
                    lambda r: r.rcode == NOERROR and r.types == ['SOA'] and not r.options),
    'EDNS client subnet': (query('signed.com', 'SOA', 1, 0x0120, opt(options=option(ECS, SUBNET))),
                           lambda r: r.rcode == NOERROR and r.types == ['SOA'] and not r.options),
    'EDNS with a list of options': (query('signed.com', 'SOA', 1, 0x0120, opt(options=option(NSID) + option(EXPIRE) + option(ECS, SUBNET)
                                                                              + option(COOKIE, CLIENT_COOKIE))),
                                    lambda r: r.rcode == NOERROR and r.types == ['SOA'] and set(r.options) == {NSID, COOKIE}),
    'EDNS keepalive over UDP is not answered': (query('signed.com', 'SOA', 1, 0x0120, opt(options=option(KEEPALIVE))),
                                                lambda r: r.rcode == NOERROR and KEEPALIVE not in r.options),
    'EDNS padding is not answered on a line that is not encrypted': (
        query('signed.com', 'SOA', 1, 0x0120, opt(options=option(PADDING, b'\0' * 64))),
        lambda r: r.rcode == NOERROR and r.types == ['SOA'] and PADDING not in r.options),

    # ---- the rest of RFC 1035, 6891, 7873, 8482 and their like -----------------------------------------------------------
    'EDNS version 1': (query('signed.com', 'SOA', 1, 0x0120, opt(version=1)), lambda r: r.rcode == BADVERS and r.version == 0),
    'our size is told, and is ours': (query('signed.com', 'SOA', 1, 0x0120, opt(size=65535)), lambda r: r.size == 1232),
    'a size of 0 counts as 512': (query('signed.com', 'SOA', 1, 0x0120, opt(size=0)), lambda r: r.types == ['SOA'] and not r.tc),
    'a long answer without EDNS is truncated at 512': (query('medium.big.com', 'TXT'), lambda r: r.tc and len(r.wire) <= 512 and not r.an),
    'a long answer at 512 with EDNS is truncated': (query('medium.big.com', 'TXT', 1, 0x0100, opt(size=512)),
                                                    lambda r: r.tc and len(r.wire) <= 512 and r.has_opt),
    'an extended rcode in a query means nothing': (query('signed.com', 'SOA', 1, 0x0120, opt(ext=5)), lambda r: r.rcode == NOERROR),
    'two OPT records': (query('signed.com', 'SOA', 1, 0x0120, opt(), opt()), lambda r: r.rcode == FORMERR),
    'trailing octets': (query('signed.com', 'SOA', 1, 0x0120, opt(), rest=b'junk'), lambda r: r.rcode == FORMERR),
    'two questions': (query(qd=2), lambda r: r.rcode == FORMERR),
    'no question': (query(qd=0), lambda r: r.rcode == FORMERR and r.qd == 0),
    'no question with a cookie': (query('.', 0, 1, 0x0120, opt(options=option(COOKIE, CLIENT_COOKIE)), qd=0),
                                  lambda r: r.rcode == NOERROR and r.qd == 0 and len(r.options[COOKIE]) == 24),
    'the Z bit means nothing and is not given back': (query(flags=0x0160), lambda r: r.rcode == NOERROR and not r.flags & 0x0040),
    'AA, TC, RA and an rcode in a query mean nothing': (query(flags=0x0783 | 0x20), lambda r: r.rcode == NOERROR and not r.flags & 0x0600),
    'AD asks for AD': (query(flags=0x0120), lambda r: r.ad),
    'without AD and DO there is none': (query(flags=0x0100), lambda r: not r.ad),
    'CD is given back': (query(flags=0x0110), lambda r: r.rcode == NOERROR and r.flags & 0x0010),
    'RD=0': (query('unseen.many.com', 'A', 1, 0x0000, opt()), lambda r: r.rcode == REFUSED and r.options[15][:2] == b'\0\x14'),
    'ANY is one made-up record': (query(type='ANY'), lambda r: r.rcode == NOERROR and r.types == ['HINFO']),
    'AXFR': (query('signed.com', 'AXFR', 1, 0x0120, opt()), lambda r: r.rcode == REFUSED and r.options[15][:2] == b'\0\x15'),
    'IXFR': (query(type='IXFR'), lambda r: r.rcode == REFUSED),
    'type 0': (query(type=0), lambda r: r.rcode == FORMERR),
    'type OPT': (query(type=41), lambda r: r.rcode == FORMERR),
    'type TKEY': (query(type=249), lambda r: r.rcode == NOTIMP),
    'type TSIG': (query(type=250), lambda r: r.rcode == NOTIMP),
    'type MAILB': (query(type=253), lambda r: r.rcode == NOTIMP),
    'type MAILA': (query(type=254), lambda r: r.rcode == NOTIMP),
    'type 128, a meta type nobody knows': (query('signed.com', 128, 1, 0x0120, opt()), lambda r: r.rcode == NOTIMP and r.options[15][:2] == b'\0\x15'),
    'type 65280, for private use': (query('unknown.plain.com', 65280), lambda r: r.rcode == NOERROR and r.types == ['TYPE65280']),
    'class CHAOS': (query('signed.com', 'TXT', 3), lambda r: r.rcode == REFUSED),
    'class HESIOD': (query(rdclass=4), lambda r: r.rcode == REFUSED),
    'class NONE': (query(rdclass=254), lambda r: r.rcode == REFUSED),
    'class ANY': (query(rdclass=255), lambda r: r.rcode == REFUSED),
    'opcode IQUERY': (query(flags=0x0900), lambda r: r.rcode == NOTIMP),
    'opcode STATUS': (query(flags=0x1000), lambda r: r.rcode == NOTIMP and r.flags >> 11 & 15 == 2),
    'opcode NOTIFY': (query(flags=0x2400), lambda r: r.rcode == NOTIMP and r.flags >> 11 & 15 == 4),
    'opcode UPDATE': (query(flags=0x2800), lambda r: r.rcode == NOTIMP),
    'opcode 15': (query('signed.com', 'SOA', 1, 0x7800, opt()), lambda r: r.rcode == NOTIMP and r.has_opt and r.flags >> 11 & 15 == 15),
    'a blocked name is blocked for a meta type too': (query('casino.com', 249), lambda r: r.rcode == NXDOMAIN),
}


@pytest.mark.parametrize('what', CHECKS)
def test_compliance(u, what):
    wire, is_right = CHECKS[what]
    r = ask(u, wire)
    assert r.number == 0x1234 and r.flags & 0x8000
    assert is_right(r), r.message
    if r.qd and r.rcode != FORMERR:
        assert r.wire[12:12 + len(name('signed.com'))] == wire[12:12 + len(name('signed.com'))], 'the question comes back as it was'
    if r.rcode == BADVERS or r.has_opt:
        assert r.version == 0


def test_edns_over_tcp(u):
    r = ask_tcp(u, query('signed.com', 'DNSKEY', 1, 0x0120, opt(size=512, flags=DO)))
    assert r.rcode == NOERROR and 'DNSKEY' in r.types and not r.tc and r.edns_flags == DO
    r = ask_tcp(u, query('signed.com', 'SOA', 1, 0x0120, opt(options=option(KEEPALIVE))))
    assert len(r.options[KEEPALIVE]) == 2


def test_blocked_answer_has_its_edns_too(u):
    r = ask(u, query('casino.com', 'A', 1, 0x0100, opt(flags=DO, options=option(NSID) + option(COOKIE, CLIENT_COOKIE))))
    assert r.rcode == NXDOMAIN and set(r.options) == {NSID, COOKIE, 15} and r.edns_flags == DO
    assert not ask(u, query('casino.com', 'A')).has_opt


def test_server_cookie_is_good_at_another_server_with_the_same_secret(lab, u):
    cookie = ask(u, query('signed.com', 'SOA', 1, 0x0100, opt(options=option(COOKIE, CLIENT_COOKIE)))).options[COOKIE]
    flood = {'workers': 1, 'dns': {'cookie-secrets': ['ff' * 16, SECRET]}, 'profiles': [{'name': 'pupils', 'networks': ['10.20.0.0/16'], 'rate-limit': 1}]}
    with usherd(flood, {'gambling': ['casino.com']}) as pair:
        with pair.datagrams() as s:
            s.settimeout(1)
            proven = query('casino.com', 'A', 1, 0x0100, opt(options=option(COOKIE, cookie)))
            for _ in range(8):
                s.send(proven)
            replies = [Reply(s.recv(4096)) for _ in range(8)]
        assert sum(r.tc for r in replies) >= 4, 'over the rate, an address that is proven is told to come by TCP'
        assert replies[0].options[COOKIE][:8] == CLIENT_COOKIE and replies[0].options[COOKIE] != cookie, 'made with the first secret'
        forged = query('casino.com', 'A', 1, 0x0100, opt(options=option(COOKIE, cookie[:-1] + bytes([cookie[-1] ^ 1]))))
        assert pair.ask_raw(forged, timeout=0.2) is None, 'one that is not proven gets silence for an even id'


def test_stranger_is_refused_with_a_reason_whatever_it_asks(u):
    r = ask(u, query('signed.com', 'SOA', 1, 0x0100, opt(options=option(COOKIE, CLIENT_COOKIE))), STRANGER)
    assert r.rcode == REFUSED and r.options[15][:2] == b'\0\x12' and not r.an
