"""A stream of sentences, of a model that reads words."""

import io
import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from nema_lc_jax.data.text import prose
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.stream import Stream
from nema_lc_jax.stream.__main__ import main
from nema_lc_jax.training.experiment import make_experiment
from nema_lc_jax.training.restore import open_run
from tests.helpers import save_run

T = 8


def written(experiment, number):
  """A text without rare words, its question, and its example."""
  names = experiment.dataset.token_names
  source = experiment.dataset.evaluation("test", 24 * T)
  example = source[number]
  example["inputs"] = np.where(example["inputs"] == 1, 2, example["inputs"])
  rows = example["inputs"].reshape(-1, T)
  *lines, question = (" ".join(names[i] for i in r if i) for r in rows)
  return ". ".join(lines).capitalize() + ".", question, example


@pytest.mark.parametrize("pool", ["last", "mean", "slots"])
def test_text_gets_the_answer_of_the_example_that_it_is(
  haystack_run, pool, tmp_path
):
  folder, experiment = haystack_run
  if pool != "last":
    config = experiment.config.copy_and_resolve_references()
    config.model.pool = pool
    folder, experiment = save_run(config, tmp_path), make_experiment(config)
  _, state = open_run(folder, experiment.config)
  apply = jax.jit(experiment.model.apply)
  stream = Stream(folder)
  start = stream.state
  for number in range(3):
    text, question, example = written(experiment, number)
    batch = {k: example[k][None] for k in ("inputs", "mask")}
    keys = jax.random.key(0)[None]
    logits = apply(state.params, keys, batch).logits
    expected = jax.nn.softmax(logits[0])
    stream.state = start
    # Pushes may end after any sentence.
    middle = text.index(". ", len(text) // 2) + 2
    stream.push(text[:middle]).push(text[middle:])
    np.testing.assert_allclose(stream.answer(question), expected, atol=1e-5)


def test_words_are_found_in_any_writing(haystack_run):
  names = haystack_run[1].dataset.token_names
  found = prose.encode("Anna (she) WENT...\n\nto -- the  Garden!", names, T)
  expected = [["anna", "<unk>", "went"], ["to", "the", "garden"]]
  rows = [[names[i] for i in row if i] for row in found.reshape(-1, T)]
  assert rows == expected
  long = prose.encode("the " * 20, names, T).reshape(-1, T)
  assert (long > 0).sum(1).tolist() == [6, 7, 7]
  assert not len(prose.encode("123 -- \n\n...", names, T))


def test_the_command_reads_sentences_as_they_come(
  haystack_run, monkeypatch, capsys
):
  folder, experiment = haystack_run
  text, question, _ = written(experiment, 0)
  probabilities = Stream(folder).push(text).answer(question)
  best = int(probabilities.argmax())

  class Slow(io.RawIOBase):
    """Gives few bytes at a time, not whole sentences."""

    def __init__(self):
      self._rest = text.encode()

    def readable(self):
      return True

    def readinto(self, buffer):
      piece, self._rest = self._rest[:50], self._rest[50:]
      buffer[: len(piece)] = piece
      return len(piece)

  class Input:
    buffer = io.BufferedReader(Slow())

  monkeypatch.setattr(sys, "stdin", Input)
  assert main(["--workdir", str(folder), "--query", question]) == 0
  out, err = capsys.readouterr()
  words = len(text.split())
  name = experiment.dataset.label_names[best]
  assert out == (
    f"{words} tokens\tanswer {name}\tprobability {probabilities[best]:.4f}\n"
  )
  assert err.startswith(f"{words} tokens in ")


def test_mistakes_are_named(haystack_run, workdir):
  with pytest.raises(ConfigError, match="the model does not read words"):
    Stream(workdir).push("a text")
  stream = Stream(haystack_run[0])
  with pytest.raises(ConfigError, match="does not read bytes"):
    stream.push(b"a text")
  with pytest.raises(ConfigError, match="a query must have at least 1 token"):
    stream.answer("?!")
  with pytest.raises(ConfigError, match="a query is needed"):
    stream.answer()


def test_words_for_a_model_of_ids_are_one_line(workdir, monkeypatch, capsys):
  class Input:
    buffer = io.BufferedReader(io.BytesIO(b"A text."))

  monkeypatch.setattr(sys, "stdin", Input)
  assert main(["--workdir", str(workdir), "--tokens", "words"]) == 2
  assert "the model does not read words" in capsys.readouterr().err


def test_the_example_of_the_readme_runs(
  haystack_run, monkeypatch, tmp_path, capsys
):
  folder, experiment = haystack_run
  readme = (Path(__file__).parents[2] / "README.md").read_text()
  example = re.findall(r"^```python\n(.*?)^```$", readme, re.S | re.M)[1]
  assert "runs/haystack-learned-seed0" in example
  monkeypatch.chdir(tmp_path)
  scope = {}
  exec(example.replace("runs/haystack-learned-seed0", str(folder)), scope)
  assert capsys.readouterr().out.strip() in experiment.dataset.label_names
  back = Stream(folder).load("state")
  question = "where is anna"
  np.testing.assert_array_equal(
    back.answer(question), scope["stream"].answer(question)
  )
