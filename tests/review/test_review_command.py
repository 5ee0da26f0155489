"""`runvault review`: its formats, what it is told, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from forge import forge_archive, import_commits
from machine import git
from results import make_result

import runvault as rv
from runvault.views.review_markdown import CUT, MOST

ROOT = Path(__file__).parents[2]
HOSTILE = [
    "@ada @org/team ada@example.org",
    "https://evil.example/ www.evil.example //evil.example",
    "[click](https://evil.example) ![x](https://evil.example/p.png)",
    "<img src=x onerror=alert(1)> <script>alert(1)</script> <!--",
    "a | b \\| c \\\\| d `code` ``x`` ```",
    "**bold** _em_ ~~gone~~ # head > quote - list 1. list",
    "#1 GH-1 !1 ~label %milestone &epic $formula$ :tada: org/repo#1",
    "&#64;ada &lt;b&gt; &amp;",
    "x\x1b[31mred\u202eder\u2028line\x85",
    "</code></td></tr></table>@ada",
]


def review(repo: Path, *args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "runvault.cli.main", "review", *args]
    return subprocess.run(argv, cwd=repo, env=os.environ.copy(), capture_output=True, text=True, check=False)


@pytest.fixture
def vault(repo: Path) -> rv.Vault:
    vault = rv.init(repo)
    vault.save(make_result(0.1), strategy="dual_sma", params={"fast": 1})
    git(repo, "update-ref", "refs/remotes/origin/runvault", "refs/heads/runvault")
    vault.save(make_result(0.2), strategy="dual_sma", params={"fast": 2})
    return vault


def test_a_misspelt_metric_is_no_leaderboard_without_places(vault: rv.Vault, repo: Path) -> None:
    done = review(repo, "--metric", "sharp_ratio")
    assert done.returncode == 13
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "error: no run on either side has the metric 'sharp_ratio'",
        "hint: did you mean sharpe_ratio?",
    ]


def test_three_formats_tell_of_the_same_runs(vault: rv.Vault, repo: Path) -> None:
    run = vault.get("latest")

    shown = {form: review(repo, "--format", form) for form in ("md", "html", "json")}
    assert [done.returncode for done in shown.values()] == [0, 0, 0]
    assert all(run.short_id in done.stdout for done in shown.values())
    assert json.loads(shown["json"].stdout) == vault.review().to_dict()
    assert shown["md"].stdout == review(repo, "origin/runvault..runvault").stdout == str(vault.review())
    assert review(repo, "--json").stdout == shown["json"].stdout


def test_the_json_is_as_documented(vault: rv.Vault) -> None:
    page = (ROOT / "docs/review.md").read_text()
    documented = json.loads(re.search(r"```json\n(.*?)```", page, re.S)[1])  # type: ignore[index]

    found = vault.review().to_dict()
    assert list(documented) == list(found)
    for name in ("base", "head", "totals", "leaderboard"):
        assert list(documented[name]) == list(found[name])
    for name in ("code", "data"):
        assert list(documented[name][0]) == list(found[name][0])
    assert set(documented["leaderboard"]["after"][0]) == set(found["leaderboard"]["after"][0])


def test_a_clone_without_an_archive_branch_reviews_what_it_fetched(vault: rv.Vault, repo: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--bare", str(repo), str(clone))
    base = git(repo, "rev-parse", "origin/runvault").strip()
    git(clone, "update-ref", "refs/remotes/origin/runvault", base)
    git(clone, "update-ref", "refs/pull/1/head", "refs/heads/runvault")
    git(clone, "update-ref", "-d", "refs/heads/runvault")

    done = review(clone, "origin/runvault..refs/pull/1/head", "--json")
    assert len(json.loads(done.stdout)["new"]) == 1
    assert not (clone / "runvault").exists()  # nothing was written: no catalog, no kept object


@pytest.mark.parametrize(
    ("span", "status", "words"),
    [
        ("runvault", 13, "no span"),
        ("nowhere..", 13, "no commit 'nowhere'"),
        ("..main", 10, "holds no archive"),
        ("main..", 10, "holds no archive"),
        ("--output=x..", 2, "--output"),
        ("..--output=x", 13, "no commit '--output=x'"),
        ("^runvault..", 13, "no commit"),
        ("..runvault\nmain", 13, "no commit"),
    ],
)
def test_what_is_no_span(vault: rv.Vault, repo: Path, span: str, status: int, words: str) -> None:
    done = review(repo, span)

    assert (done.returncode, done.stderr.count("error: ")) == (status, 1), done.stderr
    assert words in done.stderr
    assert "hint: " in done.stderr


def test_histories_that_share_nothing(vault: rv.Vault, repo: Path) -> None:
    import_commits(repo, iter([iter([("runvault.json", b'{"format": 1}')])]), branch="other")

    done = review(repo, "..other")
    assert done.returncode == 3
    assert "no history in common" in done.stderr


def test_a_metric_of_ones_choice(vault: rv.Vault) -> None:
    found = vault.review(metric="max_drawdown", n=1)
    assert [row["metrics"]["max_drawdown"] for row in found.after] == [-0.01]
    assert "By Max Drawdown" in found.markdown()
    assert not vault.review(metric="sortino_ratio").after  # known, but nothing has it: nothing has a place
    with pytest.raises(rv.ConfigError, match="no run on either side has the metric 'no @such'"):
        vault.review(metric="no @such")


def test_a_page_needs_no_network_and_has_charts(vault: rv.Vault) -> None:
    page = vault.review().html()

    assert "default-src 'none'" in page
    assert page.count('<div class="figure"') == 2
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", re.sub(r"<script>.*?</script>", "", page, flags=re.S))


def test_a_page_without_artifacts_says_so(vault: rv.Vault, repo: Path) -> None:
    md5 = vault.get("latest").artifacts["equity.parquet"]["md5"]
    for root in (".dvc/cache/files/md5", ".git/runvault/keep/files/md5"):
        (repo / root / md5[:2] / md5[2:]).unlink()

    page = vault.review().html()
    assert page.count('<div class="figure"') == 1
    assert "the artifacts of the new runs are not here" in page


@pytest.fixture
def hostile(vault: rv.Vault) -> rv.Vault:
    for place, name in enumerate(HOSTILE):
        text = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u202e]", "", name)  # what no save takes
        vault.save(make_result(0.3 + place / 100), strategy=text, params={text: text}, note=text, tags=[text])
    return vault


def cells(markdown: str) -> Iterator[list[str]]:
    for line in markdown.splitlines():
        if line.startswith("|"):
            yield line.strip("|").split("|")


def test_markdown_is_inert(hostile: rv.Vault) -> None:
    shown = hostile.review().markdown()

    outside = re.sub(r"<code>[A-Za-z0-9 ,%=/()+.&#;\u0080-\U0010ffff-]*</code>", "", shown)
    assert not re.search(r"[<>@`\\_$~!\[\]]|https?:|www\.", outside.replace(CUT, "")), outside
    assert not re.search(
        r"[@`\\_$~!\[\]*]|\w:|www\.|\.[A-Za-z]|&(?!#\d+;)", shown.replace(CUT, "").replace("runvault 0.1", "")
    )
    widths: list[int] = []
    for row in cells(shown):
        widths.append(len(row))
    rules = [place for place, row in enumerate(cells(shown)) if set("".join(row)) <= set("-: ")]
    for start, end in zip(rules, [*(rule - 1 for rule in rules[1:]), len(widths)], strict=True):
        assert len(set(widths[start - 1 : end])) == 1  # no name makes or joins cells


class Words(HTMLParser):
    """What a reader of the Markdown sees, entities resolved."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.feed(text)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_names_are_shown_as_they_are(hostile: rv.Vault) -> None:
    seen = Words(hostile.review().markdown()).text

    for name in HOSTILE[:4]:
        assert name[:60] in seen


def test_a_large_review_fits_into_a_comment(repo: Path) -> None:
    rv.init(repo)
    git(repo, "update-ref", "refs/remotes/origin/runvault", "refs/heads/runvault")
    forge_archive(repo, 300, files=False)
    vault = rv.open(repo)
    vault.tag([run.id for run in vault.list()], add=["@" * 300, "|" * 300, "ж" * 900])

    found = vault.review()
    shown = found.markdown()
    assert len(found.new) == 300
    assert MOST - 4_000 < len(shown.encode()) <= MOST
    assert shown.rstrip().endswith(CUT)


def test_looking_imports_no_engine(vault: rv.Vault, repo: Path) -> None:
    code = (
        "import sys; from runvault.cli.main import run; status = run(['review', '--json']);"
        "print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repo, env=os.environ.copy(), capture_output=True, text=True, check=True
    )
    imported: set[str] = set(done.stderr.splitlines()[-1].split())
    assert imported.isdisjoint({"vectorbt", "pandas", "numba", "dvc", "dvc_data", "dill", "plotly"})
