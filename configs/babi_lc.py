"""bAbI: questions about short stories, a sentence at a time.

python -m nema_lc_jax.main --config=configs/babi_lc.py:TASK \
    --config.data.dir=DIR
  DIR is the unpacked tasks_1-20_v1-2, or a folder of files
  qa<N>_*_{train,test}.txt. The end of a run says the error of each task, their
  mean, and which are above 5%.
python -m nema_lc_jax.by_task RUNS --published
  The table of finished runs, beside published numbers.
"""

from ml_collections import ConfigDict

from configs import default

# As Weston et al. 2015 (arXiv:1502.05698) call them.
TASKS = {
  "1": "one supporting fact",
  "2": "two supporting facts",
  "3": "three supporting facts",
  "4": "relations of two arguments",
  "5": "relations of three arguments",
  "6": "yes/no questions",
  "7": "counting",
  "8": "lists and sets",
  "9": "simple negation",
  "10": "indefinite knowledge",
  "11": "basic coreference",
  "12": "conjunction",
  "13": "compound coreference",
  "14": "time reasoning",
  "15": "basic deduction",
  "16": "basic induction",
  "17": "positional reasoning",
  "18": "size reasoning",
  "19": "path finding",
  "20": "an agent's motivations",
}
# Words of the longest sentence or question, where they are more than 8.
WIDE = {"10": 9, "17": 11, "18": 9, "19": 10}
# Chunks for nearly all questions, where they are not 11.
CHUNKS = {
  "2": 64, "3": 128, "4": 3, "5": 64, "6": 28, "7": 48, "8": 48, "14": 15,
  "15": 9, "16": 10, "17": 3, "18": 24, "19": 6, "20": 13,
}  # fmt: skip


def _fit(c: ConfigDict, chunks: int, words: int) -> None:
  """Chunks of one sentence, and at first a slot for each, up to 64."""
  c.data.sentence_length = words  # tokens per sentence, and so per chunk
  c.data.length = chunks * words
  c.model.chunk_length = words
  if chunks > c.memory.num_slots:
    c.train.curriculum = ((0.4, c.data.length, min(chunks, 64)),)


def _task(c: ConfigDict) -> ConfigDict:
  c.data.name = "babi"
  c.data.num_eval = 1000  # validation examples at most; None: all
  # Who gave and who got is a matter of order, of words side by side.
  c.model.num_layers = 0
  c.model.conv_kernel_size = 3
  c.model.num_layers_after = 1
  c.model.mlp_ratio = 2.0
  c.model.num_hops = 3  # some questions need three facts, one by another
  c.memory.num_slots = 16
  c.memory.num_candidates = 1
  c.memory.overprovisioned_slots = 2
  # A sentence is forgotten whole: what else it says is lost with what is void.
  c.loss.forget = 0.3
  # The gate would shut on what reads have not learned to use as yet.
  c.loss.write = 0.0
  c.train.learning_rate = 2e-3
  c.train.steps = 2000
  c.train.eval_every = 500
  c.train.checkpoint_every = 500
  return c


def _joint(c: ConfigDict) -> ConfigDict:
  c = _task(c)
  _fit(c, 64, 12)
  c.model.width = 96
  c.loss.forget = 1.0  # after so many steps nothing is gained by forgetting
  c.loss.write = 0.003
  # The last 15 sentences of a story, a slot for each, hold nearly all that is
  # asked for; then longer stories, and fewer slots than sentences.
  c.train.curriculum = ((0.85, 16 * 12, 16), (0.95, 32 * 12, 16))
  c.train.batch_size = 32
  c.train.learning_rate = 1e-3
  c.train.warmup_steps = 400
  c.train.steps = 20_000
  c.train.log_every = 100
  c.train.eval_every = 2000
  c.train.checkpoint_every = 1000
  return c


VARIANTS = {
  "joint": ("one model for all tasks whose files are there", _joint),
  **{name: (line, _task) for name, line in TASKS.items()},
}


def get_config(variant: str = "joint") -> ConfigDict:
  """The config of a variant: a task's number, or joint."""
  c = default.choose("configs/babi_lc.py", variant, VARIANTS)
  # 1 to 20, or joint: all tasks whose files are in data.dir.
  c.data.task = variant
  if variant != "joint":
    _fit(c, CHUNKS.get(variant, 11), WIDE.get(variant, 8))
  return c
