"""A Python that has OpenAI's client, at exactly the version that we test."""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
REQUIREMENTS = HERE.parent / "requirements.txt"
CLIENT_TEST = str(HERE / "openai_client_test.py")


def python_with_openai(folder):
    """The interpreter of an environment in `folder`, which is made if need be;
    or the one that CARAVAN_TEST_PYTHON names."""
    given = os.environ.get("CARAVAN_TEST_PYTHON")
    if given:
        return given
    folder = pathlib.Path(folder).resolve()
    python = str(folder / "bin" / "python")
    stamp = folder / "installed.txt"
    wanted = REQUIREMENTS.read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run(
            [sys.executable, "-m", "venv", "--clear", str(folder)], check=True
        )
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet",
             "--disable-pip-version-check", "-r", str(REQUIREMENTS)],
            check=True,
        )
        stamp.write_text(wanted)
    return python
