"""A trained run's stream: as an object, as a command, as exported programs."""

import io
import subprocess
import sys

import jax
import numpy as np
import pytest

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.stream import Stream, export
from nema_lc_jax.stream.__main__ import main, read_tokens
from nema_lc_jax.training import evaluation


@pytest.fixture(scope="module")
def example(opened):
  experiment, params = opened
  batch = next(evaluation.eval_batches(experiment, "test", 1))
  return batch["inputs"][0], params, experiment


def call(monkeypatch, capsys, data, *argv):
  class Input:
    buffer = io.BufferedReader(io.BytesIO(data))

  monkeypatch.setattr(sys, "stdin", Input)
  code = main(argv)
  return code, *capsys.readouterr()


def test_a_stream_is_the_run_s_model(workdir, example):
  tokens, params, experiment = example
  stream = Stream(workdir).push(tokens[:13]).push(tokens[13:])
  out = jax.jit(experiment.model.apply)(
    params,
    jax.random.key(0)[None],
    {"inputs": tokens[None], "mask": np.ones((1, len(tokens)), bool)},
  )
  np.testing.assert_allclose(
    stream.answer(), jax.nn.softmax(out.logits[0]), atol=1e-5
  )


def test_programs_are_compiled_once(workdir, example):
  stream = Stream(workdir)
  stream.compile()
  stream.push(example[0]).push(example[0]).answer()
  assert stream._push._cache_size() == stream._answer._cache_size() == 1


def test_saved_and_loaded_it_goes_on(workdir, example, tmp_path):
  tokens = example[0]
  whole = Stream(workdir).push(tokens)
  Stream(workdir).push(tokens[:21]).save(tmp_path / "s")
  other = Stream(workdir).load(tmp_path / "s").push(tokens[21:])
  np.testing.assert_allclose(other.answer(), whole.answer(), atol=1e-6)


@pytest.mark.parametrize(
  ("tokens", "words"),
  [
    (b"bytes", "does not read bytes"),
    (np.array([1.5]), "whole numbers"),
    (np.array([[1]]), "whole numbers"),
    (np.array([3, -2]), "token -2 is not in the vocabulary"),
    (np.array([99999]), "token 99999 is not in the vocabulary"),
  ],
)
def test_tokens_that_are_none_are_refused(workdir, tokens, words):
  stream = Stream(workdir)
  with pytest.raises(ConfigError, match=words):
    stream.push(tokens)
  assert int(stream.state.filled) == 0


def test_the_command_answers_in_between_and_at_the_end(
  workdir, example, monkeypatch, capsys, tmp_path
):
  tokens = example[0]
  data = " ".join(map(str, tokens)).encode()
  run = ("--workdir", str(workdir))
  code, out, err = call(monkeypatch, capsys, data, *run, "--every", "32")
  lines = [line.split("\t") for line in out.splitlines()]
  assert code == 0
  assert [line[0] for line in lines] == ["32 tokens", "64 tokens", "80 tokens"]
  assert "80 tokens in" in err
  stream = Stream(workdir)
  best = stream.push(tokens).answer()
  assert lines[-1][1:] == [
    f"answer {stream.name(best.argmax())}",
    f"probability {best.max():.4f}",
  ]
  half, state = data.rindex(b" "), str(tmp_path / "state")
  call(monkeypatch, capsys, data[:half], *run, "--save", state)
  again = call(monkeypatch, capsys, data[half:], *run, "--load", state)[1]
  assert again.rstrip().split("\t")[1:] == lines[-1][1:]


@pytest.mark.parametrize(
  ("data", "argv", "words"),
  [
    (b"1 x", (), "whole numbers"),
    (b"1 2", ("--every", "0"), "--every must be at least 1"),
    (b"1 2", ("--load", "nowhere"), "nowhere"),
    (b"1 2", ("--query", ""), "at least 1 token"),
    (b"1 2", ("--tokens", "bytes"), "does not read bytes"),
  ],
)
def test_a_mistake_is_one_line(workdir, monkeypatch, capsys, data, argv, words):
  code, _, err = call(
    monkeypatch, capsys, data, "--workdir", str(workdir), *argv
  )
  assert code == 2
  assert err.startswith("error: ")
  assert words in err
  assert err.count("\n") == 1


def test_numbers_may_be_cut_anywhere(monkeypatch):
  monkeypatch.setattr("nema_lc_jax.stream.__main__.READ", 3)
  text = b"12 345\n6\t7890 1"
  found = list(read_tokens(io.BufferedReader(io.BytesIO(text)), "ids"))
  assert np.concatenate(found).tolist() == [12, 345, 6, 7890, 1]
  found = list(read_tokens(io.BufferedReader(io.BytesIO(text)), "bytes"))
  assert b"".join(found) == text


SERVE = """
import sys
import jax, numpy as np
from jax import export
folder, out = sys.argv[1:]
load = lambda n: export.deserialize(open(f"{folder}/{n}", "rb").read()).call
push, answer = load("push.bin"), load("answer.bin")
arrays = np.load(f"{folder}/init.npz")
state = tuple(arrays[k] for k in sorted(arrays))
tokens = np.loadtxt(out + ".in", dtype=np.int32)
for start in range(0, len(tokens), 16):
  piece = tokens[start:start + 16]
  padded = np.pad(piece, (0, 16 - len(piece)))
  state = push(state, padded, np.int32(len(piece)))
np.save(out, answer(state))
assert not [m for m in sys.modules if m.startswith(("nema_lc_jax", "flax"))]
"""


def test_exported_programs_answer_without_this_package(
  workdir, example, tmp_path
):
  tokens = example[0]
  stream = Stream(workdir)
  export(stream.functions, stream.params, tmp_path / "e", block=16)
  np.savetxt(tmp_path / "out.npy.in", tokens, fmt="%d")
  subprocess.run(
    [sys.executable, "-c", SERVE, tmp_path / "e", tmp_path / "out.npy"],
    check=True,
    cwd=tmp_path,
  )
  logits = np.load(tmp_path / "out.npy")
  want = stream.push(tokens)
  want = want.functions.answer(want.params, want.state)
  np.testing.assert_allclose(logits, want, atol=1e-5)
  with pytest.raises(ConfigError, match="not empty"):
    export(stream.functions, stream.params, tmp_path / "e", block=16)
