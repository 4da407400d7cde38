"""`hmr completion`: what a shell offers after a beginning, asked of the shells themselves."""

import os
import shutil
import subprocess

import pytest

from hmrlib.cli import main

BASH = """
source ./hmr.bash
COMP_WORDS=(hmr "$@"); COMP_CWORD=$#
_shtab_hmr hmr "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
# a shell within a shell, in which keys are pressed
ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1=; fpath=($PWD $fpath); autoload -U compinit; compinit -D -u; LISTMAX=1000'
zpty -w shell 'zstyle ":completion:*" menu no; print READ''Y'
zpty -r -m shell seen '*READY*'
zpty -w -n shell "hmr $1"$'\\t\\t'
zpty -r -m shell seen "*$2*" && print -r -- found
zpty -d shell
"""


@pytest.fixture
def scripts(tmp_path, capsys):
    """A folder that has the script for a shell, and some files to complete; made by its name."""

    def write(shell, name):
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        assert main(["completion", shell]) == 0
        (tmp_path / name).write_text(capsys.readouterr().out)
        (tmp_path / "street.jpg").touch()
        (tmp_path / "records").mkdir()
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["pre"], {"predict"}),
        (["body", ""], {"info", "show", "export", "build"}),
        (["body", "export", "--format", "g"], {"glb"}),
        (["predict", "str"], {"street.jpg"}),
        (["predict", "street.jpg", "--no-"], {"--no-refine"}),
        (["train", "--records", "r"], {"records"}),
        (["train", "--records", "s"], set()),
        (["completion", ""], {"bash", "zsh"}),
    ],
)
def test_bash_offers(scripts, words, offered):
    command = ["bash", "--norc", "-c", BASH, "bash", *words]
    folder = scripts("bash", "hmr.bash")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    # the built-in `compopt` complains outside of a real completion, and that alone
    assert all("compopt" in line for line in done.stderr.splitlines()), done.stderr
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize(
    ("words", "offered"), [("pre", "predict"), ("body e", "export"), ("predict str", "street.jpg")]
)
def test_zsh_offers(scripts, words, offered):
    folder = scripts("zsh", "_hmr")
    done = subprocess.run(
        ["zsh", "-f", "-c", ZSH, "zsh", words, offered],
        cwd=folder,
        env=os.environ | {"TERM": "dumb", "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1:] == ["found"], done.stdout + done.stderr


def test_another_shell_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["completion", "cmd"])
    assert "bash" in capsys.readouterr().err
