"""What the README shows must work as it stands."""

import re
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = sorted(
  {
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("launch/*.md"),
  }
)
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
# (page, file, heading) of each link to a file or a heading of our own.
LINKS = [
  (page, file, heading)
  for page in PAGES
  for file, heading in LINK.findall(page.read_text())
  if not file.startswith(("http:", "https:", "mailto:"))
]


def blocks(language):
  return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.M)


def test_the_quick_start_is_two_command_lines():
  train, test = blocks("sh")[:2]
  assert train.count("\n") == test.count("\n") == 1
  assert "-m nema_lc_jax.main --config=configs/lra_lc.py" in train
  assert "-m pytest" in test


def test_the_example_of_the_api_runs(capsys):
  example = blocks("python")[0]
  assert len([line for line in example.splitlines() if line.strip()]) <= 20
  scope = {}
  exec(example, scope)  # The code of our own README.
  assert scope["out"].read.shape == (4, 16, 32, 64)
  assert scope["state"].age.shape == (4, 8)
  assert int(scope["out"].writes.max()) <= 2
  assert all(jax.tree.leaves(jax.tree.map(lambda x: x.size, scope["params"])))


def anchors(page):
  """The anchors of a page's headings, as GitHub makes them."""
  text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.S | re.M)
  found, seen = set(), {}
  for heading in re.findall(r"^#+ (.+?)\s*$", text, re.M):
    words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
    anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
    count = seen[anchor] = seen.get(anchor, -1) + 1
    found.add(f"{anchor}-{count}" if count else anchor)
  return found


@pytest.mark.parametrize(
  ("page", "file", "heading"), LINKS, ids=lambda x: getattr(x, "name", x)
)
def test_what_a_page_links_to_exists(page, file, heading):
  target = page.parent / file if file else page
  assert target.exists()
  if heading:
    assert heading in anchors(target)


def test_links_are_found():
  assert ROOT / "README.md" in {page for page, _, _ in LINKS}
  assert LINK.findall("[a](b.md#c-d), ![e](f/g.png), [h](#i)") == [
    ("b.md", "c-d"),
    ("f/g.png", ""),
    ("", "i"),
  ]


def test_headings_have_the_anchors_of_github(tmp_path):
  page = tmp_path / "page.md"
  page.write_text("# A `b`, c's [d](e)\n```sh\n# no\n```\n## Two\n## Two\n")
  assert anchors(page) == {"a-b-cs-d", "two", "two-1"}
