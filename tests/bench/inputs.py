"""What is measured with: the lists, the names that are asked, and the zone that answers those on no list.

    inputs.py lists FOLDER COUNT        a file of names for each category, and FOLDER/sources
    inputs.py questions FOLDER LISTED   root.zone and the query files

All of it is made from a fixed seed, so the same bytes come out on every machine. In a process of its own: what it needs of memory would count
as that of the programs that its caller starts.
"""

import bisect
import json
import random
import sys
from itertools import accumulate
from pathlib import Path

SEED = 20260101
BLOCKED, ALLOWED, MIX, COLD = 100_000, 20_000, 200_000, 20_000
BLOCKED_SHARE = 0.15            # of the mix: what a school's evening looks like is not known; this is a guess, and written down
HOSTS = 'www api cdn img mail static login m assets docs'.split()
CATEGORIES = ['adult', 'gambling', 'games', 'malware', 'social']
TOPS = 'com com com com net net org info ru de fr xyz top online site'.split()
ALLOWED_TOPS = 'com net org fr de'.split()
SYLLABLES = ('ba be bi bo bu ca ce co da de di do du fa fe fi fo ga ge go ha he hi ho ja jo ka ke ki ko la le li lo lu ma me mi mo na ne '
             'ni no nu pa pe pi po ra re ri ro ru sa se si so su ta te ti to va ve vi vo wa we wi za ze zo tr st ck ng er an on').split()
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


def write_sources(folder, count):
    """A file of names for each category, and as JSON the `sources` of a configuration: those, and small.txt for names that an update adds."""
    rng = random.Random(SEED)
    outs = {category: open(folder / f'{category}.txt', 'w') for category in CATEGORIES}
    seen = set()
    while len(seen) < count:
        name = generated_name(rng)
        if name not in seen:
            seen.add(name)
            outs[rng.choice(CATEGORIES)].write(name + '\n')
    for out in outs.values():
        out.close()
    sources = [{'name': name, 'url': f'file://{folder}/{name}.txt', 'format': 'domains', 'category': category}
               for name, category in [*zip(CATEGORIES, CATEGORIES), ('small', CATEGORIES[0])]]
    (folder / 'sources').write_text(json.dumps(sources))


def allowed_names(rng):
    """Ten hosts in each of 2,000 zones. No generated name has a label that ends in -ok: none of them is listed."""
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


def write_queries(path, queries):
    """A line a query: what is expected (N: NXDOMAIN, A: an address), and the name."""
    path.write_text(''.join(f'{expected} {name}\n' for expected, name in queries))


def write_cold(path, run):
    """Names that nobody has asked before."""
    write_queries(path, (('A', f'c{run}-{i}.cold-ok.com') for i in range(COLD)))


def drawn(rng, path, count):
    """So many different lines of a file, in random order."""
    total = sum(1 for _ in open(path))
    wanted = set(rng.sample(range(total), min(count, total)))
    lines = [line.rstrip('\n') for number, line in enumerate(open(path)) if number in wanted]
    rng.shuffle(lines)
    return lines


def write_all(folder, listed):
    """listed: a file of all names on the lists. Writes root.zone and the three query files."""
    rng = random.Random(SEED + 1)
    allowed = allowed_names(rng)
    blocked = [name if i % 2 else f'{rng.choice(SUBDOMAINS)}.{name}' for i, name in enumerate(drawn(rng, listed, BLOCKED))]

    # Which allowed name is asked how often: Zipf, s = 1.
    sums = list(accumulate(1 / rank for rank in range(1, len(allowed) + 1)))
    zipf = lambda: allowed[min(bisect.bisect(sums, rng.random() * sums[-1]), len(allowed) - 1)]
    mix = [('N', rng.choice(blocked)) if rng.random() < BLOCKED_SHARE else ('A', zipf()) for _ in range(MIX)]
    write_zone(folder / 'root.zone', allowed)
    write_queries(folder / 'blocked', (('N', name) for name in blocked))
    write_queries(folder / 'cached', (('A', name) for name in allowed))
    write_queries(folder / 'mix', mix)


if __name__ == '__main__':
    what, folder, argument = sys.argv[1:]
    if what == 'lists':
        write_sources(Path(folder), int(argument))
    else:
        write_all(Path(folder), argument)
