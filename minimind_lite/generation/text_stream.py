"""From tokens to text while they come: whole characters only, and never a part of a stop string.

A byte-level token may end in the middle of a character (湖 is three bytes), and a stop string may begin in one token
and end in another. Both are held back until it is clear what they are.
"""

import codecs
from collections.abc import Sequence


class TextStream:
    """Collects the bytes of tokens and gives out the text that is certain.

    >>> stream = TextStream(stop=["\\n\\n"])
    >>> [stream.push(b) for b in (b"\\xe6\\xb9", b"\\x96 ok\\n", b"\\nmore")]
    ['', '湖 ok', '']
    >>> stream.stopped, stream.text
    (True, '湖 ok')

    Bytes that are not UTF-8 become U+FFFD; a character that is still unfinished at the end is left out.
    What comes out does not depend on how the text was cut into tokens: of several stop strings the one that is
    complete first wins, the longest of them if several are.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        if isinstance(stop, str) or not all(isinstance(text, str) and text for text in stop):
            raise ValueError(f"stop must be a list of texts that are not empty, such as ['\\n\\n'], not {stop!r}")
        self.stop = tuple(stop)
        self.text = ""  # all that was given out
        self.stopped = False
        self._held = ""  # may turn out to be the start of a stop string
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_bytes: bytes) -> str:
        """Take one token's bytes; return the new text that is certain, often "". After a stop nothing more comes."""
        if self.stopped:
            return ""
        pending = self._held + self._utf8.decode(token_bytes)
        found = [(at + len(stop), at) for stop in self.stop if (at := pending.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self._give(pending, min(found)[1])
        return self._give(pending, len(pending) - self._may_be_stop(pending))

    def finish(self) -> str:
        """The generation is over: what was held back as a possible stop string was ordinary text."""
        return "" if self.stopped else self._give(self._held, len(self._held))

    def _may_be_stop(self, text: str) -> int:
        """How many characters at the end of ``text`` are the start of a stop string."""
        longest = max((len(stop) for stop in self.stop), default=1) - 1
        starts = (size for size in range(min(longest, len(text)), 0, -1) if text.endswith(self._prefixes(size)))
        return next(starts, 0)

    def _prefixes(self, size: int) -> tuple[str, ...]:
        return tuple(stop[:size] for stop in self.stop if len(stop) > size)

    def _give(self, text: str, size: int) -> str:
        given, self._held = text[:size], text[size:]
        self.text += given
        return given
