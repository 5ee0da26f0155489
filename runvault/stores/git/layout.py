"""The files at the root of every archive, fixed by the format: another byte would be another first commit."""

from __future__ import annotations

FORMAT = 1

_README = """\
# A runvault archive

This branch holds backtest runs. It shares no history with the code and is never edited by hand.
Plain `git` and plain `dvc` read everything in it:

    git ls-tree -r --name-only runvault                  every file of every run
    git show runvault:runs/<hh>/<id>/manifest.json       what was asked, what ran it, what came out
    git log --full-history runvault -- runs/<hh>/<id>    the revisions of one run
    dvc get . runs/<hh>/<id>/orders.parquet --rev runvault
    git clone -b runvault <url>, then dvc pull           all of it, as files

(`runvault` stands for the name of the branch.)

    runs/<hh>/<id>/             one run; <id> is <config hash>-<seed>, <hh> the first two digits of the hash
        manifest.json           the request, code, environment, metrics and digests: fixed within a revision
        annotations.json        tags, notes, alias
        stats.parquet           every statistic, exact
        prices.parquet.dvc      pointers to files in the DVC cache and remotes:
        orders.parquet.dvc      prices, orders and the manifest rebuild the portfolio
        trades.parquet.dvc
        equity.parquet.dvc
        portfolio.pkl.dvc       the engine's own dump; loading a pickle runs code, so load only what you trust
    data/<hh>/<md5>.<ext>.dvc   one pointer per distinct input
    runvault.json               the version of this format

`config hash` is the SHA-256 of the manifest's `config` in the JSON Canonicalization Scheme (RFC 8785).
Archives merge as trees: different runs never conflict.
"""

# What DVC puts beside its pointers, and its own files. DVC takes a pointer for ignored where its folder's pattern has
# an exception (`*` then `!*.dvc`), so the complement of `*.dvc` is spelled out, mark by mark from the end.
_GITIGNORE = """\
/.dvc/*
!/.dvc/config
/data/*/*[!c]
/data/*/*[!v]c
/data/*/*[!d]vc
/data/*/*[!.]dvc
/runs/*/*/*.parquet
/runs/*/*/*.pkl
"""

_DVCIGNORE = """\
# Patterns of files that DVC leaves alone, as in .gitignore
"""

STATIC_FILES: dict[str, bytes] = {
    ".dvc/config": b"",
    ".dvcignore": _DVCIGNORE.encode(),
    ".gitignore": _GITIGNORE.encode(),
    "README.md": _README.encode(),
    "runvault.json": b'{"format": 1}\n',
}
