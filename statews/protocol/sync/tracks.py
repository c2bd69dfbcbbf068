"""The numbers of all keys: what a message, a page and a deadline mean for them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final

from ..plain import Message
from .fetching import Settings
from .questions import Ask, Question, Questions
from .reading import Answer, Wrong
from .strategy import Key, Outcome
from .track import Item, Likeness, Room, Track

__all__ = ["Tracks"]

GONE: Final = "the server's history does not reach back so far"
MISSING: Final = "the server's history does not have it"
REPEATS: Final = "the server promises more and gives nothing new"
SILENT: Final = "the server did not answer in time"
ANOTHER_EPOCH: Final = "the epoch changed"
TWICE: Final = "a number came again with another content"
WENT_BACK: Final = "the numbers went back"
TOO_MANY: Final = "there are too many keys to remember this one"


class Tracks:
    """Decides for `After`: what is released, held, asked for, given up.

    Args:
        request: makes the message that asks the server.
        stream: the name of the strategy.
        outcome: where everything goes.
        settings: what bounds a question, and what is held.
        keys: how many are remembered at most.
        start: where a key begins of which nothing is known; None: with its first message.
        has_pages: answers can be told from live messages, so silence is not an answer.
    """

    __slots__ = ("_has_pages", "_keys", "_make_track", "_questions", "_start", "_tracks")

    def __init__(
        self,
        request: Callable[[Ask], Message],
        *,
        stream: str,
        outcome: Outcome,
        settings: Settings,
        keys: int,
        start: int | None,
        has_pages: bool,
    ) -> None:
        self._questions = Questions(request, settings=settings, outcome=outcome)
        room = Room(settings.hold)
        self._make_track = partial(Track, stream=stream, room=room, outcome=outcome)
        self._keys = keys
        self._start = start
        self._has_pages = has_pages
        self._tracks: OrderedDict[Key, Track] = OrderedDict()

    @property
    def due(self) -> float:
        """When `expire` has something to do."""
        return self._questions.due

    def add(self, key: Key, epoch: Key, last: int) -> Track:
        """Begin a key after its number `last`; without room for it the oldest key ends."""
        if len(self._tracks) >= self._keys and key not in self._tracks:
            oldest, track = self._tracks.popitem(last=False)
            self._questions.close(oldest)
            track.skip_held(TOO_MANY)
            track.open_end(TOO_MANY)
        track = self._tracks[key] = self._make_track(key, epoch, last)
        return track

    def begin(self, now: float) -> None:
        """Ask for what came after the last number of each key."""
        for track in self._tracks.values():
            self._questions.ask(track, now)

    def prolong(self, now: float) -> None:
        """Give every answer the whole time again."""
        self._questions.prolong(now)

    def repeat(self, now: float) -> None:
        """Ask again what is open; the requests before may not have arrived, or may."""
        for key in self._questions.keys:
            self._questions.is_doubtful = True
            self._questions.ask_again(self._tracks[key], now)

    def miss(self, now: float) -> None:
        """Ask for what came after the last number of each key, whatever is asked already."""
        for track in self._tracks.values():
            self._questions.is_doubtful = True  # answers may be among what is lost
            self._questions.ask(track, now, is_again=True)

    def end(self) -> None:
        """Let go what is held, and every question."""
        self._questions.clear()
        for track in self._tracks.values():
            track.forget_held()

    def expire(self, now: float) -> None:
        """Ask again, or give up, where the answer is overdue."""
        while self._questions.due <= now:
            key, question = self._questions.first
            track = self._tracks[key]
            if question.left > 0 and self._is_open(track, question):
                self._questions.repeat(track, question, now)
            else:
                self._give_up(track, question, SILENT, now)

    def admit(self, item: Item, now: float) -> None:
        """Take in an ordinary message."""
        track = self._track_of(item)
        if item.epoch != track.epoch:
            self._restart(track, item, hash(item.message), ANOTHER_EPOCH)
        elif track.is_next(item.seq):
            track.release(item, hash(item.message))
            self._go_on(track, now)
        elif item.seq > track.last:
            track.hold(item)
            if self._questions.get(track.key) is None:
                self._questions.ask(track, now)
        else:
            self._judge_old(track, item)

    def take_page(self, page: Answer[Item] | Wrong, now: float) -> None:
        """Take in what a page holds, if somebody waits for it."""
        key = self._key_of(page)
        question = self._questions.get(key)
        if question is None:
            self._questions.drop_late()
            return
        track = self._tracks[key]
        items = page.items if isinstance(page, Answer) else []
        is_new = any(track.is_after(item, question.after) for item in items)
        may_be_late = question.is_again or not (is_new or isinstance(page, Wrong))
        if may_be_late and self._questions.drop_late():
            if self._questions.is_doubtful:  # the late one may never come: this was the awaited
                self._questions.ask_again(track, now)
            return
        question.answered()
        if isinstance(page, Wrong):
            self._give_up(track, question, page.reason, now)
            return
        self._take_items(track, page, now)
        if self._tracks.get(key) is track:  # else its own page has pushed it out
            self._turn(track, question, page, now, is_new=is_new)

    def _track_of(self, item: Item) -> Track:
        track = self._tracks.get(item.key)
        if track is None:
            last = item.seq - 1 if self._start is None else self._start
            return self.add(item.key, item.epoch, last)
        if track.epoch is None or item.epoch is None:
            track.epoch = item.epoch
        return track

    def _judge_old(self, track: Track, item: Item) -> None:
        """A number that is not above the last one: is it there again, or anew?"""
        likeness = track.recall(item)
        if likeness is Likeness.OTHER:
            self._restart(track, item, hash(item.message), TWICE)
        elif likeness is Likeness.UNKNOWN and self._questions.get(track.key) is None:
            self._restart(track, item, hash(item.message), WENT_BACK)

    def _restart(self, track: Track, item: Item, digest: int | None, reason: str) -> None:
        self._questions.close(track.key)
        track.restart(item, digest, reason)

    def _go_on(self, track: Track, now: float) -> None:
        """Something was released: see to what is still missing."""
        question = self._questions.get(track.key)
        if question is not None and question.is_closed(track.last):
            self._questions.close(track.key)
            question = None
        if track.has_hole and question is None:
            self._questions.ask(track, now)
        elif track.has_hole and question is not None and not self._has_pages:
            self._questions.renew(track.key, question, now)

    def _key_of(self, page: Answer[Item] | Wrong) -> Key:
        """Whose question it answers: nothing but its items or its own word can tell."""
        if isinstance(page, Answer):
            if page.key is not None:
                return page.key
            if page.items:
                return page.items[0].key
        return self._questions.first_key

    def _take_items(self, track: Track, page: Answer[Item], now: float) -> None:
        for item in page.items:
            if item.key != track.key or self._tracks.get(item.key) is not track:
                self.admit(item, now)  # not what was asked for, so it proves no hole
            elif item.epoch != self._track_of(item).epoch:
                self._restart(track, item, None, ANOTHER_EPOCH)
            elif item.seq > track.last:
                # They come in order: the history does not have what is missing before this one.
                track.skip_to(item.seq, GONE if page.gone else MISSING)
                if item.seq > track.last:  # else it was held as well
                    track.release(item, None)

    def _turn(
        self, track: Track, question: Question, page: Answer[Item], now: float, *, is_new: bool
    ) -> None:
        """Go on after a page: to the next one, or to what is missing, or to nothing."""
        if page.more and is_new:
            self._questions.ask(track, now, is_again=question.is_again)
        elif page.more and not page.gone:
            if not question.unanswered:  # else it was asked for before the last number moved
                self._give_up(track, question, REPEATS, now)
        else:
            self._questions.close(track.key)
            is_gone = page.gone and not is_new
            self._finish(track, question, is_gone=is_gone)
            # What was lost behind all that is held is in no hole: ask from there.
            is_behind = question.is_again and is_gone and track.last > question.after
            if track.has_hole or is_behind:
                self._questions.ask(track, now, is_again=is_behind)

    def _finish(self, track: Track, question: Question, *, is_gone: bool) -> None:
        """The answer is complete: a hole that it was asked about, and did not fill, is a gap."""
        reason = GONE if is_gone else MISSING
        lowest = track.held.lowest
        if lowest is not None and (is_gone or lowest == question.before):
            track.skip_hole(lowest, reason)
        elif lowest is None and question.after == track.last and (is_gone or track.has_hole):
            track.open_end(reason)

    def _is_open(self, track: Track, question: Question) -> bool:
        """Whether it matters that the answer does not come."""
        # A number right after the one asked about shows that nothing was missed before it.
        return track.has_hole or (self._has_pages and track.last == question.after)

    def _give_up(self, track: Track, question: Question, reason: str, now: float) -> None:
        self._questions.close(track.key)
        if track.held.lowest is not None:
            track.skip_held(reason)
            if question.is_again and self._has_pages:
                track.open_end(reason)
            elif track.has_hole:
                self._questions.ask(track, now)  # for what there was no room, and once more
        elif self._is_open(track, question):
            track.open_end(reason)
