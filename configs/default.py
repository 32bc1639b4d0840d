"""Every field of a run, with its default. Other configs override a few.

The comment above a field or behind it is its description: `--help` and
docs/configuration.md show it.
"""

from collections.abc import Callable, Mapping

from ml_collections import ConfigDict, config_dict

# A config's variants by name: one line about each, and what it changes.
Variants = Mapping[str, tuple[str, Callable[[ConfigDict], ConfigDict]]]


def choose(file: str, variant: str, variants: Variants) -> ConfigDict:
  """The default config, as one of the variants of a config file changes it."""
  if variant not in variants:
    raise ValueError(
      f"{file} has no variant {variant!r}; it has: {', '.join(variants)}."
    )
  return variants[variant][1](get_config())


def get_config() -> ConfigDict:
  """The fields that all runs have; a config adds its task's data options."""
  c = ConfigDict()
  # Seed of the parameters, of the order of batches, and of generated examples;
  # a whole number from 0.
  c.seed = 0

  # The data set. A config may add options of its own data set.
  c.data = ConfigDict()
  # Data set: aan, babi, cifar10, delayed_qa, file, forgetting_mqar, imdb,
  # listops, mqar, pathfinder, pressure, pytext, rebind, recall, revoke, toy.
  c.data.name = ""
  # Folder of the data set's files; of pytext, where it is prepared. None: the
  # data set's own default.
  c.data.dir = config_dict.placeholder(str)
  # The user's own file or folder, for data.name=file.
  c.data.path = config_dict.placeholder(str)
  c.data.length = 512  # tokens per text, a multiple of model.chunk_length

  # The Transformer around the memory.
  c.model = ConfigDict()
  # What reads a text: memory, or, without slots and for comparison, local
  # (chunks alone), full (attention over the whole text), recurrent (memory
  # tokens), ssm (a linear recurrence over the whole text).
  c.model.encoder = "memory"
  c.model.width = 64  # D, of tokens and slots; a multiple of num_heads
  c.model.num_layers = 2  # layers within a chunk, before the memory is read
  c.model.num_layers_after = 1  # layers within a chunk, after the read
  c.model.num_heads = 4  # attention heads of each layer
  c.model.mlp_ratio = 4.0  # hidden width of the MLPs over model.width
  # What mixes the tokens of a chunk: attention, or ssm (linear recurrences).
  c.model.sequence_mixer = "attention"
  c.model.gated_mlp = False  # whether MLPs have gated units
  # How a token knows its place in a chunk: learned (a vector is added to it) or
  # rotary (queries and keys are turned).
  c.model.position_embedding = "learned"
  # Tokens in the window of a convolution over the embeddings; 0: none.
  c.model.conv_kernel_size = 0
  c.model.chunk_length = 64  # T, tokens per chunk
  # What becomes a text's vector: last (the tokens of the last chunk), mean (of
  # all tokens), slots (the memory's contents at the end).
  c.model.pool = "last"
  c.model.dropout = 0.0  # probability in training, in [0, 1)
  # Number format of activations: float32 or bfloat16; parameters and memory are
  # float32 in any case.
  c.model.dtype = "float32"
  # Norm of read queries, above 0: the most that content adds to a read logit.
  c.model.query_norm = 5.0
  # Reads of the last chunk, one after another; more than 1 needs pool=last.
  c.model.num_hops = 1
  # Whether activations are computed again in the backward pass, which takes
  # less memory and more time.
  c.model.remat = False
  # Chunks that layers run on at once; 0: all of a text, side by side.
  c.model.chunk_batch_size = 0
  # Chunks that gradients go back through at most (truncated BPTT); None: all.
  c.model.bptt_chunks = config_dict.placeholder(int)

  # The slots, and the policy that decides what happens to them.
  c.memory = ConfigDict()
  # Policy: none, fifo, lru, lfu, random, oracle, write_gate, write_gate_lru,
  # learned, or one of your own as module:function.
  c.memory.policy = "learned"
  c.memory.num_slots = 16  # M, how many items the memory holds; from 1
  # Slots beyond num_slots in training, for the learned policies: items that are
  # too many decay there before they are lost.
  c.memory.overprovisioned_slots = 0
  c.memory.num_candidates = 2  # K, vectors per chunk that may be written
  # Writes, updates and forgets per chunk at most, all together; 0: none.
  c.memory.budget = 2
  # Options of the learned policies; the others ignore them.
  c.memory.controller = ConfigDict()
  c.memory.controller.hidden = 32  # width of the controller's hidden layer
  # The largest share of its strength that a step may cost a slot, in [0, 1].
  c.memory.controller.max_decay = 0.9
  # A candidate is written only if its score, in (0, 1), is above this.
  c.memory.controller.write_threshold = 0.02
  # What a step in training leaves of the strength of an item beyond num_slots,
  # in (0, 1].
  c.memory.controller.soft_eviction_decay = 0.02
  # Which slot a write replaces: by strength (the weakest), fifo (the oldest),
  # lru (the least recently used).
  c.memory.controller.eviction = "strength"
  c.memory.controller.allow_update = True  # whether slots may be updated
  # Whether slots may be forgotten, and lose strength.
  c.memory.controller.allow_forget = True
  # An input that the controller does not see, for ablations: content, age,
  # usage or context; empty: it sees all.
  c.memory.controller.ablate_input = ""
  # How decisions get gradients: continuous (through strengths) or, for
  # ablations, straight_through.
  c.memory.controller.gradient_estimator = "continuous"

  # Weights of the lifecycle losses, from 0. The task's own loss has weight 1.
  c.loss = ConfigDict()
  c.loss.write = 0.003  # cost of writes
  # Cost of forgetting young and much used slots, from the first step on.
  c.loss.forget = 0.1
  # Cost of changing one's mind about a slot from chunk to chunk.
  c.loss.stability = 1e-3
  # Fraction of the steps for which the weights of write and stability are 0.
  c.loss.start = 0.2
  # Fraction of the steps over which these two then rise to their full weight.
  c.loss.ramp = 0.2

  # Self-supervised training on the task's own texts, before the task.
  c.pretrain = ConfigDict()
  c.pretrain.steps = 0  # steps before those of the task; 0: none
  # What it learns: masked_lm (guess hidden tokens) or causal_lm (the next one).
  c.pretrain.objective = "masked_lm"
  c.pretrain.mask_rate = 0.15  # share of tokens that masked_lm hides, in (0, 1]
  c.pretrain.learning_rate = 1e-3  # the highest of that training, above 0

  # The test at the end of a run.
  c.eval = ConfigDict()
  # The test is repeated at so many times data.length; whole numbers from 1.
  c.eval.length_multipliers = (1,)
  # Test examples at every length but data.length itself, where it is all.
  c.eval.examples = 256

  # Training on the task.
  c.train = ConfigDict()
  c.train.steps = 1000  # optimizer steps of the run
  # Examples per step over all devices, a multiple of their number.
  c.train.batch_size = 32
  c.train.learning_rate = 1e-3  # AdamW's after the warm-up, above 0
  # Learning rate after the warm-up: cosine (to 0), constant, or rsqrt (falls as
  # 1 over the square root of the step).
  c.train.schedule = "cosine"
  c.train.warmup_steps = 50  # steps in which the learning rate rises from 0
  c.train.weight_decay = 0.01  # decay of matrices but the policy's; from 0
  # Global norm that gradients are clipped to, above 0.
  c.train.clip_norm = 1.0
  # Learning rate of the policy's parameters over that of the others.
  c.train.policy_lr_factor = 0.5
  # Easier stages before the task itself, as triples ((until this fraction of
  # the steps, text length, slots), ...); then data.length and memory.num_slots.
  c.train.curriculum = ()
  c.train.log_every = 20  # steps between two lines of training metrics
  c.train.eval_every = 200  # steps between two validations
  c.train.checkpoint_every = 200  # steps between two saves of the latest state
  # Examples per step of evaluation, a multiple of the number of devices.
  c.train.eval_batch_size = 128
  # A run stops after more steps than this in a row with gradients that are not
  # finite; such steps are skipped.
  c.train.max_consecutive_nonfinite = 20
  # What a run does if a checkpoint cannot be written: stop or continue.
  c.train.on_save_error = "stop"
  c.train.parallel = "jit"  # how devices share a batch: jit or pmap
  # Devices that parameters are sharded over, a divisor of their number; 1: each
  # device holds all of them.
  c.train.fsdp = 1
  return c
