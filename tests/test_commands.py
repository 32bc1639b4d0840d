"""Every command of the docs is one that its own parser reads."""

import importlib

import pytest

from nema_lc_jax.errors import ConfigError
from tests import commands
from tests.commands import COMMANDS, PAGES, ROOT

CONFIGS = sorted(ROOT.glob("configs/*.py"))
EXAMPLES = {
  name: importlib.import_module(module).EXAMPLES
  for name, module in COMMANDS.items()
}
FOUND = [
  *((page, found) for page in PAGES
    for found in commands.found_in(page.read_text())),
  *((path, found) for path in CONFIGS
    for found in commands.found_in_source(path)),
  *((ROOT / name, found) for name, text in EXAMPLES.items()
    for found in commands.commands_in(text)),
]  # fmt: skip


@pytest.fixture(scope="module")
def run():
  return commands.any_config()


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
  monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(
  ("page", "found"), FOUND, ids=lambda x: getattr(x, "name", "")
)
def test_a_command_of_a_page_can_be_read(page, found, run):
  try:
    commands.check(*found, run)
  except ValueError as error:
    pytest.fail(f"{page.name}: {found[0]} {' '.join(found[1])}: {error}")


def test_commands_are_found_in_pages_and_docstrings_and_examples():
  pages = {page for page, _ in FOUND}
  assert {ROOT / "README.md", ROOT / "configs/lra_lc.py"} <= pages
  assert {ROOT / name for name in COMMANDS} <= pages
  blocks = [
    found for block in commands.code_of((ROOT / "README.md").read_text())[0]
    for found in commands.commands_in(block)
  ]  # fmt: skip
  assert blocks


PAGE = """\
Text with `python -m nema_lc_jax.by_task RUNS
--published` over two lines, and `--force`.

```sh
python3 -m venv .venv && .venv/bin/python -m nema_lc_jax.main \\
    --config=configs/toy_lc.py  # a comment
for i in 0 1; do
  python -m nema_lc_jax.main --process_id=$i &
done; wait
tail log | python -m nema_lc_jax.stream --workdir RUN --every 3 < in > out
```

```python
print("python -m nema_lc_jax.none")
```
"""


def test_commands_are_found_wherever_they_stand():
  assert list(commands.found_in(PAGE)) == [
    ("nema_lc_jax.main", ["--config=configs/toy_lc.py"]),
    ("nema_lc_jax.main", ["--process_id=$i"]),
    ("nema_lc_jax.stream", ["--workdir", "RUN", "--every", "3"]),
    ("nema_lc_jax.by_task", ["RUNS", "--published"]),
    ("", ["--force"]),
  ]


@pytest.mark.parametrize(
  "line",
  [
    "main --config=configs/lra_lc.py:TASK_small --config.data.dir=DIR",
    "main --config=FILE[:VARIANT] [--config.FIELD=VALUE ...] --process_id=$i",
    "evaluate --workdir RUN --config.data.gap=3",
    "inspect --workdir RUN --horizon N",
    "main --list",
    "sweep --help",
    "benchmark",
    "runs.config_help",
  ],
)
def test_a_command_with_words_that_stand_for_values_is_right(line, run):
  ((module, arguments),) = commands.commands_in(f"x -m nema_lc_jax.{line}")
  commands.check(module, arguments, run)


@pytest.mark.parametrize(
  ("line", "message"),
  [
    ("mian --config=configs/toy_lc.py", "no command nema_lc_jax.mian"),
    ("main --confg=configs/toy_lc.py", "--config is required"),
    ("main --config=configs/toy_lc.py --wrkdir=x", "did you mean --workdir"),
    ("main --config=configs/no.py", "no config file configs/no.py"),
    ("main --config=configs/lra_lc.py:lisp", "no variant 'lisp'"),
    ("main --config=configs/lra_lc.py:TASK_big", "no variant like TASK_big"),
    (
      "main --config=configs/toy_lc.py --config.model.num_reads=N",
      "is now config.model.num_hops",
    ),
    ("main --config=configs/toy_lc.py --config.seed=x", "must be a whole n"),
    ("main --config=configs/toy_lc.py --num_processes=two", "invalid int"),
    ("evaluate --split=test", "--workdir"),
    ("evaluate --workdir=RUN --config.data.none=3", "no field config.data.n"),
    ("inspect --workdir=RUN --split=train", "invalid choice"),
    (
      "sweep --config=configs/toy_lc.py --grid config.memory.slots=1,2",
      "no field config.memory.slots",
    ),
    ("runs.config_help --x", "takes no flags"),
  ],
)
def test_a_wrong_command_is_found(line, message, run):
  ((module, arguments),) = commands.commands_in(f"x -m nema_lc_jax.{line}")
  with pytest.raises(ValueError, match=r".") as error:
    commands.check(module, arguments, run)
  assert message in str(error.value)


@pytest.mark.parametrize(
  "flag",
  ["--frce", "--config.model.num_reads=3", "--config.seed=x", "--config.x",
   "--policies=fifo --sedes=3"],
)  # fmt: skip
def test_a_wrong_flag_in_a_sentence_is_found(flag, run):
  with pytest.raises(ConfigError):
    commands.check("", flag.split(), run)
