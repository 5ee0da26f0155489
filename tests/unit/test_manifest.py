import copy
import json
from pathlib import Path

import pytest

import runvault.model
from runvault.errors import FormatError, IntegrityError, SchemaTooNewError
from runvault.model.canonical import config_hash, make_config
from runvault.model.ids import RunId
from runvault.model.manifest import Manifest, check_address, manifest_schema
from runvault.model.records import dump_json
from runvault.model.run_json import run_members

CONFIG = make_config(
    "dual_sma", "vectorbt", {"fast": 10, "slow": 50.0}, {"fees": 0.001}, {"prices": {"symbols": ["GOOG"]}}
)
HASH = config_hash(CONFIG)
MEMBERS = {
    "format": 1,
    "id": f"{HASH}-42",
    "config_hash": str(HASH),
    "seed": 42,
    "config": CONFIG,
    "recipe": None,
    "code": {"commit": "a" * 40, "base": None, "branch": "main", "dirty": False},
    "environment": {"python": "3.11.9", "platform": "Linux", "packages": {"vectorbt": "1.2.0"}, "backend": "rust"},
    "window": {"start": "2004-08-19", "end": "2013-03-01", "bars": 2148, "interval": "1D", "symbols": ["GOOG"]},
    "created_at": "2024-05-01T12:00:00.000000Z",
    "author": "Ada Quant <ada@example.org>",
    "duration_s": 0.25,
    "metrics": {"total_return": 0.51, "total_trades": 12, "sharpe_ratio": None},
    "metric_definitions": {"periods_per_year": 365.0, "risk_free": 0.0, "ddof": 1},
    "moments": {"n_periods": 2148, "mean": 0.0004, "std": 0.01, "skew": None},
    "artifacts": {
        "portfolio.pkl": {"md5": "b" * 32, "sha256": "c" * 64, "size": 1, "media_type": "application/octet-stream"},
        "orders.parquet": {"md5": "b" * 32, "sha256": "c" * 64, "size": 1, "media_type": "x", "column": 3},
    },
    "portfolio": {"format": "vbt-portfolio/1", "rebuildable": True},
    "results_digest": "d" * 64,
    "lineage": {},
    "warnings": [],
}


def changed(path: str, value: object) -> dict[str, object]:
    """Return MEMBERS with the value at a dotted path replaced."""
    members = copy.deepcopy(MEMBERS)
    place = members
    *way, last = path.split("/")
    for step in way:
        place = place[step]
    place[last] = value
    return members


def test_a_manifest_survives_being_written():
    data = dump_json(MEMBERS)
    manifest = Manifest.from_bytes(data)
    assert manifest.to_bytes() == data
    assert manifest.to_dict() == MEMBERS
    assert manifest.run_id == RunId(HASH, 42)
    assert Manifest.from_dict(MEMBERS).to_bytes() == data
    check_address(manifest, RunId(HASH, 42))


def test_the_file_reads_well_in_git():
    text = dump_json(MEMBERS).decode()
    assert text == json.dumps(MEMBERS, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def test_unknown_members_are_ignored():
    members = changed("future", {"x": 1})
    members["window"]["future"] = 1
    assert Manifest.from_bytes(dump_json(members)).to_dict() == MEMBERS


def test_an_unknown_member_of_the_config_is_kept_because_it_is_part_of_the_address():
    config = {**CONFIG, "universe": "tech"}
    members = {**MEMBERS, "config": config, "config_hash": config_hash(config), "id": f"{config_hash(config)}-42"}
    manifest = Manifest.from_bytes(dump_json(members))
    assert manifest.config == config
    check_address(manifest)


@pytest.mark.parametrize("version", [2, 10**6])
def test_a_newer_format_is_refused_with_a_hint(version):
    with pytest.raises(SchemaTooNewError) as caught:
        Manifest.from_bytes(dump_json({"format": version, "anything": []}), "runs/x/manifest.json")
    assert "runs/x/manifest.json" in str(caught.value)
    assert "upgrade" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", 0),
        ("format", "1"),
        ("format", True),
        ("format", None),
        ("id", f"{HASH}-43"),
        ("id", "../../etc"),
        ("config_hash", "D" * 64),
        ("seed", -1),
        ("seed", 2**63),
        ("seed", "42"),
        ("seed", 42.0),
        ("config", []),
        ("config/params", None),
        ("config/strategy", 7),
        ("config/strategy", "a\x1b[31m"),
        ("config/params", {"x": 2**60}),
        ("config/params", {"x": "y" * 5000}),
        ("code", {"commit": "--upload-pack=x", "base": None, "branch": None, "dirty": None}),
        ("window/bars", -1),
        ("created_at", "2024-05-01T12:00:00Z"),
        ("created_at", "2024-13-01T12:00:00.000000Z"),
        ("created_at", "2024-05-01T12:00:00.000000Z\n"),
        ("metrics", {"x": "1"}),
        ("metrics", {"x": True}),
        ("artifacts", {"../x": MEMBERS["artifacts"]["portfolio.pkl"]}),
        ("artifacts", {".git": MEMBERS["artifacts"]["portfolio.pkl"]}),
        ("artifacts/portfolio.pkl/md5", "B" * 32),
        ("artifacts/portfolio.pkl/size", -1),
        ("results_digest", "d" * 63),
        ("warnings", "text"),
        ("author", None),
        ("author", "x" * 5000),
    ],
)
def test_what_is_no_manifest_is_refused_by_member(path, value):
    with pytest.raises(FormatError) as caught:
        Manifest.from_bytes(dump_json(changed(path, value)), "m.json")
    assert str(caught.value).startswith("m.json")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "name", sorted(set(MEMBERS) - {"recipe", "code", "environment", "duration_s", "portfolio", "lineage", "warnings"})
)
def test_a_missing_member_is_named(name):
    members = {key: value for key, value in MEMBERS.items() if key != name}
    with pytest.raises(FormatError, match="format" if name == "format" else name):
        Manifest.from_bytes(dump_json(members))


GOOD = dump_json(MEMBERS)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        GOOD[:-20],
        GOOD.replace(b"0.51", b"NaN"),
        GOOD.replace(b"0.51", b"1e999"),
        GOOD.replace(b"0.51", b"-Infinity"),
        GOOD.replace(b"0.51", b"1" * 5000),
        GOOD.replace(b'"seed": 42', b'"seed": 42, "seed": 42'),
        GOOD.replace(b'"fast": 10', b'"fast": 10, "fast": 20'),
        GOOD.replace(b'"fast": 10', b'"fast": 10, "f\\u0061st": 20'),
        GOOD.replace(b"Ada Quant", b"\\ud800"),
        GOOD.replace(b"Ada Quant", b"\xed\xa0\x80"),
        GOOD.replace(b'"recipe": null', b'"recipe": {"x": ' + b"[" * 70 + b"]" * 70 + b"}"),
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a": ' + b"[" * 500_000,
        GOOD + b" " * 2**20,
    ],
    ids=range(19),
)
def test_hostile_json_is_refused(data):
    with pytest.raises(FormatError):
        Manifest.from_bytes(data)


def test_json_in_another_layout_is_read_all_the_same():
    assert Manifest.from_bytes(json.dumps(MEMBERS).encode()).to_dict() == MEMBERS


def test_what_readers_refuse_is_not_written():
    with pytest.raises(FormatError, match="the number nan"):
        Manifest.from_dict(changed("portfolio", {"x": float("nan")}))
    with pytest.raises(FormatError, match="more than"):
        Manifest.from_dict(changed("recipe", {"x": [0.123456789] * 100_000})).to_bytes()


def test_a_changed_config_does_not_have_its_address():
    manifest = Manifest.from_bytes(dump_json(changed("config/params", {"fast": 11, "slow": 50})))
    with pytest.raises(IntegrityError, match="not the recorded one"):
        check_address(manifest)


def test_a_manifest_in_another_runs_folder_is_found():
    with pytest.raises(IntegrityError, match="holds the manifest of"):
        check_address(Manifest.from_dict(MEMBERS), RunId(HASH, 43))


def test_the_shipped_schema_is_the_models():
    shipped = Path(runvault.model.__file__).with_name("schemas") / "manifest-1.json"
    assert shipped.read_bytes() == dump_json(manifest_schema()), "write it again: see docs/format.md"


ANNOTATIONS = {
    "tags": {"b": {"removed": False}, "a": {}, "gone": {"removed": True}},
    "notes": [
        {"text": "second", "at": "2024-05-02T00:00:00.000000Z", "by": "A"},
        {"text": "first", "at": "2024-05-01T00:00:00.000000Z", "by": "B"},
        {"text": "gone", "at": "2024-05-01T00:00:00.000000Z", "by": "B", "removed": True},
    ],
    "alias": {"name": "golden", "at": "2024-05-01T00:00:00.000000Z", "by": "A"},
}


def test_a_run_as_json():
    run = run_members(MEMBERS, ANNOTATIONS)
    assert run == {
        "id": MEMBERS["id"],
        "short_id": f"{HASH[:8]}-42",
        "alias": "golden",
        "config_hash": HASH,
        "seed": 42,
        "strategy": "dual_sma",
        "engine": "vectorbt",
        "params": {"fast": 10, "slow": 50},
        "settings": {"fees": 0.001},
        "data": {"prices": {"symbols": ["GOOG"]}},
        "symbols": ["GOOG"],
        "interval": "1D",
        "start": "2004-08-19",
        "end": "2013-03-01",
        "tags": ["a", "b"],
        "note": "first\nsecond",
        "created_at": "2024-05-01T12:00:00.000000Z",
        "author": "Ada Quant <ada@example.org>",
        "metrics": MEMBERS["metrics"],
        "code": {"commit": "a" * 40, "base": None, "dirty": False},
        "lineage": {},
        "artifacts": {
            "portfolio.pkl": {"md5": "b" * 32, "sha256": "c" * 64, "size": 1},
            "orders.parquet": {"md5": "b" * 32, "sha256": "c" * 64, "size": 1},
        },
    }
    assert all(type(value) in (str, int, dict, list) for value in run.values())


def test_a_run_without_annotations():
    run = run_members(changed("code", None), {})
    assert (run["alias"], run["tags"], run["note"]) == (None, [], "")
    assert run["code"] == {"commit": None, "base": None, "dirty": None}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("config", 1),
        ("config/params", []),
        ("window", None),
        ("window/symbols", "GOOG"),
        ("window/start", 1),
        ("id", "x"),
        ("id", f"{HASH}-43"),
        ("seed", True),
        ("config_hash", "x"),
        ("metrics", None),
        ("artifacts", []),
        ("artifacts", {"x": 1}),
        ("created_at", 1),
        ("author", None),
        ("format", "1"),
        ("format", 0),
    ],
)
def test_a_damaged_manifest_gives_a_typed_error_in_a_listing_too(path, value):
    with pytest.raises(FormatError):
        run_members(changed(path, value), {})


@pytest.mark.parametrize(
    "annotations",
    [
        {"tags": []},
        {"tags": ["x"]},
        {"tags": {"x": 1}},
        {"notes": {"x": 1}},
        {"notes": [1]},
        {"notes": [{"text": 1}]},
        {"alias": "x"},
        {"alias": {"name": 1}},
    ],
)
def test_damaged_annotations_give_a_typed_error_in_a_listing_too(annotations):
    if annotations == {"tags": []}:
        assert run_members(MEMBERS, annotations)["tags"] == []
        return
    with pytest.raises(FormatError):
        run_members(MEMBERS, annotations)


def test_a_listing_refuses_a_newer_format():
    with pytest.raises(SchemaTooNewError):
        run_members(changed("format", 2), {})
