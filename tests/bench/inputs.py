"""What is measured with: the lists, the names that are asked, and the zone that answers those on no list.

All of it is made from a fixed seed, so the same bytes come out on every machine. Real lists, where a folder of them lies beside
the repository, replace the generated ones; everything else stays the same.
"""

import bisect
import random
from itertools import accumulate

SEED = 20260101
LISTED = 370_000
BLOCKED, ALLOWED, MIX = 100_000, 20_000, 200_000
BLOCKED_SHARE = 0.15            # of the mix: what a school's evening looks like is not known; this is a guess, and written down
HOSTS = 'www api cdn img mail static login m assets docs'.split()
CATEGORIES = ['adult', 'gambling', 'games', 'malware', 'social']
TOPS = 'com com com com net net org info ru de fr xyz top online site'.split()
ALLOWED_TOPS = 'com net org fr de'.split()
SYLLABLES = ('ba be bi bo bu ca ce co da de di do fa fe fi fo ga ge go ha he hi ho ja jo ka ke ki ko la le li lo lu ma me mi mo na ne '
             'ni no pa pe pi po ra re ri ro ru sa se si so ta te ti to va ve vi vo wa we za ze zo tr st ck ng er an on').split()
SUBDOMAINS = 'www ads cdn track api m img static app login mail'.split()


def word(rng):
    return ''.join(rng.choices(SYLLABLES, k=rng.choice((3, 4, 4, 5, 5, 6))))


def generated_name(rng):
    """Of two or three labels, in form and length like those of published lists."""
    label = word(rng)
    if rng.random() < 0.25:
        label += '-' + word(rng)
    if rng.random() < 0.3:
        label += str(rng.randrange(1000))
    below = f'{rng.choice(SUBDOMAINS)}{rng.randrange(40)}.' if rng.random() < 0.35 else ''
    return f'{below}{label}.{rng.choice(TOPS)}'


def generated_sources(folder):
    """Writes one file a category; returns the `sources` of a configuration."""
    rng = random.Random(SEED)
    names = {}                                  # a dict keeps the order, a set would not
    while len(names) < LISTED:
        names[generated_name(rng)] = rng.choice(CATEGORIES)
    sources = []
    for category in CATEGORIES:
        path = folder / f'{category}.txt'
        path.write_text(''.join(f'{name}\n' for name in names if names[name] == category))
        sources.append({'name': category, 'url': f'file://{path}', 'format': 'domains', 'category': category})
    return sources


def known(category):
    return category if category in CATEGORIES else 'adult'


def real_sources(folder, catalogue):
    """The same for a folder with ut1/blacklists.tar.gz and other/*.txt; catalogue is conf/sources.yaml, read."""
    ut1 = next(s for s in catalogue['lists']['sources'] if s['format'] == 'ut1')
    sources = [{'name': 'ut1', 'url': f'file://{folder}/ut1/blacklists.tar.gz', 'format': 'ut1',
                'map': {name: known(category) for name, category in ut1['map'].items()}}]
    for path in sorted((folder / 'other').glob('*.txt')):
        sources.append({'name': path.name.split('.')[0], 'url': f'file://{path}', 'format': 'auto', 'category': 'malware'})
    return sources


def allowed_names(rng):
    """Ten hosts in each of 2,000 zones."""
    zones = {}
    while len(zones) < ALLOWED // len(HOSTS):
        zones[f'{word(rng)}-ok.{rng.choice(ALLOWED_TOPS)}'] = None
    names = [f'{host}.{zone}' for zone in zones for host in HOSTS]
    rng.shuffle(names)
    return names


def write_zone(path, allowed):
    """One root zone for NSD. What is not in it gets an address too, by a wildcard: a listed name that leaks upstream comes back
    NOERROR and cannot be taken for a block."""
    lines = ['$ORIGIN .', '$TTL 86400', '@ SOA ns.bench. admin.bench. 1 86400 3600 604800 86400', '@ NS ns.bench.', 'ns.bench. A 127.0.0.1']
    lines += [f'{top} A 198.18.9.9' for top in ['*', *(f'*.{top}' for top in ALLOWED_TOPS)]]
    lines += [f'{name}. A 198.18.{i >> 8 & 255}.{i & 255}' for i, name in enumerate(allowed)]
    path.write_text('\n'.join(lines) + '\n')


def write_queries(path, names, expected):
    """In dnsperf's form, and beside it what is expected, an octet a query: N for NXDOMAIN, A for an address."""
    path.write_text(''.join(f'{name} A\n' for name in names))
    path.with_name(path.name + '.exp').write_text(expected)


def write_all(folder, listed):
    """listed: all names on the lists, in a fixed order. Writes root.zone and the three query files."""
    rng = random.Random(SEED + 1)
    allowed = allowed_names(rng)
    on_lists = set(listed)
    for name in allowed:
        labels = name.split('.')
        assert not any('.'.join(labels[i:]) in on_lists for i in range(len(labels))), f'{name} is on a list'
    blocked = [name if i % 2 else f'{rng.choice(SUBDOMAINS)}.{name}' for i, name in enumerate(rng.sample(listed, min(BLOCKED, len(listed))))]
    rng.shuffle(blocked)

    # Which allowed name is asked how often: Zipf, s = 1.
    sums = list(accumulate(1 / rank for rank in range(1, len(allowed) + 1)))
    mix, expected = [], []
    for _ in range(MIX):
        is_blocked = rng.random() < BLOCKED_SHARE
        mix.append(rng.choice(blocked) if is_blocked else allowed[min(bisect.bisect(sums, rng.random() * sums[-1]), len(allowed) - 1)])
        expected.append('N' if is_blocked else 'A')
    write_zone(folder / 'root.zone', allowed)
    write_queries(folder / 'blocked', blocked, 'N' * len(blocked))
    write_queries(folder / 'cached', allowed, 'A' * len(allowed))
    write_queries(folder / 'mix', mix, ''.join(expected))
