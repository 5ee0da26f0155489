"""Annotations: tags, notes, the replay ledger and the alias of a run. They change without a new revision.

Two people's changes merge by union: what one side does not have comes from the other, and for a tag and the alias the
later word wins. So nothing is ever deleted from the file; a removed tag or note stays, marked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from runvault.errors import ConfigError, FormatError
from runvault.model.canonical import check_name, check_text
from runvault.model.ids import check_alias
from runvault.model.records import ANNOTATIONS, MAX_NOTE_BYTES, MAX_RECORD_BYTES, dump_json, parse_json
from runvault.model.times import later_of
from runvault.model.validation import Instant, first_problem

Json: TypeAlias = Any


def _check_note(text: str) -> str:
    return check_text(text, "the note", MAX_NOTE_BYTES, lines=True)


By: TypeAlias = Annotated[str, AfterValidator(lambda text: check_text(text, "by"))]
TagName: TypeAlias = Annotated[str, AfterValidator(lambda text: check_name(text, "a tag"))]
NoteText: TypeAlias = Annotated[str, AfterValidator(_check_note)]
AliasName: TypeAlias = Annotated[str, AfterValidator(check_alias)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    at: Instant
    by: By


class Tag(_Record):
    """The last word on one tag."""

    removed: bool = False

    @property
    def rank(self) -> tuple[str, str, bool]:
        """Return what decides between two words on a tag: the greater wins."""
        return self.at, self.by, self.removed


class Note(_Record):
    """One text about the run."""

    text: NoteText
    removed: bool = False

    @property
    def rank(self) -> tuple[str, str, str]:
        """Return what identifies a note and orders notes."""
        return self.at, self.by, self.text


class Replay(_Record):
    """One replay: with which code and environment, and how it compared."""

    code: Json = None
    environment: Json = None
    verdict: Literal["exact", "close", "drift", "failed"]

    @property
    def rank(self) -> tuple[str, str, bytes]:
        """Return what identifies a replay and orders replays."""
        return self.at, self.by, dump_json(self.model_dump())


class Alias(_Record):
    """The last word on the name that stands for the run; None takes it away."""

    name: AliasName | None

    @property
    def rank(self) -> tuple[str, str, str]:
        """Return what decides between two words on the alias: the greater wins."""
        return self.at, self.by, self.name or ""


class Annotations(BaseModel):
    """A run's ``annotations.json``; values never change, methods return new ones.

    Examples
    --------
    >>> at = "2024-05-01T12:00:00.000000Z"
    >>> a = Annotations().with_tags(["tech"], [], at, "Ada").with_note("first try", at, "Ada")
    >>> a.live_tags(), a.note()
    (['tech'], 'first try')
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    tags: dict[TagName, Tag] = {}
    notes: tuple[Note, ...] = ()
    replays: tuple[Replay, ...] = ()
    alias: Alias | None = None

    @classmethod
    def from_bytes(cls, data: bytes, path: str = "") -> Self:
        """Read annotations that anybody may have written; FormatError where they are none (see `parse_json`)."""
        path = path or ANNOTATIONS
        record = parse_json(data, path, max_text_bytes=MAX_NOTE_BYTES)
        try:
            return cls.model_validate(record)
        except ValidationError as error:
            raise FormatError(f"{path}: {first_problem(error)}") from error

    def to_dict(self) -> dict[str, Json]:
        """Return the members as they stand in the file."""
        return self.model_dump(mode="json")

    def to_bytes(self) -> bytes:
        """Return the file; FormatError where it would be larger than readers accept."""
        data = dump_json(self.to_dict())
        if len(data) > MAX_RECORD_BYTES:
            raise FormatError(f"annotations.json would have {len(data):,} bytes, more than {MAX_RECORD_BYTES:,}")
        return data

    def live_tags(self) -> list[str]:
        """Return the tags that nobody removed, sorted."""
        return sorted(name for name, tag in self.tags.items() if not tag.removed)

    def note(self) -> str:
        """Return the texts that nobody removed, oldest first, a line feed between them."""
        return "\n".join(note.text for note in sorted(self.notes, key=lambda n: n.rank) if not note.removed)

    def with_tags(self, add: Iterable[str], remove: Iterable[str], at: str, by: str) -> Self:
        """Return annotations with tags added and removed; equal to these where nothing changes.

        Raises
        ------
        ConfigError
            A tag is empty, over 4 KB, holds control characters or lone surrogates, or is both added and removed.
        """
        wanted = {check_name(name, "a tag"): False for name in add}
        for name in remove:
            if wanted.get(name) is False:
                raise ConfigError(f"tag {name!a} is both added and removed")
            wanted[name] = True
        live = set(self.live_tags())
        changed = {name: removed for name, removed in wanted.items() if removed == (name in live)}
        tags = {name: Tag(at=self._after(name, at), by=by, removed=removed) for name, removed in changed.items()}
        return self.model_copy(update={"tags": {**self.tags, **tags}})

    def _after(self, tag: str, at: str) -> str:
        return later_of(at, self.tags[tag].at) if tag in self.tags else at

    def with_note(self, text: str, at: str, by: str) -> Self:
        """Return annotations with one more text, behind the others; equal to these where it is among the texts shown.

        Raises
        ------
        ConfigError
            The text is empty, over 64 KB, or holds lone surrogates or control characters other than line feed and tab.
        """
        text = _check_note(text.replace("\r\n", "\n"))
        if not text.strip():
            raise ConfigError("the note is empty")
        if any(note.text == text and not note.removed for note in self.notes):
            return self
        at = later_of(at, max(note.at for note in self.notes)) if self.notes else at
        return self._with_notes([*self.notes, Note(text=text, at=at, by=by)])

    def without_notes(self) -> Self:
        """Return annotations whose texts are all marked as removed."""
        return self._with_notes(note.model_copy(update={"removed": True}) for note in self.notes)

    def _with_notes(self, notes: Iterable[Note]) -> Self:
        return self.model_copy(update={"notes": _union_of_notes(notes)})

    def with_replay(self, replay: Replay) -> Self:
        """Return annotations with one more replay in the ledger, behind the others."""
        at = later_of(replay.at, max(each.at for each in self.replays)) if self.replays else replay.at
        replay = replay.model_copy(update={"at": at})
        return self.model_copy(update={"replays": _union_of_replays([*self.replays, replay])})

    def with_alias(self, name: str | None, at: str, by: str) -> Self:
        """Return annotations with another alias, None for none; ConfigError where `name` cannot be one."""
        current = self.alias.name if self.alias else None
        if name is not None:
            check_alias(name)
        if name == current:
            return self
        at = later_of(at, self.alias.at) if self.alias else at
        return self.model_copy(update={"alias": Alias(name=name, at=at, by=by)})


def merge(a: Annotations, b: Annotations) -> Annotations:
    """Return the union of two people's annotations of one run.

    For a tag and for the alias the later `at` wins, then the greater `by`, then the greater bytes; a note that one side
    removed is removed. Commutative, associative and idempotent.
    """
    tags = dict(a.tags)
    for name, tag in b.tags.items():
        tags[name] = max(tags.get(name, tag), tag, key=lambda t: t.rank)
    return Annotations(
        tags=tags,
        notes=_union_of_notes([*a.notes, *b.notes]),
        replays=_union_of_replays([*a.replays, *b.replays]),
        alias=max((alias for alias in (a.alias, b.alias) if alias), key=lambda x: x.rank, default=None),
    )


def _union_of_notes(notes: Iterable[Note]) -> tuple[Note, ...]:
    union: dict[tuple[str, str, str], Note] = {}
    for note in notes:
        if note.rank not in union or note.removed:
            union[note.rank] = note
    return tuple(union[rank] for rank in sorted(union))


def _union_of_replays(replays: Iterable[Replay]) -> tuple[Replay, ...]:
    union = {replay.rank: replay for replay in replays}
    return tuple(union[rank] for rank in sorted(union))
