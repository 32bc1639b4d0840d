"""The notebooks run as they stand, and are committed without outputs."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
TRAINING = ("quickstart", "stream", "lra_tpu")
NOTEBOOKS = sorted((ROOT / "colab").glob("*.ipynb"))
LINK = re.compile(r"https://colab\.research\.google\.com/github/([^)\s]+)")
CLONED = re.compile(r"git clone -q https://github\.com/(\S+)")

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def source(path, kind):
  cells = nbformat.read(path, 4).cells
  return "\n".join(cell.source for cell in cells if cell.cell_type == kind)


def outputs(notebook):
  return [
    output
    for cell in notebook.cells
    if cell.cell_type == "code"
    for output in cell.outputs
  ]


def test_there_are_notebooks():
  assert len(NOTEBOOKS) == 4


@each
def test_it_is_valid_and_stripped(path):
  notebook = nbformat.read(path, nbformat.NO_CONVERT)
  nbformat.validate(notebook)
  assert notebook.nbformat == 4
  assert outputs(notebook) == []
  for cell in notebook.cells:
    assert cell.get("execution_count") is None
  assert not re.search("/home/|/root/|/Users/", path.read_text())


@each
def test_its_badge_opens_this_file_and_the_readme_links_to_it(path):
  (link,) = LINK.findall(source(path, "markdown"))
  repository, found = link.split("/blob/main/")
  assert found == path.relative_to(ROOT).as_posix()
  assert f"]({found})" in (ROOT / "README.md").read_text()
  assert CLONED.findall(source(path, "code")) == [repository]


@pytest.mark.parametrize(
  "path",
  [
    pytest.param(
      path,
      id=path.stem,
      # They train; the others use what they use.
      marks=pytest.mark.slow if path.stem in TRAINING else (),
    )
    for path in NOTEBOOKS
  ],
)
def test_it_runs_in_a_fresh_kernel(path, tmp_path, monkeypatch):
  monkeypatch.setenv("NEMA_LC_JAX_NOTEBOOK_QUICK", "1")
  # One device: programs for several take longer to compile.
  flags = os.environ["XLA_FLAGS"].split()
  flags = [flag for flag in flags if "device_count" not in flag]
  monkeypatch.setenv("XLA_FLAGS", " ".join(flags))
  monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
  monkeypatch.setenv("PYTHONPATH", str(ROOT))
  notebook = nbformat.read(path, 4)
  work = tmp_path / "work"
  work.mkdir()
  # A cell that fails raises here, with the cell and its traceback.
  NotebookClient(
    notebook,
    timeout=300,
    kernel_name="python3",
    resources={"metadata": {"path": str(work)}},
  ).execute()
  shown = {
    kind for output in outputs(notebook) for kind in output.get("data", {})
  }
  assert "image/png" in shown
