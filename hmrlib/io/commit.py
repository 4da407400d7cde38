"""Which commit of a checkout made something."""

import subprocess


def commit_of(root):
    """The commit of the checkout, and whether the sources are just that commit's.

    (None, False) where git or its history is missing.
    """

    def git(*arguments):
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        made = (":!figures", ":!report/numbers.json", ":!report/tables.json")
        changes = git("status", "--porcelain", "--", ".", *made)
        return git("rev-parse", "HEAD"), not changes
    except (OSError, subprocess.CalledProcessError):
        return None, False
