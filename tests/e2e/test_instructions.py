"""A change that makes every answer dearer is seen when it is made, not when the school's server is slow."""

import subprocess
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

from usher import PLAIN_BUILD

SCRIPT = Path(__file__).resolve().parents[1] / 'bench/instructions'

pytestmark = pytest.mark.skipif(not (PLAIN_BUILD / 'build.ninja').exists(), reason='there are no programs without sanitizers')



def script():
    spec = spec_from_loader('instructions', SourceFileLoader('instructions', str(SCRIPT)))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_answer_costs_no_more_instructions_than_were_accepted():
    run = subprocess.run([SCRIPT, '--build', PLAIN_BUILD], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize('kind', script().KINDS)
def test_an_answer_allocates_nothing_and_makes_no_system_call(tmp_path, kind):
    for words in [], [kind, 'sealed']:
        run = subprocess.run([PLAIN_BUILD / 'tests/bench_replay', tmp_path, *words], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr or f'ended by signal {-run.returncode}: a system call'


def test_five_percent_more_fails_and_says_how_to_accept_it():
    judge = script().judge
    assert judge('cached', 1000, 1050)[0]
    passed, sentence = judge('cached', 1000, 1051)
    assert not passed
    assert all(words in sentence for words in ('cached', '1051', '1000', '--accept'))
    passed, sentence = judge('cached', 1000, 900)
    assert passed and '--accept' in sentence
