"""What a branch brings, told to a person who has to say yes or no."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from forge import forge_archive, forge_run, import_commits
from machine import git
from results import make_result, with_digest
from templates import Templates, three_runs

import runvault as rv
from runvault.model.annotations import Annotations, Replay
from runvault.model.records import dump_json


@pytest.fixture
def vault(repo: Path, templates: Templates) -> rv.Vault:
    """An archive of three runs whose remote branch stands where they were pushed."""
    templates.copy(three_runs, repo)
    fetched(repo)
    return rv.open(repo)


def fetched(repo: Path) -> None:
    """Let the remote branch be where the archive branch is now."""
    git(repo, "update-ref", "refs/remotes/origin/runvault", "refs/heads/runvault")


def test_nothing_new(vault: rv.Vault) -> None:
    found = vault.review()

    assert not any([found.new, found.revisions, found.removed, found.annotations, found.warnings, found.damaged])
    assert "Nothing changes. 3 runs before, 3 after." in found.markdown()
    assert [row["gained"] for row in found.after] == [0, 0, 0]


def test_a_new_run_has_its_place_and_the_others_lose_one(vault: rv.Vault) -> None:
    saved = vault.save(make_result(0.2), strategy="dual_sma", params={"fast": 12})

    found = vault.review("origin/runvault..runvault")
    [run] = found.new
    assert (run["id"], run["place"], run["revision"], run["commit"]) == (saved.id, 2, 1, vault.get(saved.id).commit)
    assert [(row["before"], row["after"], row["gained"]) for row in found.after] == [
        (1, 1, 0),
        (None, 2, None),
        (2, 3, -1),
        (3, 4, -1),
    ]
    assert [row["id"] for row in found.before] == [row["id"] for row in found.after if row["id"] != saved.id]
    assert [row["id"] for row in found.after] == [each.id for each in vault.best()]


def test_a_removed_run_lets_those_below_gain(vault: rv.Vault) -> None:
    best = vault.best()[0].id
    vault.remove(best)

    found = vault.review()
    assert [run["id"] for run in found.removed] == [best]
    assert [row["gained"] for row in found.after] == [1, 1]
    assert found.totals["after"] == 2


def test_a_new_revision_tells_which_metrics_moved(vault: rv.Vault) -> None:
    old = vault.best()[0]
    vault.save(make_result(0.05), strategy="dual_sma", params=old.params)

    [revision] = vault.review().revisions
    assert revision.drift is not None
    assert (revision.run["id"], revision.stays, revision.drift["verdict"]) == (old.id, "head", "drift")
    moved = {row["name"]: (row["a"], row["b"]) for row in revision.drift["metrics"]}
    assert moved["total_return"] == (0.3, 0.05)
    assert vault.review().to_dict()["totals"]["drift"] == 1


def test_close_results_are_told_from_drift_where_the_tables_are_here(vault: rv.Vault) -> None:
    old = vault.best()[0]
    vault.save(with_digest(make_result(0.3), "another processor"), strategy="dual_sma", params=old.params)

    [revision] = vault.review().revisions
    assert revision.drift is not None
    assert revision.drift["verdict"] == "close"


def test_what_the_base_gained_meanwhile_was_not_removed(vault: rv.Vault, repo: Path) -> None:
    git(repo, "branch", "team", "runvault")
    vault.save(make_result(0.4), strategy="dual_sma", params={"fast": 40})
    fetched(repo)
    team = rv.open(repo, branch="team")
    team.save(make_result(0.5), strategy="dual_sma", params={"fast": 50})

    found = vault.review("origin/runvault..team")
    assert [run["params"] for run in found.new] == [{"fast": 50}]
    assert not found.removed
    assert (found.totals["before"], found.totals["after"]) == (4, 5)


def test_a_run_that_the_base_saved_again_stays_though_the_head_removed_it(vault: rv.Vault, repo: Path) -> None:
    git(repo, "branch", "team", "runvault")
    best = vault.best()[0]
    vault.save(make_result(0.33), strategy="dual_sma", params=best.params)
    fetched(repo)
    rv.open(repo, branch="team").remove(best.id)

    found = vault.review("origin/runvault..team")
    assert not found.removed
    assert not found.revisions
    assert found.totals["after"] == 3


def test_results_that_the_head_removed_are_told_where_a_merge_takes_them(vault: rv.Vault, repo: Path) -> None:
    """The base saved the run as well, so that it stays, and the removed results are the later ones."""
    git(repo, "branch", "team", "runvault")
    run = vault.save(make_result(0.4), strategy="dual_sma", params={"fast": 40}).run
    fetched(repo)
    team = rv.open(repo, branch="team")
    team.save(make_result(0.5), strategy="dual_sma", params={"fast": 40})
    team.remove(run.id)

    found = vault.review("origin/runvault..team")
    assert [(each.run["id"], each.stays) for each in found.revisions] == [(run.id, "head")]
    assert found.totals["drift"] == 1
    vault.merge("team")
    after = {row["id"]: row["metrics"]["total_return"] for row in found.after}
    assert after == {each.id: each.metrics["total_return"] for each in vault.list()}


def test_of_two_revisions_the_later_stays(vault: rv.Vault, repo: Path) -> None:
    git(repo, "branch", "team", "runvault")
    best = vault.best()[0]
    rv.open(repo, branch="team").save(make_result(0.33), strategy="dual_sma", params=best.params)
    vault.save(make_result(0.44), strategy="dual_sma", params=best.params)
    fetched(repo)

    [revision] = vault.review("origin/runvault..team").revisions
    assert revision.stays == "base"
    found = vault.review("origin/runvault..team")
    assert found.after[0]["metrics"]["total_return"] == 0.44


def test_an_earlier_revision_that_the_head_put_back_stays(vault: rv.Vault, repo: Path) -> None:
    best = vault.best()[0]
    first = best.commit
    vault.save(make_result(0.44), strategy="dual_sma", params=best.params)
    fetched(repo)
    vault.restore(f"{best.id}@{first}")

    found = vault.review()
    [revision] = found.revisions
    assert (revision.stays, found.after[0]["metrics"]["total_return"]) == ("head", 0.3)
    assert [row["id"] for row in found.after] == [run.id for run in vault.best()]


def test_metrics_edited_by_hand_are_no_equal_results(vault: rv.Vault, repo: Path) -> None:
    best = vault.best()[0]
    manifest = json.loads(best.file("manifest.json"))
    manifest["metrics"]["total_return"] = 9.99
    files: list[tuple[str, bytes | None]] = [(f"runs/{best.id[:2]}/{best.id}/manifest.json", dump_json(manifest))]
    import_commits(repo, iter([iter(files)]))

    [revision] = vault.review().revisions
    assert revision.drift is not None
    moved = {row["name"]: (row["a"], row["b"]) for row in revision.drift["metrics"]}
    assert (revision.drift["verdict"], moved) == ("drift", {"total_return": (0.3, 9.99)})


def test_annotations_are_told_as_a_merge_leaves_them(vault: rv.Vault, repo: Path) -> None:
    git(repo, "branch", "team", "runvault")
    run = vault.best()[0]
    vault.note(run, "the base's own")
    fetched(repo)
    team = rv.open(repo, branch="team")
    team.tag(run.id, add=["golden"], remove=["t11"])
    team.note(run.id, "a second look")
    team.alias("gold", run.id)

    [each] = vault.review("origin/runvault..team").annotations
    told = each.to_dict()
    assert told["tags"] == {"added": ["golden"], "removed": ["t11"]}
    assert told["notes"] == {"added": ["a second look"], "removed": []}
    assert told["alias"] == {"a": None, "b": "gold"}
    shown = vault.review("origin/runvault..team").markdown()
    assert "golden" in shown
    assert "a second look" in shown


def test_the_ledger_of_replays_is_told_in_a_sentence(vault: rv.Vault, repo: Path) -> None:
    run = vault.best()[0]
    path = f"runs/{run.id[:2]}/{run.id}/annotations.json"
    annotations = Annotations.from_bytes(run.file("annotations.json"))
    for day in range(1, 5):
        at = f"2027-01-0{day}T10:00:00.000000Z"
        annotations = annotations.with_replay(Replay(at=at, by="CI <ci@example.org>", verdict="exact"))
    import_commits(repo, iter([iter([(path, annotations.to_bytes())])]))

    [each] = vault.review().annotations
    assert len(each.new_replays) == 4
    assert "replayed exactly 4 times, last on 2027-01-04 by CI" in vault.review().markdown()


def without_catalog(vault: rv.Vault, repo: Path, span: str, metric: str) -> dict[str, Any]:
    """Return a review made in a clone that has no catalog."""
    catalog = repo / ".git/runvault/catalog.db"
    for path in catalog.parent.glob("catalog.db*"):
        path.unlink()
    document = rv.open(repo, read_only=True).review(span, metric=metric, n=100).to_dict()
    assert not catalog.exists()
    vault.reindex()
    return document


@pytest.mark.parametrize("metric", ["sharpe_ratio", "total_fees_paid", "house_ratio", "sortino_ratio"])
def test_the_catalog_and_git_tell_the_same(repo: Path, metric: str) -> None:
    vault = rv.init(repo)
    forge_archive(repo, 60, runs_per_commit=7)
    own = [forge_run(number, metrics={"house_ratio": number / 7, "sharpe_ratio": 0.5}) for number in (61, 62)]
    import_commits(repo, iter([iter([(f"{run.path}/{n}", d) for run in own for n, d in run.files().items()])]))
    damaged, removed, tagged = (run.id for run in vault.list(limit=3, sort="created_at"))
    import_commits(repo, iter([iter([(f"runs/{damaged[:2]}/{damaged}/manifest.json", b"{")])]))
    git(repo, "branch", "team", "runvault")
    vault.save(make_result(0.4), strategy="dual_sma", params={"fast": 40})
    vault.alias("first", "latest")
    fetched(repo)
    vault.tag("latest", add=["later than the base"])
    team = rv.open(repo, branch="team")
    team.remove(removed)
    team.tag(tagged, add=["golden"])
    team.save(make_result(0.6), strategy="breakout", params={"fast": 40})
    vault.count()

    for span in ("origin/runvault..team", "..", "runvault~5..origin/runvault", "team..runvault"):
        assert vault.review(span, metric=metric, n=100).to_dict() == without_catalog(vault, repo, span, metric)
