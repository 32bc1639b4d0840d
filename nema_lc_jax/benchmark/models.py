"""The compared models: their configs, their programs, and what fits."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from nema_lc_jax.benchmark.measure import Program, alternate
from nema_lc_jax.models import BASELINES
from nema_lc_jax.training import steps as steps
from nema_lc_jax.training.experiment import build_steps, num_parameters
from nema_lc_jax.training.matching import matched_ratio
from nema_lc_jax.training.steps import TrainState
from nema_lc_jax.training.task import TaskSpec

ABOUT = {
  "memory": "NeMA-LC, the encoder with its memory",
  "encoder": "the same encoder without memory, hence with fewer parameters",
  "local": "block-local attention, at equal parameters",
  "full": "full attention (Transformer), at equal parameters",
  "recurrent": "recurrent memory tokens (RMT), at equal parameters",
  "ssm": "linear state space layers (S5), at equal parameters",
  "delta": "a gated delta rule for the memory, at equal parameters",
  "routed": "routed slots (Raven) for the memory, at equal parameters",
}
NAMES = tuple(ABOUT)
KINDS = ("train", "forward")
MEASURED, NO_FIT, SLOW = "measured", "does not fit", "too slow"


@dataclasses.dataclass
class Case:
  """One model, at one length, in training or inference."""

  head: str  # "classify" one text, "match" two
  length: int  # tokens of a text
  model: str
  kind: str  # one of `KINDS`
  parameters: int
  mlp_ratio: float
  status: str  # MEASURED, NO_FIT or SLOW
  batch: int  # examples in a step; if none fits, the smallest that was tried
  bytes: int | None  # that the compiled step needs; None: unknown
  peak_bytes: int | None = None  # peak that the device reports, if it does
  # Seconds of a step, one per round; of a step that is too slow, `at_least`
  # is a lower bound.
  samples: list[float] = dataclasses.field(default_factory=list)
  at_least: float | None = None

  @property
  def tokens(self) -> int:
    """Tokens in a step."""
    return self.batch * self.length * (2 if self.head == "match" else 1)


@dataclasses.dataclass(frozen=True)
class Limits:
  """Limits on the memory and time of a step, and how it is timed."""

  bytes: float  # of memory
  max_seconds: float  # of a step
  rounds: int
  seconds: float  # least duration of a sample


def config_of(config: ConfigDict, task: TaskSpec, model: str) -> ConfigDict:
  """The config of a model; `config` is that of the memory model.

  Raises:
    ConfigError: if no size of the model is near that of the memory model.
  """
  c = config.copy_and_resolve_references()
  c.model.encoder = {"encoder": "local"}.get(model, model)
  if model in BASELINES:
    c.model.mlp_ratio = matched_ratio(
      config, task, encoder=model, policy=config.memory.policy
    )
  return c


def random_batch(
  task: TaskSpec, batch: int, length: int
) -> dict[str, np.ndarray]:
  """A batch of random tokens and labels, without padding."""
  rng = np.random.default_rng(0)
  draw = lambda high, *shape: rng.integers(high, size=shape, dtype=np.int32)
  made = {
    "inputs": draw(task.vocab_size, batch, length),
    "mask": np.ones((batch, length), bool),
    "label": draw(task.num_classes, batch),
  }
  if task.head == "match":
    other = draw(task.vocab_size, batch, length)
    made |= {"inputs2": other, "mask2": made["mask"]}
  return made


def first_state(config: ConfigDict, task: TaskSpec) -> TrainState:
  """The state before training, on one device.

  Its program is compiled once for all lengths and batches.
  """
  steps = build_steps(config, task)
  state = steps.init(np.uint32(0), np.float32(config.train.learning_rate))
  return jax.device_put(state, jax.devices()[0])


def training_program(
  config: ConfigDict, task: TaskSpec, *, batch: int, length: int
) -> Program:
  """A training step with its optimizer, on random tokens."""
  spec = build_steps(config, task).spec
  return Program(
    functools.partial(steps.train_step, spec=spec),
    lambda: (
      first_state(config, task),
      jax.device_put(random_batch(task, batch, length)),
    ),
    carry=True,
  )


def forward_program(
  config: ConfigDict, task: TaskSpec, *, batch: int, length: int
) -> Program:
  """Inference: logits of random tokens."""
  model = build_steps(config, task).spec.model

  def forward(params, keys, batch):
    return model.apply(params, keys, batch).logits

  return Program(
    forward,
    lambda: (
      first_state(config, task).params,
      jax.random.split(jax.random.key(1), batch),
      jax.device_put(random_batch(task, batch, length)),
    ),
  )


PROGRAMS = {"train": training_program, "forward": forward_program}


def fit(
  make: Callable[[int], Program], *, batch: int, limit: float
) -> tuple[Program | None, int, int | None]:
  """Finds the largest batch that fits, and starts its program.

  Args:
    make: makes the program of a batch size.
    batch: the largest size to try; it is halved until it fits.
    limit: bytes.

  Returns:
    The program, or None if one example does not fit; its batch; its bytes.
  """
  while True:
    found = None
    try:
      program = make(batch)
      found = program.bytes
      if found is None or found <= limit:
        program.start()
        return program, batch, found
    except jax.errors.JaxRuntimeError as error:
      if "RESOURCE_EXHAUSTED" not in str(error):
        raise
    if batch == 1:
      return None, batch, found
    batch //= 2


class Comparison:
  """Times models interleaved, one text length after the other."""

  def __init__(
    self,
    config: ConfigDict,
    task: TaskSpec,
    names: Sequence[str],
    limits: Limits,
    log: Callable[[str], None],
  ):
    """Takes the config of the memory model; `log` receives progress lines."""
    self.task, self.limits, self.log = task, limits, log
    self.batch = config.train.batch_size
    self.configs = {name: config_of(config, task, name) for name in names}
    # Seconds per token at the longest text so far.
    self._pace: dict[tuple[str, str], float] = {}

  def run(self, length: int) -> list[Case]:
    """Times training and inference of all models at one length."""
    made = [
      self._prepare(name, kind, length)
      for name in self.configs
      for kind in KINDS
    ]
    ready = {i: p for i, (_, p) in enumerate(made) if p is not None}
    samples = alternate(
      ready, rounds=self.limits.rounds, seconds=self.limits.seconds
    )
    cases = [case for case, _ in made]
    for i, times in samples.items():
      cases[i].samples = times
    return cases

  def _prepare(
    self, name: str, kind: str, length: int
  ) -> tuple[Case, Program | None]:
    config, limits = self.configs[name], self.limits
    spec = build_steps(config, self.task).spec
    shapes = jax.eval_shape(spec.model.init, jax.random.key(0))
    case = Case(
      head=self.task.head,
      length=length,
      model=name,
      kind=kind,
      parameters=num_parameters(shapes),
      mlp_ratio=config.model.mlp_ratio,
      status=MEASURED,
      batch=self.batch,
      bytes=None,
    )
    make = lambda batch: PROGRAMS[kind](
      config, self.task, batch=batch, length=length
    )
    # A lower bound, since the work grows at least as the number of tokens.
    seconds = lambda: self._pace.get((name, kind), 0.0) * case.tokens
    program = None
    while program is None:
      while case.batch > 1 and seconds() > limits.max_seconds:
        case.batch //= 2
      if seconds() > limits.max_seconds:
        case.status, case.at_least = SLOW, seconds()
        break
      program, case.batch, case.bytes = fit(
        make, batch=case.batch, limit=limits.bytes
      )
      if program is None:
        case.status = NO_FIT
        break
      self._pace[name, kind] = program.first_seconds / case.tokens
      case.peak_bytes = program.peak_bytes
      if program.first_seconds > limits.max_seconds:
        program = None  # Try again with fewer examples.
    self.log(_line(case, program))
    return case, program


def _line(case: Case, program: Program | None) -> str:
  size = "" if case.bytes is None else f", {case.bytes / 2**20:,.0f} MiB"
  took = "" if program is None else f", {program.first_seconds:.2f} s"
  return (
    f"{case.head} {case.length:,} {case.model} {case.kind}: {case.status},"
    f" batch {case.batch}{size}{took}"
  )
