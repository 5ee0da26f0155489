"""Damage is found, named, and hides nothing else."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from results import make_result

import runvault as rv


def object_of(repo: Path, run: rv.Run, name: str) -> Path:
    md5 = run.artifacts[name]["md5"]
    return repo / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"


def damage(path: Path, content: bytes) -> None:
    path.chmod(path.stat().st_mode | stat.S_IWUSR)
    path.write_bytes(content)


def test_a_sound_archive_has_no_findings(vault: rv.Vault) -> None:
    for total_return in (0.1, 0.2):
        vault.save(make_result(total_return), strategy=f"s{total_return}")
    report = vault.verify(artifacts=True)

    assert report.findings == []
    assert (report.checked["runs"], report.checked["artifacts"]) == (2, 10)


@pytest.mark.parametrize("name", ["portfolio.pkl", "orders.parquet", "equity.parquet"])
@pytest.mark.parametrize("content", [b"", b"something else"])
def test_a_damaged_object_is_found_and_named(vault: rv.Vault, repo: Path, name: str, content: bytes) -> None:
    run = vault.save(make_result(0.1), strategy="a").run
    vault.save(make_result(0.2), strategy="b")
    damage(object_of(repo, run, name), content)

    findings = vault.verify().findings
    assert [(finding.run, finding.file) for finding in findings] == [(run.id, name)]
    with pytest.raises(rv.IntegrityError):
        vault.get(run.id).file(name)


def test_a_single_flipped_bit_is_found(vault: rv.Vault, repo: Path) -> None:
    run = vault.save(make_result(), strategy="a").run
    path = object_of(repo, run, "equity.parquet")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    damage(path, bytes(content))

    assert [finding.file for finding in vault.verify().findings] == ["equity.parquet"]


def test_an_object_that_only_keep_still_has_is_counted(vault: rv.Vault, repo: Path) -> None:
    run = vault.save(make_result(), strategy="a").run
    object_of(repo, run, "equity.parquet").unlink()
    report = vault.verify()

    assert report.findings == []
    assert report.checked["kept"] == 1
    assert len(vault.get(run.id).equity()) == 20


def test_an_object_that_is_nowhere_is_a_finding_and_an_error(vault: rv.Vault, repo: Path) -> None:
    run = vault.save(make_result(), strategy="a").run
    md5 = run.artifacts["equity.parquet"]["md5"]
    object_of(repo, run, "equity.parquet").unlink()
    (repo / f".git/runvault/keep/files/md5/{md5[:2]}/{md5[2:]}").unlink()

    assert [finding.file for finding in vault.verify().findings] == ["equity.parquet"]
    with pytest.raises(rv.ArtifactMissingError) as caught:
        vault.get(run.id).equity()
    assert "equity.parquet" in str(caught.value)
