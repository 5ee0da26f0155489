"""Pointer files made to hurt: a pointer may name any path, folder or repository; ours names one object and its file."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from runvault.errors import FormatError
from runvault.stores.dvc import Stored, parse_pointer, pointer_bytes

MD5 = "0123456789abcdef0123456789abcdef"
NAME = "orders.parquet"
GOOD = pointer_bytes(NAME, Stored(MD5, "", 7)).decode()


def pointer(md5: str = MD5, size: str = "7", path: str = NAME, more: str = "", hash_name: str = "md5") -> str:
    return f"outs:\n- md5: {md5}\n  size: {size}\n{more}  hash: {hash_name}\n  path: {path}\n"


LAUGHS = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))

HOSTILE = {
    "a path above": pointer(path="../train.py"),
    "a path far above": pointer(path="../../../../.ssh/authorized_keys"),
    "an absolute path": pointer(path="/etc/passwd"),
    "a path below": pointer(path="sub/orders.parquet"),
    "a path with a dot": pointer(path="./orders.parquet"),
    "a backslash": pointer(path="..\\orders.parquet"),
    "another name": pointer(path="strategy.py"),
    "another case": pointer(path="Orders.parquet"),
    "a path of Git": pointer(path=".git/hooks/post-commit"),
    "a path elsewhere": pointer(path="s3://bucket/orders.parquet"),
    "a working folder": "wdir: ..\n" + GOOD,
    "a working folder behind": GOOD + "wdir: ..\n",
    "a dependency": GOOD + "deps:\n- path: ../secret\n",
    "a repository": GOOD + "deps:\n- path: x\n  repo:\n    url: https://example.org/evil\n",
    "frozen": GOOD + "frozen: true\n",
    "a command": GOOD + "cmd: touch pwned\n",
    "two outputs": GOOD + GOOD.removeprefix("outs:\n"),
    "no output": "outs: []\n",
    "an output without members": "outs:\n- {}\n",
    "outputs of another shape": "outs: orders.parquet\n",
    "nothing": "",
    "an upper-case digest": pointer(md5=MD5.upper()),
    "a short digest": pointer(md5=MD5[:31]),
    "a long digest": pointer(md5=MD5 + "0"),
    "a digest that is a path": pointer(md5="../../../../../../../etc/passwd"),
    "a folder's digest": pointer(md5=MD5 + ".dir"),
    "a folder": pointer(md5=MD5 + ".dir", more="  nfiles: 1\n"),
    "no digest": "outs:\n- size: 7\n  hash: md5\n  path: orders.parquet\n",
    "an older hash": pointer(hash_name="md5-dos2unix"),
    "no hash": "outs:\n- md5: 0123456789abcdef0123456789abcdef\n  size: 7\n  path: orders.parquet\n",
    "a remote": GOOD + "  remote: evil\n",
    "no cache": GOOD + "  cache: false\n",
    "pushing off": GOOD + "  push: false\n",
    "a persistent output": GOOD + "  persist: true\n",
    "a file list": GOOD + "  files:\n  - relpath: ../x\n    md5: " + MD5 + "\n",
    "a cloud": GOOD + "  cloud:\n    evil:\n      etag: x\n",
    "executable": GOOD + "  isexec: true\n",
    "a negative size": pointer(size="-1"),
    "a size with a sign": pointer(size="+7"),
    "a size in hexadecimal": pointer(size="0x7"),
    "a fractional size": pointer(size="7.5"),
    "an endless size": pointer(size="9" * 400),
    "a size that is text": pointer(size="seven"),
    "a size in other digits": pointer(size="٧"),
    "a tag on the path": pointer(path="!!python/object/apply:os.system ['touch pwned']"),
    "a tag on a scalar": pointer(path="!!str orders.parquet"),
    "a tag on the list": GOOD.replace("outs:\n-", "outs: !!python/tuple\n-"),
    "an anchor": pointer(path="&a orders.parquet"),
    "an alias": "outs:\n- &o\n  md5: x\n- *o\n",
    "anchors by the million": LAUGHS.replace("*a0", "x") + GOOD,
    "a merge key": GOOD.replace("  hash", "  <<: {cache: false}\n  hash"),
    "a member twice": GOOD + "  path: orders.parquet\n",
    "outputs twice": GOOD + GOOD,
    "two documents": GOOD + "---\n" + GOOD,
    "a directive": "%YAML 1.1\n---\n" + GOOD,
    "a complex key": "? [outs]\n: x\n",
    "deep nesting": "[" * 4000,
    "deep mappings": "{a: " * 1000,
    "an unfinished quote": pointer(path="'orders.parquet"),
    "too long": GOOD + "#" * 5000,
    "a tab": GOOD.replace("  size", "\tsize"),
    "a NUL": pointer(path="orders.parquet\0"),
    "a second line in the name": pointer(path='"orders.parquet\\n"'),
}


def test_what_dvc_writes_is_read() -> None:
    assert parse_pointer(GOOD.encode(), NAME).md5 == MD5


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pointer_is_refused(name: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_pointer(HOSTILE[name].encode(), NAME)
    assert str(caught.value).startswith("orders.parquet.dvc: ")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "data",
    [b"\xff\xfe" + GOOD.encode("utf-16-le"), b"\xef\xbb\xbf" + b"\xff", GOOD.encode().replace(b"o", b"\xed\xa0\x80")],
)
def test_bytes_that_are_no_text_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_pointer(data, NAME)


def test_a_file_where_a_folder_is_expected_is_refused() -> None:
    with pytest.raises(FormatError):
        parse_pointer(GOOD.encode(), NAME, folder=True)


def test_refusing_touches_no_file_and_starts_no_program() -> None:
    code = """
import json, sys
from runvault.errors import FormatError
from runvault.stores.dvc import parse_pointer
import ruamel.yaml
pointers = json.load(sys.stdin)
def hook(event, arguments):
    if event == "open" and (set(str(arguments[1])) & set("wax+") or arguments[2] & 0o3) or event in FORBIDDEN:
        seen.append((event, str(arguments)))
FORBIDDEN = {"os.rename", "os.mkdir", "os.remove", "os.link", "os.symlink", "os.chmod", "subprocess.Popen",
             "os.system", "os.exec", "socket.connect", "exec", "compile", "pickle.find_class", "import"}
seen, refused = [], 0
sys.addaudithook(hook)
for text in pointers:
    try:
        parse_pointer(text.encode(), "orders.parquet")
    except FormatError:
        refused += 1
assert seen == [], seen
print(refused)
"""
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], input=json.dumps(list(HOSTILE.values())), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(HOSTILE)
