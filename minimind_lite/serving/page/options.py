"""What whoever starts the page decides: which servers it offers, and who may use it.

The command sets it once; the page's script, which Streamlit runs in the same process for every visitor, reads it.
"""

from dataclasses import dataclass, field

from minimind_lite.serving.guard import Keys
from minimind_lite.serving.page.client import Endpoint


@dataclass
class PageOptions:
    """The page's own settings."""

    endpoints: list[Endpoint] = field(default_factory=list)
    language: str = "en"
    keys: Keys = field(default_factory=Keys)  # visitors must give one of them, if there are any
    other_servers: bool = True  # whether a visitor may type another address for the page to ask


_CURRENT = [PageOptions()]


def configure(options: PageOptions) -> None:
    """Set what the page's script reads from now on."""
    _CURRENT[0] = options


def configured() -> PageOptions:
    """What was set last."""
    return _CURRENT[0]
