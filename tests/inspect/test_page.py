"""The command line of the inspector, and its page in a browser."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from nema_lc_jax.errors import ConfigError
from nema_lc_jax.inspect import Inspection, Record, show
from nema_lc_jax.inspect.__main__ import main
from nema_lc_jax.inspect.names import Names
from nema_lc_jax.inspect.page import content, render
from nema_lc_jax.inspect.record import example_of
from nema_lc_jax.runs import trace
from nema_lc_jax.training.experiment import make_experiment
from tests.helpers import save_run, tiny_config
from tests.inspect.untrained import HOSTILE, data_of, texts_config

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  return save_run(tiny_config(), tmp_path_factory.mktemp("recall"))


@pytest.fixture(scope="module")
def texts_run(tmp_path_factory):
  folder = tmp_path_factory.mktemp("texts")
  (folder / "run").mkdir()
  return save_run(texts_config(folder), folder / "run")


def test_the_facts_of_a_task_with_ground_truth_are_known(run):
  experiment = make_experiment(tiny_config())
  batch = example_of(experiment, "validation", 2)
  facts = show(run, 2).facts
  names = experiment.dataset.token_names
  tokens, truth = (
    batch[name][0].reshape(-1, 8) for name in ("inputs", "ground_truth")
  )
  assert len(facts) == len(tokens) == 10
  for fact, t, g in zip(facts, tokens, truth, strict=True):
    assert fact == " ".join(names[i] for i in t[g > 0])
  # Three facts [MARK, key, value].
  assert sorted(len(fact.split()) for fact in facts)[-4:] == [0, 3, 3, 3]


# Texts of the user's own.


def test_a_file_is_read_as_bytes_in_whole_chunks(texts_run, tmp_path):
  file = tmp_path / "mine.txt"
  file.write_text("Grüße & <b>")
  found = show(texts_run, text=file)
  page = data_of(found.page)
  assert found.data["tokens"].shape == (2, 8)  # 13 bytes in chunks of 8
  assert "".join(page["texts"]).replace("\ufffd", "") in "Grüße & <b>"
  assert page["answer"]["label"] is None
  assert "label" in found.data
  assert found.data["label"] == -1
  file.write_text("x" * 100)
  assert show(texts_run, text=file).data["tokens"].shape == (10, 8)


def test_a_file_is_read_as_sentences_by_a_model_of_words(
  haystack_run, tmp_path
):
  folder, _ = haystack_run
  file = tmp_path / "mine.txt"
  file.write_text("Anna went to the garden. It was zxcv!\n\nBen took the lamp")
  found = show(folder, text=file, question="Where is Anna?")
  page = data_of(found.page)
  assert page["texts"] == [
    "anna went to the garden",
    "it was <unk>",
    "ben took the lamp",
    "where is anna",
  ]
  assert page["answer"]["label"] is None
  file.write_text("The end of the garden. " * 50)
  found = show(folder, text=file, question="Where is Anna?")
  assert found.data["tokens"].shape == (24, 8)
  assert "at most the first 23 sentences" in data_of(found.page)["facts"]
  for question, wrong in (
    (None, "--question is needed"),
    ("?!", "'?!' has no word"),
    (" ", "--question is empty"),
    ("where is anna " * 70, "the question has 216 tokens; it must have fewer"),
  ):
    with pytest.raises(ConfigError, match=re.escape(wrong)):
      show(folder, text=file, question=question)


# The page.


def test_the_page_needs_nothing_from_outside_and_escapes_its_texts(texts_run):
  found = show(texts_run, 1)
  page, data = found.page, data_of(found.page)
  assert HOSTILE[:30] in "".join(data["texts"])
  shell = re.sub(r"\{.*\}", "", page)  # the data is on one line
  assert not re.findall(r"https?:|//\w+\.|\ssrc=|\shref=|url\(|@import", shell)
  assert "{{" not in shell
  assert page.count("</script>") == 2
  assert "<b>A" not in page
  frame = found._repr_html_()
  assert html.unescape(re.search('srcdoc="([^"]*)"', frame)[1]) == page


def test_the_command_writes_a_page_and_a_picture(run, capsys):
  assert main(["--workdir", str(run), "--example", "3", "--split=test"]) == 0
  written = capsys.readouterr().out.split()
  folder = run / "inspect"
  assert written == [f"{folder}/test_3.html", f"{folder}/test_3.png"]
  assert sorted(map(str, folder.iterdir())) == written
  shown = show(run, 3, split="test")
  assert (folder / "test_3.html").read_text() == shown.page
  assert (folder / "test_3.png").read_bytes().startswith(b"\x89PNG")


def test_the_config_may_be_overridden(run, capsys, tmp_path):
  out = tmp_path / "long.html"
  arguments = ["--config.data.length=160", "--config.memory.num_slots=5"]
  assert main(["--workdir", str(run), "--out", str(out), *arguments]) == 0
  capsys.readouterr()
  operation = data_of(out.read_text())["operation"]
  assert np.shape(operation) == (20, 5)
  overrides = {"data.length": 160, "memory.num_slots": 5}
  shown = show(run, overrides=overrides)
  assert np.array_equal(shown.data["operation"], operation)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--example=24"], "no example 24: validation of recall has 24"),
    (["--example=-1"], "no example -1"),
    (["--text", __file__], "needs a model that reads bytes"),
    (["--text", "nothing.txt", "--horizon=2"], "cannot be combined"),
    (["--horizon=0"], "must be at least 1"),
    (["--out=page.pdf"], "must end in .html"),
    (["--horizon=2", "--out=page.html"], "must end in .png"),
    (["--split=train"], "invalid choice: 'train'"),
    (["--config.data.lenth=4"], "lenth"),
    (["--config.model.encoder=local"], "'local' has no memory"),
    (["extra"], "unknown argument 'extra'"),
  ],
)
def test_a_mistake_is_one_line_and_exit_code_2(run, capsys, arguments, message):
  assert main(["--workdir", str(run), *arguments]) == 2
  told = capsys.readouterr().err
  assert message in told
  assert told.count("\n") == 1


def test_a_folder_without_a_run_is_a_mistake(tmp_path, capsys):
  assert main(["--workdir", str(tmp_path)]) == 2
  assert "not the folder of a run" in capsys.readouterr().err
  assert main([]) == 2
  assert "--workdir" in capsys.readouterr().err


def test_files_that_are_missing_or_empty_are_mistakes(
  texts_run, tmp_path, capsys
):
  (tmp_path / "empty").touch()
  for name, message in (("gone", "No such file"), ("empty", "is empty")):
    path = str(tmp_path / name)
    assert main(["--workdir", str(texts_run), "--text", path]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_the_horizon_is_drawn_and_written(run, capsys):
  command = ["--workdir", str(run), "--horizon=2", "--examples=4"]
  assert main(command) == 0
  folder = run / "inspect"
  paths = [f"{folder}/horizon.png", f"{folder}/horizon.json"]
  assert capsys.readouterr().out.split() == paths
  assert json.loads((folder / "horizon.json").read_text())["examples"] == 4


# In a browser.


def made_up(N, M, K=2):
  """A record of any size, with all operations in it."""
  rng = np.random.default_rng(0)
  shares = [0.1, 0.56, 0.08, 0.06, 0.08, 0.08, 0.04]
  operation = rng.choice(len(trace.OPERATIONS), (N, M), p=shares)
  operation[0] = trace.WRITTEN
  live = (operation != trace.FREE) & (operation != trace.FORGOTTEN)
  fresh = operation >= trace.WRITTEN
  chunk = np.arange(N)[:, None]
  born = np.maximum.accumulate(np.where(fresh, chunk, 0))
  share = rng.dirichlet(np.ones(3), (N, M))
  return Record(
    tokens=rng.integers(1, 9, (N, 4)),
    valid=np.ones((N, 4), bool),
    operation=operation,
    strength=np.where(live, rng.random((N, M)), 0),
    age=np.where(live, chunk - born, 0),
    usage=rng.random((N, M)),
    born=np.where(live, born, -1),
    source=np.where(fresh, rng.integers(K, size=(N, M)), -1),
    update_source=np.where(operation == trace.UPDATED, 0, -1),
    alive=np.vstack([np.zeros((1, M), bool), live[:-1]]),
    forgets=np.isin(operation, (trace.FORGOTTEN, trace.RENEWED)),
    action_probs=share,
    attention=rng.dirichlet(np.ones(M + 1), N)[:, 1:],
    write_strength=rng.random((N, K)),
    candidates=np.ones((N, K), bool),
    ground_truth=rng.choice(3, N, p=[0.8, 0.15, 0.05]),
    invalidates=np.full(N, -1),
    asked=N - 1,
    label=1,
    mass=rng.dirichlet(np.ones(M)),
    pooled=False,
    removed=rng.dirichlet(np.ones(4), M + 2),
  )


# What a user may do, and the headings that are seen then.
GESTURES = """
const seen = [];
const see = () => seen.push($("detail").querySelector("h2").textContent);
const box = canvas.getBoundingClientRect();
const at = (n, y) => ({bubbles: true, pointerType: "mouse",
  clientX: box.left + (n + 0.5) * width, clientY: box.top + y});
canvas.dispatchEvent(new PointerEvent("pointermove", at(4, TOP + 2.5 * ROW)));
see();
canvas.dispatchEvent(new PointerEvent("pointermove", at(6, TOP - 5)));
see();
canvas.dispatchEvent(new MouseEvent("click", at(5, TOP + 3.5 * ROW)));
canvas.dispatchEvent(new PointerEvent("pointerleave"));
see();
for (const key of ["ArrowRight", "ArrowUp", "End", "ArrowDown", "Escape"]) {
  scroller.dispatchEvent(new KeyboardEvent("keydown", {key}));
  see();
}
$("in").click();
$("fit").click();
$("colour").value = "attention";
$("colour").dispatchEvent(new Event("change"));
document.documentElement.dataset.seen = seen.join("|");
"""


def dump(path, folder, where=""):
  """The page as a browser has it, after its scripts have run."""
  done = subprocess.run(
    [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
     "--no-first-run", "--disable-background-networking",
     "--disable-component-update", "--disable-sync", "--window-size=1400,1000",
     f"--user-data-dir={folder / 'profile'}", "--dump-dom",
     path.as_uri() + where],
    capture_output=True,
    text=True,
    check=True,
    timeout=120,
  )  # fmt: skip
  assert "data-error" not in done.stdout
  return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_cells_are_chosen_by_pointer_click_and_keys(tmp_path):
  found = made_up(16, 8)
  names = Names(lambda ids: str(ids), str)
  page = render(content(found, names, title="made up", facts=[]))
  path = tmp_path / "page.html"
  end = page.rindex("</script>")
  path.write_text(page[:end] + GESTURES + page[end:])
  seen = re.search(r'data-seen="([^"]*)"', dump(path, tmp_path))[1]
  cell = lambda n, m: (
    f"Slot {m}, step {n}: {trace.OPERATIONS[found.operation[n, m]]}"
  )
  assert seen.split("|") == [
    cell(4, 2), "Step 6", cell(5, 3), cell(6, 3), cell(6, 2), cell(15, 2),
    cell(15, 3), "Details",
  ]  # fmt: skip


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
@pytest.mark.parametrize(("N", "M"), [(16, 8), (1000, 64)])
def test_a_browser_draws_the_page_without_an_error(N, M, tmp_path):
  found = made_up(N, M)
  names = Names(lambda ids: f"{HOSTILE} {ids.sum()}", lambda i: f"v{i}")
  page = render(content(found, names, title=HOSTILE, facts=["made up"]))
  path = tmp_path / "page.html"
  written = Inspection("made up", found, page).save(path)
  assert [p.name for p in written] == ["page.html", "page.png"]
  (step,), slot = np.nonzero(found.strength[:, 5] > 0)[0][-1:], 5
  dom = dump(path, tmp_path, f"#{step},{slot}")
  cells = int(re.search(r'data-cells="(\d+)"', dom)[1])
  # All cells, or as many whole steps as there is room for.
  assert cells == N * M if N < 50 else cells % M == 0
  assert cells > 50
  operation = trace.OPERATIONS[found.operation[step, slot]]
  assert f"Slot {slot}, step {step}: {operation}" in dom
  assert f"Holds chunk {found.born[step, slot]}" in dom
  # Texts are texts: what looks like a tag is shown, not obeyed.
  assert html.escape(HOSTILE, quote=False) in dom
  assert "<b>A" not in dom
  table = re.search("<tbody>(.*?)</tbody>", dom, re.DOTALL)[1]
  assert table.count("<tr") == M + 2
