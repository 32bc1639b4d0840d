"""The claim itself, in miniature: a learned life of slots beats a queue."""

import os
import subprocess
import sys
from pathlib import Path

MINIATURE = Path(__file__).with_name("miniature.py")
# The default flags make faster steps, but take longer to compile them than all
# steps of this test take.
FLAGS = (
  "--xla_backend_optimization_level=1",
  "--xla_llvm_disable_expensive_passes=true",
  "--xla_cpu_use_fusion_emitters=false",
  "--xla_cpu_parallel_codegen_split_count=1",
)


def train(policy):
  """The accuracy of a seed, trained side by side with the other policy."""
  return subprocess.Popen(
    [sys.executable, str(MINIATURE), policy],
    env=os.environ | {"XLA_FLAGS": " ".join(FLAGS)},
    stdout=subprocess.PIPE,
    text=True,
  )


def test_learned_beats_fifo_on_recall():
  jobs = {policy: train(policy) for policy in ("learned", "fifo")}
  found = {p: float(job.communicate()[0]) for p, job in jobs.items()}
  # FIFO holds the last two of seven chunks: 2/7, and a guess otherwise.
  assert found["fifo"] < 0.5
  assert found["learned"] > 0.85
