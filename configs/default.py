"""Every field of a run, with its default. Other configs override a few."""

from ml_collections import ConfigDict, config_dict


def choose(file: str, variant: str, variants: dict) -> ConfigDict:
  """The default config, as one of the variants of a config file changes it."""
  if variant not in variants:
    raise ValueError(
      f"{file} has no variant {variant!r}; it has: {', '.join(variants)}."
    )
  return variants[variant](get_config())


def get_config() -> ConfigDict:
  """The fields that all runs have; a config adds its task's data options."""
  c = ConfigDict()
  c.seed = 0

  c.data = ConfigDict()
  c.data.name = ""  # one of nema_lc_jax/data/registry.py
  c.data.dir = config_dict.placeholder(str)  # of files; of pytext, the cache
  c.data.path = config_dict.placeholder(str)  # the user's own file
  c.data.length = 512  # tokens per text, a multiple of model.chunk_length

  c.model = ConfigDict()
  c.model.encoder = "memory"  # or, without slots: local, full, recurrent, ssm
  c.model.width = 64
  c.model.num_layers = 2  # chunk-local, before the memory read
  c.model.num_layers_after = 1
  c.model.num_heads = 4
  c.model.mlp_ratio = 4.0
  c.model.sequence_mixer = "attention"  # or ssm: linear recurrence
  c.model.gated_mlp = False  # MLPs with gated units
  c.model.position_embedding = "learned"  # or rotary
  c.model.conv_kernel_size = 0  # window over embeddings, in tokens; 0: none
  c.model.chunk_length = 64
  c.model.pool = "last"  # last, mean, slots
  c.model.dropout = 0.0
  c.model.dtype = "float32"  # of activations: float32, bfloat16
  c.model.query_norm = 5.0  # the most that content adds to a read logit
  c.model.num_hops = 1  # of the last chunk, one after another
  c.model.remat = False  # recompute in the backward pass: less memory
  c.model.chunk_batch_size = 0  # 0: all chunks at once
  c.model.bptt_chunks = config_dict.placeholder(int)  # truncated BPTT

  c.memory = ConfigDict()
  # none, fifo, lru, lfu, random, write_gate, write_gate_lru, learned, oracle,
  # or one of your own as module:function
  c.memory.policy = "learned"
  c.memory.num_slots = 16
  c.memory.overprovisioned_slots = 0  # beyond num_slots, in training
  c.memory.num_candidates = 2
  c.memory.budget = 2  # operations per chunk
  c.memory.controller = ConfigDict()  # of the learned policies
  c.memory.controller.hidden = 32
  c.memory.controller.max_decay = 0.9
  c.memory.controller.write_threshold = 0.02
  c.memory.controller.soft_eviction_decay = 0.02  # per step, in training
  c.memory.controller.eviction = "strength"  # what is replaced: or fifo, lru
  c.memory.controller.allow_update = True
  c.memory.controller.allow_forget = True
  c.memory.controller.ablate_input = ""  # or content, age, usage, context
  c.memory.controller.gradient_estimator = "continuous"  # or straight_through

  # Weights of the lifecycle losses. Forgetting costs from the beginning; the
  # others 0 until `start`, all after `ramp` more (fractions of the run).
  c.loss = ConfigDict()
  c.loss.write = 0.003
  c.loss.forget = 0.1
  c.loss.stability = 1e-3
  c.loss.start = 0.2
  c.loss.ramp = 0.2

  # Steps of self-supervised training on the task's own texts, before the task.
  c.pretrain = ConfigDict()
  c.pretrain.steps = 0
  c.pretrain.objective = "masked_lm"  # or causal_lm
  c.pretrain.mask_rate = 0.15
  c.pretrain.learning_rate = 1e-3

  # The test is repeated at so many times the length, on so many examples.
  c.eval = ConfigDict()
  c.eval.length_multipliers = (1,)
  c.eval.examples = 256

  c.train = ConfigDict()
  c.train.steps = 1000
  c.train.batch_size = 32
  c.train.learning_rate = 1e-3
  c.train.schedule = "cosine"  # or constant, rsqrt
  c.train.warmup_steps = 50
  c.train.weight_decay = 0.01
  c.train.clip_norm = 1.0
  c.train.policy_lr_factor = 0.5
  # (until this fraction of the steps, text length, slots), ...; then
  # data.length and memory.num_slots. Overprovisioned slots come on top.
  c.train.curriculum = ()
  c.train.log_every = 20
  c.train.eval_every = 200
  c.train.checkpoint_every = 200
  c.train.eval_batch_size = 128
  c.train.max_consecutive_nonfinite = 20  # steps, then the run stops
  c.train.on_save_error = "stop"  # of a checkpoint; or continue, without it
  c.train.parallel = "jit"  # or pmap
  c.train.fsdp = 1  # devices that parameters are sharded over; 1: replicated
  return c
