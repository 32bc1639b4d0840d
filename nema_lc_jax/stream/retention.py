"""Measures retention across documents that share one memory.

An example of continual use, for runs on tasks with facts. Texts of the test
split, without their questions, are pushed into a stream one after another.
After each document, its question and those of earlier documents are asked, each
in a copy of the stream. A question counts until a later document contains a
fact about the same key.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.memory.types import Params
from nema_lc_jax.plotting import style
from nema_lc_jax.runs.command_line import FROM_RUN, Parser, run_command
from nema_lc_jax.runs.files import RETENTION, write_json
from nema_lc_jax.stream.core import make_stream
from nema_lc_jax.training import restore
from nema_lc_jax.training.experiment import Experiment, model_fields
from nema_lc_jax.training.given import settle

EXAMPLES = """\
  python -m nema_lc_jax.stream.retention --workdir=runs/rebind-learned-seed0
      32 documents in each of 64 streams
  python -m nema_lc_jax.stream.retention --workdir=RUN --documents=64 \\
      --streams=32 --oldest=16
      more documents per stream, and questions about older ones
"""


def measure(
  experiment: Experiment,
  params: Params,
  *,
  documents: int,
  streams: int,
  oldest: int,
) -> dict[str, Any]:
  """Accuracies by the age of the question and by the number of documents.

  Args:
    experiment: of a run on a task about facts.
    params: of its model.
    documents: N, number of documents that a stream reads.
    streams: B, number of streams.
    oldest: K, maximum age of a question in documents.

  Returns:
    `accuracy_by_age` [K + 1] (null without questions) and their number
    `questions_by_age`; `accuracy_by_document` [N], of each document's own
    question; `chance`.

  Raises:
    ConfigError: if the task has no facts, or the test split too few examples.
  """
  config, dataset = experiment.config, experiment.dataset
  examples = dataset.evaluation("test", config.data.length)
  asks = dataset.head == "classify" and "answer_position" in examples[0]
  if not asks or dataset.sentence_length:
    raise ConfigError(
      "the texts of the task must end with a question about a fact, as in"
      f" recall and rebind; {dataset.name!r} has none."
    )
  size, wanted = dataset.num_examples["test"], documents * streams
  if wanted > size or min(documents, streams) < 1 or oldest < 0:
    raise ConfigError(
      f"{documents} documents in each of {streams} streams, with questions of"
      f" age {oldest}, cannot be taken from {size} examples."
    )
  rows = [examples[i] for i in range(wanted)]
  field = lambda name: np.stack([row[name] for row in rows]).reshape(
    streams, documents, *rows[0][name].shape
  )
  tokens, truth, labels = map(field, ("inputs", "ground_truth", "label"))
  T = config.model.chunk_length
  texts, questions, keys = tokens[..., :-T], tokens[..., -T:], tokens[..., -1]
  # Whether a document contains a fact about a key [B, N, V].
  mentioned = np.zeros((streams, documents, dataset.vocab_size), bool)
  b, n, at = np.nonzero(truth[..., :-T] > 0)
  mentioned[b, n, texts[b, n, at]] = True

  stream = make_stream(**model_fields(config, experiment.task))
  push = jax.jit(jax.vmap(stream.push, (None, 0, 0)))
  answer = jax.jit(jax.vmap(stream.answer, (None, 0, 0)))
  state = jax.vmap(stream.init)(jnp.arange(streams))
  right = np.zeros((documents, oldest + 1, streams))
  counts = np.zeros(right.shape, bool)
  every = np.arange(streams)
  for n in range(documents):
    state = push(params, state, texts[:, n])
    for k in range(min(n, oldest) + 1):
      logits = answer(params, state, questions[:, n - k])
      right[n, k] = np.asarray(logits).argmax(-1) == labels[:, n - k]
      later = mentioned[:, n - k + 1 : n + 1].any(1)
      counts[n, k] = ~later[every, keys[:, n - k]]
  hits, asked = (right * counts).sum((0, 2)), counts.sum((0, 2))
  return {
    "task": dataset.name,
    "policy": config.memory.policy,
    "num_slots": config.memory.num_slots,
    "chunks_per_document": texts.shape[-1] // T,
    "documents": documents,
    "streams": streams,
    "accuracy_by_age": [
      h / c if c else None for h, c in zip(hits, asked, strict=True)
    ],
    "questions_by_age": asked.tolist(),
    "accuracy_by_document": right[:, 0].mean(-1).tolist(),
    "chance": dataset.baselines("test", config.data.length)["chance"],
  }


def draw(found: dict[str, Any], folder: Path) -> list[Path]:
  """Writes retention.png and .pdf."""
  with style.STYLE():
    figure = style.new_figure(
      9.0,
      3.4,
      title=f"{found['task']}: {found['num_slots']} slots ({found['policy']}),"
      f" one memory for {found['documents']} documents",
    )
    age, order = figure.subplots(1, 2, sharey=True)
    panels = (
      (age, found["accuracy_by_age"], "age of the question (documents)"),
      (order, found["accuracy_by_document"], "documents read before"),
    )
    for ax, values, label in panels:
      values = np.array(values, float)
      style.draw_curve(ax, np.arange(len(values)), values, style.BLUE)
      ax.axhline(found["chance"], color=style.GREY, linewidth=1, linestyle=":")
      ax.text(
        0.0, found["chance"], " chance", color=style.GREY, fontsize=7,
        transform=ax.get_yaxis_transform(), va="bottom",
      )  # fmt: skip
      ax.set_xlabel(label)
      ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    age.set_title("Accuracy by age of the question")
    order.set_title("Accuracy on the current document")
    age.set_ylim(-0.02, 1.02)
    age.set_ylabel("accuracy")
    age.yaxis.set_major_formatter(PercentFormatter(1.0))
    return style.save(figure, folder, "retention")


def make_parser() -> Parser:
  """The flags."""
  parser = Parser(
    "nema_lc_jax.stream.retention", __doc__, EXAMPLES, config=FROM_RUN
  )
  for name, default, about in (
    ("documents", 32, "number of documents that a stream reads"),
    ("streams", 64, "number of parallel streams"),
    ("oldest", 8, "maximum age of a question in documents"),
  ):
    parser.add_argument(
      f"--{name}",
      type=int,
      default=default,
      metavar="N",
      help=f"{about}; default: {default}",
    )
  parser.add_argument(
    "--out", metavar="DIR", help="output folder; default: RUN/retention"
  )
  return parser


def _main(argv: Sequence[str] | None) -> None:
  args = make_parser().parse(argv)
  settle(args.config, args.given)
  experiment, state = restore.open_run(args.workdir, args.config)
  found = measure(
    experiment,
    state.params,
    documents=args.documents,
    streams=args.streams,
    oldest=args.oldest,
  )
  folder = Path(args.out or Path(args.workdir) / RETENTION)
  written = draw(found, folder)
  report = folder / "retention.json"
  write_json(report, found)
  print("\n".join(map(str, [*written, report])))


def main(argv: Sequence[str] | None = None) -> int:
  """Measures, draws, and returns the exit code."""
  return run_command(lambda: _main(argv))


if __name__ == "__main__":
  sys.exit(main())
