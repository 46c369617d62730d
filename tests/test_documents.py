"""The documents say what is there: their command lines parse, and the reading path is short."""

import re
import shlex
from pathlib import Path

import pytest

from faceshifter_jax import cli
from faceshifter_jax.training.config import parse_arguments

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands_of(path: Path) -> list[list[str]]:
    """The words of every `faceshifter` and `train.py` command in a document's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", path.read_text(), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").replace(" ...", " ").splitlines()
    command = re.compile(r"(?<![\w./])faceshifter (?=[a-z])|train\.py (?=--)")
    found = [
        line[match.start() :]
        for line in lines
        if not line.lstrip().startswith("#") and (match := command.search(line))
    ]
    # What stands around a command, such as quotes of a remote shell, redirections and pipes.
    plain = [re.sub(r"[\"]\s*$|\s(?:2?>|\||&|;|&&).*$", "", line) for line in found]
    return [shlex.split(line.replace("$R", "0"), comments=True) for line in plain]


COMMANDS = [
    pytest.param(words, id=f"{path.name}-{number}-{words[1]}")
    for path in DOCUMENTS
    for number, words in enumerate(commands_of(path))
]


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_line_is_understood(words, monkeypatch):
    monkeypatch.chdir(ROOT)
    if words[0] == "faceshifter":
        arguments = cli._parse(words[1:])
        assert arguments.command == words[1]
    else:
        config, workdir = parse_arguments(words)
        assert config.task
        assert workdir


def test_the_commands_are_found():
    assert len(COMMANDS) > 30


def test_an_aei_step_is_read_in_nine_files():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    path = text.partition("is read in this order:")[2].partition(".\n\n")[0]
    names = re.findall(r"`([\w/]+\.py)`", path)
    assert (names[0], names[-1]) == ("train.py", "losses.py")
    assert len(names) <= 9
    files = [
        ROOT / name if name == "train.py" else ROOT / "faceshifter_jax" / name for name in names
    ]
    lines = sum(len(file.read_text().splitlines()) for file in files)
    assert lines <= 1_600, f"{lines} lines: move what a reader of a step can do without"
