"""A question streamed gets the answer of the same question evaluated."""

import functools
import json

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nema_lc_jax import evaluate
from nema_lc_jax.data import layout
from nema_lc_jax.data.byte_text import encode
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.inspect import show
from nema_lc_jax.stream import Stream
from nema_lc_jax.stream.__main__ import main as stream
from tests.helpers import run, tiny_config
from tests.stream.test_core import FIELDS, T, V, parts_of, push_all, text

L = 6 * T


def evaluated(name, document, question):
  params, apply = parts_of(name)[:2]
  example = layout.place(document, question, L)
  batch = {k: x[None] for k, x in example.items()}
  return np.asarray(apply(params, jax.random.key(0)[None], batch).logits[0])


@functools.cache
def answer_of(name):
  return jax.jit(functools.partial(parts_of(name)[2].answer, length=L))


def streamed(name, document, question):
  params = parts_of(name)[0]
  state = push_all(name, document, ())
  return np.asarray(answer_of(name)(params, state, question))


@pytest.mark.parametrize("name", ["last", "mean", "slots"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_both_give_the_same_logits(name, data):
  """Documents end in, before and far before the question's first chunk."""
  # Not T + 1: the two candidates of one token are equal, and so are the slots
  # that they write. Which of them is updated later is then up to rounding.
  q = data.draw(st.sampled_from([2, T, T + 2]))
  d = data.draw(st.integers(1, L - q))
  document, question = text(d, seed=d), text(q, seed=99)
  np.testing.assert_allclose(
    streamed(name, document, question),
    evaluated(name, document, question),
    atol=2e-5,
  )


def test_the_length_matters_where_text_and_question_share_a_chunk():
  """Else the test above would not notice a layout of the stream's own."""
  document, question = text(L - T + 1, seed=1), text(2, seed=2)
  params, _, stream, _, _ = parts_of("last")
  state = push_all("last", document, ())
  own = stream.answer(params, state, question)
  assert not np.allclose(own, evaluated("last", document, question), atol=2e-5)
  assert FIELDS["vocab_size"] == V


ROWS = [
  (f"{who} {did} here. " * (1 + i % 3), f"Who {did}?", who)
  for i, (who, did) in enumerate(
    [("Ann", "sat"), ("Bob", "ran"), ("Cat", "sang")] * 8
  )
]


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
  """A run on questions, and its file."""
  folder = tmp_path_factory.mktemp("asked")
  path = folder / "own.jsonl"
  names = ("document", "question", "answer")
  # Every text is another, and so is a group of its own.
  rows = [(f"{i}: {d}", q, a) for i, (d, q, a) in enumerate(ROWS)]
  path.write_text(
    "".join(json.dumps(dict(zip(names, r, strict=True))) + "\n" for r in rows)
  )
  c = tiny_config()
  c.data = {"name": "file", "path": str(path), "length": 64}
  c.memory.policy = "fifo"
  c.train.update(curriculum=(), steps=2, eval_every=2, checkpoint_every=2)
  c.eval.length_multipliers = (1,)
  run(c, folder / "run")
  return folder / "run", rows


def test_a_trained_run_streams_what_it_evaluates(asked, capsys):
  workdir, rows = asked
  answers = []
  stream = Stream(workdir)
  start = stream.state
  for document, question, _ in rows:
    stream.state = start
    stream.push(document.encode())
    answers.append(stream.name(int(stream.answer(question.encode()).argmax())))
  right = [a == b for a, (_, _, b) in zip(answers, rows, strict=True)]
  assert evaluate.main([f"--workdir={workdir}", "--split=all"]) == 0
  report = json.loads(capsys.readouterr().out)
  assert report["examples"] == len(rows)
  assert report["accuracy"] == pytest.approx(np.mean(right))
  assert set(answers) <= {"Ann", "Bob", "Cat"}


def test_the_inspector_asks_the_same_question(asked, tmp_path):
  workdir, rows = asked
  document, question, _ = rows[0]
  (tmp_path / "own.txt").write_text(document)
  found = show(workdir, text=tmp_path / "own.txt", question=question)
  stream = Stream(workdir).push(document.encode())
  np.testing.assert_allclose(
    found.data["removed"][0], stream.answer(question.encode()), atol=1e-5
  )
  expected = layout.place(
    encode(document.encode()), layout.question_ids(question.encode()), 64
  )
  assert found.data["tokens"].ravel().tolist() == expected["inputs"].tolist()


def test_a_question_is_needed_and_only_where_there_are_questions(
  asked, tmp_path, finished, capsys
):
  workdir, _ = asked
  (tmp_path / "own.txt").write_text("a text")
  with pytest.raises(ConfigError, match="--question is needed"):
    show(workdir, text=tmp_path / "own.txt")
  with pytest.raises(ConfigError, match="--question='x' needs --text"):
    show(workdir, question="x")
  with pytest.raises(ConfigError, match="about documents: a query is needed"):
    Stream(workdir).push(b"a text").answer()
  with pytest.raises(ConfigError, match="at least 1 token"):
    Stream(workdir).push(b"a text").answer(b"")
  with pytest.raises(ConfigError, match="the question has 65 tokens"):
    Stream(workdir).push(b"a text").answer(b"?" * 64)
  with pytest.raises(ConfigError, match="--question is empty"):
    show(workdir, text=tmp_path / "own.txt", question="")
  assert stream(["--workdir", str(workdir), "--export", "x"]) == 2
  assert "answer without a question" in capsys.readouterr().err
  with pytest.raises(ConfigError, match="run's data have none"):
    show(finished[0], text=tmp_path / "own.txt", question="x")
