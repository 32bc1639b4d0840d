"""What the README shows must work as it stands."""

import re
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [
  *ROOT.glob("*.md"),
  *ROOT.glob("docs/*.md"),
  ROOT / "docs/results/README.md",
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_links_to_exists(page):
  links = re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", page.read_text())
  assert links or page.name != "README.md"
  for link in links:
    assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_heading_that_a_page_links_to_exists(page):
  links = re.findall(r"\]\((?!http)([^)#]*)#([^)]+)\)", page.read_text())
  for link, anchor in links:
    target = page.parent / link if link else page
    headings = re.findall(r"^#+ (.+)$", target.read_text(), re.M)
    kept = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    assert anchor in [text.replace(" ", "-") for text in kept]
