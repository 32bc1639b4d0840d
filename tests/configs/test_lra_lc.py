import re

import pytest

from configs import lra_lc
from nema_lc_jax import data, models
from nema_lc_jax.data.lra import aan
from nema_lc_jax.plotting import __main__ as plotting
from nema_lc_jax.runs.command_line import parse_config
from nema_lc_jax.runs.config_json import config_from_json
from nema_lc_jax.training.checks import _check_lengths, stages_of
from nema_lc_jax.training.experiment import load_data
from tests.helpers import run

PROTOCOL = {  # length, batch size: of the Long Range Arena
  "listops": (2000, 32),
  "text": (4000, 32),
  "retrieval": (4000, 32),
  "image": (1024, 256),
  "pathfinder": (1024, 512),
  "pathx": (16384, 64),
}


@pytest.mark.parametrize("variant", lra_lc.VARIANTS)
def test_each_variant_is_a_run_that_can_be(variant):
  c = lra_lc.get_config(variant)
  _check_lengths(stages_of(c), c)
  assert set(c.data) - {"name", *data.PLACES} <= data.options_of(c.data.name)
  models.build_model(
    head="classify", vocab_size=257, num_classes=2, **c.model, **c.memory
  )
  # A checkpoint of each validation, and both at the end.
  assert c.train.steps % c.train.eval_every == 0


def test_full_variants_follow_the_protocol():
  for variant, expected in PROTOCOL.items():
    c = lra_lc.get_config(variant)
    assert (c.data.length, c.train.batch_size) == expected
    assert c.data.get("num_test", None) in (None, 2000)  # nothing left out


def test_the_header_names_every_variant_and_no_other():
  named = set(re.findall(r"lra_lc\.py:(\w+)", lra_lc.__doc__))
  assert named | {"haystack"} == set(lra_lc.VARIANTS)  # the default


def test_a_small_variant_loads_and_makes_batches():
  c = lra_lc.get_config("listops_small")
  c.data.update(num_train=40, num_eval=5, num_test=9)
  dataset = load_data(c)
  assert dataset.num_examples == {"train": 40, "validation": 5, "test": 9}
  batch = next(
    data.train_iterator(
      dataset, batch_size=c.train.batch_size, seed=0, length=c.data.length
    )
  )
  assert batch["inputs"].shape == (32, 512)
  assert batch["mask"].all(0)[:100].all()  # More than 100 tokens each.


def test_retrieval_from_files_to_the_figure_and_the_published(tmp_path):
  rows = [f"{i % 2}.0\ta\tb\tb'text {i}'\tb'other {i}'\n" for i in range(24)]
  for name in aan.FILES.values():
    (tmp_path / name).write_text("".join(rows))

  def train(variant, encoder):
    c = lra_lc.get_config(variant)
    c.data.update(dir=str(tmp_path), length=32, num_eval=8, num_test=24)
    c.model.update(encoder=encoder, width=8, num_heads=2, chunk_length=8)
    c.model.num_layers, c.model.num_layers_after = int(encoder == "full"), 0
    c.eval.diagnostics = False
    c.memory.update(policy="fifo", num_slots=3)
    c.train.update(
      steps=2, batch_size=4, eval_every=2, checkpoint_every=2,
      eval_batch_size=8, log_every=1, warmup_steps=1,
    )  # fmt: skip
    assert run(c, tmp_path / encoder).steps == 2
    return str(tmp_path / encoder)

  runs = [train("retrieval", "memory"), train("retrieval_small", "full")]
  out = tmp_path / "figures"
  assert plotting.main(["--compare", *runs, "--published", f"--out={out}"]) == 0
  assert (out / "compare_accuracy.png").stat().st_size > 1000
  theirs, ours = (out / "published.tex").read_text().split("ours, this run")
  assert "retrieval, test accuracy" in theirs
  assert "S5 & 91.40" in theirs
  assert "fifo & " in ours
  assert "full & " in ours
  assert "24 test examples, raw bytes" in ours


@pytest.mark.parametrize(
  "path", ["configs/lra_lc.py", "configs/babilong_lc.py"]
)
def test_the_background_may_be_given(path):
  config = parse_config(path, ["--config.data.background=books"])
  assert config.data.background == "books"
  saved = config_from_json(parse_config(path, []).to_dict())
  assert saved.data.background is None
  saved.data.background = "books"
