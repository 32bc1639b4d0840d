"""Generation: draws, and a run that continues a text."""

import dataclasses
import io
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import lm_lc
from nema_lc_jax import generate
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.stream import Stream
from nema_lc_jax.stream.run import PIECE
from nema_lc_jax.stream.sampling import sample
from tests.helpers import run

LOGITS = jnp.log(jnp.array([0.9, 0.4, 0.3, 0.2, 0.1]))  # the first: padding


def drawn(count=4000, **options):
  options = {"temperature": 1.0, "top_p": 1.0} | options
  keys = jax.random.split(jax.random.key(0), count)
  draw = jax.jit(jax.vmap(lambda key: sample(key, LOGITS, **options)))
  return np.bincount(draw(keys), minlength=5) / count


@pytest.mark.parametrize(
  ("options", "shares"),
  [
    ({}, [0, 0.4, 0.3, 0.2, 0.1]),
    ({"top_p": 0.7}, [0, 4 / 7, 3 / 7, 0, 0]),
    # The one that crosses the limit is kept.
    ({"top_p": 0.75}, [0, 4 / 9, 3 / 9, 2 / 9, 0]),
    ({"top_p": 1e-6}, [0, 1, 0, 0, 0]),
    ({"temperature": 0.0}, [0, 1, 0, 0, 0]),
    # 0.4^2 : 0.3^2 : 0.2^2 : 0.1^2.
    ({"temperature": 0.5}, [0, 16 / 30, 9 / 30, 4 / 30, 1 / 30]),
  ],
)
def test_tokens_are_drawn_as_often_as_they_are_probable(options, shares):
  np.testing.assert_allclose(drawn(**options), shares, atol=0.03)


@pytest.fixture(scope="module")
def lm_run(tmp_path_factory):
  """The folder of a small run on a text that repeats itself."""
  folder = tmp_path_factory.mktemp("lm")
  text = folder / "text.txt"
  text.write_text("abcdefgh" * 500)
  c = lm_lc.get_config()
  c.data.path = str(text)
  c.data.length, c.model.chunk_length = 64, 16
  c.data.num_eval = c.data.num_test = 8
  c.model.width, c.model.num_heads, c.model.num_layers = 16, 2, 0
  c.model.ngram_sizes, c.model.ngram_rows = (2,), 256
  c.memory.num_slots, c.memory.policy = 3, "fifo"
  c.eval.length_multipliers, c.eval.diagnostics = (1,), False
  c.train.curriculum, c.train.steps, c.train.batch_size = (), 60, 8
  c.train.eval_every = c.train.checkpoint_every = 60
  c.train.eval_batch_size, c.train.warmup_steps = 8, 5
  c.train.learning_rate = 2e-2
  summary = run(c, folder / "run")
  return folder / "run", summary


def test_a_run_reports_bits_per_byte(lm_run):
  _, summary = lm_run
  metrics = summary.test_metrics
  assert metrics["bits_per_byte"] == pytest.approx(
    metrics["task_loss"] / np.log(2)
  )
  assert metrics["bits_per_byte"] < 1.0  # by chance: 3 bits


def test_it_continues_what_it_has_learned(lm_run, capsys):
  folder, _ = lm_run
  # Several chunks of prompt, and several pieces.
  arguments = ["--workdir", str(folder), "--prompt", "abcdefgh" * 5 + "abc"]
  assert generate.main([*arguments, "--length=37", "--temperature=0"]) == 0
  assert capsys.readouterr().out == ("abcdefgh" * 10) + "\n"


def test_pieces_end_where_the_text_does_and_the_stream_goes_on(lm_run):
  folder, _ = lm_run
  texts = {}
  for count in (PIECE - 3, 2 * PIECE + 5):
    stream = Stream(folder).push(b"abcdefgh" * 3)
    pieces = list(stream.generate(count, temperature=1.0, seed=3))
    texts[count] = np.concatenate(pieces)
    assert len(texts[count]) == count
    assert all(len(piece) <= PIECE for piece in pieces)
    # The state is that of the text with what was generated.
    whole = Stream(folder).push(b"abcdefgh" * 3).push(texts[count])
    np.testing.assert_allclose(stream.answer(), whole.answer(), atol=1e-5)
  short, long = texts.values()
  np.testing.assert_array_equal(long[: len(short)], short)


def test_seeds_differ_and_repeat(lm_run):
  folder, _ = lm_run
  draw = lambda seed: np.concatenate(
    list(Stream(folder).push(b"abc").generate(40, temperature=3.0, seed=seed))
  ).tolist()
  assert draw(1) == draw(1) != draw(2)


@pytest.mark.parametrize(
  ("flag", "words"),
  [
    ("--temperature=-1", "temperature must be a number, at least 0"),
    ("--temperature=nan", "temperature must be"),
    ("--top_p=0", "top_p must be a number, above 0 and at most 1"),
    ("--length=0", "length must be a whole number, at least 1"),
    ("--seed=-1", "seed must be"),
    ("--prompt=", "push a prompt first"),
  ],
)
def test_numbers_out_of_range_are_one_line(flag, words, lm_run, capsys):
  folder, _ = lm_run
  arguments = [f"--workdir={folder}", "--prompt=abc", flag]
  assert generate.main(arguments) == 2
  err = capsys.readouterr().err
  assert words in err
  assert err.count("\n") == 1


def test_the_prompt_may_come_from_standard_input(lm_run, capsys, monkeypatch):
  class Input:
    buffer = io.BytesIO(b"abcdefgh" * 4)

    def isatty(self):
      return False

  monkeypatch.setattr(sys, "stdin", Input())
  arguments = [f"--workdir={lm_run[0]}", "--length=8", "--temperature=0"]
  assert generate.main(arguments) == 0
  assert capsys.readouterr().out == "abcdefgh\n"


def test_another_head_does_not_generate(workdir):
  with pytest.raises(ConfigError, match="does not predict the next token"):
    Stream(workdir).push(np.ones(3, np.int32)).generate(5)


def test_answers_that_are_no_tokens_are_not_pushed(lm_run):
  stream = Stream(lm_run[0]).push(b"abc")
  # As of mqar, whose labels are values.
  stream.task = dataclasses.replace(stream.task, byte_level=False)
  with pytest.raises(ConfigError, match="does not predict the next token"):
    stream.generate(5)


def test_a_run_that_reads_no_bytes_is_refused(workdir, capsys):
  assert generate.main([f"--workdir={workdir}", "--prompt=abc"]) == 2
  assert "not bytes" in capsys.readouterr().err
