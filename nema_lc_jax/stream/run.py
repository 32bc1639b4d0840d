"""`Stream`: the model of a finished run with the state of one stream."""

from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from nema_lc_jax.data.byte_text import decode, encode
from nema_lc_jax.data.layout import question_ids
from nema_lc_jax.data.text import prose
from nema_lc_jax.errors import ConfigError
from nema_lc_jax.runs import config_json
from nema_lc_jax.stream import files
from nema_lc_jax.stream.core import StreamState, make_stream
from nema_lc_jax.stream.receipts import Receipt, make_receipt
from nema_lc_jax.stream.sampling import (
  TEMPERATURE,
  make_generator,
  require_options,
)
from nema_lc_jax.training import restore
from nema_lc_jax.training.experiment import make_reader, model_fields
from nema_lc_jax.training.provenance import params_sha256

Tokens = str | bytes | np.ndarray
# Chunks per compiled call: enough to encode them efficiently.
CHUNKS = 64
# Tokens that are generated per compiled call.
PIECE = 16


class Stream:
  """A text of any length, read by the best checkpoint of a run.

  `push` and `answer` are those of `make_stream`, compiled once; only `state`
  changes.
  """

  def __init__(
    self,
    workdir: str | Path,
    *,
    num_slots: int | None = None,
    seed: int = 0,
    history: int = 0,
  ):
    """Opens a run, without its data.

    Args:
      workdir: folder of the run.
      num_slots: overrides the run's own.
      seed: for random policies.
      history: how many chunks of each slot's item `ask` can name; 0: none.

    Raises:
      ValueError, RunError: in one line, if there is no such run, or if its
        model does not stream.
    """
    config = config_json.read_config(workdir)
    task = restore.read_task_spec(workdir)
    fields = model_fields(config, task)
    self.functions = make_stream(
      skips_padding=bool(task.sentence_length), **fields
    )
    empty = lambda: self.functions.init(seed, num_slots, history)
    reader = make_reader(config, task, jax.eval_shape(empty))
    # Moved off the mesh they were restored to: states would follow them there
    # after the first push, and programs would be compiled twice.
    params = restore.restore_best(reader, workdir).params
    self.params = jax.tree.map(jnp.asarray, jax.device_get(params))
    self.task = task
    self.length = config.data.length  # at which its questions were asked
    self.state: StreamState = empty()
    self.block = CHUNKS * config.model.chunk_length
    self._model = params_sha256(self.params)
    self._push = jax.jit(self.functions.push)
    self._answer = jax.jit(self.functions.answer, static_argnames="length")
    self._explain = jax.jit(self.functions.explain, static_argnames="length")
    self._generate = jax.jit(make_generator(self.functions, PIECE))

  def push(self, tokens: Tokens) -> "Stream":
    """Appends tokens to the text.

    Args:
      tokens: ids [n]; bytes for a model that reads bytes; whole sentences, as a
        string, for one that reads words.

    Returns:
      Itself.

    Raises:
      ConfigError: on ids outside the vocabulary.
    """
    ids = self.ids(tokens)
    for start in range(0, len(ids), self.block):
      piece = ids[start : start + self.block]
      padded = np.pad(piece, (0, self.block - len(piece)))
      self.state = self._push(self.params, self.state, padded, len(piece))
    return self

  def answer(self, query: Tokens | None = None) -> np.ndarray:
    """Probabilities of the answers [C] to the text so far.

    Args:
      query: tokens that are read after the text, for this answer only. A run on
        questions about documents needs a question here, without the line feed
        that its data put before it; it gets the answer of `evaluate` if the
        text is short enough for the run's data.length.

    Raises:
      ConfigError: on an empty query, or ids outside the vocabulary; if a run on
        questions gets none.
    """
    query, length = self._question(query)
    logits = self._answer(self.params, self.state, query, length=length)
    return np.asarray(jax.nn.softmax(logits))

  def ask(self, query: Tokens | None = None) -> Receipt:
    """The answer, the slots that it was read from, and what they hold.

    Args:
      query: as in `answer`.

    Raises:
      ConfigError: as in `answer`, and for a stream without a history.
    """
    if self.state.provenance is None:
      raise ConfigError(
        "the stream does not keep where its slots come from: open it with a"
        " history, such as Stream(run, history=4)."
      )
    query, length = self._question(query)
    return make_receipt(
      self._explain(self.params, self.state, query, length=length),
      self.state.provenance,
      name=self.name,
      text=self.text,
    )

  def _question(
    self, query: Tokens | None
  ) -> tuple[np.ndarray | None, int | None]:
    """The ids of a query, and the length of the text that it ends."""
    length = None
    if query is not None:
      query = self.ids(query)
      if not len(query):
        raise ConfigError("a query must have at least 1 token, got none.")
    if query is None and self.task.asks:
      raise ConfigError(
        "the run answers questions about documents: a query is needed."
      )
    if self.task.questions:
      query = np.concatenate([question_ids(b""), query])
      length = self.length
      if len(query) >= length:
        raise ConfigError(
          f"the question has {len(query)} tokens with its line feed; it must"
          f" have fewer than the run's data.length={length}."
        )
    return query, length

  def generate(
    self,
    length: int,
    *,
    temperature: float = TEMPERATURE,
    top_p: float = 1.0,
    seed: int = 0,
  ) -> Iterator[np.ndarray]:
    """Continues the text by drawn tokens, and yields them in pieces.

    Args:
      length: tokens to generate.
      temperature: at least 0; 0: always the most probable token.
      top_p: above 0 and at most 1; the fewest tokens whose probabilities add up
        to at least this are drawn from.
      seed: of the draws.

    Raises:
      ConfigError: if the model does not predict the next token, the text is
        empty, or a number is out of its range.
    """
    require_options(length, temperature, top_p, seed)
    names = self.task.label_names
    tokens = self.task.byte_level or (names and names == self.task.token_names)
    if self.task.head != "causal_lm" or not tokens:
      raise ConfigError(
        "the run does not predict the next token of a text, so it cannot"
        " generate one."
      )
    if not int(self.state.chunks) and not int(self.state.filled):
      raise ConfigError("there is no text to continue: push a prompt first.")
    return self._pieces(length, temperature, top_p, jax.random.key(seed))

  def _pieces(
    self, count: int, temperature: float, top_p: float, key: jax.Array
  ) -> Iterator[np.ndarray]:
    for start in range(0, count, PIECE):
      before = self.state
      self.state, tokens = self._generate(
        self.params,
        before,
        jax.random.fold_in(key, start),
        temperature,
        top_p,
      )
      rest = count - start
      if rest < PIECE:  # The state must not be ahead of what is yielded.
        self.state = before
        self.push(np.asarray(tokens[:rest]))
      yield np.asarray(tokens[:rest])

  @property
  def kind(self) -> str:
    """What the model reads: "bytes", "words" or "ids"."""
    if self.task.sentence_length:
      return "words"
    return "bytes" if self.task.byte_level else "ids"

  def name(self, answer: int) -> str:
    """The name of a class, or its number if the run's data have no names."""
    names = self.task.label_names
    return names[answer] if answer < len(names) else str(answer)

  def text(self, ids: np.ndarray) -> str:
    """Token ids as a text; padding is left out."""
    if self.task.byte_level:
      return decode(ids)
    names = self.task.token_names
    written = (names[i] if i < len(names) else str(i) for i in ids if i)
    return " ".join(written)

  def compile(self, query: Tokens | None = None) -> None:
    """Compiles `push` and `answer` in advance, without changing the state.

    Args:
      query: as in `answer`: queries of each length have a program of their own.
    """
    nothing = np.zeros(self.block, np.int32)
    self._push(self.params, self.state, nothing, 0)
    if query is not None or not self.task.asks:
      self.answer(query)

  def save(self, path: str | Path) -> None:
    """Saves the state in a file, see `files.save`."""
    files.save(path, self.state, model=self._model)

  def load(self, path: str | Path) -> "Stream":
    """Continues from a saved state, also one of another machine.

    Raises:
      ConfigError: in one line, on a file that does not fit.
    """
    self.state = files.load(path, self.state, model=self._model)
    return self

  def ids(self, tokens: Tokens) -> np.ndarray:
    """The token ids [n] int32 of a text.

    Raises:
      ConfigError: if the model does not read such texts, and on ids outside the
        vocabulary.
    """
    if isinstance(tokens, str):
      if not self.task.sentence_length:
        raise ConfigError(
          "the model does not read words; tokens must be bytes or ids."
        )
      return prose.encode(
        tokens, self.task.token_names, self.task.sentence_length
      )
    if isinstance(tokens, bytes):
      if not self.task.byte_level:
        raise ConfigError(
          "the model does not read bytes, but ids below"
          f" {self.task.vocab_size}."
        )
      return encode(tokens)
    ids = np.asarray(tokens)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
      raise ConfigError(
        f"tokens must be whole numbers [n], got {ids.dtype}{list(ids.shape)}."
      )
    wrong = ids[(ids < 0) | (ids >= self.task.vocab_size)]
    if wrong.size:
      raise ConfigError(
        f"token {wrong[0]} is not in the vocabulary, 0 to"
        f" {self.task.vocab_size - 1}."
      )
    return ids.astype(np.int32)
