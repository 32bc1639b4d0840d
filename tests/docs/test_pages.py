"""The pages: links resolve, all are reachable, and what they show runs."""

import re
import sys
from pathlib import Path

import pytest

import nema_lc_jax
from nema_lc_jax.runs import config_json

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
INDEX = DOCS / "README.md"
PAGES = [*ROOT.glob("*.md"), *DOCS.glob("*.md"), DOCS / "results/README.md"]
PAGES += [ROOT / "launch/README.md"]
# Its own test says whether it is there and complete.
GENERATED = DOCS / "configuration.md"
RUNNABLE = ("own_data.md", "own_policy.md", "own_task.md")
PACKAGE = Path(nema_lc_jax.__file__).parent

each = pytest.mark.parametrize(
  "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)


def blocks(page, language):
  return re.findall(
    rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.M
  )


def prose(page):
  """A page without its code."""
  text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.M)
  return re.sub(r"`[^`\n]*`", "", text)


def links(page):
  """(path, heading) of each link to a file of the repository, or a heading."""
  found = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
  local = [link for link in found if not link.startswith("http")]
  return [link.partition("#")[::2] for link in local]


def anchors(page):
  """What a heading is called in a link, as GitHub makes it."""
  headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
  kept = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
  return [text.replace(" ", "-") for text in kept]


@each
def test_every_file_that_a_page_links_to_exists(page):
  targets = {(page.parent / path).resolve() for path, _ in links(page) if path}
  assert targets or page.parent != ROOT or page.name != "README.md"
  assert [path for path in targets - {GENERATED} if not path.exists()] == []


@each
def test_every_heading_that_a_page_links_to_exists(page):
  for path, heading in links(page):
    if heading:
      target = page.parent / path if path else page
      assert heading in anchors(target), f"{path}#{heading}"


def test_every_page_is_in_the_index_with_a_line_of_its_own():
  listed = {(DOCS / path).resolve() for path, _ in links(INDEX)}
  wanted = {*DOCS.glob("*.md"), DOCS / "results/README.md"} - {INDEX}
  assert {page.resolve() for page in wanted} <= listed


def test_the_readme_leads_to_the_index():
  assert INDEX in {ROOT / path for path, _ in links(ROOT / "README.md")}


def test_the_readme_is_read_in_five_minutes():
  readme = (ROOT / "README.md").read_text()
  assert len(readme.splitlines()) <= 130
  shown = re.sub(r"\]\([^)]*\)", "]", readme).splitlines()
  commands = blocks(ROOT / "README.md", "sh")
  wide = [line for line in shown if len(line) > 110]
  assert [line for line in wide if f"{line}\n" not in commands] == []


@each
def test_every_figure_has_a_text_for_those_who_do_not_see_it(page):
  assert all(re.findall(r"!\[([^\]]*)\]", prose(page)))


@each
def test_numbered_notes_are_all_there_and_all_used(page):
  """Superscripts in a table number the list that follows it."""
  for section in re.split(r"^#+ .*$", prose(page), flags=re.M):
    marks = re.findall(r"(?<=\s)[¹²³⁴⁵⁶⁷⁸⁹]", section)
    used = {1 + "¹²³⁴⁵⁶⁷⁸⁹".index(mark) for mark in marks}
    if used:
      notes = {int(n) for n in re.findall(r"^(\d)\. ", section, re.M)}
      assert used == notes, section[:200]


@each
def test_all_rows_of_a_table_have_as_many_cells(page):
  text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.M)
  for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
    rows = table.replace("\\|", "").splitlines()
    assert len({row.count("|") for row in rows}) == 1, rows[0]


@pytest.mark.parametrize("name", RUNNABLE)
def test_the_code_of_a_page_runs_in_an_empty_folder(
  name, tmp_path, monkeypatch, capsys
):
  """Blocks run in order; one that starts with a file's name is that file."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(tmp_path)
  files, scope, ran = [], {}, 0
  try:
    for block in blocks(DOCS / name, "python"):
      if title := re.match(r"# (\w+)\.py\n", block):
        (tmp_path / f"{title[1]}.py").write_text(block)
        files.append(title[1])
      else:
        exec(block, scope)  # The code of our own pages.
        ran += 1
  finally:
    for module in files:
      sys.modules.pop(module, None)
  assert ran >= 2


# The architecture page.

ARCHITECTURE = (DOCS / "architecture.md").read_text()


def test_every_module_that_the_architecture_names_exists():
  named = re.findall(r"`((?:\w+/)+\w+\.py)`", ARCHITECTURE)
  assert len(set(named)) > 12
  for name in named:
    assert (PACKAGE / name).exists() or (ROOT / name).exists(), name


def test_every_function_that_the_architecture_names_exists():
  for name in ("read_weights", "update_usage", "score", "allocate", "commit"):
    assert f"{name}(" in ARCHITECTURE
    sources = (PACKAGE / "memory").glob("*.py")
    assert any(re.search(rf"\b{name}\b", s.read_text()) for s in sources)


def test_the_table_of_rooms_names_all_folders_of_the_package():
  table = ARCHITECTURE.partition("## Rooms")[2].partition("\n\nThe root")[0]
  rooms = re.findall(r"^\| `(\w+)` \|", table, re.M)
  folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
  assert sorted(rooms) == sorted(folders)
  nested = {p.parent.name for p in (PACKAGE / "data").glob("*/__init__.py")}
  assert nested <= set(re.findall(r"`data/(\w+)`", table))


def test_the_root_of_the_architecture_is_the_root_of_the_package():
  said = ARCHITECTURE.partition("The root holds")[2].partition("and the")[0]
  modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
  assert set(re.findall(r"`(\w+)`", said)) == modules


def test_what_the_glossary_says_of_where_words_are_is_so():
  """Each name in the code column occurs in the package or its configs."""
  text = "\n".join(
    path.read_text()
    for folder in (PACKAGE, ROOT / "configs")
    for path in folder.rglob("*.py")
  )
  rows = re.findall(
    r"^\| .+ \| .+ \| (.+) \|$", (DOCS / "glossary.md").read_text(), re.M
  )
  assert len(rows) > 30
  for row in rows:
    for name in re.findall(r"`([^`]+)`", row):
      last = re.split(r"[./=:]", name.removesuffix(".py"))[-1]
      assert re.search(rf"\b{re.escape(last)}\b", text) or any(
        PACKAGE.rglob(f"{last}.py")
      ), name


# The page of messages.


def plain(text):
  """Words alone: f-strings are cut where a value stands."""
  return " ".join(re.sub(r"[\"'\\]|\{[^}]*\}", " ", text).split())


def test_the_messages_of_the_troubleshooting_page_are_printed_somewhere():
  """Each part of a quoted message between two values is in the source."""
  sources = [*PACKAGE.rglob("*.py"), *(ROOT / "configs").glob("*.py")]
  # An f" that goes on in the next line leaves its prefix behind.
  printed = plain(
    re.sub(r"\"\s+f?\"", "", " ".join(s.read_text() for s in sources))
  )
  for part in (
    "COLLAPSED MEMORY:",
    "nothing is written (write rate 0)",
    "fifo with the same parameters is more accurate",
    "accuracy is the same with the memory off",
    "accuracy is worse with the memory on",
    "steps had non-finite gradients",
    "the state and the last batch are in",
    "try a lower config.train.learning_rate.",
    "holds a run of another config",
    "holds a sweep of another config",
    "is not empty, and holds no run.",
    "wait for it, or stop it there by kill",
    "start no second process that writes to it",
    "programs are compiled anew at every start:",
    "stopped after step",
    "saved; the same command resumes.",
    "interrupted: the same command starts again; a run resumes from its newest",
    "so far",
    "is finished: choose another --workdir, or overwrite it with --force.",
    "was begun on other data (fingerprint",
    "restore them, choose another --workdir",
    "is of a model with other parameters; arrays that differ:",
    "is damaged, trying an older one",
    "the checkpoint could not be written (",
    "earlier checkpoints are intact, and the same command resumes from them.",
    "is not covered by chunks: config.data.length",
    "must be a positive multiple of the number of devices,",
    "must be a number",
    "the parameters or the data are the cause; try a lower",
    "a result is not finite, and cannot be written as JSON",
    "nothing is asked in the",
    "all its labels are negative.",
    "is given, but data set",
    "has no such option; those that have it:",
    "has no effect:",
    "learns nothing",
    "the model does not fit: at least",
    "GiB are there; its largest array is",
    "comes from",
    "must return a Policy, got",
    "slots and",
    "cannot be imported:",
    "there is no file",
    "--config is required",
    "has no variant",
    "get the LRA release archive, lra_release.gz",
    "needs a task with ground truth",
    "does not stream",
    "has no best checkpoint yet: train it first",
  ):
    page = (DOCS / "troubleshooting.md").read_text().replace("\n> ", " ")
    assert part in " ".join(page.replace("`", "").split()), part
    assert plain(part) in printed, part


def test_the_changelog_names_every_field_that_was_renamed():
  text = (ROOT / "CHANGELOG.md").read_text()
  for old, new in config_json.RENAMED.items():
    assert f"| `{old}` | `{new}` |" in text
  for field, values in config_json.RENAMED_VALUES.items():
    for old, new in values.items():
      assert f"| `{field}={old}` | `{field}={new}` |" in text
  for field in config_json.FIXED:
    assert f"| `{field}` | removed" in text
